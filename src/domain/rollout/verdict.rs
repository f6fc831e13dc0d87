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
    /// Nobody of its network has been Ready for a while: all were started with addresses that are gone.
    Outage,
}

impl Stale {
    /// Every one.
    pub const ALL: [Self; 4] = [
        Self::Incomplete,
        Self::NotInjected,
        Self::Membership,
        Self::Outage,
    ];

    /// One word for annotations, Events, metrics and machines.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Incomplete => "Incomplete",
            Self::NotInjected => "NotInjected",
            Self::Membership => "Membership",
            Self::Outage => "Outage",
        }
    }

    /// For people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Incomplete => "it has some of what an admission adds, and not all",
            Self::NotInjected => "it has no peer list mounted",
            Self::Membership => "it was started for another set of members",
            Self::Outage => "it was started when all addresses of its network changed",
        }
    }

    /// Whether the restart is one that brings our parts in.
    #[must_use]
    pub const fn is_adoption(self) -> bool {
        matches!(self, Self::Incomplete | Self::NotInjected)
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
    #[error("its own pods are not all Ready, or for too short a time")]
    NotReady,
    /// Another namespace's turn.
    #[error("a validator of its network in namespace {0} is being taken in")]
    Elsewhere(String),
    /// Others are down or restart.
    #[error("{0} restarts, is down, or is Ready for too short a time")]
    Budget(NodeName),
    /// Somebody that was down as well goes first.
    #[error("{0} is restarted first, and has to run and be listed before the next one")]
    Behind(NodeName),
    /// A quorum set would not be met.
    #[error("with those that are down already, the quorum set of {0} would not be met")]
    Quorum(NodeName),
    /// A quorum set is never met without it.
    #[error(
        "--on-zero-tolerance hold: the quorum set of {0} is not met without it, whoever else is up"
    )]
    ZeroTolerance(NodeName),
}

impl Held {
    /// Whether it only waits for others or for time, and nobody has to act.
    #[must_use]
    pub const fn is_only_a_turn(&self) -> bool {
        matches!(
            self,
            Self::Budget(_)
                | Self::Behind(_)
                | Self::Elsewhere(_)
                | Self::Settling
                | Self::NotReady
        )
    }

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
            Self::Elsewhere(_) => "Elsewhere",
            Self::Budget(_) => "Budget",
            Self::Behind(_) => "Behind",
            Self::Quorum(_) => "Quorum",
            Self::ZeroTolerance(_) => "ZeroTolerance",
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
    /// The token of a turn that it has now.
    pub turn: Option<String>,
    /// Its peer port.
    pub port: PeerPort,
    /// It has been down for long, and so takes nothing away from its network.
    pub was_down: bool,
    /// Its network is down, or it has been down since it was.
    pub outage: bool,
    /// The member whose quorum set is not met meanwhile.
    pub halts: Option<NodeName>,
}

/// A pod that is not Ready, and that Kubernetes doesn't replace though a restart of ours wants it to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Its node.
    pub node: NodeName,
    /// Its name.
    pub pod: String,
    /// Its uid.
    pub uid: String,
}

/// The token of a restart that was not carried out, and is to be replaced so that it never will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// Whose.
    pub node: NodeName,
    /// Uid of its StatefulSet.
    pub uid: String,
    /// The token.
    pub token: String,
}

/// Something that people should know, told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// About whom.
    pub node: NodeName,
    /// One word.
    pub reason: &'static str,
    /// In plain words.
    pub note: String,
}

impl Notice {
    /// Every reason.
    pub const REASONS: [&str; 5] = [
        "QuorumUnreadable",
        "QuorumUnmapped",
        "NotRendered",
        "SharedSeed",
        "RenderNotStarted",
    ];
}

/// What a stale member gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may restart now.
    Start(Box<Start>),
    /// It waits.
    Held(Stale, Held),
}

/// What is to be done about the stale members of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// By name; who is not due is not in here.
    pub verdicts: BTreeMap<NodeName, Verdict>,
    /// Pods to delete.
    pub deletions: Vec<Deletion>,
    /// Tokens to replace.
    pub fences: Vec<Fence>,
    /// What people should know.
    pub notices: Vec<Notice>,
    /// When time alone may change a verdict.
    pub look_again: Option<Moment>,
}

impl Plan {
    /// Whether anything is to be done, and so to be decided once more on what the API server has now.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.starts().next().is_none() && self.deletions.is_empty() && self.fences.is_empty()
    }

    /// The restarts that may start now.
    pub fn starts(&self) -> impl Iterator<Item = &Start> {
        self.verdicts.values().filter_map(|verdict| match verdict {
            Verdict::Start(start) => Some(&**start),
            Verdict::Held(..) => None,
        })
    }
}
