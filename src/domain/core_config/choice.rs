//! Whom a validator is told about: what the list has for it, as it is mounted into its pod.
//!
//! # Guarantees
//! - Never the node itself: by its name in the record, by the addresses of its pods, by the names of its pods.
//! - With a readable record nobody of another network.
//!
//! All addresses that the record has of a network's other nodes count, Ready or not, and so more than `KNOWN_PEERS` may
//! list: links work both ways, and of two that restart at the same time neither would find the other in a list of
//! those that are Ready. An address at which nobody answers costs stellar-core one failed dial now and then.

use std::{collections::BTreeSet, fmt, net::Ipv4Addr};

use crate::domain::{
    node::{Network, NodeName},
    peer::{Host, PeerAddress, PeerPort},
    peer_list::{InvalidRecord, Record},
};

/// What the mounted ConfigMap has; [`None`] for a file that isn't there.
#[derive(Clone, Copy, Debug, Default)]
pub struct MountedList<'a> {
    /// `members.json`.
    pub members: Option<&'a str>,
    /// `KNOWN_PEERS`.
    pub known_peers: Option<&'a str>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader {
    /// Its name.
    pub name: NodeName,
    /// Its network, for the time in which the record doesn't have it yet.
    pub network: Option<Network>,
    /// The addresses of its pod.
    pub ips: BTreeSet<Ipv4Addr>,
}

/// Where the peers come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The nodes of this network in `members.json`.
    Record(Network),
    /// The lines of `KNOWN_PEERS`, whatever network they are of.
    Lines,
    /// Nowhere.
    Nothing,
}

/// Whom a validator is told about.
#[derive(Debug)]
pub struct Choice {
    /// The peers; the asking node is none of them.
    pub peers: BTreeSet<PeerAddress>,
    /// Where they come from.
    pub basis: Basis,
    /// What stood in the way.
    pub problems: Vec<Problem>,
}

/// What a validator is not told because of the list. A later start reads it again.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The ConfigMap isn't there, or isn't ours.
    #[error("there is no list yet: neither members.json nor KNOWN_PEERS")]
    NoList,
    /// Somebody edited `members.json`, or a newer version wrote it.
    #[error(transparent)]
    Record(InvalidRecord),
    /// The record has other nodes of several networks, and not this one.
    #[error(
        "members.json has networks {networks}, and not {name}; name its network with --network"
    )]
    UnknownNetwork {
        /// Who asks.
        name: NodeName,
        /// The networks of the others.
        networks: String,
    },
    /// Lines of `KNOWN_PEERS` that stellar-core could not dial.
    #[error(
        "KNOWN_PEERS has lines that are no peer addresses and left out: {count}, first line {first}"
    )]
    InvalidLines {
        /// How many.
        count: usize,
        /// The first of them, counted from 1.
        first: usize,
    },
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Record(network) => write!(f, "network {network}"),
            Self::Lines => f.write_str("all networks, from KNOWN_PEERS alone"),
            Self::Nothing => f.write_str("no list"),
        }
    }
}

impl Reader {
    /// `pod_ips` is one address or several with commas between them, as Kubernetes gives `status.podIPs`. What is no
    /// IPv4 address is left out: no peer has one.
    #[must_use]
    pub fn new(name: NodeName, network: Option<Network>, pod_ips: &str) -> Self {
        let ips = pod_ips.split(',').filter_map(|ip| ip.trim().parse().ok());
        Self {
            name,
            network,
            ips: ips.collect(),
        }
    }

    /// Whether an address is one of the asking node's pods: at its port, where that is known, since pods on the
    /// host's network share an address.
    fn is_own(&self, address: &PeerAddress, port: Option<PeerPort>) -> bool {
        match address.host() {
            Host::Ip(ip) => self.ips.contains(ip) && port.is_none_or(|port| port == address.port()),
            Host::Name(host) => self.is_own_pod(host),
        }
    }

    /// A pod's DNS name begins with its own name: that of its StatefulSet, and its ordinal.
    fn is_own_pod(&self, host: &str) -> bool {
        let rest = host.strip_prefix(self.name.as_str());
        let rest = rest.and_then(|rest| rest.strip_prefix('-'));
        let ordinal = rest.and_then(|rest| rest.split('.').next());
        ordinal.is_some_and(|it| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit()))
    }
}

/// Chooses from the record, or from the plain list where there is no record that can be read.
#[must_use]
pub fn choose(list: &MountedList<'_>, reader: &Reader) -> Choice {
    let mut problems = Vec::new();
    match list.members.map(Record::parse) {
        Some(Ok(record)) => return from_record(&record, reader),
        Some(Err(error)) => problems.push(Problem::Record(error)),
        None => {}
    }
    let Some(lines) = list.known_peers else {
        if problems.is_empty() {
            problems.push(Problem::NoList);
        }
        return nothing(problems);
    };
    let (peers, invalid) = from_lines(lines, reader);
    problems.extend(invalid);
    Choice {
        peers,
        basis: Basis::Lines,
        problems,
    }
}

fn nothing(problems: Vec<Problem>) -> Choice {
    Choice {
        peers: BTreeSet::new(),
        basis: Basis::Nothing,
        problems,
    }
}

fn from_record(record: &Record, reader: &Reader) -> Choice {
    let network = match network_of(record, reader) {
        Ok(network) => network,
        Err(problem) => return nothing(vec![problem]),
    };
    let own = record.node(&reader.name);
    let own_addresses = own.map_or(&[][..], |own| &own.addresses);
    let own_port = own.map(|own| own.port);
    let mates = record
        .nodes
        .iter()
        .filter(|node| node.network == network && node.name != reader.name);
    let peers = mates
        .flat_map(|node| &node.addresses)
        .filter(|address| !own_addresses.contains(address) && !reader.is_own(address, own_port));
    Choice {
        peers: peers.cloned().collect(),
        basis: Basis::Record(network),
        problems: Vec::new(),
    }
}

/// The record knows best. A node that it doesn't have yet is of the network that it was told, or of the only one.
fn network_of(record: &Record, reader: &Reader) -> Result<Network, Problem> {
    if let Some(own) = record.node(&reader.name) {
        return Ok(own.network.clone());
    }
    if let Some(network) = &reader.network {
        return Ok(network.clone());
    }
    let networks: BTreeSet<&Network> = record.nodes.iter().map(|node| &node.network).collect();
    if networks.len() > 1 {
        let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
        return Err(Problem::UnknownNetwork {
            name: reader.name.clone(),
            networks: networks.join(", "),
        });
    }
    Ok(networks
        .first()
        .map_or_else(Network::unnamed, |only| (*only).clone()))
}

fn from_lines(lines: &str, reader: &Reader) -> (BTreeSet<PeerAddress>, Option<Problem>) {
    let mut peers = BTreeSet::new();
    let mut invalid = Vec::new();
    for (index, line) in lines.lines().enumerate() {
        match PeerAddress::parse(line.trim()) {
            Ok(peer) => {
                peers.insert(peer);
            }
            Err(_) if line.trim().is_empty() => {}
            Err(_) => invalid.push(index + 1),
        }
    }
    peers.retain(|peer| !reader.is_own(peer, None));
    let problem = invalid.first().map(|first| Problem::InvalidLines {
        count: invalid.len(),
        first: *first,
    });
    (peers, problem)
}
