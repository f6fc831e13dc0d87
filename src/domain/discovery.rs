//! Who is a peer of whom, and at which addresses.
//!
//! # Guarantees
//! - The order of the input never matters, and addresses are sorted and unique.
//! - Each node has either addresses in the list or exactly one reason why not.
//! - A network that is mostly down keeps all its addresses: a cluster that starts cold finds itself again.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Memory, Moment, Policy,
    membership::{Members, Membership, MembershipHash},
    node::{Network, NodeName},
    peer::{PeerAddress, PeerPort},
    peer_list::Record,
    survey::{Candidate, Skipped, Standing, Survey, candidates},
};

/// Why a node's addresses are in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// These pods are Ready.
    Ready,
    /// Fewer than half of the network's members are Ready: all are listed with their newest address.
    ColdStart,
    /// Nobody was ever Ready: whoever runs is listed.
    Bootstrap,
}

/// What the list has of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listing {
    /// These addresses.
    Peers(Vec<PeerAddress>, Basis),
    /// Nothing, for this reason.
    Skipped(Skipped),
}

impl Listing {
    /// The addresses; none where it is left out.
    #[must_use]
    pub fn addresses(&self) -> &[PeerAddress] {
        match self {
            Self::Peers(addresses, _) => addresses,
            Self::Skipped(_) => &[],
        }
    }
}

/// One network of the namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkState {
    /// Its members with their ports, and their hash.
    pub membership: Membership,
    /// The hash that counts as this one as well: where restarts are for joins alone, that of the members before
    /// some left.
    pub key: MembershipHash,
    /// Its candidates, members or not.
    pub candidates: BTreeSet<NodeName>,
    /// Nobody was ever Ready, and what runs is published.
    pub bootstrap: bool,
}

/// Who is a peer, and what the networks are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovery {
    /// What the list has of each name.
    pub listings: BTreeMap<NodeName, Listing>,
    /// The networks that have candidates.
    pub networks: BTreeMap<Network, NetworkState>,
    /// When to look again, where a cold start waits for time to pass.
    pub look_again: Option<Moment>,
}

impl NetworkState {
    /// Its members with their ports.
    #[must_use]
    pub const fn members(&self) -> &Members {
        self.membership.members()
    }

    /// The hash of its members.
    #[must_use]
    pub const fn hash(&self) -> &MembershipHash {
        self.membership.hash()
    }

    /// The membership of the members and this node: what its pods would be told now.
    #[must_use]
    pub fn hash_with(&self, name: &NodeName, port: PeerPort) -> MembershipHash {
        if self.members().contains_key(name) {
            return self.hash().clone();
        }
        self.membership.hash_with(name, port)
    }
}

impl Discovery {
    /// Keeps each network's last key while nobody joined since the record was written. `keys` are those noted then.
    pub fn keep_keys(&mut self, record: &Record, keys: &BTreeMap<String, String>) {
        for (network, state) in &mut self.networks {
            let of_network = record.nodes.iter().filter(|it| it.network == *network);
            let recorded: Members = of_network
                .filter(|node| node.member)
                .map(|node| (node.name.clone(), node.port))
                .collect();
            let is_recorded = |(name, port)| recorded.get(name) == Some(port);
            if !recorded.is_empty() && state.members().iter().all(is_recorded) {
                let noted = keys.get(network.as_str());
                let noted = noted.and_then(|text| MembershipHash::parse(text));
                state.key = noted.unwrap_or_else(|| MembershipHash::of(&recorded));
            }
        }
    }

    /// All addresses of the list.
    #[must_use]
    pub fn peers(&self) -> BTreeSet<&PeerAddress> {
        self.listings
            .values()
            .flat_map(Listing::addresses)
            .collect()
    }

    /// The addresses of a network that `node` is made to use: all but its own.
    #[must_use]
    pub fn peers_of(&self, node: &NodeName) -> BTreeSet<PeerAddress> {
        self.others(node)
            .flat_map(Listing::addresses)
            .cloned()
            .collect()
    }

    /// Whether `node` has anybody to be made to use.
    #[must_use]
    pub fn has_peers(&self, node: &NodeName) -> bool {
        self.others(node)
            .any(|listing| !listing.addresses().is_empty())
    }

    /// What the list has of the other nodes of a node's network.
    fn others(&self, node: &NodeName) -> impl Iterator<Item = &Listing> {
        let network = self
            .networks
            .values()
            .find(|network| network.candidates.contains(node));
        let candidates = network.into_iter().flat_map(|network| &network.candidates);
        candidates
            .filter(move |other| *other != node)
            .filter_map(|other| self.listings.get(other))
    }
}

