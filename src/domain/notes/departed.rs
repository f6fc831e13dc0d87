//! Who is gone and still missed.

use std::collections::{BTreeMap, BTreeSet};

use super::Look;
use crate::domain::{
    node::{Network, NodeName},
    quorum::{Directory, QuorumSet, Resolved},
    survey::{candidate, network_of},
};

/// Who was a candidate once, is none now, and is still named by a quorum set: once it is gone its network counts it as
/// down. Whoever has opted out may run as before, and may be deleted later. Where a network has no candidate left there
/// is nobody to ask, and all are kept.
pub(super) fn departed(
    noted: &BTreeMap<String, BTreeSet<String>>,
    look: Look<'_>,
) -> BTreeMap<String, BTreeSet<String>> {
    let record = look.snapshot.config_map.as_ref();
    let record = record.and_then(|map| map.readable_record());
    let is_none_now = |name: &NodeName| candidate(look.survey, name).is_none();
    let mut once: BTreeMap<Network, BTreeSet<NodeName>> = BTreeMap::new();
    for (network, names) in noted {
        let names = names.iter().filter_map(|name| NodeName::new(name).ok());
        let names = names.filter(is_none_now);
        once.entry(Network::new(network)).or_default().extend(names);
    }
    let recorded = record.into_iter().flat_map(|record| &record.nodes);
    for node in recorded.filter(|node| is_none_now(&node.name)) {
        let names = once.entry(node.network.clone()).or_default();
        names.insert(node.name.clone());
    }
    let of_network = |(network, mut names): (Network, BTreeSet<NodeName>)| {
        if let (false, Some(state)) = (names.is_empty(), look.discovery.networks.get(&network)) {
            let directory = Directory::new(names.iter().chain(&state.candidates));
            let named = Resolved::new(&directory, sets_of(look, &network)).names();
            let named: BTreeSet<NodeName> = named.into_iter().cloned().collect();
            names.retain(|name| named.contains(name));
        }
        let names: BTreeSet<String> = names.iter().map(ToString::to_string).collect();
        (!names.is_empty()).then(|| (network.to_text(), names))
    };
    once.into_iter().filter_map(of_network).collect()
}

/// The quorum sets that a network's nodes declare, also those of nodes that are no members now: they may be again.
fn sets_of<'a>(
    look: Look<'a>,
    network: &'a Network,
) -> impl Iterator<Item = (&'a NodeName, &'a QuorumSet)> {
    let snapshot = look.snapshot;
    snapshot
        .stellar_nodes
        .iter()
        .filter_map(move |(name, node)| {
            let set = snapshot.stateful_sets.get(name);
            let quorum_set = node.quorum_set.as_ref()?.as_deref().ok()?;
            (network_of(Some(node), set.map(|set| &**set)) == *network)
                .then_some((name, quorum_set))
        })
}
