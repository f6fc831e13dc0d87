//! What the loop knows of each namespace: the last decision in figures, what only time could tell it, and what keeps it
//! from its work. Read whenever somebody asks, so that nothing that is shown can drift from the truth.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;

use crate::domain::{Decision, Memory, rollout::Verdict, status::Reason};

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

/// The memory of one namespace's passes. Locked for as long as a decision takes, and never across a request.
#[derive(Clone, Debug, Default)]
pub struct SharedMemory(Arc<Mutex<Memory>>);

impl SharedMemory {
    /// The memory.
    pub fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One namespace.
#[derive(Clone, Debug, Default)]
struct Entry {
    summary: Summary,
    memory: SharedMemory,
    problem: Option<Reason>,
}

/// The namespaces that the loop looks after.
#[derive(Debug, Default)]
pub struct Board {
    entries: Mutex<HashMap<String, Entry>>,
    changes: watch::Sender<u64>,
}

impl Board {
    /// The memory that the passes over a namespace share with whoever wants to see what they see.
    #[must_use]
    pub fn memory(&self, namespace: &str) -> SharedMemory {
        let mut entries = self.lock();
        entries
            .entry(namespace.to_owned())
            .or_default()
            .memory
            .clone()
    }

    /// Takes a decision in.
    pub fn show(&self, namespace: &str, decision: &Decision) {
        self.change(namespace, |entry| {
            let is_behind = entry.summary.is_behind;
            entry.summary = Summary {
                is_behind,
                ..Summary::of(decision)
            };
        });
    }

    /// Whether a list that was decided on is still to be written.
    pub fn owe(&self, namespace: &str, is_behind: bool) {
        if let Some(entry) = self.lock().get_mut(namespace) {
            entry.summary.is_behind = is_behind;
        }
    }

    /// A pass failed, or went well again.
    pub fn set_problem(&self, namespace: &str, problem: Option<Reason>) {
        self.change(namespace, |entry| entry.problem = problem);
    }

    fn change(&self, namespace: &str, change: impl FnOnce(&mut Entry)) {
        // Most passes come again and again over the same namespaces.
        let mut entries = self.lock();
        match entries.get_mut(namespace) {
            Some(entry) => change(entry),
            None => change(entries.entry(namespace.to_owned()).or_default()),
        }
        drop(entries);
        self.count();
    }

    /// The namespace has nothing to show any more.
    pub fn forget(&self, namespace: &str) {
        self.lock().remove(namespace);
        self.count();
    }

    /// This replica does not lead any more: what it decided is no news.
    pub fn clear(&self) {
        self.lock().clear();
        self.count();
    }

    /// All namespaces.
    #[must_use]
    pub fn summaries(&self) -> BTreeMap<String, Summary> {
        let entries = self.lock();
        let summaries = entries.iter();
        summaries
            .map(|(namespace, entry)| (namespace.clone(), entry.summary.clone()))
            .collect()
    }

    /// What the loop remembers of a namespace, and what keeps it from its work; [`None`] where it has not looked yet.
    #[must_use]
    pub fn known(&self, namespace: &str) -> Option<(Memory, Option<Reason>)> {
        let entry = self.lock().get(namespace)?.clone();
        let memory = entry.memory.lock().clone();
        Some((memory, entry.problem))
    }

    /// Counts up whenever something is shown.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn count(&self) {
        self.changes
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Summary {
    fn of(decision: &Decision) -> Self {
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
        Self {
            peers: decision.list.as_ref().map_or(0, |list| list.peers),
            members: networks
                .values()
                .map(|network| network.members().len())
                .sum(),
            candidates: networks
                .values()
                .map(|network| network.candidates.len())
                .sum(),
            stale: decision.plan.verdicts.len(),
            held,
            notices,
            is_behind: false,
        }
    }
}