/// Decides who is a peer. `memory` has seen this survey.
#[must_use]
pub fn discover(
    survey: &Survey,
    was_bootstrap: bool,
    memory: &Memory,
    policy: &Policy,
    now: Moment,
) -> Discovery {
    let mut discovery = Discovery::default();
    for (name, standing) in survey {
        if let Standing::Out(reason) = standing {
            discovery
                .listings
                .insert(name.clone(), Listing::Skipped(reason.clone()));
        }
    }
    for (network, nodes) in by_network(survey) {
        let start = start_of(network, &nodes, was_bootstrap, memory, policy, now);
        let bootstraps = start == Start::Bootstrap;
        let is_member = |node: &Candidate| {
            node.was_member || node.is_ready() || (bootstraps && node.is_running())
        };
        let members: Vec<_> = nodes.iter().filter(|(_, node)| is_member(node)).collect();
        let ready = members.iter().filter(|(_, node)| node.is_ready()).count();
        let is_cold = 2 * ready < members.len();
        for (name, node) in &nodes {
            let listing = list(node, is_member(node), is_cold, bootstraps);
            discovery.listings.insert((*name).clone(), listing);
        }
        let lines: Members = members
            .iter()
            .filter_map(|(name, node)| Some(((*name).clone(), node.member_port()?)))
            .collect();
        let membership = Membership::of(lines);
        let state = NetworkState {
            key: membership.hash().clone(),
            membership,
            candidates: nodes.iter().map(|(name, _)| (*name).clone()).collect(),
            bootstrap: bootstraps,
        };
        if let Start::WaitUntil(moment) = start {
            discovery.look_again = Some(
                discovery
                    .look_again
                    .map_or(moment, |other| other.min(moment)),
            );
        }
        discovery.networks.insert(network.clone(), state);
    }
    discovery
}

/// The candidates of a network, sorted by name.
type Nodes<'a> = Vec<(&'a NodeName, &'a Candidate)>;

fn by_network(survey: &Survey) -> BTreeMap<&Network, Nodes<'_>> {
    let mut networks: BTreeMap<&Network, Nodes<'_>> = BTreeMap::new();
    for (name, node) in candidates(survey) {
        networks
            .entry(&node.network)
            .or_default()
            .push((name, node));
    }
    networks
}

/// How a network came up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// Somebody was Ready once, or too few run.
    Usual,
    /// Nobody ever was: help begins then.
    WaitUntil(Moment),
    /// Nobody ever was, and for long enough.
    Bootstrap,
}

/// Validators are often Ready only once they are in sync, and can't be in sync without peers. So where nobody was
/// ever Ready, whoever runs is published after a while.
fn start_of(
    network: &Network,
    nodes: &Nodes<'_>,
    was_bootstrap: bool,
    memory: &Memory,
    policy: &Policy,
    now: Moment,
) -> Start {
    if policy.bootstrap_after.is_zero() || nodes.iter().any(|(_, node)| node.was_ready) {
        return Start::Usual;
    }
    if nodes.iter().any(|(_, node)| node.was_member) {
        // Recorded members that were never Ready come from a bootstrap; it goes on until one of them is.
        return if was_bootstrap {
            Start::Bootstrap
        } else {
            Start::Usual
        };
    }
    match memory.never_ready_since(network) {
        Some(since) if now >= since + policy.bootstrap_after => Start::Bootstrap,
        Some(since) => Start::WaitUntil(since + policy.bootstrap_after),
        None => Start::Usual,
    }
}

/// Addresses of the pods that run, Ready or not.
fn running(node: &Candidate) -> Vec<PeerAddress> {
    node.addresses(|pod| pod.running)
}

fn list(node: &Candidate, is_member: bool, is_cold: bool, bootstraps: bool) -> Listing {
    let Some(reason) = node.skipped() else {
        return Listing::Peers(node.addresses(|pod| pod.ready), Basis::Ready);
    };
    if !is_member || !is_cold {
        return Listing::Skipped(reason);
    }
    let mut addresses = running(node);
    if addresses.is_empty() {
        addresses.clone_from(&node.remembered);
    }
    let basis = if bootstraps {
        Basis::Bootstrap
    } else {
        Basis::ColdStart
    };
    if addresses.is_empty() {
        Listing::Skipped(reason)
    } else {
        Listing::Peers(addresses, basis)
    }
}
