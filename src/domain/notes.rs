//! What the ConfigMap's annotations say beside the list: what has to outlive us, and has no other place.

use std::collections::{BTreeMap, BTreeSet};

use aws_lc_rs::digest::{SHA256, digest};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Error},
};

use super::{
    Memory, Moment, Policy, Snapshot,
    discovery::{Discovery, NetworkState},
    node::{Network, NodeName},
    quorum::{Directory, Resolved},
    rollout::declared_sets,
    snapshot::StatefulSetView,
    survey::{Candidate, Skipped, Standing, Survey, candidate},
    turn::{Outcome, Turn},
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
pub struct Restarts(pub BTreeMap<String, Restart>);

/// One restart of ours. Written as `<uid> <reason> <hash> <carried, or ->[ up][ outage][ pod=<uid>]`, short enough for
/// thousands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restart {
    /// The last characters of its StatefulSet's uid.
    pub uid: String,
    /// Why.
    pub reason: String,
    /// The membership that the restart carried.
    pub hash: String,
    /// The membership that the template carried before, where it carried one.
    pub carried: Option<String>,
    /// All its pods have been Ready on its template since.
    pub came_up: bool,
    /// Its network was down at the time, and it has not been up for long since.
    pub outage: bool,
    /// The last characters of the uid of the pod that the restart in an outage has led to, once that is there.
    pub pod: Option<String>,
}

impl Restart {
    /// Whether it was a restart of this StatefulSet.
    #[must_use]
    pub fn is_of(&self, uid: &str) -> bool {
        self.uid == short_uid(uid)
    }
}

/// Enough of a uid to tell a StatefulSet from an earlier one of its name.
#[must_use]
pub fn short_uid(uid: &str) -> String {
    let characters: Vec<char> = uid.chars().filter(|it| !it.is_whitespace()).collect();
    let start = characters.len().saturating_sub(8);
    characters[start..].iter().collect()
}

const NOTHING: &str = "-";
const CAME_UP: &str = "up";
const OUTAGE: &str = "outage";
const POD: &str = "pod=";

impl Serialize for Restart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let flags = [(self.came_up, CAME_UP), (self.outage, OUTAGE)];
        let flags = flags.iter().filter(|(holds, _)| *holds);
        let pod = self.pod.as_ref().map(|pod| format!("{POD}{pod}"));
        let carried = self.carried.as_deref().unwrap_or(NOTHING);
        let words = [self.uid.as_str(), &self.reason, &self.hash, carried];
        let words: Vec<&str> = words
            .into_iter()
            .chain(flags.map(|(_, word)| *word))
            .chain(pod.as_deref())
            .collect();
        serializer.serialize_str(&words.join(" "))
    }
}

impl<'de> Deserialize<'de> for Restart {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut words = text.split(' ').map(str::to_owned);
        let mut next = || {
            words
                .next()
                .ok_or_else(|| D::Error::custom("too few words"))
        };
        let (uid, reason, hash, carried) = (next()?, next()?, next()?, next()?);
        let flags: Vec<String> = words.collect();
        let has = |word: &str| flags.iter().any(|flag| flag == word);
        Ok(Self {
            uid,
            reason,
            hash,
            carried: Some(carried).filter(|it| it != NOTHING),
            came_up: has(CAME_UP),
            outage: has(OUTAGE),
            pod: flags
                .iter()
                .find_map(|flag| flag.strip_prefix(POD))
                .map(str::to_owned),
        })
    }
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
    pub fn updated(mut self, look: Look<'_>) -> Self {
        self.settle_turns(look);
        self.follow_restarts(look);
        self.departed = departed(&self.departed, look);
        let networks = || look.discovery.networks.iter();
        let keys = networks().filter(|(_, state)| state.key != state.hash);
        let keys = keys.map(|(network, state)| (network.to_text(), state.key.to_string()));
        self.keys = keys.collect();
        self.record_lost = look.memory.is_record_lost(look.policy, look.now);
        self
    }

    /// Notes down the turns that were carried out, and lets go of those that never will be.
    fn settle_turns(&mut self, look: Look<'_>) {
        let Self {
            turns, restarts, ..
        } = self;
        turns.retain(|_, turn| {
            let Some(set) = look.stateful_set(&turn.node) else {
                return false;
            };
            match turn.outcome(set, look.snapshot.is_fresh) {
                Outcome::Open => true,
                Outcome::Dropped => false,
                Outcome::Done => {
                    let restart = Restart {
                        uid: short_uid(&turn.uid),
                        reason: turn.reason.clone(),
                        hash: turn.hash.clone(),
                        carried: turn.carried.clone(),
                        came_up: false,
                        outage: turn.outage,
                        pod: None,
                    };
                    restarts.0.insert(turn.node.clone(), restart);
                    false
                }
            }
        });
    }

    /// Forgets the restarts of StatefulSets that are gone, and of those that opted out, whose parts went for a reason;
    /// notes how the others went.
    fn follow_restarts(&mut self, look: Look<'_>) {
        self.restarts.0.retain(|name, restart| {
            let set = look.stateful_set(name);
            set.is_some_and(|set| restart.is_of(&set.uid)) && !look.has_opted_out(name)
        });
        for (name, restart) in &mut self.restarts.0 {
            let Ok(name) = NodeName::new(name) else {
                continue;
            };
            let node = candidate(look.survey, &name);
            let is_settled = node.is_some_and(Candidate::is_settled);
            // stellar-core is Ready for a while even without a network: that ends no outage.
            let min_ready = look.policy.min_ready;
            let is_up = look.memory.is_settled_for(&name, min_ready, look.now);
            restart.came_up |= is_settled;
            if restart.outage {
                restart.follow_pod(node, is_up);
            }
        }
    }
}

