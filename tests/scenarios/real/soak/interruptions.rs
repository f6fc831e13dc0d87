//! When no admission could be answered: what a write that failed is excused by, and nothing else is.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};

/// The API server notices that a replica is gone when its connection breaks. What it sends before goes there.
const KILL_IS_NOTICED: Duration = Duration::from_millis(500);

/// Outages of the API server or its database, and kills of replicas.
#[derive(Debug)]
pub(super) struct Interruptions {
    away: watch::Sender<bool>,
    past: Mutex<Past>,
}

#[derive(Debug, Default)]
struct Past {
    /// With its end where it has one.
    outages: Vec<(Instant, Option<Instant>)>,
    kills: Vec<Instant>,
}

/// Why a write may fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excuse {
    /// There was no API server for a part of the time.
    NoApiServer,
    /// It may have been in the hands of a replica that was killed.
    Killed,
}

impl Interruptions {
    pub(super) fn none() -> Self {
        Self {
            away: watch::channel(false).0,
            past: Mutex::default(),
        }
    }

    pub(super) fn begins(&self) {
        self.lock().outages.push((Instant::now(), None));
        self.away.send_replace(true);
    }

    pub(super) fn ends(&self) {
        if let Some((_, end)) = self.lock().outages.last_mut() {
            *end = Some(Instant::now());
        }
        self.away.send_replace(false);
    }

    pub(super) fn kills(&self) {
        self.lock().kills.push(Instant::now());
    }

    /// Waits while the API server is away.
    pub(super) async fn until_back(&self) {
        let mut away = self.away.subscribe();
        // The sender lives as long as `self`.
        let _ = away.wait_for(|away| !away).await;
    }

    /// What excuses a failure of something that took from `began` until `ended`.
    pub(super) fn excuse(&self, began: Instant, ended: Instant) -> Option<Excuse> {
        let past = self.lock();
        let overlaps = |(from, to): &(Instant, Option<Instant>)| {
            *from <= ended && to.is_none_or(|to| began <= to)
        };
        if past.outages.iter().any(overlaps) {
            return Some(Excuse::NoApiServer);
        }
        let in_hand = |kill: &Instant| *kill <= ended && began <= *kill + KILL_IS_NOTICED;
        past.kills.iter().any(in_hand).then_some(Excuse::Killed)
    }

    fn lock(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_overlaps_an_outage_or_a_kill_is_excused() {
    let interruptions = Interruptions::none();
    let second = Duration::from_secs(1);
    let start = Instant::now();
    tokio::time::advance(second).await;
    interruptions.begins();
    tokio::time::advance(second).await;
    interruptions.ends();
    tokio::time::advance(10 * second).await;
    interruptions.kills();
    tokio::time::advance(second).await;
    let is = |from: u32, to: u32| interruptions.excuse(start + from * second, start + to * second);
    assert_eq!(is(0, 1), Some(Excuse::NoApiServer));
    assert_eq!(is(2, 3), Some(Excuse::NoApiServer));
    assert_eq!(is(3, 4), None);
    assert_eq!(is(11, 12), Some(Excuse::Killed));
    assert_eq!(is(13, 14), None);
}
