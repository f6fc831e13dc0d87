//! The last decision about each namespace, in figures: what the metrics show.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::domain::{Decision, rollout::Verdict};

/// One namespace in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Addresses in the list.
    pub peers: usize,
    /// Members of its networks.
    pub members: usize,
    /// Nodes that count.
    pub candidates: usize,
    /// Members that are due for a restart.
    pub stale: usize,
    /// Of these, how many are held, by reason.
    pub held: BTreeMap<&'static str, usize>,
}

/// The last decisions; read whenever somebody scrapes, so that no gauge can drift from the truth.
#[derive(Debug, Default)]
pub struct Board {
    summaries: Mutex<BTreeMap<String, Summary>>,
}

impl Board {
    /// Takes a decision in.
    pub fn show(&self, namespace: &str, decision: &Decision) {
        let mut held = BTreeMap::new();
        for verdict in decision.plan.verdicts.values() {
            if let Verdict::Held(_, why) = verdict {
                *held.entry(why.reason()).or_default() += 1;
            }
        }
        let networks = &decision.discovery.networks;
        let summary = Summary {
            peers: decision.list.as_ref().map_or(0, |list| list.peers),
            members: networks.values().map(|network| network.members.len()).sum(),
            candidates: networks
                .values()
                .map(|network| network.candidates.len())
                .sum(),
            stale: decision.plan.verdicts.len(),
            held,
        };
        self.lock().insert(namespace.to_owned(), summary);
    }

    /// The namespace has nothing to show any more.
    pub fn forget(&self, namespace: &str) {
        self.lock().remove(namespace);
    }

    /// This replica does not lead any more: what it decided is no news.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// All namespaces.
    #[must_use]
    pub fn summaries(&self) -> BTreeMap<String, Summary> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Summary>> {
        self.summaries
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
