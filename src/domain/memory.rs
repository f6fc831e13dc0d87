//! What only time can tell: since when something is as it is.
//!
//! Nothing in here is needed to be safe after a crash: a fresh memory counts everything anew from first sight, and
//! so waits longer, never shorter.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    Moment, Policy,
    discovery::{Discovery, NetworkState, running},
    membership::MembershipHash,
    node::{Network, NodeName},
    peer_list::{RestartRecord, Restarts},
    snapshot::ConfigMapView,
    survey::{Survey, candidates},
};

/// Since when things are as they are, in one namespace.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    never_ready: BTreeMap<Network, Moment>,
    settled: BTreeMap<NodeName, (String, Moment)>,
    rollouts: BTreeMap<NodeName, (String, Moment)>,
    memberships: BTreeMap<Network, Membership>,
    record_lost: Option<Moment>,
    joined: BTreeSet<String>,
    restarts: Restarts,
    refused: BTreeMap<NodeName, (String, Moment)>,
}

#[derive(Clone, Debug)]
struct Membership {
    hash: MembershipHash,
    members: BTreeSet<NodeName>,
    since: Moment,
    /// We saw it change; without that, a change may have come before our time.
    has_changed: bool,
    /// Some member's template carries another membership and none carries this one: who was Ready before our time
    /// knew more, so somebody left.
    looks_left: bool,
    /// The members when last nothing had changed for the settle time, where we have seen such a time.
    settled: Option<BTreeSet<NodeName>>,
}

/// How long a membership has been as it is, and what kind of change led to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// When it last changed, or was first seen.
    pub since: Moment,
    /// Compared with the last settled membership, somebody left and nobody joined.
    pub only_left: bool,
}

impl Membership {
    fn change(&self) -> Change {
        let is_less = |settled: &BTreeSet<NodeName>| {
            self.members.is_subset(settled) && self.members.len() < settled.len()
        };
        Change {
            since: self.since,
            only_left: match &self.settled {
                Some(settled) => is_less(settled),
                None => !self.has_changed && self.looks_left,
            },
        }
    }
}

impl Change {
    /// How long the membership has to stay as it is now before anybody is restarted for it.
    #[must_use]
    pub const fn settle(&self, policy: &Policy) -> Duration {
        if self.only_left {
            policy.settle_leave
        } else {
            policy.settle
        }
    }
}

impl Memory {
    /// Takes in what the nodes are.
    pub fn observe(&mut self, survey: &Survey, has_record: bool, now: Moment) {
        let mut networks: BTreeMap<Network, (bool, usize)> = BTreeMap::new();
        let (mut settled, mut rollouts) = (BTreeMap::new(), BTreeMap::new());
        let mut all_ready = true;
        self.restarts.retain_candidates(survey);
        self.refused.retain(|name, _| survey.contains_key(name));
        let uids: BTreeSet<&str> = candidates(survey)
            .map(|(_, node)| node.stateful_set.uid.as_str())
            .collect();
        self.joined.retain(|uid| uids.contains(uid.as_str()));
        for (name, node) in candidates(survey) {
            let network = networks.entry(node.network.clone()).or_default();
            network.0 |= node.was_ready || node.was_member;
            network.1 += usize::from(!running(node).is_empty());
            let uid = &node.stateful_set.uid;
            all_ready &= node.is_ready();
            if node.is_settled() {
                // Another pod is another start, even if we never saw the time in between.
                let pods: String = node.pods.iter().map(|pod| pod.uid.as_str()).collect();
                keep_since(&self.settled, &mut settled, name, &pods, now);
            } else if let Some(restarted_at) = &node.stateful_set.template.restarted_at {
                keep_since(
                    &self.rollouts,
                    &mut rollouts,
                    name,
                    &format!("{uid} {restarted_at}"),
                    now,
                );
            }
        }
        (self.settled, self.rollouts) = (settled, rollouts);
        let waits = networks
            .into_iter()
            .filter(|(_, (was_ready, running))| !was_ready && *running >= 2);
        self.never_ready = waits
            .map(|(network, _)| {
                let since = self.never_ready.get(&network).copied().unwrap_or(now);
                (network, since)
            })
            .collect();
        if all_ready {
            self.record_lost = None;
        } else if !has_record {
            self.record_lost = self.record_lost.or(Some(now));
        }
    }

