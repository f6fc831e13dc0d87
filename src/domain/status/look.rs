//! From a decision to what a person sees of it.

use std::time::Duration;

use super::{ListStatus, NetworkStatus, NodeStatus, Phase, PodStatus, Reason, Status, Tolerates};
use crate::domain::{
    Decision, Memory, Moment, Now, Policy, Snapshot, decide,
    digest::short_sha256,
    discovery::{Basis, Listing, NetworkState},
    node::{Network, NodeName},
    rollout::{self, Held, Scene, Stale, Verdict},
    snapshot::{ConfigMapView, parse_time},
    survey::{Candidate, Skipped, Standing, candidate, network_of},
    time::plain,
};

/// What there is to see of a decision, and of what it was made on.
#[must_use]
pub fn status(
    snapshot: &Snapshot,
    decision: &Decision,
    memory: &Memory,
    policy: &Policy,
    now: Now,
) -> Status {
    Look {
        snapshot,
        decision,
        memory,
        policy,
        now,
    }
    .status()
}

/// The same of what would be decided by one look, whose memory is what the cluster has written down: since when pods
/// are Ready or not, and when the list was last written.
///
/// The service counts its own time from its own first sight, and so may wait longer than this tells.
#[must_use]
pub fn look_once(snapshot: &Snapshot, policy: &Policy, wall: jiff::Timestamp) -> Status {
    // Far enough from zero that whatever the cluster wrote down has a moment.
    let now = Now {
        moment: Moment(Duration::from_hours(24 * 365 * 100)),
        wall,
    };
    let mut memory = Memory::of_one_look(snapshot, policy, now);
    let decision = decide(snapshot, &mut memory, policy, now);
    status(snapshot, &decision, &memory, policy, now)
}

struct Look<'a> {
    snapshot: &'a Snapshot,
    decision: &'a Decision,
    memory: &'a Memory,
    policy: &'a Policy,
    now: Now,
}

