//! What only time can tell: since when something is as it is.
//!
//! Nothing in here is needed to be safe after a crash: a fresh memory counts everything anew from first sight, and
//! so waits longer, never shorter.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    Moment, Now, Policy, Snapshot, decide,
    discovery::{Discovery, NetworkState},
    membership::MembershipHash,
    node::{Network, NodeName},
    snapshot::parse_time,
    survey::{Candidate, Survey, candidate, candidates},
};

/// Since when things are as they are, in one namespace.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    never_ready: BTreeMap<Network, Moment>,
    nobody_ready: BTreeMap<Network, Moment>,
    /// When the last outage was last seen.
    outages: BTreeMap<Network, Moment>,
    settled: Since,
    unready: Since,
    rollouts: Since,
    started: BTreeMap<Network, Started>,
    memberships: BTreeMap<Network, Membership>,
    record_lost: Option<Moment>,
    joined: BTreeSet<String>,
    refused: BTreeMap<NodeName, (String, Moment)>,
}

/// Since when something is so, by node, and what tells it from the same at another time.
#[derive(Clone, Debug, Default)]
struct Since(BTreeMap<NodeName, (String, Moment)>);

impl Since {
    fn of(&self, node: &NodeName) -> Option<Moment> {
        self.0.get(node).map(|(_, since)| *since)
    }

    /// Forgets the nodes for which it is not so any more.
    fn keep(&mut self, survey: &Survey, is_so: impl Fn(&Candidate) -> bool) {
        self.0
            .retain(|name, _| candidate(survey, name).is_some_and(&is_so));
    }

    /// It is so for this node: as before where its identity, in parts, is the same, else from now on.
    fn note<'a>(
        &mut self,
        name: &NodeName,
        identity: impl Iterator<Item = &'a str> + Clone,
        now: Moment,
    ) {
        let is_same = self.0.get(name).is_some_and(|(before, _)| {
            let mut parts = identity.clone();
            parts.try_fold(&**before, str::strip_prefix) == Some("")
        });
        if !is_same {
            self.0.insert(name.clone(), (identity.collect(), now));
        }
    }
}

/// A restart of ours whose effect the stores have not shown yet.
#[derive(Clone, Debug)]
struct Started {
    node: NodeName,
    uid: String,
    generation: i64,
}

#[derive(Clone, Debug)]
struct Membership {
    hash: MembershipHash,
    members: Arc<BTreeSet<NodeName>>,
    since: Moment,
    /// We saw it change; without that, a change may have come before our time.
    has_changed: bool,
    /// Some member's template carries another membership and none carries this one: who was Ready before our time
    /// knew more, so somebody left.
    looks_left: bool,
    /// The members when last nothing had changed for the settle time, where we have seen such a time.
    settled: Option<Arc<BTreeSet<NodeName>>>,
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
            self.members.len() < settled.len() && self.members.is_subset(settled)
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
    /// What one look can know of the past: what the cluster has written down. Since when pods are Ready, or not, is
    /// their condition's; since when the membership is the same is nowhere, and where nobody was started for it yet,
    /// it is taken to be as old as the list.
    #[must_use]
    pub fn of_one_look(snapshot: &Snapshot, policy: &Policy, now: Now) -> Self {
        let mut memory = Self::default();
        // The first look gives everything its identity, the rest its time.
        let decision = decide(snapshot, &mut memory, policy, now);
        let ago = |text: &str| {
            let passed = now.wall.duration_since(parse_time(text)?);
            Some(Moment(
                now.moment.since(Moment(Duration::try_from(passed).ok()?)),
            ))
        };
        for (name, node) in candidates(&decision.survey) {
            let changes = node
                .pods
                .iter()
                .map(|pod| pod.view.ready_changed_at.as_deref());
            let changed = changes
                .map(|at| at.and_then(ago))
                .collect::<Option<Vec<_>>>();
            let changed = changed.and_then(|all| all.into_iter().max());
            let restarted = node.stateful_set.template.restarted_at.as_deref();
            for (kept, since) in [
                (&mut memory.settled, changed),
                (&mut memory.unready, changed),
                (&mut memory.rollouts, restarted.and_then(ago)),
            ] {
                if let (Some((_, at)), Some(since)) = (kept.0.get_mut(name), since) {
                    *at = since;
                }
            }
        }
        let written = snapshot.config_map.as_ref();
        let written = written.and_then(|map| ago(map.discovered_at()?));
        for (network, seen) in &mut memory.memberships {
            let state = decision.discovery.networks.get(network);
            let is_followed = state.is_some_and(|state| is_followed(&decision.survey, state));
            seen.since = match written {
                _ if is_followed => Moment::default(),
                Some(written) => written,
                None => seen.since,
            };
        }
        for (network, since) in &mut memory.nobody_ready {
            let nodes = candidates(&decision.survey).filter(|(_, node)| node.network == *network);
            let unready = nodes.filter_map(|(name, _)| memory.unready.of(name));
            *since = unready.max().unwrap_or(*since);
        }
        memory
    }

