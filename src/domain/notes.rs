//! What the ConfigMap's annotations say beside the list: what has to outlive us, and has no other place.

mod departed;
mod restarts;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Serialize, de::DeserializeOwned};

use self::departed::departed;
pub use self::restarts::{Restart, Restarts, short_uid};
use super::{
    Memory, Moment, Policy, Snapshot,
    digest::short_sha256,
    discovery::Discovery,
    node::NodeName,
    snapshot::StatefulSetView,
    survey::{Skipped, Standing, Survey, candidate},
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
    /// Validators that were candidates, are none now, and that quorum sets still name, by network.
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

    /// Whether annotations are what we write for these notes; empty ones count as absent.
    #[must_use]
    pub fn are_written_as(&self, annotations: &BTreeMap<String, String>) -> bool {
        let there = annotations.iter().filter(|(_, text)| !text.is_empty());
        there.eq(&self.render(&BTreeMap::new()))
    }

    /// What is to be noted after this look at the namespace.
    #[must_use]
    pub fn updated(mut self, look: Look<'_>) -> Self {
        self.settle_turns(look);
        self.follow_restarts(look);
        self.departed = departed(&self.departed, look);
        let networks = || look.discovery.networks.iter();
        let keys = networks().filter(|(_, state)| state.key != *state.hash());
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
                    restarts.0.insert(turn.node.clone(), Restart::of(turn));
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
            if let Ok(name) = NodeName::new(name)
                && let Some(node) = candidate(look.survey, &name)
            {
                restart.follow(look, &name, node);
            }
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

/// The annotation with a network's turn. A name that can't stand in a key is hashed.
#[must_use]
pub fn turn_annotation(network: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let ends_well = network.ends_with(|c: char| c.is_ascii_alphanumeric());
    // 63 characters may follow the slash of a key, and five of them are "turn.".
    if network.len() <= 58 && ends_well && network.chars().all(is_plain) {
        return format!("{}{network}", names::TURN_OF);
    }
    let hex = short_sha256(network.as_bytes(), 8);
    format!("{}x-{hex}", names::TURN_OF)
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
    use crate::domain::fixtures::a_turn;

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
                carried: (name.len() > 3).then(|| "v1:1".to_owned()), came_up: name.len() > 1, past: name.len() > 4,
                outage: name.len() > 2, pod: (name.len() > 2).then(|| name.clone()),
            };
            let notes = Notes {
                restarts: Restarts(names.iter().map(|name| (name.clone(), record(name))).collect()),
                turns: networks.iter().map(|network| (network.clone(), a_turn(network))).collect(),
                keys: networks.iter().map(|network| (network.clone(), "v1:1".to_owned())).collect(),
                departed: networks.iter().map(|network| (network.clone(), names.clone())).collect(),
                record_lost,
            };
            let rendered = notes.render(&BTreeMap::new());
            prop_assert!(rendered.keys().all(|key| is_ours(key)));
            prop_assert!(notes.are_written_as(&rendered));
            prop_assert_eq!(Notes::parse(&rendered), notes);
        }

        #[test]
        fn whatever_stands_there_is_as_written_after_one_write(
            texts in prop::collection::btree_map(
                prop::sample::select(vec![names::RESTARTS, names::KEYS, names::DEPARTED, names::RECORD_LOST, "peers.stellar.org/turn.a"]),
                prop_oneof![
                    ".{0,20}",
                    Just("true".to_owned()),
                    Just(r#"{"a":"u r h -  odd", "a":"u r h - up up"}"#.to_owned()),
                    Just(r#"{ "a": ["b", "b"] }"#.to_owned()),
                    Just(serde_json::to_string(&a_turn("another")).unwrap()),
                ],
                0..5,
            ),
        ) {
            let stored: BTreeMap<String, String> = texts.into_iter().map(|(key, text)| (key.to_owned(), text)).collect();
            let notes = Notes::parse(&stored);
            let written = notes.render(&stored);
            prop_assert!(notes.are_written_as(&written));
            let read = Notes::parse(&written);
            prop_assert!(read.are_written_as(&written));
            prop_assert_eq!(read, notes);
        }

        #[test]
        fn no_text_makes_reading_panic(text in ".{0,200}") {
            let keys = [names::RESTARTS, names::KEYS, names::DEPARTED, names::RECORD_LOST, "peers.stellar.org/turn.a"];
            let _ = Notes::parse(&keys.map(|key| (key.to_owned(), text.clone())).into());
        }
    }
}
