//! What happened in runs, in numbers.

use std::{collections::BTreeMap, time::Duration};

/// Counts of one run, or the sum of many.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) seeds: u64,
    pub(crate) virtual_time: Duration,
    pub(crate) restarts: u64,
    pub(crate) requests: u64,
    pub(crate) lists: u64,
    /// Faults and deeds by name.
    pub(crate) events: BTreeMap<&'static str, u64>,
}

impl Figures {
    pub(crate) fn count(&mut self, event: &'static str) {
        *self.events.entry(event).or_default() += 1;
    }

    pub(crate) fn faults(&self) -> u64 {
        self.events.values().sum()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.virtual_time += other.virtual_time;
        self.restarts += other.restarts;
        self.requests += other.requests;
        self.lists += other.lists;
        for (event, count) in &other.events {
            *self.events.entry(event).or_default() += count;
        }
    }
}
