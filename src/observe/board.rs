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
    /// Nodes of which a person should know something, by reason.
    pub notices: BTreeMap<&'static str, usize>,
    /// The list that was decided on is not written yet.
    pub is_behind: bool,
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
        let mut notices = BTreeMap::new();
        for notice in &decision.plan.notices {
            *notices.entry(notice.reason).or_default() += 1;
        }
        let networks = &decision.discovery.networks;
        let mut summaries = self.lock();
        let is_behind = summaries.get(namespace).is_some_and(|it| it.is_behind);
        let summary = Summary {
            peers: decision.list.as_ref().map_or(0, |list| list.peers),
            members: networks.values().map(|network| network.members.len()).sum(),
            candidates: networks
                .values()
                .map(|network| network.candidates.len())
                .sum(),
            stale: decision.plan.verdicts.len(),
            held,
            notices,
            is_behind,
        };
        summaries.insert(namespace.to_owned(), summary);
    }

    /// Whether a list that was decided on is still to be written.
    pub fn owe(&self, namespace: &str, is_behind: bool) {
        if let Some(summary) = self.lock().get_mut(namespace) {
            summary.is_behind = is_behind;
        }
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
