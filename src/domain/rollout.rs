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

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use json_patch::{PatchOperation, TestOperation};
use serde_json::{Value, json};

use super::{
    Memory, Moment, Now, Policy,
    discovery::{Discovery, NetworkState},
    injection::{self, CannotInject, OurPort, Parts, Template, Wanted},
    membership::MembershipHash,
    node::{Network, NodeName},
    peer::PeerPort,
    peer_list::Restarts,
    policy::{Adopt, RestartOn},
    snapshot::{UpdateStrategy, parse_time},
    survey::{Candidate, Standing, Survey},
    time::rfc3339,
};
use crate::api::names;

/// How long a restart that the API server refused is not tried again.
const REFUSED_FOR: Duration = Duration::from_mins(5);

/// Why a member is due for a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stale {
    /// It has some of our parts and not all: first in line.
    Incomplete,
    /// It has none of our parts: it was there before us, or our webhook was not reached.
    NotInjected,
    /// Its pods were started for another membership.
    Membership,
}

impl Stale {
    /// One word for annotations, Events, metrics and machines.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Incomplete => "Incomplete",
            Self::NotInjected => "NotInjected",
            Self::Membership => "Membership",
        }
    }
}

/// Why a stale member is not restarted now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Held {
    /// Restarts are switched off.
    #[error("--restart-on never: the list is kept, nobody is restarted for it")]
    RestartsOff,
    /// Adoption is switched off.
    #[error("--adopt never: it has no peer list mounted until its next rollout")]
    AdoptionOff,
    /// It can't get our parts.
    #[error("cannot inject: {0}")]
    CannotInject(#[from] CannotInject),
    /// A person said so.
    #[error("paused by annotation peers.stellar.org/paused on {0}")]
    Paused(PausedBy),
    /// Its pods would not follow.
    #[error("the StatefulSet's update strategy is OnDelete: delete the pod yourself")]
    OnDelete,
    /// Its pods would not follow.
    #[error("the StatefulSet's rolling update has partition {0}: set it to 0")]
    Partition(i32),
    /// A restart would lose the ledger.
    #[error(
        "the ledger is on an emptyDir and would be lost; allow it with annotation peers.stellar.org/allow-ephemeral"
    )]
    EphemeralLedger,
    /// A restart would be for nothing.
    #[error("it would get an empty list: no other peer is known yet")]
    NoPeers,
    /// It was restarted for this already, and somebody took our parts out again.
    #[error(
        "it was restarted for this already, and its template was put back: see who writes the StatefulSet"
    )]
    AlreadyRestarted,
    /// The API server refused.
    #[error("the API server refuses the restart; see this service's log for its words")]
    Refused,
    /// Who is a member is not certain yet.
    #[error(
        "the record of members was lost; waiting until all validators of the namespace are Ready"
    )]
    RecordLost,
    /// The membership changed a moment ago.
    #[error("the membership changed; waiting until it has been the same for a while")]
    Settling,
    /// A rollout doesn't get done.
    #[error("the restart of {0} does not get done; nobody else is restarted before it is repaired")]
    Stuck(NodeName),
    /// It is down itself.
    #[error("its own pods are not all Ready")]
    NotReady,
    /// Others are down.
    #[error("{0} is down, mid-rollout, or Ready for too short a time")]
    Budget(NodeName),
    /// Somebody else goes first.
    #[error("{0} is restarted first")]
    After(NodeName),
}

impl Held {
    /// One word for Events, metrics and machines.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::RestartsOff => "RestartsOff",
            Self::AdoptionOff => "AdoptionOff",
            Self::CannotInject(_) => "CannotInject",
            Self::Paused(_) => "Paused",
            Self::OnDelete => "OnDelete",
            Self::Partition(_) => "Partition",
            Self::EphemeralLedger => "EphemeralLedger",
            Self::NoPeers => "NoPeers",
            Self::AlreadyRestarted => "AlreadyRestarted",
            Self::Refused => "Refused",
            Self::RecordLost => "RecordLost",
            Self::Settling => "Settling",
            Self::Stuck(_) => "Stuck",
            Self::NotReady => "NotReady",
            Self::Budget(_) => "Budget",
            Self::After(_) => "After",
        }
    }
}

/// Where the annotation that pauses stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PausedBy {
    /// The whole namespace.
    ConfigMap,
    /// This node: on its StellarNode or StatefulSet.
    Node,
}

impl std::fmt::Display for PausedBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ConfigMap => "the ConfigMap",
            Self::Node => "the StellarNode or StatefulSet",
        })
    }
}

/// One restart that may start now, with all that the decision rested on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Whom.
    pub node: NodeName,
    /// Its network.
    pub network: Network,
    /// Uid of its StatefulSet.
    pub uid: String,
    /// Generation of its StatefulSet.
    pub generation: i64,
    /// Why.
    pub reason: Stale,
    /// The membership that its pods will know.
    pub hash: MembershipHash,
    /// The membership that its template has now.
    pub carried: Option<String>,
    /// Its peer port.
    pub port: PeerPort,
}

/// What a stale member gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may restart now.
    Start(Start),
    /// It waits.
    Held(Stale, Held),
}

/// What is to be done about the stale members of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// By name; members that are not stale are not in here.
    pub verdicts: BTreeMap<NodeName, Verdict>,
    /// When time alone may change a verdict.
    pub look_again: Option<Moment>,
}

impl Plan {
    /// The restarts that may start now.
    pub fn starts(&self) -> impl Iterator<Item = &Start> {
        self.verdicts.values().filter_map(|verdict| match verdict {
            Verdict::Start(start) => Some(start),
            Verdict::Held(..) => None,
        })
    }
}

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

/// The JSON patch that restarts a validator: it tests what the decision rested on, adds our parts where they are
/// missing or outdated, and carries the membership and the time.
///
/// `object` is the StatefulSet as read uncached. The time is later than that of the last restart even if the wall
/// clock went back, since by that an admission tells this write from all others.
///
/// # Errors
/// [`CannotInject`] where the template changed so that our parts no longer fit.
pub fn restart_patch(
    object: &Value,
    start: &Start,
    at: Timestamp,
) -> Result<Vec<PatchOperation>, CannotInject> {
    let template = object.pointer("/spec/template").unwrap_or(&Value::Null);
    let named = injection::setting(object, "annotations", names::CONTAINER);
    let stored = Template::new(template)
        .annotation(names::RESTARTED_AT)
        .and_then(parse_time);
    let next_second =
        stored.and_then(|stored| stored.checked_add(jiff::SignedDuration::from_secs(1)).ok());
    let at = next_second.map_or(at, |next| next.max(at));
    let test = |path: &str, value: Value| {
        PatchOperation::Test(TestOperation {
            path: injection::pointer(path),
            value,
        })
    };
    let mut operations = vec![
        test("/metadata/uid", json!(start.uid)),
        test("/metadata/generation", json!(start.generation)),
    ];
    if let Some(carried) = &start.carried {
        operations.push(test(
            &injection::annotation_path("/spec/template", names::MEMBERSHIP),
            json!(carried),
        ));
    }
    let our_port = OurPort::of(&[Template::new(template)]);
    let wanted = Wanted {
        port: start.port,
        membership: start.hash.clone(),
        restarted_at: Some(rfc3339(at)),
    };
    operations.extend(injection::complete(
        template,
        "/spec/template",
        named,
        &wanted,
        &our_port,
    )?);
    Ok(operations)
}
