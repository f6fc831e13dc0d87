//! What the cluster really is and was: a mirror of the sandbox's store that every write updates.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use stellar_peers::{
    api::names,
    domain::{
        membership::{Members, MembershipHash},
        node::NodeName,
        peer::PeerPort,
    },
    sandbox::Change,
};

use crate::{
    history::History,
    view::{ListView, NodeView, PodView, SetView},
};

/// One validator by name, over time.
#[derive(Clone, Debug)]
pub(crate) struct Validator {
    /// Uid of its StatefulSet while it counts; none while it doesn't.
    pub(crate) candidate: History<Option<String>>,
    pub(crate) network: History<String>,
    pub(crate) port: History<u16>,
    /// `address:port` of its pod that runs.
    pub(crate) address: History<Option<String>>,
    pub(crate) ready: History<bool>,
    /// Its pod is Ready and on the revision that its StatefulSet wants, which its controller has seen.
    pub(crate) settled: History<bool>,
    /// It is written down as a member.
    pub(crate) recorded: History<bool>,
    /// Why nobody may restart it.
    pub(crate) held: History<Option<&'static str>>,
    /// The record names it.
    pub(crate) listed: History<bool>,
}

impl Validator {
    fn new() -> Self {
        Self {
            candidate: History::of(None),
            network: History::of(String::new()),
            port: History::of(0),
            address: History::of(None),
            ready: History::of(false),
            settled: History::of(false),
            recorded: History::of(false),
            held: History::of(None),
            listed: History::of(false),
        }
    }

    pub(crate) fn is_candidate(&self) -> bool {
        self.candidate.now().is_some()
    }

    /// Counts for the membership.
    pub(crate) fn is_member(&self) -> bool {
        self.is_candidate() && (*self.ready.now() || *self.recorded.now())
    }
}

/// A pod that runs, and whom it dials.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) view: PodView,
    /// The list as it was when the pod started; empty without our volume.
    pub(crate) dials: String,
    pub(crate) ready_since: Option<Duration>,
    /// When it was Ready for the first time.
    pub(crate) first_ready: Option<Duration>,
}

/// The cluster.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    pub(crate) validators: BTreeMap<String, Validator>,
    pub(crate) nodes: BTreeMap<String, NodeView>,
    pub(crate) sets: BTreeMap<String, SetView>,
    pub(crate) pods: BTreeMap<String, Running>,
    pub(crate) list: Option<ListView>,
    /// The membership of each network.
    pub(crate) memberships: BTreeMap<String, History<String>>,
}

/// The pod of a validator with one replica.
pub(crate) fn pod_of(name: &str) -> String {
    format!("{name}-0")
}

impl Truth {
    /// Takes a write in.
    pub(crate) fn apply(&mut self, change: &Change<'_>, now: Duration) {
        let Some(object) = change.after.or(change.before) else {
            return;
        };
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let is_there = change.after.is_some();
        match change.resource {
            "stellarnodes" => {
                keep(
                    &mut self.nodes,
                    name,
                    is_there.then(|| NodeView::of(object)),
                );
                self.refresh(name, now);
            }
            "statefulsets" if is_only_labelled(change) => {}
            "statefulsets" => {
                keep(&mut self.sets, name, is_there.then(|| SetView::of(object)));
                self.refresh(name, now);
            }
            "pods" => {
                let pod = is_there.then(|| self.running(name, object, now));
                keep(&mut self.pods, name, pod);
                if let Some((owner, _)) = name.rsplit_once('-') {
                    self.refresh(owner, now);
                }
            }
            "configmaps" if name == names::STELLAR_PEERS => {
                self.list = is_there.then(|| ListView::of(object));
                let known: Vec<String> = self.validators.keys().cloned().collect();
                for name in &known {
                    self.refresh(name, now);
                }
            }
            _ => {}
        }
    }

    fn running(&self, name: &str, pod: &Value, now: Duration) -> Running {
        let view = PodView::of(pod);
        let before = self
            .pods
            .get(name)
            .filter(|before| before.view.uid == view.uid);
        let is_start = view.ip.is_some() && before.is_none_or(|it| it.view.ip.is_none());
        let is_ready = view.is_ready && !view.is_terminating;
        let ready_since = before.and_then(|it| it.ready_since).unwrap_or(now);
        let list = self.list.as_ref().filter(|_| is_start && view.has_volume);
        Running {
            dials: match (list, before) {
                (Some(list), _) => list.known_peers.clone(),
                (None, Some(before)) => before.dials.clone(),
                (None, None) => String::new(),
            },
            first_ready: before
                .and_then(|it| it.first_ready)
                .or_else(|| is_ready.then_some(now)),
            ready_since: is_ready.then_some(ready_since),
            view,
        }
    }