impl Look<'_> {
    fn status(&self) -> Status {
        let networks = &self.decision.discovery.networks;
        let nodes = self.decision.survey.iter();
        let stored = self.snapshot.config_map.as_deref();
        Status {
            namespace: self.snapshot.namespace.clone(),
            list: stored.map(|stored| self.list(stored)),
            problem: None,
            paused: stored.is_some_and(|stored| stored.paused),
            networks: networks
                .iter()
                .map(|(network, state)| self.network(network, state))
                .collect(),
            nodes: nodes
                .map(|(name, standing)| match standing {
                    Standing::Candidate(node) => self.candidate(name, node),
                    Standing::Out(why) => self.left_out(name, why),
                })
                .collect(),
        }
    }

    fn list(&self, stored: &ConfigMapView) -> ListStatus {
        let wanted = self.decision.list.as_ref();
        let known = stored.known_peers.as_deref().unwrap_or_default();
        ListStatus {
            peers: stored.known_peers().len(),
            revision: short_sha256(known.as_bytes(), 3),
            written: stored.discovered_at().map(str::to_owned),
            up_to_date: wanted.is_none_or(|wanted| wanted.known_peers == known),
            bootstrap: stored.is_bootstrap(),
            writer: stored.readable_record().map(|record| record.writer.clone()),
        }
    }

    fn network(&self, network: &Network, state: &NetworkState) -> NetworkStatus {
        let members = || {
            let names = state.members().keys();
            names.filter_map(|name| candidate(&self.decision.survey, name))
        };
        let is_current = |node: &&Candidate| is_current(state, node);
        NetworkStatus {
            name: network.as_str().to_owned(),
            membership: state.hash().to_string(),
            members: state.members().len(),
            ready: members().filter(|node| node.is_ready()).count(),
            current: members().filter(is_current).count(),
            due: self.verdicts(state).count(),
            max_unavailable: self.policy.max_unavailable.get(),
            tolerates: self.tolerates(network, state),
            next: self.next(network, state),
        }
    }

    fn verdicts<'s>(
        &'s self,
        state: &'s NetworkState,
    ) -> impl Iterator<Item = (&'s NodeName, &'s Verdict)> {
        let verdicts = self.decision.plan.verdicts.iter();
        verdicts.filter(|(name, _)| state.candidates.contains(*name))
    }

    fn tolerates(&self, network: &Network, state: &NetworkState) -> Option<Tolerates> {
        let notes = self.decision.list.as_ref().map(|list| &list.notes)?;
        let scene = Scene {
            survey: &self.decision.survey,
            discovery: &self.decision.discovery,
            memory: self.memory,
            notes,
            snapshot: self.snapshot,
            policy: self.policy,
            now: self.now,
        };
        let room = rollout::room_by_quorum(scene, network, state)?;
        Some(match room.tolerated {
            0 => Tolerates::None,
            some if some == room.up => Tolerates::All,
            _ => Tolerates::Some,
        })
    }

    /// Whoever starts now, or the first of those that only wait for their turn.
    fn next(&self, network: &Network, state: &NetworkState) -> Option<String> {
        let starts = self.verdicts(state).find_map(|(name, verdict)| {
            let Verdict::Start(start) = verdict else {
                return None;
            };
            let why = start.reason.words();
            Some(format!("{name} restarts now: {why}"))
        });
        let waits = || {
            let waiting = self.verdicts(state).filter_map(|(name, verdict)| {
                let Verdict::Held(stale, held) = verdict else {
                    return None;
                };
                held.is_only_a_turn().then_some((*stale, name, held))
            });
            let first = waiting.min_by_key(|(stale, name, _)| (*stale != Stale::Incomplete, *name));
            first.map(|(_, name, held)| {
                let left = self.settles_in(network).filter(|_| *held == Held::Settling);
                let left = left.map(|left| format!(", {} more", plain(left)));
                format!("{name}: {held}{}", left.unwrap_or_default())
            })
        };
        let due = self.verdicts(state).count();
        let nobody = || (due > 0).then(|| format!("nobody: {due} due, and all held"));
        starts.or_else(waits).or_else(nobody)
    }

    fn settles_in(&self, network: &Network) -> Option<Duration> {
        let change = self.memory.change(network)?;
        let until = change.since + change.settle(self.policy);
        Some(until - self.now.moment).filter(|left| !left.is_zero())
    }

    fn left_out(&self, name: &NodeName, why: &Skipped) -> NodeStatus {
        let node = self.snapshot.stellar_nodes.get(name);
        let set = self.snapshot.stateful_sets.get(name);
        let network = network_of(node.map(|node| &**node), set.map(|set| &**set));
        NodeStatus {
            name: name.to_string(),
            network: network.as_str().to_owned(),
            phase: Phase::LeftOut,
            info: why.to_string(),
            left_out: Some(reason_of(why)),
            ..NodeStatus::default()
        }
    }

    fn candidate(&self, name: &NodeName, node: &Candidate) -> NodeStatus {
        let discovery = &self.decision.discovery;
        let state = discovery.networks.get(&node.network);
        let member = state.is_some_and(|state| state.members().contains_key(name));
        let set = &node.stateful_set;
        let verdict = self.decision.plan.verdicts.get(name);
        let (stale, held) = match verdict {
            Some(Verdict::Start(start)) => (Some(start.reason), None),
            Some(Verdict::Held(stale, held)) => (Some(*stale), Some(held)),
            None => (None, None),
        };
        let (basis, left_out) = match discovery.listings.get(name) {
            Some(Listing::Peers(_, basis)) => (Some(basis.word().to_owned()), None),
            Some(Listing::Skipped(why)) => (None, Some(reason_of(why))),
            None => (None, None),
        };
        let addresses = discovery.listings.get(name).map(Listing::addresses);
        let addresses = addresses.unwrap_or_default().iter();
        let addresses: Vec<String> = addresses.map(ToString::to_string).collect();
        let notices = self.decision.plan.notices.iter();
        let phase = self.phase(name, node, verdict);
        NodeStatus {
            name: name.to_string(),
            network: node.network.as_str().to_owned(),
            phase,
            info: self.info(name, node, phase, held, &addresses),
            addresses,
            basis,
            left_out,
            port: node.port.as_ref().ok().map(|port| port.get()),
            ready: node.is_ready(),
            ready_since: ready_since(node),
            member,
            member_since: set.joined_at.clone().filter(|_| member),
            membership: set.template.membership.clone(),
            current: state.is_some_and(|state| is_current(state, node)),
            stale: stale.map(|stale| stale.reason().to_owned()),
            held: held.map(|held| Reason {
                reason: held.reason().to_owned(),
                text: held.to_string(),
            }),
            restarted: set.template.restarted_at.clone(),
            notices: notices
                .filter(|notice| notice.node == *name)
                .map(|notice| Reason {
                    reason: notice.reason.to_owned(),
                    text: notice.note.clone(),
                })
                .collect(),
            pods: node.pods.iter().map(pod_status).collect(),
        }
    }

    fn phase(&self, name: &NodeName, node: &Candidate, verdict: Option<&Verdict>) -> Phase {
        match verdict {
            _ if self.is_restarting(name, node) => Phase::Restarting,
            Some(Verdict::Start(_)) => Phase::Due,
            // That it is down comes before what it waits for.
            _ if !node.is_ready() => Phase::NotReady,
            Some(Verdict::Held(_, held)) if held.is_only_a_turn() => Phase::Waiting,
            Some(Verdict::Held(stale, _)) if stale.is_adoption() => Phase::NotInjected,
            Some(Verdict::Held(..)) => Phase::Held,
            None => Phase::Ready,
        }
    }

    /// We restarted it, and it has not been up for long enough since. One that takes too long is plainly down.
    fn is_restarting(&self, name: &NodeName, node: &Candidate) -> bool {
        let restarted = node.stateful_set.template.restarted_at.as_deref();
        let age = restarted
            .and_then(parse_time)
            .map(|at| self.now.wall.duration_since(at).unsigned_abs());
        let is_up = || {
            let Self { policy, now, .. } = self;
            self.memory
                .is_settled_for(name, policy.min_ready, now.moment)
        };
        age.is_some_and(|age| age < self.policy.stuck_after) && !is_up()
    }

    fn info(
        &self,
        name: &NodeName,
        node: &Candidate,
        phase: Phase,
        held: Option<&Held>,
        addresses: &[String],
    ) -> String {
        let skipped = node.skipped().map(|why| why.to_string());
        match (phase, held) {
            (Phase::Restarting, _) => match self.memory.settled_since(name) {
                Some(since) => {
                    let ready = plain(self.now.moment - since);
                    format!("Ready for {ready} of {}", plain(self.policy.min_ready))
                }
                None if !node.stateful_set.is_observed() || node.has_terminating_pod => {
                    "its pod is being replaced".to_owned()
                }
                None => skipped.unwrap_or_else(|| "its pods are being replaced".to_owned()),
            },
            (Phase::Waiting | Phase::Held | Phase::NotInjected, Some(held)) => held.to_string(),
            (Phase::Due, _) => "restarts now".to_owned(),
            _ => match (skipped, addresses) {
                (Some(why), []) => why,
                (Some(why), _) => format!("{why}; listed as {}", addresses.join(" ")),
                (None, _) => addresses.join(" "),
            },
        }
    }
}

