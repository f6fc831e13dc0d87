//! The ConfigMap `stellar-peers`: what it says, and whether it has to be written.

use std::fmt::Write;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    discovery::{Discovery, Listing},
    node::{Network, NodeName},
    notes::Notes,
    peer::{PeerAddress, PeerPort},
    snapshot::ConfigMapView,
    survey::{Survey, candidates},
    time::rfc3339,
};
use crate::api::names;

/// The labels of the ConfigMap.
#[must_use]
pub const fn labels() -> [(&'static str, &'static str); 3] {
    [
        (names::LABEL_NAME, names::NAME_STELLAR_NODE),
        (names::LABEL_COMPONENT, names::COMPONENT_PEER_DISCOVERY),
        (names::LABEL_MANAGED_BY, names::MANAGED_BY),
    ]
}

/// The content of `members.json`: the nodes of the namespace, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Which installation wrote it: `<namespace>/<lease>`.
    pub writer: String,
    /// Every candidate with a usable port.
    pub nodes: Vec<RecordedNode>,
}

/// One node of the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedNode {
    /// Its name.
    pub name: NodeName,
    /// Its network.
    pub network: Network,
    /// Its peer port.
    pub port: PeerPort,
    /// The listed addresses, or, of a member that is not listed, the last that were.
    pub addresses: Vec<PeerAddress>,
    /// Some pod of it is Ready.
    pub ready: bool,
    /// It counts for the membership.
    pub member: bool,
    /// The uid of its StatefulSet.
    pub uid: String,
}

/// Why a record can't be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRecord {
    /// Not the JSON that we write.
    #[error("members.json is not readable: {0}")]
    Json(#[from] serde_json::Error),
    /// Written by a newer version.
    #[error("members.json has version {0}, and this program reads version 1; update it")]
    Version(u64),
    /// A value that we never write.
    #[error("members.json holds an impossible value: {0}")]
    Value(String),
}

#[derive(Deserialize)]
struct ReadRecord {
    writer: String,
    nodes: Vec<ReadNode>,
}

#[derive(Deserialize)]
struct ReadNode {
    name: String,
    network: String,
    port: u16,
    addresses: Vec<String>,
    ready: bool,
    member: bool,
    uid: String,
}

/// The record as it is to be, borrowed: most passes only see that it is the one that is stored.
#[derive(PartialEq, Serialize)]
struct WrittenRecord<'a> {
    v: u64,
    writer: &'a str,
    nodes: Vec<WrittenNode<'a>>,
}

#[derive(PartialEq, Serialize)]
struct WrittenNode<'a> {
    name: &'a NodeName,
    network: &'a Network,
    port: u16,
    addresses: &'a [PeerAddress],
    ready: bool,
    member: bool,
    uid: &'a str,
}

impl Record {
    /// Reads `members.json`.
    ///
    /// # Errors
    /// [`InvalidRecord`] for anything that we would not have written: somebody edited it, or a newer version did.
    pub fn parse(text: &str) -> Result<Self, InvalidRecord> {
        #[derive(Deserialize)]
        struct Version {
            v: u64,
        }
        let Version { v } = serde_json::from_str(text)?;
        if v != 1 {
            return Err(InvalidRecord::Version(v));
        }
        let wire: ReadRecord = serde_json::from_str(text)?;
        let mut nodes = wire
            .nodes
            .into_iter()
            .map(ReadNode::read)
            .collect::<Result<Vec<_>, _>>()?;
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self {
            writer: wire.writer,
            nodes,
        })
    }

    /// Writes `members.json`: compact, equal records in equal bytes.
    #[must_use]
    pub fn render(&self) -> String {
        WrittenRecord::from(self).render()
    }

    /// The node of this name.
    #[must_use]
    pub fn node(&self, name: &NodeName) -> Option<&RecordedNode> {
        let index = self
            .nodes
            .binary_search_by(|node| node.name.cmp(name))
            .ok()?;
        self.nodes.get(index)
    }
}

