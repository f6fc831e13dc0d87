//! The writes beside restarts: the ConfigMap, and the joining of a member.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::error::{ReconcileError, another_is_there, moved_on, request};
use crate::{
    api::{StatefulSetObject, names},
    domain::{
        node::NodeName,
        notes::Notes,
        peer_list::{PeerList, labels},
        snapshot::ConfigMapView,
        time::rfc3339,
    },
};

/// The ConfigMap in our words.
pub(super) const LIST: &str = "ConfigMap stellar-peers";
/// No object has this version: an apply that names it makes one or meets a conflict (seen on kube-apiserver 1.35).
const VERSION_OF_NONE: &str = "1";

/// What the API server finds wrong with a list, in our words.
fn refused_list(error: ReconcileError) -> ReconcileError {
    let ReconcileError::Api { source, .. } = &error else {
        return error;
    };
    let kube::Error::Api(status) = &**source else {
        return error;
    };
    match (status.code, status.message.as_str()) {
        (422, message) if message.contains("immutable") => ReconcileError::Immutable,
        (code, message)
            if code == 413 || message.contains("Too long") || message.contains("too large") =>
        {
            match error {
                ReconcileError::Api { source, .. } => ReconcileError::TooLarge(source),
                other => other,
            }
        }
        _ => error,
    }
}

/// We write under one name, by which an admission knows us.
pub(crate) fn params() -> PatchParams {
    PatchParams {
        field_manager: Some(names::STELLAR_PEERS.to_owned()),
        ..PatchParams::default()
    }
}

/// The same for an apply, which takes back what others edited of ours.
pub(crate) fn apply_params() -> PatchParams {
    PatchParams {
        force: true,
        ..params()
    }
}

/// Lets an apply of `object` hold only while the stored one has this uid and resourceVersion, or while there is none.
pub(crate) fn only_on(object: &mut Value, stored: Option<(&str, &str)>) {
    let metadata = &mut object["metadata"];
    if let Some((uid, resource_version)) = stored {
        metadata["resourceVersion"] = json!(resource_version);
        // Without the uid an apply would make the object where somebody deleted it.
        metadata["uid"] = json!(uid);
    } else {
        metadata["resourceVersion"] = json!(VERSION_OF_NONE);
    }
}

/// Writes the ConfigMap by server-side apply, and gives it back as stored.
///
/// It holds only if nobody wrote since `stored` was read, or made the ConfigMap where that is [`None`]: a write that
/// arrives late changes nothing. Keys of others stay; ours are taken back from whoever edited them.
///
/// # Errors
/// [`ReconcileError`]; the list that was there stays.
pub async fn apply_list(
    client: &Client,
    namespace: &str,
    list: &PeerList,
    stored: Option<&ConfigMapView>,
    at: Timestamp,
) -> Result<ConfigMapView, ReconcileError> {
    let metadata = list.metadata(at);
    let data = [
        (names::KEY_KNOWN_PEERS, &list.known_peers),
        (names::KEY_METADATA, &metadata),
        (names::KEY_MEMBERS, &list.members),
    ];
    apply(client, namespace, data, &list.notes, stored).await
}

/// Writes notes alone. The list stays as it is: what was decided on together with the notes may be older by now.
///
/// # Errors
/// [`ReconcileError::Conflict`] also where a part of the list is missing, which the next pass brings back.
pub(super) async fn apply_notes(
    client: &Client,
    namespace: &str,
    notes: &Notes,
    stored: &ConfigMapView,
) -> Result<ConfigMapView, ReconcileError> {
    let part = |part: &'_ Option<String>| {
        part.clone().ok_or_else(|| ReconcileError::Conflict {
            what: LIST.to_owned(),
        })
    };
    let (peers, metadata, members) = (
        part(&stored.known_peers)?,
        part(&stored.metadata)?,
        part(&stored.members)?,
    );
    let data = [
        (names::KEY_KNOWN_PEERS, &peers),
        (names::KEY_METADATA, &metadata),
        (names::KEY_MEMBERS, &members),
    ];
    apply(client, namespace, data, notes, Some(stored)).await
}

async fn apply(
    client: &Client,
    namespace: &str,
    data: [(&str, &String); 3],
    notes: &Notes,
    stored: Option<&ConfigMapView>,
) -> Result<ConfigMapView, ReconcileError> {
    if stored.is_some_and(|stored| stored.immutable) {
        return Err(ReconcileError::Immutable);
    }
    let labels: BTreeMap<&str, &str> = labels().into_iter().collect();
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": names::STELLAR_PEERS, "namespace": namespace, "labels": labels},
        "data": BTreeMap::from(data),
    });
    let nothing = BTreeMap::new();
    let notes = notes.render(stored.map_or(&nothing, |stored| &stored.annotations));
    if !notes.is_empty() {
        object["metadata"]["annotations"] = json!(notes);
    }
    let version = stored.map(|it| (it.uid.as_str(), it.resource_version.as_str()));
    only_on(&mut object, version);
    let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let params = apply_params();
    let patch = Patch::Apply(&object);
    let written = request(
        "apply",
        LIST,
        api.patch(names::STELLAR_PEERS, &params, &patch),
    )
    .await
    .map_err(another_is_there)
    .map_err(refused_list)?;
    Ok(ConfigMapView::from(&written))
}

/// Writes down on its StatefulSet that a node was Ready for the first time. The uid keeps that from another
/// StatefulSet of the same name.
///
/// # Errors
/// [`ReconcileError`]; the record in the ConfigMap stands for it as well.
pub async fn write_joined(
    client: &Client,
    namespace: &str,
    node: &NodeName,
    uid: &str,
    at: Timestamp,
) -> Result<(), ReconcileError> {
    let patch = json!({"metadata": {"uid": uid, "annotations": {names::JOINED_AT: rfc3339(at)}}});
    let api = Api::<StatefulSetObject>::namespaced(client.clone(), namespace);
    let what = format!("StatefulSet {node}");
    request(
        "patch",
        &what,
        api.patch(node.as_str(), &params(), &Patch::Merge(&patch)),
    )
    .await
    .map(|_| ())
    .map_err(moved_on)
}
