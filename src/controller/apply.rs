//! The writes: the ConfigMap, the joining of a member, the restart of a validator.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use crate::{
    api::{PodObject, StatefulSetObject, names},
    domain::{
        Snapshot,
        injection::CannotInject,
        node::NodeName,
        peer_list::{PeerList, labels},
        rollout::{Start, restart_patch},
        snapshot::{ConfigMapView, PodView, StatefulSetView},
        time::rfc3339,
    },
};

/// No request may take longer: a silent API server must not hold a namespace up for ever.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Why one namespace could not be brought in line.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// RBAC forbids the request. No retry helps before a person acts.
    #[error("may not {verb} {what}; grant it to this service's account")]
    Forbidden {
        /// What was tried.
        verb: &'static str,
        /// On which object.
        what: String,
        /// The API server's answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// Somebody made the ConfigMap immutable.
    #[error(
        "ConfigMap stellar-peers is immutable and cannot follow the validators; delete it, and it is made anew"
    )]
    Immutable,
    /// The list does not fit into a ConfigMap.
    #[error("the peer list is too large for ConfigMap stellar-peers; the last one stays")]
    TooLarge(#[source] Box<kube::Error>),
    /// The namespace is going away. Nothing is to be done.
    #[error("the namespace is being deleted")]
    Terminating,
    /// Somebody else wrote first. The next pass decides on what is there then.
    #[error("{what} changed in between; it is read and decided again")]
    Conflict {
        /// Which object.
        what: String,
    },
    /// Another installation keeps this namespace.
    #[error(
        "{writer} keeps the peer list of this namespace, and is alive; run one of the two with other --namespaces"
    )]
    ForeignWriter {
        /// Its lease, as `namespace/name`.
        writer: String,
    },
    /// The template changed so that our parts no longer fit.
    #[error("could not restart {node}: {why}")]
    CannotInject {
        /// Whom.
        node: NodeName,
        /// Why.
        why: CannotInject,
    },
    /// A policy of the cluster refuses the write, though the object is as we saw it.
    #[error(
        "the API server refuses to {verb} {what}; see who refuses, and exempt this service's account"
    )]
    Refused {
        /// What was tried.
        verb: &'static str,
        /// On which object.
        what: String,
        /// The API server's answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server took the patch and stored something else.
    #[error("the restart of {0} did not take: another admission webhook changes its template back")]
    NotTaken(NodeName),
    /// The API server was silent for ten seconds.
    #[error("no answer from the API server to {verb} {what}; the next attempt is scheduled")]
    Silent {
        /// What was tried.
        verb: &'static str,
        /// On which object.
        what: String,
    },
    /// Any other answer.
    #[error("could not {verb} {what}")]
    Api {
        /// What was tried.
        verb: &'static str,
        /// On which object.
        what: String,
        /// The API server's answer.
        #[source]
        source: Box<kube::Error>,
    },
}

impl ReconcileError {
    /// Event reason and metric label: a closed set.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Forbidden { .. } => "Forbidden",
            Self::Immutable => "Immutable",
            Self::TooLarge(_) => "TooLarge",
            Self::Terminating => "Terminating",
            Self::Conflict { .. } => "Conflict",
            Self::ForeignWriter { .. } => "ForeignWriter",
            Self::CannotInject { .. } => "CannotInject",
            Self::Refused { .. } => "Refused",
            Self::NotTaken(_) => "NotTaken",
            Self::Silent { .. } => "Silent",
            Self::Api { .. } => "Api",
        }
    }

    /// Whether trying the same again soon is of no use, for this object alone.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. } | Self::Forbidden { .. } | Self::CannotInject { .. }
        )
    }

    /// Whether a person has to act before this ends.
    #[must_use]
    pub const fn needs_a_person(&self) -> bool {
        matches!(
            self,
            Self::Forbidden { .. }
                | Self::Immutable
                | Self::TooLarge(_)
                | Self::ForeignWriter { .. }
                | Self::NotTaken(_)
                | Self::Refused { .. }
        )
    }
}

/// Awaits one request to the API server, and says in our words how it failed.
///
/// # Errors
/// The variant of [`ReconcileError`] that the answer stands for.
pub async fn request<T>(
    verb: &'static str,
    what: &str,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, ReconcileError> {
    let what = || what.to_owned();
    let error = match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error,
        Err(_) => return Err(ReconcileError::Silent { verb, what: what() }),
    };
    let (code, message) = match &error {
        kube::Error::Api(status) => (status.code, status.message.as_str()),
        _ => (0, ""),
    };
    Err(match code {
        403 if message.contains("being terminated") => ReconcileError::Terminating,
        403 => ReconcileError::Forbidden {
            verb,
            what: what(),
            source: Box::new(error),
        },
        409 => ReconcileError::Conflict { what: what() },
        _ => ReconcileError::Api {
            verb,
            what: what(),
            source: Box::new(error),
        },
    })
}

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

/// A patch that names another object than the one that is there now: of another uid, or changed in between. The API
/// server calls that invalid; reading again tells.
fn moved_on(error: ReconcileError) -> ReconcileError {
    match error {
        ReconcileError::Api { source, what, .. } if is_invalid(&source) => {
            ReconcileError::Conflict { what }
        }
        other => other,
    }
}

fn is_invalid(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 422)
}

fn params() -> PatchParams {
    PatchParams {
        field_manager: Some(names::STELLAR_PEERS.to_owned()),
        ..PatchParams::default()
    }
}