impl<'a> WrittenRecord<'a> {
    fn of(writer: &'a str, nodes: impl Iterator<Item = WrittenNode<'a>>) -> Self {
        Self {
            v: 1,
            writer,
            nodes: nodes.collect(),
        }
    }

    fn render(&self) -> String {
        // More than a usual node takes.
        let mut text = Vec::with_capacity(100 + 200 * self.nodes.len());
        serde_json::to_writer(&mut text, self).expect("text, numbers and flags always serialize");
        String::from_utf8(text).expect("JSON is text")
    }
}

impl<'a> From<&'a Record> for WrittenRecord<'a> {
    fn from(record: &'a Record) -> Self {
        let nodes = record.nodes.iter().map(|node| WrittenNode {
            name: &node.name,
            network: &node.network,
            port: node.port.get(),
            addresses: &node.addresses,
            ready: node.ready,
            member: node.member,
            uid: &node.uid,
        });
        Self::of(&record.writer, nodes)
    }
}

impl ReadNode {
    fn read(self) -> Result<RecordedNode, InvalidRecord> {
        let impossible = |error: &dyn std::error::Error| InvalidRecord::Value(error.to_string());
        let addresses = self.addresses.iter().map(|text| PeerAddress::parse(text));
        Ok(RecordedNode {
            name: NodeName::new(&self.name).map_err(|error| impossible(&error))?,
            network: Network::new(&self.network),
            port: PeerPort::new(i64::from(self.port)).map_err(|error| impossible(&error))?,
            addresses: addresses
                .collect::<Result<_, _>>()
                .map_err(|error| impossible(&error))?,
            ready: self.ready,
            member: self.member,
            uid: self.uid,
        })
    }
}

/// What the ConfigMap is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerList {
    /// `KNOWN_PEERS`.
    pub known_peers: String,
    /// `members.json`.
    pub members: String,
    /// Its annotations.
    pub notes: Notes,
    /// How many peers are listed.
    pub peers: usize,
    /// How many candidates there are.
    pub active_validators: usize,
    /// Some network is published though nobody in it was ever Ready.
    pub bootstrap: bool,
}

impl PeerList {
    /// `discovery_metadata` of a list written at `at`.
    #[must_use]
    pub fn metadata(&self, at: Timestamp) -> String {
        let Self {
            peers,
            active_validators,
            ..
        } = self;
        let at = rfc3339(at);
        let bootstrap = if self.bootstrap {
            ",bootstrap=true"
        } else {
            ""
        };
        format!(
            "discovered_at={at},peer_count={peers},active_validators={active_validators}{bootstrap}"
        )
    }

    /// Whether the ConfigMap says something else. Only a difference in time is none.
    #[must_use]
    pub fn differs_from(&self, stored: &ConfigMapView) -> bool {
        !stored.labelled
            || stored.known_peers.as_ref() != Some(&self.known_peers)
            || stored.members.as_ref() != Some(&self.members)
            || stored.notes != self.notes
            || !stored.are_notes_as_written
            || stored.metadata.is_none()
    }
}

