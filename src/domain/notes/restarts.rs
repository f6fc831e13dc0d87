//! Whom we restarted last, for what, and what became of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::Look;
use crate::domain::{node::NodeName, survey::Candidate, turn::Turn};

/// Whom we restarted last and for what, by node.
///
/// It outlives even a writer that replaces the whole StatefulSet, annotations included: without it such a writer
/// and a webhook that isn't reached would have us restart the same validator for ever.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Restarts(pub BTreeMap<String, Restart>);

/// One restart of ours. Written as `<uid> <reason> <hash> <carried, or ->[ up][ past][ outage][ pod=<uid>]`, short enough for
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
    /// Its template has carried a later membership since, as it should: what it carries from then on says nothing of
    /// this restart.
    pub past: bool,
    /// Its network was down at the time, and it has not been up for long since.
    pub outage: bool,
    /// The last characters of the uid of the pod that the restart in an outage has led to, once that is there.
    pub pod: Option<String>,
}

impl Restart {
    /// The one that a turn was taken for, just carried out.
    pub(in crate::domain) fn of(turn: &Turn) -> Self {
        Self {
            uid: short_uid(&turn.uid),
            reason: turn.reason.clone(),
            hash: turn.hash.clone(),
            carried: turn.carried.clone(),
            came_up: false,
            past: false,
            outage: turn.outage,
            pod: None,
        }
    }

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
const PAST: &str = "past";
const CAME_UP: &str = "up";
const OUTAGE: &str = "outage";
const POD: &str = "pod=";

impl Serialize for Restart {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let flags = [
            (self.came_up, CAME_UP),
            (self.past, PAST),
            (self.outage, OUTAGE),
        ];
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
            past: has(PAST),
            outage: has(OUTAGE),
            pod: flags
                .iter()
                .find_map(|flag| flag.strip_prefix(POD))
                .map(str::to_owned),
        })
    }
}

impl Restart {
    /// Takes in how it went.
    pub(super) fn follow(&mut self, look: Look<'_>, name: &NodeName, node: &Candidate) {
        self.came_up |= node.is_settled();
        self.past |= carries_another(look, name, node, &self.hash);
        if self.outage {
            // stellar-core is Ready for a while even without a network: that ends no outage.
            let min_ready = look.policy.min_ready;
            let is_up = look.memory.is_settled_for(name, min_ready, look.now);
            self.follow_pod(node, is_up);
        }
    }

    /// An outage is over for a validator when it is up, and when its pod is another than the one that was helped: that
    /// one was started anew, with whatever addresses there were then.
    fn follow_pod(&mut self, node: &Candidate, is_up: bool) {
        // Before the controller has seen the new template, the old pod still counts as updated.
        let is_seen = node.stateful_set.is_observed();
        let pod = node.pods.iter().find(|pod| is_seen && pod.updated);
        let pod = pod.map(|pod| short_uid(&pod.view.uid));
        let is_another = self.pod.is_some() && pod.is_some() && self.pod != pod;
        if is_up || is_another {
            (self.outage, self.pod) = (false, None);
        } else {
            self.pod = self.pod.take().or(pod);
        }
    }
}

/// Whether the template carries what its node should know now, and that is another membership than `hash`.
fn carries_another(look: Look<'_>, name: &NodeName, node: &Candidate, hash: &str) -> bool {
    let state = look.discovery.networks.get(&node.network);
    let present = state
        .zip(node.member_port())
        .map(|(state, port)| state.hash_with(name, port));
    let carried = node.stateful_set.template.membership.as_deref();
    present.is_some_and(|present| carried == Some(present.as_str()) && present.as_str() != hash)
}
