//! What must hold at every moment, judged on all changes in the order in which the API server made them. Pure.
//!
//! Resource versions of StatefulSets, pods and ConfigMaps are from one counter: at each change it is known how
//! everything else was just then.

use std::collections::{BTreeMap, VecDeque};

use stellar_peers::domain::{
    injection::Parts,
    membership::{Members, MembershipHash},
    node::NodeName,
    peer_list::Record,
    snapshot::{PodView, StatefulSetView},
};
use tokio::time::{Duration, Instant};

/// Between what a decision rests on and its write there are some requests, on a busy machine.
const DECISION: Duration = Duration::from_secs(8);
/// For how long a membership of before may still be written into a template.
const MEMBERSHIP_OF_BEFORE: Duration = Duration::from_secs(30);

/// One change.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// Name, and the object where it is still there.
    Set(String, Option<Box<StatefulSetView>>),
    Pod(String, Option<Box<PodView>>),
    List(Option<ListView>),
    /// The watch broke off: what passed before this is not known.
    Gap,
}

/// What is judged of a list.
#[derive(Clone, Debug)]
pub(super) struct ListView {
    pub(super) peers: usize,
    pub(super) record: Option<Record>,
}

/// One namespace.
#[derive(Debug, Default)]
pub(super) struct Namespace {
    nodes: BTreeMap<String, Node>,
    listed: usize,
    /// The hash of each member's network, since when.
    memberships: VecDeque<(Instant, BTreeMap<String, String>)>,
    pub(super) membership_changes: usize,
    pub(super) restarts: usize,
}

#[derive(Debug, Default)]
struct Node {
    set: Option<Box<StatefulSetView>>,
    pod: Option<Box<PodView>>,
    /// Since when its pod has not been Ready, as we saw it.
    down_since: Option<Instant>,
    was_ready: bool,
    /// We started it, it was Ready then, and its new pod is not Ready yet.
    is_rolling: bool,
}

impl Node {
    fn is_ready(&self) -> bool {
        let is_its = |owner: &String| self.set.as_ref().is_some_and(|set| set.uid == *owner);
        let pod = self.pod.as_ref();
        pod.is_some_and(|pod| pod.ready && !pod.terminating && is_its(&pod.owner))
    }

    fn is_wanted(&self) -> bool {
        self.set
            .as_ref()
            .is_some_and(|set| set.replicas > 0 && !set.terminating)
    }

    /// Its pod is Ready on the template that it has now.
    fn is_done(&self) -> bool {
        let (Some(set), Some(pod)) = (&self.set, &self.pod) else {
            return false;
        };
        self.is_ready() && set.is_observed() && pod.revision == set.update_revision
    }

    fn settle(&mut self, now: Instant) {
        self.is_rolling &= self.is_wanted() && !self.is_done();
        if self.is_ready() {
            self.was_ready = true;
            self.down_since = None;
        } else {
            self.down_since.get_or_insert(now);
        }
    }
}

impl Namespace {
    /// Takes in a change that was seen at `now`, and gives what is wrong with it.
    pub(super) fn see(&mut self, change: Change, now: Instant) -> Vec<String> {
        match change {
            Change::Set(name, set) => self.see_set(&name, set, now),
            Change::Pod(name, pod) => {
                let node = name
                    .rsplit_once('-')
                    .map_or(name.as_str(), |(node, _)| node);
                let node = self.nodes.entry(node.to_owned()).or_default();
                node.pod = pod;
                node.settle(now);
                Vec::new()
            }
            Change::List(list) => self.see_list(list, now).into_iter().collect(),
            Change::Gap => {
                for node in self.nodes.values_mut() {
                    node.is_rolling = false;
                    node.down_since = None;
                }
                Vec::new()
            }
        }
    }

