//! The turn of a network: who is being restarted, so that two processes that both believe they lead never restart
//! two validators at once.
//!
//! A start writes, in this order: a fresh token to the StatefulSet ([`names::TURN`](crate::api::names::TURN)), the
//! turn to the ConfigMap under its resourceVersion, and the restart itself, which tests the token and takes it away.
//!
//! # Guarantees
//! - Who takes a turn read the ConfigMap first, and so saw every token that was given before an earlier turn was
//!   taken. It fences these before its own turn: a process that slept in between can't carry out its restart any
//!   more. A turn is never timed out.
//! - A token is used once: the restart takes it away, so a request that arrives twice or late restarts nobody.
//!
//! # Assumptions
//! Nobody but us writes an old token back.

use serde::{Deserialize, Serialize};

use super::{rollout::Start, snapshot::StatefulSetView};

/// A restart that somebody set out to do: an annotation of the ConfigMap, one a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The network.
    pub network: String,
    /// Whose turn it is.
    pub node: String,
    /// Uid of its StatefulSet.
    pub uid: String,
    /// Generation of its StatefulSet before the restart.
    pub generation: i64,
    /// Why it restarts.
    pub reason: String,
    /// The membership that its pods will know.
    pub hash: String,
    /// The membership that its template carried before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carried: Option<String>,
    /// The network was down at the time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outage: bool,
    /// What the StatefulSet carries until the restart takes it away.
    pub token: String,
}

/// What became of a turn, as far as its StatefulSet tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The restart may still be on its way, or has not been seen yet.
    Open,
    /// The validator was restarted.
    Done,
    /// The restart was not carried out, and never will be.
    Dropped,
}

impl Turn {
    /// The turn for this restart.
    #[must_use]
    pub fn of(start: &Start, token: &str) -> Self {
        Self {
            network: start.network.as_str().to_owned(),
            node: start.node.to_string(),
            uid: start.uid.clone(),
            generation: start.generation,
            reason: start.reason.reason().to_owned(),
            hash: start.hash.to_string(),
            carried: start.carried.clone(),
            outage: start.outage,
            token: token.to_owned(),
        }
    }

    /// What became of it. `is_newer` says that the StatefulSet was read after the ConfigMap that has this turn.
    ///
    /// A restart always moves the generation and takes the token away. Where both are so and the hash is not there,
    /// a writer that replaces the whole may have put the template back; once is enough, so it counts as done.
    #[must_use]
    pub fn outcome(&self, set: &StatefulSetView, is_newer: bool) -> Outcome {
        let carried = set.turn.as_deref();
        if set.uid != self.uid || carried == Some(fenced(&self.token).as_str()) {
            Outcome::Dropped
        } else if carried == Some(self.token.as_str()) {
            Outcome::Open
        } else if set.generation > self.generation {
            Outcome::Done
        } else if is_newer {
            Outcome::Dropped
        } else {
            Outcome::Open
        }
    }
}

const FENCED: &str = "fenced ";

/// What takes the place of a token, so that its restart can't be carried out, and everybody sees that it was not.
#[must_use]
pub fn fenced(token: &str) -> String {
    format!("{FENCED}{token}")
}

/// Whether a restart may still be carried out under what a StatefulSet carries.
#[must_use]
pub fn is_live(token: &str) -> bool {
    !token.starts_with(FENCED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fixtures::a_turn;

    #[test]
    fn the_statefulset_tells_what_became_of_a_turn() {
        let fenced = fenced("t");
        let ways = [
            (3, Some("t"), Outcome::Open, Outcome::Open),
            (4, Some("t"), Outcome::Open, Outcome::Open),
            (4, None, Outcome::Done, Outcome::Done),
            (4, Some("another"), Outcome::Done, Outcome::Done),
            (4, Some(fenced.as_str()), Outcome::Dropped, Outcome::Dropped),
            (3, Some(fenced.as_str()), Outcome::Dropped, Outcome::Dropped),
            // Nobody gives a token after its turn was taken.
            (3, None, Outcome::Open, Outcome::Dropped),
        ];
        for (generation, carried, stored, newer) in ways {
            let set = StatefulSetView {
                uid: "u".to_owned(),
                generation,
                turn: carried.map(str::to_owned),
                ..StatefulSetView::default()
            };
            let turn = a_turn("testnet");
            let context = format!("{generation} {carried:?}");
            assert_eq!(turn.outcome(&set, false), stored, "{context}");
            assert_eq!(turn.outcome(&set, true), newer, "{context}");
        }
        let another = StatefulSetView::default();
        let outcome = a_turn("testnet").outcome(&another, false);
        assert_eq!(outcome, Outcome::Dropped);
    }
}
