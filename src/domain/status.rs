//! What a person sees of a namespace: one value behind `status`, `/api/v1/status` and the status page.
//!
//! It says nothing that the core didn't decide: the reasons are those of [`Skipped`](super::survey::Skipped),
//! [`Held`](super::rollout::Held) and [`Stale`](super::rollout::Stale), in their own words.

mod look;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

pub use self::look::{look_once, status};

/// One namespace. Sorted by name throughout; equal clusters at equal times give equal values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Its name.
    pub namespace: String,
    /// The list; absent where there is none.
    pub list: Option<ListStatus>,
    /// What keeps the service from doing its work here: the last pass failed, and nothing was written since.
    pub problem: Option<Reason>,
    /// Restarts of the whole namespace are held back.
    pub paused: bool,
    /// The networks that have candidates.
    pub networks: Vec<NetworkStatus>,
    /// All nodes, those that are left out as well.
    pub nodes: Vec<NodeStatus>,
}

/// The ConfigMap `stellar-peers`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListStatus {
    /// Addresses in it.
    pub peers: usize,
    /// The first digits of the SHA-256 of its addresses: two lists that are equal have the same.
    pub revision: String,
    /// When it was written last, RFC 3339; absent where that can't be read.
    pub written: Option<String>,
    /// It says what it would be made to say now.
    pub up_to_date: bool,
    /// Some network was published though nobody in it was ever Ready.
    pub bootstrap: bool,
    /// The installation that writes it, `<namespace>/<lease>`.
    pub writer: Option<String>,
}

/// One network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkStatus {
    /// Its name; empty where none is declared.
    pub name: String,
    /// The hash of its members.
    pub membership: String,
    /// Members.
    pub members: usize,
    /// Of these, how many are Ready.
    pub ready: usize,
    /// Of these, how many were started for the present membership.
    pub current: usize,
    /// How many are due for a restart.
    pub due: usize,
    /// The most that may be down at once because of us.
    pub max_unavailable: usize,
    /// Whether any one of the members that are up may go down now, by the quorum sets that are declared: `all`, `some`
    /// or `none`; absent where nobody declares one.
    pub tolerates: Option<Tolerates>,
    /// What happens next, in a sentence; absent where nothing is to be done.
    pub next: Option<String>,
}

/// Which of the members that are up may go down now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Tolerates {
    /// Any one.
    All,
    /// Some.
    Some,
    /// None.
    None,
}

/// What a node is doing, in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// Ready, and started for the present membership.
    Ready,
    /// Restarted by us, and not up for long enough.
    Restarting,
    /// Due for a restart that may start now.
    Due,
    /// Due, and others go first.
    Waiting,
    /// Due, and something keeps it from going until somebody acts.
    Held,
    /// It has none, or only some, of our parts, and can't be given them just so.
    NotInjected,
    /// Not Ready.
    NotReady,
    /// No validator that counts.
    #[default]
    LeftOut,
}

impl Phase {
    /// As people read it.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Restarting => "Restarting",
            Self::Due => "Due",
            Self::Waiting => "Waiting",
            Self::Held => "Held",
            Self::NotInjected => "Not injected",
            Self::NotReady => "Not Ready",
            Self::LeftOut => "Left out",
        }
    }
}

/// A reason: a word for machines, and a sentence for people.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reason {
    /// One word of a closed set; docs/restarts.md lists those of restarts.
    pub reason: String,
    /// In plain words.
    pub text: String,
}

/// One node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its name.
    pub name: String,
    /// Its network.
    pub network: String,
    /// What it is doing.
    pub phase: Phase,
    /// What a person should know of it first, in a few words.
    pub info: String,
    /// Its addresses in the list; none where it is left out.
    pub addresses: Vec<String>,
    /// Why these are listed though it is not Ready: `ColdStart` or `Bootstrap`; `Ready` where it is.
    pub basis: Option<String>,
    /// Why it is not in the list.
    pub left_out: Option<Reason>,
    /// Its peer port.
    pub port: Option<u16>,
    /// Some pod of it is Ready.
    pub ready: bool,
    /// Since when all its pods have been Ready, by the kubelet, RFC 3339.
    pub ready_since: Option<String>,
    /// It counts for the membership.
    pub member: bool,
    /// Since when, RFC 3339.
    pub member_since: Option<String>,
    /// The hash of the members that its pods were started for.
    pub membership: Option<String>,
    /// These are the present ones, or count as such.
    pub current: bool,
    /// Why it is due for a restart.
    pub stale: Option<String>,
    /// What holds that restart back.
    pub held: Option<Reason>,
    /// When we restarted it last, RFC 3339.
    pub restarted: Option<String>,
    /// What a person should know besides.
    pub notices: Vec<Reason>,
    /// Its pods, those that are being deleted left out.
    pub pods: Vec<PodStatus>,
}

/// One pod.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// Its name.
    pub name: String,
    /// Where stellar-core would reach it; absent where nowhere.
    pub host: Option<String>,
    /// Its containers run.
    pub running: bool,
    /// It is Ready.
    pub ready: bool,
    /// It was made from the present template.
    pub updated: bool,
}

impl Status {
    /// The nodes of a network.
    pub fn nodes_of<'a>(&'a self, network: &'a str) -> impl Iterator<Item = &'a NodeStatus> {
        self.nodes
            .iter()
            .filter(move |node| node.network == network)
    }

    /// The names of the networks, those of left-out nodes as well.
    #[must_use]
    pub fn network_names(&self) -> BTreeSet<&str> {
        let networks = self.networks.iter().map(|network| network.name.as_str());
        let nodes = self.nodes.iter().map(|node| node.network.as_str());
        networks.chain(nodes).collect()
    }

    /// Nothing waits, nothing fails, nobody is down.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let is_quiet = |node: &NodeStatus| matches!(node.phase, Phase::Ready | Phase::LeftOut);
        self.problem.is_none() && self.nodes.iter().all(is_quiet)
    }
}