/// Writes the ConfigMap by server-side apply, and gives it back as stored.
///
/// With `stored` the write holds only if nobody wrote in between. Keys of others stay; ours are taken back from
/// whoever edited them.
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
    if stored.is_some_and(|stored| stored.immutable) {
        return Err(ReconcileError::Immutable);
    }
    let labels: BTreeMap<&str, &str> = labels().into_iter().collect();
    let mut object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": names::STELLAR_PEERS, "namespace": namespace, "labels": labels},
        "data": {
            names::KEY_KNOWN_PEERS: list.known_peers,
            names::KEY_METADATA: list.metadata(at),
            names::KEY_MEMBERS: list.members,
        },
    });
    if let Some(restarts) = &list.restarts {
        object["metadata"]["annotations"] = json!({names::RESTARTS: restarts});
    }
    if let Some(stored) = stored {
        object["metadata"]["resourceVersion"] = json!(stored.resource_version);
    }
    let api = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let params = PatchParams {
        force: true,
        ..params()
    };
    let patch = Patch::Apply(&object);
    let written = request(
        "apply",
        "ConfigMap stellar-peers",
        api.patch(names::STELLAR_PEERS, &params, &patch),
    )
    .await
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

/// Restarts a validator by one JSON patch of its template, which holds only on what the decision rested on.
/// `object` is its StatefulSet as just read from the API server.
///
/// # Errors
/// [`ReconcileError::Conflict`] where the StatefulSet is another by now: it is read and decided again, never
/// repeated as it was.
pub async fn restart(
    client: &Client,
    namespace: &str,
    object: &StatefulSetObject,
    start: &Start,
    at: Timestamp,
) -> Result<(), ReconcileError> {
    let node = || start.node.clone();
    let document = serde_json::to_value(object).unwrap_or_default();
    let operations = restart_patch(&document, start, at)
        .map_err(|why| ReconcileError::CannotInject { node: node(), why })?;
    let patch = Patch::Json::<()>(json_patch::Patch(operations));
    let api = Api::<StatefulSetObject>::namespaced(client.clone(), namespace);
    let what = format!("StatefulSet {}", start.node);
    let written = request(
        "patch",
        &what,
        api.patch(start.node.as_str(), &params(), &patch),
    )
    .await;
    let written = match written {
        Err(ReconcileError::Api { verb, what, source }) if is_invalid(&source) => {
            // A failed test looks like a refusal; reading again tells which it was.
            let now = request("get", &what, api.get(start.node.as_str())).await?;
            return Err(if is_as_decided_on(&now, start) {
                ReconcileError::Refused { verb, what, source }
            } else {
                ReconcileError::Conflict { what }
            });
        }
        written => written?,
    };
    let carried = StatefulSetView::from(&written).template.membership;
    if carried.as_deref() == Some(start.hash.as_str()) {
        Ok(())
    } else {
        Err(ReconcileError::NotTaken(node()))
    }
}

fn is_as_decided_on(object: &StatefulSetObject, start: &Start) -> bool {
    let view = StatefulSetView::from(object);
    (view.uid, view.generation, view.template.membership)
        == (start.uid.clone(), start.generation, start.carried.clone())
}

/// What a restart is decided on: StatefulSets, pods and the list as the API server has them now.
#[derive(Debug)]
pub struct Fresh {
    /// StatefulSets by name.
    pub stateful_sets: BTreeMap<NodeName, StatefulSetObject>,
    /// Views of the pods by name.
    pub pods: BTreeMap<String, PodView>,
    /// The ConfigMap.
    pub config_map: Option<ConfigMapView>,
}

impl Fresh {
    /// The snapshot with what was read in place of what the stores had.
    #[must_use]
    pub fn over(&self, stored: Snapshot) -> Snapshot {
        let sets = self.stateful_sets.iter();
        let pods = self.pods.iter();
        Snapshot {
            stateful_sets: sets
                .map(|(name, set)| (name.clone(), Arc::new(StatefulSetView::from(set))))
                .collect(),
            pods: pods
                .map(|(name, pod)| (name.clone(), Arc::new(pod.clone())))
                .collect(),
            config_map: self.config_map.clone().map(Arc::new),
            ..stored
        }
    }
}

/// Reads a namespace past the stores.
///
/// # Errors
/// [`ReconcileError`]; a part that can't be read makes the whole useless.
pub async fn read_fresh(client: &Client, namespace: &str) -> Result<Fresh, ReconcileError> {
    let all = ListParams::default();
    let sets = Api::<StatefulSetObject>::namespaced(client.clone(), namespace);
    let sets = request("list", "StatefulSets", sets.list(&all)).await?;
    let pods = Api::<PodObject>::namespaced(client.clone(), namespace);
    let pods = request("list", "pods", pods.list(&all)).await?;
    let list = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let list = request(
        "get",
        "ConfigMap stellar-peers",
        list.get_opt(names::STELLAR_PEERS),
    )
    .await?;
    let named = |set: StatefulSetObject| Some((NodeName::new(&set.name_any()).ok()?, set));
    Ok(Fresh {
        stateful_sets: sets.items.into_iter().filter_map(named).collect(),
        pods: pods
            .items
            .iter()
            .map(|pod| (pod.name_any(), PodView::from(pod)))
            .collect(),
        config_map: list.as_ref().map(ConfigMapView::from),
    })
}
