//! What happened in runs, in numbers.

use std::{collections::BTreeMap, fmt, time::Duration};

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

    /// Seeds a second of real time, rounded.
    pub(crate) fn seeds_a_second(&self, took: Duration) -> u128 {
        u128::from(self.seeds) * 1000 / took.as_millis().max(1)
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

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            restarts,
            requests,
            lists,
            ..
        } = self;
        let hours = self.virtual_time.as_secs_f64() / 3600.0;
        let faults = self.faults();
        writeln!(
            f,
            "{hours:.1} virtual hours, {restarts} restarts, {lists} lists, {requests} requests of ours, {faults} faults:"
        )?;
        let events = self
            .events
            .iter()
            .map(|(event, count)| format!("{event} {count}"));
        f.write_str(&events.collect::<Vec<_>>().join(", "))
    }
}
