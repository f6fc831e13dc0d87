//! Whom to restart now, or why to wait.
//!
//! The most dangerous thing that this program does, and so the one with the plainest rules. Who is due for a
//! restart, and why, is in `due`, what holds a network back in `pace`, how many may go in `room`. Each of those that
//! are due gets either a [`Start`] or a [`Held`] with its reason.
//!
//! # Guarantees
//! - At most `max_unavailable` members of a network are down at once because of us; whoever else is down, mid-rollout
//!   or Ready for less than `min_ready` counts. No declared quorum set is taken past what it tolerates.
//! - A restart never causes another one: the key is the membership, and neither an address nor being `NotReady`
//!   changes that.
//! - Nothing starts while the membership is still moving, nor before the last start of the network is seen.
//! - At most one restart a network starts in one pass: its turn is taken by one at a time.
//! - A Ready pod is never deleted.

mod due;
mod notices;
mod pace;
mod patch;
mod room;
#[cfg(test)]
mod tests;
mod verdict;

use std::time::Duration;

use self::{
    due::{Due, due},
    notices::notices,
    pace::Pace,
    room::{Named, Room, Step, unmapped},
};
pub use self::{
    patch::{fence_patch, restart_patch, token_patch},
    verdict::{Deletion, Fence, Held, Notice, PausedBy, Plan, Stale, Start, Verdict},
};
use super::{
    Memory, Now, Policy, Snapshot,
    discovery::{Discovery, NetworkState},
    injection::CannotInject,
    node::{Network, NodeName},
    notes::Notes,
    policy::{Adopt, RestartOn},
    quorum::{QuorumSet, Resolved, Tolerance},
    snapshot::{ConfigMapView, PodManagement, UpdateStrategy},
    survey::{Candidate, PodReport, Survey, candidate, candidates},
    turn,
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
    /// What is noted on the ConfigMap: whom we restarted for what, and who is gone.
    pub notes: &'a Notes,
    /// The namespace.
    pub snapshot: &'a Snapshot,
    /// The flags.
    pub policy: &'a Policy,
    /// The time.
    pub now: Now,
}

impl<'a> Scene<'a> {
    /// The ConfigMap as it is stored.
    fn stored(&self) -> Option<&'a ConfigMapView> {
        self.snapshot.config_map.as_deref()
    }
}

/// Plans the restarts of a namespace, network by network.
#[must_use]
pub fn plan(scene: Scene<'_>) -> Plan {
    let mut plan = Plan::default();
    for (network, state) in &scene.discovery.networks {
        plan_network(scene, network, state, &mut plan);
    }
    for (name, node) in candidates(scene.survey) {
        plan.notices.extend(notices(scene.policy, name, node));
    }
    plan.fences.extend(fences(scene));
    plan
}

fn plan_network(scene: Scene<'_>, network: &Network, state: &NetworkState, plan: &mut Plan) {
    let pace = Pace::of(scene, network, state);
    let due = due(scene, state, &pace);
    let look_again = pace.look_again(!due.is_empty());
    for (name, node) in nodes_of(scene.survey, state) {
        // Its new pod would be started without the address of one that waits for its own.
        if pace.unlisted.is_none_or(|first| first == name) {
            plan.deletions.extend(deletions(scene, name, node));
        }
    }
    if !due.is_empty() {
        let named = Named::in_sets(scene, network, state);
        let directory = named.directory();
        let sets = Resolved::new(&directory, declared_sets(scene.survey, state));
        let mut room = Room::of(scene, &pace, sets.while_down(named.down(state, &pace)));
        for due in due {
            let verdict = verdict(scene, state, &pace, &mut room, &due);
            plan.verdicts.insert(due.name.clone(), verdict);
        }
        plan.notices.extend(unmapped(&sets, scene.survey, state));
    }
    plan.look_again = [plan.look_again, look_again].into_iter().flatten().min();
}

/// How many of a network's members that are up may go down now, each by itself, by the declared quorum sets alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuorumRoom {
    /// Members that are up.
    pub up: usize,
    /// Of these, how many may go down.
    pub tolerated: usize,
}

/// The room that the quorum sets of a network leave; [`None`] where nobody declares a readable one. For people: a plan
/// looks at those alone that are due.
#[must_use]
pub fn room_by_quorum(
    scene: Scene<'_>,
    network: &Network,
    state: &NetworkState,
) -> Option<QuorumRoom> {
    declared_sets(scene.survey, state).next()?;
    let pace = Pace::of(scene, network, state);
    let named = Named::in_sets(scene, network, state);
    let directory = named.directory();
    let sets = Resolved::new(&directory, declared_sets(scene.survey, state));
    let down = named.down(state, &pace);
    let up = || state.members().keys().filter(|name| !down.contains(*name));
    let sets = sets.while_down(down.iter().copied());
    let is_tolerated = |name: &&NodeName| sets.tolerance(name) == Tolerance::Tolerated;
    Some(QuorumRoom {
        up: up().count(),
        tolerated: up().filter(is_tolerated).count(),
    })
}