/// Its pods were started for the present members, or for some that count as these.
fn is_current(state: &NetworkState, node: &Candidate) -> bool {
    let carried = node.stateful_set.template.membership.as_deref();
    carried
        .is_some_and(|carried| !state.hash().differs_from(carried) || carried == state.key.as_str())
}

fn reason_of(why: &Skipped) -> Reason {
    Reason {
        reason: why.reason().to_owned(),
        text: why.to_string(),
    }
}

fn pod_status(pod: &crate::domain::survey::PodReport) -> PodStatus {
    PodStatus {
        name: pod.name.clone(),
        host: pod.host.as_ref().ok().map(ToString::to_string),
        running: pod.running,
        ready: pod.ready,
        updated: pod.updated,
    }
}

/// The latest time at which a pod became Ready, where all are.
fn ready_since(node: &Candidate) -> Option<String> {
    let all = !node.pods.is_empty() && node.pods.iter().all(|pod| pod.ready);
    let times = node
        .pods
        .iter()
        .map(|pod| pod.view.ready_changed_at.as_deref());
    let last = times.max_by_key(|at| at.and_then(parse_time))?;
    last.filter(|_| all).map(str::to_owned)
}

impl Basis {
    const fn word(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::ColdStart => "ColdStart",
            Self::Bootstrap => "Bootstrap",
        }
    }
}