impl Restart {
    /// An outage is over for a validator when it is up, and when its pod is another than the one that was helped: that
    /// one was started anew, with whatever addresses there were then.
    fn follow_pod(&mut self, node: Option<&Candidate>, is_up: bool) {
        // Before the controller has seen the new template, the old pod still counts as updated.
        let is_seen = |node: &&Candidate| {
            let set = &node.stateful_set;
            set.observed_generation >= set.generation
        };
        let pods = node.filter(is_seen).map(|node| node.pods.as_slice());
        let pods = pods.unwrap_or_default();
        let pod = pods.iter().find(|pod| pod.updated);
        let pod = pod.map(|pod| short_uid(&pod.uid));
        let is_another = self.pod.is_some() && pod.is_some() && self.pod != pod;
        if is_up || is_another {
            (self.outage, self.pod) = (false, None);
        } else {
            self.pod = self.pod.take().or(pod);
        }
    }
}

/// What notes are brought up to date by.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// The namespace.
    pub snapshot: &'a Snapshot,
    /// What each node is.
    pub survey: &'a Survey,
    /// Who is a member.
    pub discovery: &'a Discovery,
    /// Since when.
    pub memory: &'a Memory,
    /// The flags.
    pub policy: &'a Policy,
    /// The time.
    pub now: Moment,
}

impl Look<'_> {
    fn has_opted_out(&self, name: &str) -> bool {
        let standing = NodeName::new(name).ok();
        let standing = standing.and_then(|name| self.survey.get(&name));
        matches!(standing, Some(Standing::Out(Skipped::InjectDisabled)))
    }

    fn stateful_set(&self, name: &str) -> Option<&StatefulSetView> {
        let name = NodeName::new(name).ok()?;
        self.snapshot.stateful_sets.get(&name).map(|set| &**set)
    }
}

/// Not there, or about to be gone. Whoever has only opted out may run as before.
fn is_gone(standing: Option<&Standing>) -> bool {
    standing.is_none_or(|it| matches!(it, Standing::Out(why) if why.is_switched_off()))
}

/// Who was a candidate once, is not there any more, and is still named by a quorum set: for its network it is down.
fn departed(
    noted: &BTreeMap<String, BTreeSet<String>>,
    look: Look<'_>,
) -> BTreeMap<String, BTreeSet<String>> {
    let record = look.snapshot.config_map.as_ref();
    let record = record.and_then(|map| map.readable_record());
    let of_network = |(network, state): (&Network, &NetworkState)| {
        let recorded = record.into_iter().flat_map(|record| &record.nodes);
        let recorded = recorded.filter(|node| node.network == *network);
        let noted = noted.get(network.as_str()).into_iter().flatten();
        let gone: BTreeSet<NodeName> = noted
            .filter_map(|name| NodeName::new(name).ok())
            .chain(recorded.map(|node| node.name.clone()))
            .filter(|name| is_gone(look.survey.get(name)))
            .collect();
        if gone.is_empty() {
            return None;
        }
        let directory = Directory::new(gone.iter().chain(&state.candidates));
        let named = Resolved::new(&directory, declared_sets(look.survey, state)).names();
        let gone = gone.iter().filter(|name| named.contains(name));
        let gone: BTreeSet<String> = gone.map(ToString::to_string).collect();
        (!gone.is_empty()).then(|| (network.to_text(), gone))
    };
    look.discovery
        .networks
        .iter()
        .filter_map(of_network)
        .collect()
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
            carried: None,
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
            let record = |name: &String| Restart {
                uid: short_uid(&format!("uid-{name}")), reason: "Outage".to_owned(), hash: "v1:0".to_owned(),
                carried: (name.len() > 3).then(|| "v1:1".to_owned()), came_up: name.len() > 1, outage: name.len() > 2, pod: (name.len() > 2).then(|| name.clone()),
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
