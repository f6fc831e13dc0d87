//! What the ConfigMap's annotations say beside the list: what has to outlive us, and has no other place.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    Memory, Moment, Policy,
    discovery::{Discovery, NetworkState},
    node::{Network, NodeName},
    peer_list::Record,
    quorum::{Directory, Resolved},
    rollout::declared_sets,
    survey::{Candidate, Survey, candidate, candidates},
    turn::Turn,
};
use crate::api::names;

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Whom we restarted last and for what.
    pub restarts: Restarts,
    /// Turns by network: restarts that were set out to and not noted down as done.
    pub turns: BTreeMap<String, Turn>,
    /// Hashes that count as the present ones, by network.
    pub keys: BTreeMap<String, String>,
    /// Validators that are gone and that quorum sets still name, by network.
    pub departed: BTreeMap<String, BTreeSet<String>>,
    /// The record was made anew, and who is a member is not certain yet.
    pub record_lost: bool,
}

/// Whether an annotation of the ConfigMap is one of these.
#[must_use]
pub fn is_ours(key: &str) -> bool {
    [
        names::RESTARTS,
        names::KEYS,
        names::DEPARTED,
        names::RECORD_LOST,
    ]
    .contains(&key)
        || key.starts_with(names::TURN_OF)
}

/// Whom we restarted last and for what, by node.
///
/// It outlives even a writer that replaces the whole StatefulSet, annotations included: without it such a writer
/// and a webhook that isn't reached would have us restart the same validator for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Restarts(pub BTreeMap<String, RestartRecord>);

/// One entry of [`Restarts`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartRecord {
    /// Uid of the StatefulSet.
    pub uid: String,
    /// Why.
    pub reason: String,
    /// The membership that the restart carried.
    pub hash: String,
    /// Nobody of its network was Ready at the time, nor has been since.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outage: bool,
}

impl Notes {
    /// Reads the annotations; a broken one counts as absent.
    #[must_use]
    pub fn parse(annotations: &BTreeMap<String, String>) -> Self {
        let turns = annotations
            .iter()
            .filter(|(key, _)| key.starts_with(names::TURN_OF))
            .filter_map(|(_, text)| serde_json::from_str::<Turn>(text).ok());
        Self {
            restarts: read(annotations, names::RESTARTS),
            turns: turns.map(|turn| (turn.network.clone(), turn)).collect(),
            keys: read(annotations, names::KEYS),
            departed: read(annotations, names::DEPARTED),
            record_lost: annotations
                .get(names::RECORD_LOST)
                .is_some_and(|text| text == "true"),
        }
    }

    /// The annotations, as an apply over `stored` has to have them.
    ///
    /// An annotation that another manager owns can't be removed by an apply, and so is emptied first.
    #[must_use]
    pub fn render(&self, stored: &BTreeMap<String, String>) -> BTreeMap<String, String> {
        let mut annotations: BTreeMap<String, String> = stored
            .iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(key, _)| (key.clone(), String::new()))
            .collect();
        let mut insert = |key: &str, text: String| annotations.insert(key.to_owned(), text);
        if !self.restarts.0.is_empty() {
            insert(names::RESTARTS, json(&self.restarts));
        }
        if !self.keys.is_empty() {
            insert(names::KEYS, json(&self.keys));
        }
        if !self.departed.is_empty() {
            insert(names::DEPARTED, json(&self.departed));
        }
        if self.record_lost {
            insert(names::RECORD_LOST, "true".to_owned());
        }
        for (network, turn) in &self.turns {
            insert(&turn_annotation(network), json(turn));
        }
        annotations
    }

    /// What is to be noted after this look at the namespace.
    #[must_use]
    pub fn updated(
        mut self,
        record: Option<&Record>,
        survey: &Survey,
        discovery: &Discovery,
        memory: &Memory,
        policy: &Policy,
        now: Moment,
    ) -> Self {
        self.settle_turns(survey, memory);
        self.departed = departed(&self.departed, record, survey, discovery);
        self.restarts.retain_candidates(survey);
        for (network, state) in &discovery.networks {
            let nodes = || state.candidates.iter();
            let is_ready = |name| candidate(survey, name).is_some_and(Candidate::is_ready);
            if nodes().any(is_ready) {
                for name in nodes() {
                    if let Some(record) = self.restarts.0.get_mut(name.as_str()) {
                        record.outage = false;
                    }
                }
            }
            if state.key == state.hash {
                self.keys.remove(network.as_str());
            } else {
                let key = state.key.to_string();
                self.keys.insert(network.as_str().to_owned(), key);
            }
        }
        let is_network = |network: &String| {
            let mut networks = discovery.networks.keys();
            networks.any(|it| it.as_str() == network)
        };
        self.keys.retain(|network, _| is_network(network));
        self.record_lost = memory.is_record_lost(policy, now);
        self
    }

    /// Notes down the turns that were carried out, and lets go of those that never will be.
    fn settle_turns(&mut self, survey: &Survey, memory: &Memory) {
        let Self {
            turns, restarts, ..
        } = self;
        turns.retain(|_, turn| {
            let node = NodeName::new(&turn.node).ok();
            let node = node.and_then(|name| candidate(survey, &name));
            let Some(node) = node.filter(|node| node.stateful_set.uid == turn.uid) else {
                return false;
            };
            if memory.is_fenced(&turn.token) {
                return false;
            }
            if memory.unseen(&node.network).is_some() || !turn.is_done(&node.stateful_set) {
                return true;
            }
            let record = RestartRecord {
                uid: turn.uid.clone(),
                reason: turn.reason.clone(),
                hash: turn.hash.clone(),
                outage: turn.outage,
            };
            restarts.0.insert(turn.node.clone(), record);
            false
        });
    }
}

