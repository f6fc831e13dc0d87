//! The turn of a network: who is being restarted, so that two processes that both believe they lead never restart
//! two validators at once.
//!
//! A start writes, in this order: a fresh token to the StatefulSet ([`names::TURN`](crate::api::names::TURN)), the
//! turn to the ConfigMap under its resourceVersion, and the restart itself, which tests the token and takes it away.
//!
//! # Guarantees
//! - Who takes a turn read the ConfigMap first, and so saw every token that was given before an earlier turn was
//!   taken. It takes these tokens away before its own turn: a process that slept in between can't carry out its
//!   restart any more. A turn is never timed out.
//! - A token is used once: the restart takes it away, so a request that arrives twice or late restarts nobody.
//!
//! # Assumptions
//! Nobody but us writes an old token back.

use serde::{Deserialize, Serialize};

use super::snapshot::StatefulSetView;

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
    /// Nobody of the network was Ready at the time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outage: bool,
    /// What the StatefulSet carries until the restart takes it away.
    pub token: String,
}

impl Turn {
    /// Whether the restart was carried out, as far as its StatefulSet tells.
    ///
    /// A restart always moves the generation. Where that moved and the hash is not there, a writer that replaces
    /// the whole may have put the template back, or have come first; once is enough, so it counts as done.
    #[must_use]
    pub fn is_done(&self, set: &StatefulSetView) -> bool {
        set.uid == self.uid
            && set.generation > self.generation
            && set.turn.as_deref() != Some(self.token.as_str())
    }
}
