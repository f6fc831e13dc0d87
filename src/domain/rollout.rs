//! Whom to restart now, or why to wait.
//!
//! The most dangerous thing that this program does, and so the one with the plainest rule: a member whose pod
//! template does not carry the present membership, or lacks our parts, is stale; each stale member gets either a
//! [`Start`] or a [`Held`] with its reason.
//!
//! # Guarantees
//! - At most `max_unavailable` members of a network are down at once because of us; whoever else is down, mid-rollout
//!   or Ready for less than `min_ready` counts.
//! - A restart never causes another one: the key is the membership, and neither an address nor being `NotReady`
//!   changes that.
//! - Nothing starts while the membership is still moving.

mod patch;
#[cfg(test)]
mod tests;
mod verdict;

use std::{collections::BTreeMap, time::Duration};

pub use self::{
    patch::restart_patch,
    verdict::{Held, PausedBy, Plan, Stale, Start, Verdict},
};
use super::{
    Memory, Moment, Now, Policy,
    discovery::{Discovery, NetworkState},
    injection::{CannotInject, Parts},
    node::{Network, NodeName},
    peer::PeerPort,
    peer_list::Restarts,
    policy::{Adopt, RestartOn},
    snapshot::{UpdateStrategy, parse_time},
    survey::{Candidate, Standing, Survey},
};

/// How long a restart that the API server refused is not tried again.
const REFUSED_FOR: Duration = Duration::from_mins(5);

/// What the planner looks at.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// What each node is.
    pub survey: &'a Survey,
    /// Who is a member.
    pub discovery: &'a Discovery,
    /// Since when.
    pub memory: &'a Memory,
    /// Whom we restarted for what.
    pub restarts: &'a Restarts,
    /// Restarts of the namespace are paused.
    pub paused: bool,
    /// The flags.
    pub policy: &'a Policy,
    /// The time.
    pub now: Now,
}

/// Plans the restarts of a namespace, network by network.
#[must_use]
pub fn plan(scene: Scene<'_>) -> Plan {
    let mut plan = Plan::default();
    for (network, state) in &scene.discovery.networks {
        plan_network(scene, network, state, &mut plan);
    }
    plan
}

fn plan_network(scene: Scene<'_>, network: &Network, state: &NetworkState, plan: &mut Plan) {
    let members: BTreeMap<&NodeName, &Candidate> = state
        .members
        .keys()
        .filter_map(|name| Some((name, candidate(scene.survey, name)?)))
        .collect();
    let stale = members
        .iter()
        .filter_map(|(name, node)| Some((stale(node, state)?, *name, *node)));
    let mut stale: Vec<(Stale, &NodeName, &Candidate)> = stale.collect();
    // What is half done comes first; the rest goes by name alone, whatever its reason.
    stale.sort_by_key(|(reason, name, _)| (*reason != Stale::Incomplete, *name));
    if stale.is_empty() {
        return;
    }
    let pace = Pace::of(scene, network, &members);
    let mut started: Option<NodeName> = None;
    let mut room = scene
        .policy
        .max_unavailable
        .get()
        .saturating_sub(pace.down.len());
    for (reason, name, node) in stale {
        let held = held_by_itself(scene, state, reason, name, node)
            .or_else(|| pace.holds(name, node))
            .or_else(|| {
                (room == 0).then(|| match &started {
                    Some(first) => Held::After(first.clone()),
                    None => Held::Budget((*pace.down.first().unwrap_or(&name)).clone()),
                })
            });
        let verdict = match (held, node.port.clone()) {
            (Some(held), _) => Verdict::Held(reason, held),
            (None, Err(invalid)) => Verdict::Held(
                reason,
                Held::CannotInject(CannotInject::InvalidPort(invalid)),
            ),
            (None, Ok(port)) => {
                room -= 1;
                started.get_or_insert_with(|| name.clone());
                Verdict::Start(start(name, node, state, reason, port))
            }
        };
        plan.verdicts.insert(name.clone(), verdict);
    }
    plan.look_again = [plan.look_again, pace.look_again]
        .into_iter()
        .flatten()
        .min();
}

fn candidate<'a>(survey: &'a Survey, name: &NodeName) -> Option<&'a Candidate> {
    match survey.get(name)? {
        Standing::Candidate(candidate) => Some(candidate),
        Standing::Out(_) => None,
    }
}

fn start(
    name: &NodeName,
    node: &Candidate,
    state: &NetworkState,
    reason: Stale,
    port: PeerPort,
) -> Start {
    let set = &node.stateful_set;
    Start {
        node: name.clone(),
        network: node.network.clone(),
        uid: set.uid.clone(),
        generation: set.generation,
        reason,
        hash: state.hash.clone(),
        carried: set.template.membership.clone(),
        port,
    }
}

/// Why a member is due for a restart; [`None`] where it isn't. Our parts in an older form are not stale.
fn stale(node: &Candidate, state: &NetworkState) -> Option<Stale> {
    let template = &node.stateful_set.template;
    match (template.parts, template.membership.as_deref()) {
        (Parts::Absent, _) => Some(Stale::NotInjected),
        (Parts::Partial, _) => Some(Stale::Incomplete),
        (Parts::Whole, Some(carried)) => state
            .hash
            .differs_from(carried)
            .then_some(Stale::Membership),
        (Parts::Whole, None) => None,
    }
}