    /// Works out anew what a validator is.
    fn refresh(&mut self, name: &str, now: Duration) {
        let (node, set) = (self.nodes.get(name), self.sets.get(name));
        if node.is_none() && set.is_none() && !self.validators.contains_key(name) {
            return;
        }
        let counts = |set: &&SetView| {
            set.takes_part
                && match node {
                    Some(node) => node.takes_part,
                    None => set.is_chart,
                }
        };
        let candidate = set.filter(counts);
        let pod = self.pods.get(&pod_of(name)).map(|pod| &pod.view);
        let pod = pod.filter(|pod| set.is_some_and(|set| set.uid == pod.owner));
        let living = pod.filter(|pod| !pod.is_terminating);
        let port = node
            .map(|it| it.port)
            .or_else(|| set.map(|it| it.port))
            .unwrap_or(0);
        let network = node
            .map(|it| &it.network)
            .or_else(|| set.map(|it| &it.network));
        let is_ready = living.is_some_and(|pod| pod.is_ready);
        let is_settled = set.zip(living).is_some_and(|(set, pod)| {
            pod.is_ready && set.observed >= set.generation && pod.revision == set.revision
        });
        let recorded = self
            .list
            .as_ref()
            .and_then(|list| list.record.as_ref()?.get(name));
        let is_listed = recorded.is_some();
        let is_recorded = candidate.is_some_and(|set| {
            set.has_joined || recorded.is_some_and(|it| it.is_member && it.uid == set.uid)
        });
        let is_list_paused = self.list.as_ref().is_some_and(|list| list.is_paused);
        let held = set.and_then(|set| {
            if set.is_on_delete {
                Some("OnDelete")
            } else if set.partition > 0 {
                Some("partition")
            } else if set.is_paused || node.is_some_and(|node| node.is_paused) || is_list_paused {
                Some("paused")
            } else {
                None
            }
        });
        let address = living
            .and_then(|pod| pod.ip.as_ref())
            .map(|ip| format!("{ip}:{port}"));
        let (network, uid) = (
            network.cloned().unwrap_or_default(),
            candidate.map(|it| it.uid.clone()),
        );
        let validator = self
            .validators
            .entry(name.to_owned())
            .or_insert_with(Validator::new);
        let before = validator.network.now().clone();
        validator.listed.set(now, is_listed);
        let is_other = [
            validator.candidate.set(now, uid),
            validator.network.set(now, network.clone()),
            validator.port.set(now, port),
            validator.ready.set(now, is_ready),
            validator.recorded.set(now, is_recorded),
        ];
        validator.address.set(now, address);
        validator.settled.set(now, is_settled);
        validator.held.set(now, held);
        if is_other.contains(&true) {
            self.refresh_membership(&before, now);
            self.refresh_membership(&network, now);
        }
    }

    fn refresh_membership(&mut self, network: &str, now: Duration) {
        let hash = self.hash(network);
        self.memberships
            .entry(network.to_owned())
            .or_insert_with(|| History::of(String::new()))
            .set(now, hash);
    }

    /// The validators of a network, members or not.
    pub(crate) fn of<'a>(
        &'a self,
        network: &'a str,
    ) -> impl Iterator<Item = (&'a String, &'a Validator)> {
        self.validators
            .iter()
            .filter(move |(_, it)| it.network.now() == network)
    }

    /// The hash of the present members of a network.
    pub(crate) fn hash(&self, network: &str) -> String {
        let line = |(name, it): (&String, &Validator)| {
            Some((
                NodeName::new(name).ok()?,
                PeerPort::new(i64::from(*it.port.now())).ok()?,
            ))
        };
        let members: Members = self
            .of(network)
            .filter(|(_, it)| it.is_member())
            .filter_map(line)
            .collect();
        MembershipHash::of(&members).to_string()
    }

    /// What `KNOWN_PEERS` is to say where everybody is well: the Ready pods of candidates.
    pub(crate) fn ready_peers(&self) -> Vec<String> {
        let is_peer = |it: &&Validator| it.is_candidate() && *it.ready.now();
        let mut peers: Vec<String> = self
            .validators
            .values()
            .filter(is_peer)
            .filter_map(|it| it.address.now().clone())
            .collect();
        peers.sort_by_key(|peer| {
            let (ip, port) = peer.split_once(':').unwrap_or((peer, ""));
            (
                ip.parse::<std::net::Ipv4Addr>().ok(),
                port.parse::<u16>().ok(),
            )
        });
        peers.dedup();
        peers
    }
}

/// A write as an operator makes them all the time.
fn is_only_labelled(change: &Change<'_>) -> bool {
    let (Some(before), Some(after)) = (change.before, change.after) else {
        return false;
    };
    let is_same = |field: &str| before["metadata"][field] == after["metadata"][field];
    let label = |set: &Value, key: &str| set["metadata"]["labels"][key].clone();
    let is_same_label = |key: &str| label(before, key) == label(after, key);
    ["generation", "deletionTimestamp", "annotations"]
        .into_iter()
        .all(is_same)
        && [names::INJECT, names::LABEL_NETWORK]
            .into_iter()
            .all(is_same_label)
        && before["status"] == after["status"]
}

fn keep<T>(map: &mut BTreeMap<String, T>, name: &str, value: Option<T>) {
    match value {
        Some(value) => drop(map.insert(name.to_owned(), value)),
        None => drop(map.remove(name)),
    }
}