    /// Takes in what the nodes are.
    ///
    /// A fresh reading may be newer than what the stores show next, and so proves nothing about them.
    pub fn observe(
        &mut self,
        survey: &Survey,
        is_fresh: bool,
        has_record: bool,
        policy: &Policy,
        now: Moment,
    ) {
        self.refused.retain(|name, _| survey.contains_key(name));
        if !self.joined.is_empty() {
            let uids: BTreeSet<&str> = candidates(survey)
                .map(|(_, node)| node.stateful_set.uid.as_str())
                .collect();
            self.joined.retain(|uid| uids.contains(uid.as_str()));
        }
        self.started
            .retain(|_, started| is_fresh || !started.is_seen(survey));
        self.observe_nodes(survey, now);
        self.observe_networks(survey, policy, now);
        if has_record || candidates(survey).all(|(_, node)| node.is_ready()) {
            self.record_lost = None;
        } else {
            self.record_lost = self.record_lost.or(Some(now));
        }
    }

    fn observe_nodes(&mut self, survey: &Survey, now: Moment) {
        let is_rolling = |node: &Candidate| !node.is_settled() && rollout_id(node).is_some();
        self.unready.keep(survey, |node| !node.is_ready());
        self.settled.keep(survey, Candidate::is_settled);
        self.rollouts.keep(survey, is_rolling);
        for (name, node) in candidates(survey) {
            if !node.is_ready() {
                let uid = std::iter::once(node.stateful_set.uid.as_str());
                self.unready.note(name, uid, now);
            }
            if node.is_settled() {
                // Another pod is another start, and so is being Ready again, even if we never saw the time in between.
                let starts = node.pods.iter().flat_map(|pod| {
                    let at = pod.view.ready_changed_at.as_deref();
                    [pod.view.uid.as_str(), at.unwrap_or_default()]
                });
                self.settled.note(name, starts, now);
            } else if let Some(rollout) = rollout_id(node) {
                self.rollouts.note(name, rollout.into_iter(), now);
            }
        }
    }

