//! Adoption goes one at a time per network name across the whole cluster: an operator who spreads one network over
//! namespaces would otherwise see it halt on the day of the installation.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use super::stores::Stores;
use crate::domain::{
    Decision, Memory, Now, Policy,
    node::{Network, NodeName},
    policy::AddressMode,
    rollout::{Held, Start, Verdict},
    snapshot::parse_time,
    survey::{Candidate, candidate, candidates, survey},
    turn,
};

/// Who is being taken in, by network.
///
/// What this forgets in a crash is in the cluster: an adopted validator that is not up again is seen there.
#[derive(Debug, Default)]
pub struct Adoptions {
    under_way: Mutex<BTreeMap<Network, (String, NodeName)>>,
}

impl Adoptions {
    /// Holds those adoptions of a plan that have to wait for another namespace. Those that are let through hold back
    /// the ones elsewhere from then on.
    pub fn gate(
        &self,
        namespace: &str,
        decision: &mut Decision,
        stores: &Stores,
        policy: &Policy,
        now: Now,
    ) -> bool {
        hold_adoptions(decision, |start| {
            self.claim(namespace, start, stores, policy, now)
        })
    }

    /// Shows which adoptions of a plan wait for another namespace just now, and claims nothing.
    pub fn show(&self, namespace: &str, decision: &mut Decision) {
        let under_way = self.lock();
        hold_adoptions(decision, |start| {
            let (other, _) = under_way.get(&start.network)?;
            (other != namespace).then(|| other.clone())
        });
    }

    /// The namespace that has to come to an end first; none where this one's claim holds.
    fn claim(
        &self,
        namespace: &str,
        start: &Start,
        stores: &Stores,
        policy: &Policy,
        now: Now,
    ) -> Option<String> {
        let mut under_way = self.lock();
        let other = match under_way.get(&start.network) {
            Some((other, _)) => Some(other.clone()).filter(|other| other != namespace),
            None => rolling_elsewhere(namespace, &start.network, stores, policy, now),
        };
        if other.is_none() {
            let claim = (namespace.to_owned(), start.node.clone());
            under_way.insert(start.network.clone(), claim);
        }
        other
    }

    /// Lets go of this namespace's claims that have come to their end: the validator is up for `min_ready`, is none
    /// any more, or does not start after all.
    pub fn release(
        &self,
        namespace: &str,
        decision: &Decision,
        memory: &Memory,
        policy: &Policy,
        now: Now,
    ) {
        self.lock().retain(|network, (claimed_by, node)| {
            if claimed_by != namespace {
                return true;
            }
            let starts = decision.plan.starts().any(|start| start.node == *node);
            let is_rolling = candidate(&decision.survey, node).is_some_and(|candidate| {
                let is_up = memory.is_settled_for(node, policy.min_ready, now.moment);
                is_under_way(candidate, policy, now) && !is_up
            });
            starts || is_rolling || memory.unseen(network) == Some(node)
        });
    }

    /// Lets go of everything: whoever leads next finds what is under way in the cluster.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Network, (String, NodeName)>> {
        self.under_way
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Holds each adoption of a plan for which another namespace comes first; tells whether there is one. Whoever is down
/// anyway halts nothing, and waits for nobody.
fn hold_adoptions(decision: &mut Decision, elsewhere: impl Fn(&Start) -> Option<String>) -> bool {
    let mut waits = false;
    for verdict in decision.plan.verdicts.values_mut() {
        let Verdict::Start(start) = verdict else {
            continue;
        };
        if !start.reason.is_adoption() || start.was_down {
            continue;
        }
        if let Some(other) = elsewhere(start) {
            *verdict = Verdict::Held(start.reason, Held::Elsewhere(other));
            waits = true;
        }
    }
    waits
}

/// The namespace in which some validator of the network was restarted by us and is not up again, or is about to be.
fn rolling_elsewhere(
    namespace: &str,
    network: &Network,
    stores: &Stores,
    policy: &Policy,
    now: Now,
) -> Option<String> {
    let is_rolling = |node: &Candidate| {
        let is_prepared = node.stateful_set.turn.as_deref().is_some_and(turn::is_live);
        let is_restarting = !node.is_settled() && is_under_way(node, policy, now);
        node.network == *network && (is_prepared || is_restarting)
    };
    let mut others = stores.namespaces().into_iter().filter(|it| it != namespace);
    others.find(|other| {
        stores.snapshot(other).is_some_and(|snapshot| {
            let survey = survey(&snapshot, &AddressMode::Ip);
            candidates(&survey).any(|(_, node)| is_rolling(node))
        })
    })
}

/// We restarted it, and not so long ago that it counts as stuck: one that never comes up must not hold back all
/// others of the cluster.
fn is_under_way(node: &Candidate, policy: &Policy, now: Now) -> bool {
    let restarted_at = node.stateful_set.template.restarted_at.as_deref();
    let age = restarted_at
        .and_then(parse_time)
        .map(|at| now.wall.duration_since(at));
    age.is_some_and(|age| age.unsigned_abs() < policy.stuck_after)
}