    /// Takes in the memberships that follow.
    pub fn observe_memberships(
        &mut self,
        survey: &Survey,
        discovery: &Discovery,
        policy: &Policy,
        now: Moment,
    ) {
        self.memberships
            .retain(|network, _| discovery.networks.contains_key(network));
        for (network, state) in &discovery.networks {
            let members = || state.members.keys().cloned().collect::<BTreeSet<_>>();
            let seen = self
                .memberships
                .entry(network.clone())
                .or_insert_with(|| Membership {
                    hash: state.hash.clone(),
                    members: members(),
                    since: now,
                    has_changed: false,
                    looks_left: false,
                    settled: None,
                });
            seen.looks_left = looks_left(survey, state);
            if now.since(seen.since) >= seen.change().settle(policy) {
                seen.settled = Some(seen.members.clone());
            }
            if seen.hash != state.hash {
                seen.has_changed = true;
                (seen.hash, seen.members, seen.since) = (state.hash.clone(), members(), now);
            }
        }
    }

    /// Since when nobody in the network was ever Ready though pods of two nodes run.
    #[must_use]
    pub fn never_ready_since(&self, network: &Network) -> Option<Moment> {
        self.never_ready.get(network).copied()
    }

    /// Since when all pods of the node are Ready on the current revision.
    #[must_use]
    pub fn settled_since(&self, node: &NodeName) -> Option<Moment> {
        self.settled.get(node).map(|(_, since)| *since)
    }

    /// Since when we see the restart that is under way.
    #[must_use]
    pub fn rollout_since(&self, node: &NodeName) -> Option<Moment> {
        self.rollouts.get(node).map(|(_, since)| *since)
    }

    /// The last change of a network's membership.
    #[must_use]
    pub fn change(&self, network: &Network) -> Option<Change> {
        self.memberships.get(network).map(Membership::change)
    }

    /// Whether we wrote the joining of this StatefulSet (by uid) down already. A writer that drops it each time
    /// would otherwise have us write for ever; `members.json` has it too.
    #[must_use]
    pub fn has_joined(&self, uid: &str) -> bool {
        self.joined.contains(uid)
    }

    /// The joining of this StatefulSet is written down.
    pub fn joined(&mut self, uid: &str) {
        self.joined.insert(uid.to_owned());
    }

    /// We restarted this validator for this. The list carries it further as soon as it is written.
    pub fn restarted(&mut self, node: &NodeName, restart: RestartRecord) {
        self.restarts.0.insert(node.to_string(), restart);
    }

    /// Whom we restarted last and for what: what is stored, and what is not stored yet.
    #[must_use]
    pub fn live_restarts(&self, survey: &Survey, stored: Option<&ConfigMapView>) -> Restarts {
        let mut restarts = Restarts::parse(stored.and_then(|stored| stored.restarts.as_deref()));
        restarts.0.extend(self.restarts.0.clone());
        restarts.retain_candidates(survey);
        restarts
    }

    /// The API server refused to restart this StatefulSet (by uid).
    pub fn refused(&mut self, node: &NodeName, uid: &str, now: Moment) {
        self.refused.insert(node.clone(), (uid.to_owned(), now));
    }

    /// When the API server last refused to restart this StatefulSet.
    #[must_use]
    pub fn refused_at(&self, node: &NodeName, uid: &str) -> Option<Moment> {
        self.refused
            .get(node)
            .filter(|(was, _)| was == uid)
            .map(|(_, at)| *at)
    }

    /// Since when the record is missing and who is a member is not certain.
    #[must_use]
    pub const fn record_lost_since(&self) -> Option<Moment> {
        self.record_lost
    }
}

fn looks_left(survey: &Survey, state: &NetworkState) -> bool {
    let members = candidates(survey).filter(|(name, _)| state.members.contains_key(*name));
    let carried: Vec<&str> = members
        .filter_map(|(_, node)| node.stateful_set.template.membership.as_deref())
        .collect();
    !carried.is_empty()
        && carried
            .iter()
            .all(|carried| state.hash.differs_from(carried))
}

/// Carries the time over where the same thing was so before, by name and identity.
fn keep_since(
    before: &BTreeMap<NodeName, (String, Moment)>,
    after: &mut BTreeMap<NodeName, (String, Moment)>,
    name: &NodeName,
    identity: &str,
    now: Moment,
) {
    let since = before
        .get(name)
        .filter(|(was, _)| was == identity)
        .map_or(now, |(_, since)| *since);
    after.insert(name.clone(), (identity.to_owned(), since));
}