    fn observe_networks(&mut self, survey: &Survey, policy: &Policy, now: Moment) {
        #[derive(Default)]
        struct Seen {
            was_ready: bool,
            is_ready: bool,
            running: usize,
        }
        let mut networks: BTreeMap<&Network, Seen> = BTreeMap::new();
        for (_, node) in candidates(survey) {
            let seen = networks.entry(&node.network).or_default();
            seen.was_ready |= node.was_ready || node.was_member;
            seen.is_ready |= node.is_ready();
            seen.running += usize::from(node.is_running());
        }
        let since = |before: &BTreeMap<Network, Moment>, holds: &dyn Fn(&Seen) -> bool| {
            let networks = networks.iter().filter(|(_, seen)| holds(seen));
            networks
                .map(|(network, _)| {
                    let since = before.get(*network).copied().unwrap_or(now);
                    ((*network).clone(), since)
                })
                .collect()
        };
        self.never_ready = since(&self.never_ready, &|it| !it.was_ready && it.running >= 2);
        self.nobody_ready = since(&self.nobody_ready, &|it| !it.is_ready);
        self.outages
            .retain(|network, _| networks.contains_key(network));
        let after = policy.bootstrap_after;
        let nobody = self.nobody_ready.iter();
        let outages = nobody.filter(|(_, since)| !after.is_zero() && now.since(**since) >= after);
        let outages = outages.map(|(network, _)| (network.clone(), now));
        self.outages.extend(outages);
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
            let members = || Arc::new(state.members().keys().cloned().collect());
            let seen = self
                .memberships
                .entry(network.clone())
                .or_insert_with(|| Membership {
                    hash: state.hash().clone(),
                    members: members(),
                    since: now,
                    has_changed: false,
                    looks_left: false,
                    settled: None,
                });
            // Once we have seen more, nobody asks how it looked at first.
            if seen.settled.is_none() && !seen.has_changed {
                seen.looks_left = looks_left(survey, state);
            }
            if now.since(seen.since) >= seen.change().settle(policy) {
                seen.settled = Some(Arc::clone(&seen.members));
            }
            if seen.hash != *state.hash() {
                seen.has_changed = true;
                (seen.hash, seen.members, seen.since) = (state.hash().clone(), members(), now);
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
        self.settled.of(node)
    }

    /// Whether all pods of the node have been Ready on the current revision for this long.
    #[must_use]
    pub fn is_settled_for(&self, node: &NodeName, time: Duration, now: Moment) -> bool {
        let since = self.settled_since(node);
        since.is_some_and(|since| now.since(since) >= time)
    }

    /// Since when the node has had no Ready pod.
    #[must_use]
    pub fn unready_since(&self, node: &NodeName) -> Option<Moment> {
        self.unready.of(node)
    }

    /// Since when nobody of the network has been Ready.
    #[must_use]
    pub fn nobody_ready_since(&self, network: &Network) -> Option<Moment> {
        self.nobody_ready.get(network).copied()
    }

    /// Whether the node has had no Ready pod since an outage of its network: it was started when all addresses were
    /// about to change.
    #[must_use]
    pub fn is_lost(&self, network: &Network, node: &NodeName) -> bool {
        let outage = self.outages.get(network);
        let unready = self.unready_since(node);
        matches!((unready, outage), (Some(unready), Some(outage)) if unready <= *outage)
    }

    /// Since when we see the restart that is under way.
    #[must_use]
    pub fn rollout_since(&self, node: &NodeName) -> Option<Moment> {
        self.rollouts.of(node)
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

    /// We restarted this validator: its StatefulSet (by uid) has had this generation since.
    pub fn started(&mut self, network: &Network, node: &NodeName, uid: &str, generation: i64) {
        let started = Started {
            node: node.clone(),
            uid: uid.to_owned(),
            generation,
        };
        self.started.insert(network.clone(), started);
    }

    /// The validator of this network whose restart the stores have not shown yet.
    #[must_use]
    pub fn unseen(&self, network: &Network) -> Option<&NodeName> {
        self.started.get(network).map(|started| &started.node)
    }

    /// Whether the stores have not shown a restart of this validator yet.
    #[must_use]
    pub fn is_unseen(&self, node: &NodeName) -> bool {
        self.started.values().any(|started| started.node == *node)
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

    /// Until when the record counts as lost, and who is a member as not certain.
    #[must_use]
    pub fn record_lost_until(&self, policy: &Policy) -> Option<Moment> {
        self.record_lost.map(|since| since + policy.stuck_after)
    }

    /// Whether who is a member is not certain: the record was lost, and not everybody has been Ready since.
    #[must_use]
    pub fn is_record_lost(&self, policy: &Policy, now: Moment) -> bool {
        self.record_lost_until(policy)
            .is_some_and(|until| now < until)
    }
}

impl Started {
    fn is_seen(&self, survey: &Survey) -> bool {
        let node = candidate(survey, &self.node).map(|node| &node.stateful_set);
        node.is_none_or(|set| set.uid != self.uid || set.generation >= self.generation)
    }
}

/// What tells one restart of ours from another.
fn rollout_id(node: &Candidate) -> Option<[&str; 3]> {
    let set = &node.stateful_set;
    let restarted_at = set.template.restarted_at.as_ref()?;
    Some([&set.uid, " ", restarted_at])
}

/// Some member was started for the present membership: it had settled then.
fn is_followed(survey: &Survey, state: &NetworkState) -> bool {
    let members = candidates(survey).filter(|(name, _)| state.members().contains_key(*name));
    let mut carried = members.filter_map(|(_, node)| {
        let template = &node.stateful_set.template;
        template
            .restarted_at
            .as_ref()
            .and(template.membership.as_deref())
    });
    carried.any(|carried| carried == state.hash().as_str())
}

fn looks_left(survey: &Survey, state: &NetworkState) -> bool {
    let members = candidates(survey).filter(|(name, _)| state.members().contains_key(*name));
    let carried: Vec<&str> = members
        .filter_map(|(_, node)| node.stateful_set.template.membership.as_deref())
        .collect();
    !carried.is_empty()
        && carried
            .iter()
            .all(|carried| state.hash().differs_from(carried))
}