/// What holds this node back whatever the others do.
fn held_by_itself(
    scene: Scene<'_>,
    state: &NetworkState,
    reason: Stale,
    name: &NodeName,
    node: &Candidate,
) -> Option<Held> {
    let Scene {
        policy,
        restarts,
        discovery,
        ..
    } = scene;
    let set = &node.stateful_set;
    let is_adoption = reason != Stale::Membership;
    let done = restarts.0.get(name.as_str()).is_some_and(|done| {
        done.uid == set.uid && done.reason == reason.reason() && done.hash == state.hash.as_str()
    });
    if policy.restart_on == RestartOn::Never {
        Some(Held::RestartsOff)
    } else if let (Some(why), true) = (&set.template.blocked, is_adoption) {
        Some(Held::CannotInject(why.clone()))
    } else if is_adoption && policy.adopt == Adopt::Never {
        Some(Held::AdoptionOff)
    } else if let Some(why) = &set.template.blocked {
        Some(Held::CannotInject(why.clone()))
    } else if scene.paused {
        Some(Held::Paused(PausedBy::ConfigMap))
    } else if node.paused {
        Some(Held::Paused(PausedBy::Node))
    } else if done {
        Some(Held::AlreadyRestarted)
    } else if is_refused(scene, name, &set.uid) {
        Some(Held::Refused)
    } else if is_adoption && !discovery.has_peers(name) {
        Some(Held::NoPeers)
    } else if set.template.ephemeral_ledger && !set.allow_ephemeral && node.was_ready {
        Some(Held::EphemeralLedger)
    } else {
        match set.update_strategy {
            UpdateStrategy::OnDelete => Some(Held::OnDelete),
            UpdateStrategy::Rolling { partition } if partition > 0 => {
                Some(Held::Partition(partition))
            }
            UpdateStrategy::Rolling { .. } => None,
        }
    }
}

/// A refusal holds for a while, in which the others go on.
fn is_refused(scene: Scene<'_>, name: &NodeName, uid: &str) -> bool {
    let refused = scene.memory.refused_at(name, uid);
    refused.is_some_and(|at| scene.now.moment.since(at) < REFUSED_FOR)
}

/// What holds a whole network back, and who of it is down.
struct Pace<'a> {
    record_lost: bool,
    settling: bool,
    stuck: Option<&'a NodeName>,
    down: Vec<&'a NodeName>,
    look_again: Option<Moment>,
}

impl<'a> Pace<'a> {
    fn of(
        scene: Scene<'_>,
        network: &Network,
        members: &BTreeMap<&'a NodeName, &Candidate>,
    ) -> Self {
        let Scene {
            memory,
            policy,
            now,
            ..
        } = scene;
        let mut waits = Vec::new();
        // Whether `duration` since `since` has yet to pass; if so we look again then.
        let mut waits_for = |since: Moment, duration| {
            let until = since + duration;
            let waits_on = now.moment < until;
            if waits_on {
                waits.push(until);
            }
            waits_on
        };
        let record_lost = memory
            .record_lost_since()
            .is_some_and(|since| waits_for(since, policy.stuck_after));
        let settling = memory
            .change(network)
            .is_none_or(|change| waits_for(change.since, change.settle(policy)));
        let down = members.iter().filter(|(name, node)| {
            let settled = memory.settled_since(name).filter(|_| node.is_settled());
            settled.is_none_or(|since| waits_for(since, policy.min_ready))
        });
        let down: Vec<&NodeName> = down.map(|(name, _)| *name).collect();
        let stuck = members
            .iter()
            .find(|(name, node)| is_stuck(scene, name, node))
            .map(|(name, _)| *name);
        Self {
            record_lost,
            settling,
            stuck,
            down,
            look_again: waits.into_iter().min(),
        }
    }

    fn holds(&self, name: &NodeName, node: &Candidate) -> Option<Held> {
        if self.record_lost {
            Some(Held::RecordLost)
        } else if let Some(stuck) = self.stuck {
            Some(Held::Stuck(stuck.clone()))
        } else if self.settling {
            Some(Held::Settling)
        } else if self.down.contains(&name) && !node.is_settled() {
            Some(Held::NotReady)
        } else {
            None
        }
    }
}

/// A restart of ours that has not come to its end in time. A time in the future counts from first sight.
fn is_stuck(scene: Scene<'_>, name: &NodeName, node: &Candidate) -> bool {
    let Scene {
        memory,
        policy,
        now,
        ..
    } = scene;
    let Some(restarted_at) = node
        .stateful_set
        .template
        .restarted_at
        .as_deref()
        .and_then(parse_time)
    else {
        return false;
    };
    if node.is_settled() {
        return false;
    }
    let by_wall = now.wall.duration_since(restarted_at);
    let since_first_sight = memory
        .rollout_since(name)
        .map_or_else(Default::default, |since| now.moment.since(since));
    let passed = std::time::Duration::try_from(by_wall).unwrap_or(since_first_sight);
    passed >= policy.stuck_after
}