/// Renders the list. [`None`] where the namespace has no candidate and no list yet: nobody asked for one.
#[must_use]
pub fn peer_list(
    survey: &Survey,
    discovery: &Discovery,
    stored: Option<&ConfigMapView>,
    notes: Notes,
    writer: &str,
) -> Option<PeerList> {
    let active_validators = candidates(survey).count();
    if active_validators == 0 && stored.is_none_or(|stored| stored.members.is_none()) {
        return None;
    }
    let peers = discovery.peers();
    // As long as an IPv4 address and a port can be.
    let mut known_peers = String::with_capacity(22 * peers.len());
    for peer in &peers {
        writeln!(known_peers, "{peer}").expect("writing to a String cannot fail");
    }
    let nodes = candidates(survey).filter_map(|(name, node)| {
        let listing = discovery.listings.get(name);
        let network = discovery.networks.get(&node.network);
        let member = network.is_some_and(|network| network.members().contains_key(name));
        let addresses = match listing {
            Some(Listing::Peers(addresses, _)) => &addresses[..],
            _ if member => &node.remembered,
            _ => &[],
        };
        Some(WrittenNode {
            name,
            network: &node.network,
            port: node.member_port()?.get(),
            addresses,
            ready: node.is_ready(),
            member,
            uid: &node.stateful_set.uid,
        })
    });
    let record = WrittenRecord::of(writer, nodes);
    // Most passes find it as it is, and a comparison costs less than its text.
    let stored = stored.and_then(ConfigMapView::record_as_written);
    let stored = stored.filter(|(stored, _)| record == WrittenRecord::from(*stored));
    Some(PeerList {
        known_peers,
        members: stored.map_or_else(|| record.render(), |(_, text)| text.to_owned()),
        notes,
        peers: peers.len(),
        active_validators,
        bootstrap: discovery.networks.values().any(|network| network.bootstrap),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_node() -> impl Strategy<Value = RecordedNode> {
        let address = (any::<[u8; 4]>(), 1_u16..).prop_map(|(ip, port)| {
            PeerAddress::parse(&format!("{}:{port}", std::net::Ipv4Addr::from(ip))).unwrap()
        });
        (
            "[a-z][a-z0-9-]{0,8}",
            "[a-z]{0,4}",
            1_i64..65536,
            prop::collection::vec(address, 0..3),
            any::<(bool, bool)>(),
        )
            .prop_map(
                |(name, network, port, addresses, (ready, member))| RecordedNode {
                    uid: format!("uid-{name}"),
                    name: NodeName::new(&name).unwrap(),
                    network: Network::new(&network),
                    port: PeerPort::new(port).unwrap(),
                    addresses,
                    ready,
                    member,
                },
            )
    }

    proptest! {
        #[test]
        fn a_record_reads_back_as_it_was_written(nodes in prop::collection::btree_map("[a-z]{1,6}", any_node(), 0..6)) {
            let mut nodes: Vec<_> = nodes.into_values().collect();
            nodes.sort_by(|a, b| a.name.cmp(&b.name));
            nodes.dedup_by(|a, b| a.name == b.name);
            let record = Record { writer: "a/b".to_owned(), nodes };
            prop_assert_eq!(Record::parse(&record.render()).unwrap(), record);
        }

        #[test]
        fn no_text_makes_reading_panic(text in ".{0,200}") {
            let _ = Record::parse(&text);
        }
    }

    #[test]
    fn the_record_is_compact_and_has_the_fields_of_the_contract() {
        let node = RecordedNode {
            name: NodeName::new("validator-1").unwrap(),
            network: Network::new("Testnet"),
            port: PeerPort::DEFAULT,
            addresses: vec![PeerAddress::parse("10.244.0.5:11625").unwrap()],
            ready: true,
            member: true,
            uid: "u1".to_owned(),
        };
        let text = Record {
            writer: "stellar/stellar-peers".to_owned(),
            nodes: vec![node],
        }
        .render();
        assert_eq!(
            text,
            "{\"v\":1,\"writer\":\"stellar/stellar-peers\",\"nodes\":[{\"name\":\"validator-1\",\
             \"network\":\"testnet\",\"port\":11625,\"addresses\":[\"10.244.0.5:11625\"],\"ready\":true,\
             \"member\":true,\"uid\":\"u1\"}]}"
        );
    }

    #[test]
    fn what_we_would_not_write_is_no_record() {
        let node = |port: &str, address: &str| {
            format!(
                "{{\"v\":1,\"writer\":\"w\",\"nodes\":[{{\"name\":\"a\",\"network\":\"\",\"port\":{port},\
                 \"addresses\":[\"{address}\"],\"ready\":true,\"member\":true,\"uid\":\"\"}}]}}"
            )
        };
        assert!(Record::parse(&node("1", "10.0.0.1:1")).is_ok());
        for bad in [
            "",
            "{}",
            "[]",
            "{\"v\":2}",
            &node("0", "10.0.0.1:1"),
            &node("1", "evil\\nline"),
            &node("70000", "x:1"),
        ] {
            assert!(Record::parse(bad).is_err(), "{bad}");
        }
    }
}