fn verdict(
    scene: Scene<'_>,
    state: &NetworkState,
    pace: &Pace<'_>,
    room: &mut Room<'_>,
    due: &Due<'_>,
) -> Verdict {
    let held = |held| Verdict::Held(due.reason, held);
    let waits = held_by_itself(scene, state, due).or_else(|| pace.holds(due.name));
    if let Some(waits) = waits {
        return held(waits);
    }
    let port = match &due.node.port {
        Ok(port) => *port,
        Err(invalid) => return held(CannotInject::InvalidPort(invalid.clone()).into()),
    };
    let step = if due.is_free {
        room.step_of_one_that_is_down(due.name)
    } else {
        room.step_of_one_that_is_up(due.name)
    };
    let halts = match step {
        Step::Wait(waits) => return held(waits),
        Step::Go { halts } => halts,
    };
    let set = &due.node.stateful_set;
    Verdict::Start(Box::new(Start {
        node: due.name.clone(),
        network: due.node.network.clone(),
        uid: set.uid.clone(),
        generation: set.generation,
        reason: due.reason,
        hash: state.hash_with(due.name, port),
        carried: set.template.membership.clone(),
        turn: set.turn.clone(),
        port,
        was_down: due.is_free,
        outage: pace.is_nobody_ready || due.reason == Stale::Outage,
        halts,
    }))
}

/// What holds this node back whatever the others do.
fn held_by_itself(scene: Scene<'_>, state: &NetworkState, due: &Due<'_>) -> Option<Held> {
    let Scene {
        policy, discovery, ..
    } = scene;
    let (name, node) = (due.name, due.node);
    let set = &node.stateful_set;
    let is_adoption = due.reason.is_adoption();
    // Either record is enough, but for members that a bootstrap made: they were never Ready.
    let has_ledger = node.was_ready || (node.was_member && !state.bootstrap);
    if policy.restart_on == RestartOn::Never {
        Some(Held::RestartsOff)
    } else if let (Some(why), true) = (&set.template.blocked, is_adoption) {
        Some(Held::CannotInject(why.clone()))
    } else if is_adoption && policy.adopt == Adopt::Never {
        Some(Held::AdoptionOff)
    } else if let Some(why) = &set.template.blocked {
        Some(Held::CannotInject(why.clone()))
    } else if scene.stored().is_some_and(|stored| stored.paused) {
        Some(Held::Paused(PausedBy::ConfigMap))
    } else if node.paused {
        Some(Held::Paused(PausedBy::Node))
    } else if due.was_restarted_for_this(&scene.notes.restarts) {
        Some(Held::AlreadyRestarted)
    } else if is_refused(scene, name, &set.uid) {
        Some(Held::Refused)
    } else if is_adoption && !discovery.has_peers(name) {
        Some(Held::NoPeers)
    } else if set.template.ephemeral_ledger && !set.allow_ephemeral && has_ledger {
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

/// Pods that Kubernetes will not replace by itself: an `OrderedReady` StatefulSet waits for a pod that is not Ready,
/// though its template is a newer one by now. Where the newer one is by our restart, that pod has to go.
fn deletions(scene: Scene<'_>, name: &NodeName, node: &Candidate) -> Vec<Deletion> {
    let set = &node.stateful_set;
    let is_rolling = set.is_observed()
        && set.pod_management == PodManagement::OrderedReady
        && set.update_strategy == UpdateStrategy::default();
    let record = scene.notes.restarts.0.get(name.as_str());
    let is_ours = record.is_some_and(|record| {
        record.is_of(&set.uid) && set.template.membership.as_ref() == Some(&record.hash)
    });
    if !is_rolling || !is_ours || set.template.restarted_at.is_none() {
        return Vec::new();
    }
    let is_left_behind = |pod: &&PodReport| !pod.ready && !pod.updated;
    let pods = node.pods.iter().filter(is_left_behind);
    pods.map(|pod| Deletion {
        node: name.clone(),
        pod: pod.name.clone(),
        uid: pod.view.uid.clone(),
    })
    .collect()
}

/// Restarts that somebody set out to do and did not get done: they may be on their way still, and must not arrive.
/// Whoever is no candidate any more is one of them.
fn fences(scene: Scene<'_>) -> impl Iterator<Item = Fence> {
    let sets = scene.snapshot.stateful_sets.iter();
    sets.filter_map(move |(name, set)| {
        let token = set.turn.as_ref().filter(|token| turn::is_live(token))?;
        (!scene.memory.is_unseen(name)).then(|| Fence {
            node: name.clone(),
            uid: set.uid.clone(),
            token: token.clone(),
        })
    })
}

/// The quorum sets that the members of a network declare, as far as they can be read.
pub(super) fn declared_sets<'a>(
    survey: &'a Survey,
    state: &'a NetworkState,
) -> impl Iterator<Item = (&'a NodeName, &'a QuorumSet)> {
    let members = state.members().keys();
    members.filter_map(|name| Some((name, candidate(survey, name)?.readable_quorum_set()?)))
}

/// The members and other candidates of a network.
fn nodes_of<'a>(
    survey: &'a Survey,
    state: &'a NetworkState,
) -> impl Iterator<Item = (&'a NodeName, &'a Candidate)> {
    let candidates = state.candidates.iter();
    candidates.filter_map(|name| Some((name, candidate(survey, name)?)))
}