    fn see_set(
        &mut self,
        name: &str,
        set: Option<Box<StatefulSetView>>,
        now: Instant,
    ) -> Vec<String> {
        let node = self.nodes.entry(name.to_owned()).or_default();
        let is_new = node.set.as_ref().map(|it| &it.uid) != set.as_ref().map(|it| &it.uid);
        let before = std::mem::replace(&mut node.set, set.clone());
        if is_new {
            node.was_ready = false;
            node.is_rolling = false;
        }
        let mut faults = Vec::new();
        if let (false, Some(before), Some(after)) = (is_new, before, set)
            && after.template.restarted_at.is_some()
            && after.template.restarted_at != before.template.restarted_at
        {
            faults = self.see_start(name, &before, &after, now);
        }
        if let Some(node) = self.nodes.get_mut(name) {
            node.settle(now);
        }
        faults
    }

    /// We restart a node.
    fn see_start(
        &mut self,
        name: &str,
        before: &StatefulSetView,
        after: &StatefulSetView,
        now: Instant,
    ) -> Vec<String> {
        self.restarts += 1;
        let mut faults = Vec::new();
        let someone_is_ready = self.nodes.values().any(Node::is_ready);
        let hash = after.template.membership.clone().unwrap_or_default();
        let is_same = before.template.membership == after.template.membership;
        if is_same && before.template.parts == Parts::Whole && someone_is_ready {
            faults.push(format!(
                "{name} was restarted again for the membership {hash}, which it had"
            ));
        }
        if !self.was_membership_of(name, &hash, now) {
            let known = self.memberships.iter().map(|(_, it)| it.get(name));
            faults.push(format!(
                "{name} was restarted for the membership {hash}, which the record didn't have: {:?}",
                known.collect::<Vec<_>>()
            ));
        }
        let was_ready = self.nodes.get(name).is_some_and(Node::is_ready);
        if was_ready {
            for (other, node) in self.nodes.iter().filter(|(other, _)| *other != name) {
                if node.is_rolling {
                    faults.push(format!(
                        "{name} was restarted while {other} was not back yet from its own restart"
                    ));
                }
                let is_down_long = node.down_since.is_some_and(|since| now - since > DECISION);
                if node.is_wanted() && node.was_ready && !node.is_rolling && is_down_long {
                    faults.push(format!("{name} was restarted though {other} had been down for more than {DECISION:?}"));
                }
            }
        }
        if let Some(node) = self.nodes.get_mut(name) {
            node.is_rolling = was_ready;
        }
        faults
    }

    fn was_membership_of(&self, name: &str, hash: &str, now: Instant) -> bool {
        let mut until = now;
        // The newest is in force until now, each of before until the next.
        self.memberships.iter().rev().any(|(since, hashes)| {
            let is_recent = now - until <= MEMBERSHIP_OF_BEFORE;
            until = *since;
            is_recent && hashes.get(name).is_some_and(|it| it == hash)
        })
    }

    fn see_list(&mut self, list: Option<ListView>, now: Instant) -> Option<String> {
        let peers = list.as_ref().map_or(0, |list| list.peers);
        let before = std::mem::replace(&mut self.listed, peers);
        if let Some(record) = list.and_then(|list| list.record) {
            let hashes = hashes(&record);
            if self
                .memberships
                .back()
                .is_none_or(|(_, last)| *last != hashes)
            {
                self.membership_changes += 1;
                self.memberships.push_back((now, hashes));
            }
            // Of those that no longer count, one tells until when the next was not there.
            while self
                .memberships
                .get(1)
                .is_some_and(|(since, _)| now - *since > MEMBERSHIP_OF_BEFORE)
            {
                self.memberships.pop_front();
            }
        }
        (before > 0 && peers == 0).then(|| format!("the list was emptied: it had {before} peers"))
    }
}

/// The hash of its network, for each node of a record.
fn hashes(record: &Record) -> BTreeMap<String, String> {
    let of_network = |network| {
        let members = record
            .nodes
            .iter()
            .filter(|it| it.member && it.network == network);
        let members: Members = members.map(|it| (it.name.clone(), it.port)).collect();
        MembershipHash::of(&members).as_str().to_owned()
    };
    let with_hash = record.nodes.iter().map(|it| {
        (
            NodeName::to_string(&it.name),
            of_network(it.network.clone()),
        )
    });
    with_hash.collect()
}

#[cfg(test)]
mod tests;