/// Who was a candidate once, is not there any more, and is still named by a quorum set: for its network it is down.
fn departed(
    noted: &BTreeMap<String, BTreeSet<String>>,
    record: Option<&Record>,
    survey: &Survey,
    discovery: &Discovery,
) -> BTreeMap<String, BTreeSet<String>> {
    let of_network = |(network, state): (&Network, &NetworkState)| {
        let recorded = record.into_iter().flat_map(|record| &record.nodes);
        let recorded = recorded.filter(|node| node.network == *network);
        let noted = noted.get(network.as_str()).into_iter().flatten();
        let gone: BTreeSet<NodeName> = noted
            .filter_map(|name| NodeName::new(name).ok())
            .chain(recorded.map(|node| node.name.clone()))
            .filter(|name| !survey.contains_key(name))
            .collect();
        if gone.is_empty() {
            return None;
        }
        let directory = Directory::new(gone.iter().chain(&state.candidates));
        let named = Resolved::new(&directory, declared_sets(survey, state)).names();
        let gone = gone.iter().filter(|name| named.contains(name));
        let gone: BTreeSet<String> = gone.map(ToString::to_string).collect();
        (!gone.is_empty()).then(|| (network.as_str().to_owned(), gone))
    };
    discovery.networks.iter().filter_map(of_network).collect()
}

impl Restarts {
    /// Forgets those of StatefulSets that are not there any more.
    pub fn retain_candidates(&mut self, survey: &Survey) {
        let uids: BTreeMap<&str, &str> = candidates(survey)
            .map(|(name, node)| (name.as_str(), node.stateful_set.uid.as_str()))
            .collect();
        self.0
            .retain(|name, restart| uids.get(name.as_str()) == Some(&restart.uid.as_str()));
    }
}

/// The annotation with a network's turn. A name that can't stand in a key is hashed.
#[must_use]
pub fn turn_annotation(network: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let ends_well = network.ends_with(|c: char| c.is_ascii_alphanumeric());
    // 63 characters may follow the slash of a key, and five of them are "turn.".
    if network.len() <= 58 && ends_well && network.chars().all(is_plain) {
        return format!("{}{network}", names::TURN_OF);
    }
    let sum = digest(&SHA256, network.as_bytes());
    let hex = sum.as_ref().iter().take(8);
    hex.fold(format!("{}x-", names::TURN_OF), |key, byte| {
        key + &format!("{byte:02x}")
    })
}

fn read<T: DeserializeOwned + Default>(annotations: &BTreeMap<String, String>, key: &str) -> T {
    let text = annotations.get(key);
    text.and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default()
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("maps of text always serialize")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn turn(network: &str) -> Turn {
        Turn {
            network: network.to_owned(),
            node: "v1".to_owned(),
            uid: "u".to_owned(),
            generation: 3,
            reason: "Membership".to_owned(),
            hash: "v1:000000000000".to_owned(),
            outage: false,
            token: "t".to_owned(),
        }
    }

    #[test]
    fn every_network_has_an_annotation_that_kubernetes_takes() {
        assert_eq!(turn_annotation("testnet"), "peers.stellar.org/turn.testnet");
        let long = "x".repeat(59);
        for odd in ["", "my net", "{\"custom\":1}", "ends-", &long, "ü"] {
            let key = turn_annotation(odd);
            let name = key.strip_prefix("peers.stellar.org/").unwrap();
            assert!(name.starts_with("turn.x-") && name.len() <= 63, "{key}");
        }
    }

    #[test]
    fn what_others_own_is_emptied_first_and_then_left_out() {
        let stored = BTreeMap::from([(names::RESTARTS.to_owned(), "{\"a\":1}".to_owned())]);
        let emptied = Notes::default().render(&stored);
        assert_eq!(emptied[names::RESTARTS], "");
        assert!(Notes::default().render(&emptied).is_empty());
    }

    proptest! {
        #[test]
        fn notes_read_back_as_they_were_written(
            networks in prop::collection::btree_set(".{0,12}", 0..4),
            names in prop::collection::btree_set("[a-z]{1,5}", 0..4),
            record_lost: bool,
        ) {
            let record = |name: &String| RestartRecord {
                uid: format!("uid-{name}"), reason: "Outage".to_owned(), hash: "v1:0".to_owned(), outage: name.len() > 2,
            };
            let notes = Notes {
                restarts: Restarts(names.iter().map(|name| (name.clone(), record(name))).collect()),
                turns: networks.iter().map(|network| (network.clone(), turn(network))).collect(),
                keys: networks.iter().map(|network| (network.clone(), "v1:1".to_owned())).collect(),
                departed: networks.iter().map(|network| (network.clone(), names.clone())).collect(),
                record_lost,
            };
            let rendered = notes.render(&BTreeMap::new());
            prop_assert!(rendered.keys().all(|key| is_ours(key)));
            prop_assert_eq!(Notes::parse(&rendered), notes);
        }

        #[test]
        fn no_text_makes_reading_panic(text in ".{0,200}") {
            let keys = [names::RESTARTS, names::KEYS, names::DEPARTED, names::RECORD_LOST, "peers.stellar.org/turn.a"];
            let _ = Notes::parse(&keys.map(|key| (key.to_owned(), text.clone())).into());
        }
    }
}
