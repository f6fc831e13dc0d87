//! Views of objects, as the stores hold them.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;
use stellar_peers::{
    controller::stores::Stores,
    domain::{
        Snapshot,
        peer_list::{PeerList, Record},
        snapshot::ConfigMapView,
    },
};

use crate::validator::NAMESPACE;

/// A view's object, as the sandbox stores it.
pub(crate) fn parse<O: DeserializeOwned>(object: &Value) -> O {
    serde_json::from_value(object.clone()).expect("the sandbox stores objects of their kind")
}

/// A list as it reads once it is written.
pub(crate) fn stored(list: &PeerList) -> ConfigMapView {
    ConfigMapView {
        resource_version: "1".to_owned(),
        labelled: true,
        known_peers: Some(list.known_peers.clone()),
        metadata: Some(list.metadata(Timestamp::UNIX_EPOCH)),
        record: Some(Record::parse(&list.members).map_err(|error| error.to_string())),
        members: Some(list.members.clone()),
        is_as_written: true,
        annotations: list.notes.render(&BTreeMap::new()),
        notes: list.notes.clone(),
        are_notes_as_written: true,
        ..ConfigMapView::default()
    }
}

/// Stores that have seen all of a namespace.
pub(crate) fn filled(snapshot: Snapshot) -> Stores {
    let stores = Stores::filled_by(0);
    for (name, node) in Arc::unwrap_or_clone(snapshot.stellar_nodes) {
        let node = Arc::unwrap_or_clone(node);
        stores.stellar_nodes.apply(NAMESPACE, name, node);
    }
    for (name, set) in Arc::unwrap_or_clone(snapshot.stateful_sets) {
        let set = Arc::unwrap_or_clone(set);
        stores.stateful_sets.apply(NAMESPACE, name, set);
    }
    for (name, pod) in Arc::unwrap_or_clone(snapshot.pods) {
        stores
            .pods
            .apply(NAMESPACE, name, Arc::unwrap_or_clone(pod));
    }
    if let Some(map) = snapshot.config_map {
        let map = Arc::unwrap_or_clone(map);
        stores.config_maps.apply(NAMESPACE, (), map);
    }
    stores
}
