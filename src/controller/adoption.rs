//! Adoption goes one at a time per network name across the whole cluster: an operator who spreads one network over
//! namespaces would otherwise see it halt on the day of the installation.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::stores::Stores;
use crate::domain::{
    Memory, Moment, Snapshot,
    node::{Network, NodeName},
    policy::AddressMode,
    rollout::Start,
    survey::{Candidate, candidates, survey},
};

/// Who is being taken in, by network.
///
/// What this forgets in a crash is in the cluster: an adopted validator that is not up again is seen there.
#[derive(Debug, Default)]
pub struct Adoptions {
    under_way: Mutex<BTreeMap<Network, (String, NodeName)>>,
}

impl Adoptions {
    /// Whether this adoption may start now; from then on it holds back those of its network elsewhere.
    #[must_use]
    pub fn admit(&self, namespace: &str, start: &Start, stores: &Stores) -> bool {
        let mut under_way = self.lock();
        let is_elsewhere = match under_way.get(&start.network) {
            Some((other, _)) => other != namespace,
            None => is_rolling_elsewhere(namespace, &start.network, stores),
        };
        if is_elsewhere {
            return false;
        }
        under_way.insert(
            start.network.clone(),
            (namespace.to_owned(), start.node.clone()),
        );
        true
    }

    /// Lets go of this namespace's adoptions that have come to their end: up for `min_ready`, or gone.
    pub fn release(&self, snapshot: &Snapshot, memory: &Memory, min_ready: Duration, now: Moment) {
        self.lock().retain(|_, (namespace, node)| {
            if *namespace != snapshot.namespace {
                return true;
            }
            let is_there = snapshot.stateful_sets.contains_key(node);
            let is_up = memory
                .settled_since(node)
                .is_some_and(|since| now.since(since) >= min_ready);
            is_there && !is_up
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Network, (String, NodeName)>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Some validator of the network in another namespace was restarted by us and is not up again, or is about to be.
fn is_rolling_elsewhere(namespace: &str, network: &Network, stores: &Stores) -> bool {
    let is_rolling = |node: &Candidate| {
        let set = &node.stateful_set;
        let is_under_way = set.template.restarted_at.is_some() && !node.is_settled();
        node.network == *network && (is_under_way || set.turn.is_some())
    };
    let others = stores
        .namespaces()
        .into_iter()
        .filter(|other| other != namespace);
    others
        .filter_map(|other| stores.snapshot(&other))
        .any(|other| {
            let survey = survey(&other, &AddressMode::Ip);
            candidates(&survey).any(|(_, node)| is_rolling(node))
        })
}
