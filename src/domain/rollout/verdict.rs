//! What a stale member gets, and why: the values that logs, Events, metrics and people see.

use std::collections::BTreeMap;

use crate::domain::{
    Moment,
    injection::CannotInject,
    membership::MembershipHash,
    node::{Network, NodeName},
    peer::PeerPort,
};

/// Why a member is due for a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stale {
    /// It has some of our parts and not all: first in line.
    Incomplete,
    /// It has none of our parts: it was there before us, or our webhook was not reached.
    NotInjected,
    /// Its pods were started for another membership.
    Membership,
}

impl Stale {
    /// One word for annotations, Events, metrics and machines.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Incomplete => "Incomplete",
            Self::NotInjected => "NotInjected",
            Self::Membership => "Membership",
        }
    }
}

/// Why a stale member is not restarted now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Held {
    /// Restarts are switched off.
    #[error("--restart-on never: the list is kept, nobody is restarted for it")]
    RestartsOff,
    /// Adoption is switched off.
    #[error("--adopt never: it has no peer list mounted until its next rollout")]
    AdoptionOff,
    /// It can't get our parts.
    #[error("cannot inject: {0}")]
    CannotInject(#[from] CannotInject),
    /// A person said so.
    #[error("paused by annotation peers.stellar.org/paused on {0}")]
    Paused(PausedBy),
    /// Its pods would not follow.
    #[error("the StatefulSet's update strategy is OnDelete: delete the pod yourself")]
    OnDelete,
    /// Its pods would not follow.
    #[error("the StatefulSet's rolling update has partition {0}: set it to 0")]
    Partition(i32),
    /// A restart would lose the ledger.
    #[error(
        "the ledger is on an emptyDir and would be lost; allow it with annotation peers.stellar.org/allow-ephemeral"
    )]
    EphemeralLedger,
    /// A restart would be for nothing.
    #[error("it would get an empty list: no other peer is known yet")]
    NoPeers,
    /// It was restarted for this already, and somebody took our parts out again.
    #[error(
        "it was restarted for this already, and its template was put back: see who writes the StatefulSet"
    )]
    AlreadyRestarted,
    /// The API server refused.
    #[error("the API server refuses the restart; see this service's log for its words")]
    Refused,
    /// Who is a member is not certain yet.
    #[error(
        "the record of members was lost; waiting until all validators of the namespace are Ready"
    )]
    RecordLost,
    /// The membership changed a moment ago.
    #[error("the membership changed; waiting until it has been the same for a while")]
    Settling,
    /// A rollout doesn't get done.
    #[error("the restart of {0} does not get done; nobody else is restarted before it is repaired")]
    Stuck(NodeName),
    /// It is down itself.
    #[error("its own pods are not all Ready")]
    NotReady,
    /// Others are down.
    #[error("{0} is down, mid-rollout, or Ready for too short a time")]
    Budget(NodeName),
    /// Somebody else goes first.
    #[error("{0} is restarted first")]
    After(NodeName),
}

impl Held {
    /// One word for Events, metrics and machines.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::RestartsOff => "RestartsOff",
            Self::AdoptionOff => "AdoptionOff",
            Self::CannotInject(_) => "CannotInject",
            Self::Paused(_) => "Paused",
            Self::OnDelete => "OnDelete",
            Self::Partition(_) => "Partition",
            Self::EphemeralLedger => "EphemeralLedger",
            Self::NoPeers => "NoPeers",
            Self::AlreadyRestarted => "AlreadyRestarted",
            Self::Refused => "Refused",
            Self::RecordLost => "RecordLost",
            Self::Settling => "Settling",
            Self::Stuck(_) => "Stuck",
            Self::NotReady => "NotReady",
            Self::Budget(_) => "Budget",
            Self::After(_) => "After",
        }
    }
}

/// Where the annotation that pauses stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PausedBy {
    /// The whole namespace.
    ConfigMap,
    /// This node: on its StellarNode or StatefulSet.
    Node,
}

impl std::fmt::Display for PausedBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::ConfigMap => "the ConfigMap",
            Self::Node => "the StellarNode or StatefulSet",
        })
    }
}

/// One restart that may start now, with all that the decision rested on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// Whom.
    pub node: NodeName,
    /// Its network.
    pub network: Network,
    /// Uid of its StatefulSet.
    pub uid: String,
    /// Generation of its StatefulSet.
    pub generation: i64,
    /// Why.
    pub reason: Stale,
    /// The membership that its pods will know.
    pub hash: MembershipHash,
    /// The membership that its template has now.
    pub carried: Option<String>,
    /// Its peer port.
    pub port: PeerPort,
}

/// What a stale member gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may restart now.
    Start(Start),
    /// It waits.
    Held(Stale, Held),
}

/// What is to be done about the stale members of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// By name; members that are not stale are not in here.
    pub verdicts: BTreeMap<NodeName, Verdict>,
    /// When time alone may change a verdict.
    pub look_again: Option<Moment>,
}

impl Plan {
    /// The restarts that may start now.
    pub fn starts(&self) -> impl Iterator<Item = &Start> {
        self.verdicts.values().filter_map(|verdict| match verdict {
            Verdict::Start(start) => Some(start),
            Verdict::Held(..) => None,
        })
    }
}
