//! The writes of a restart, in the order that keeps two processes from restarting two validators at once. Why that
//! is so is told in [`crate::domain::turn`].

use std::time::Duration;

use jiff::Timestamp;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, Preconditions},
};

use super::{
    apply::{LIST, apply_notes, params},
    error::{ReconcileError, is_invalid, request},
    fresh::Fresh,
};
use crate::{
    api::{PodObject, StatefulSetObject},
    domain::{
        node::NodeName,
        notes::Notes,
        patch::{Operation, sendable},
        policy::InjectMode,
        rollout::{Deletion, Fence, Start, fence_patch, restart_patch, token_patch},
        snapshot::{ConfigMapView, StatefulSetView},
        turn::Turn,
    },
    json::Json,
};

/// A decision that is older than this is no decision: what it rested on may have changed.
pub(crate) const DECISION_AGE_MAX: Duration = Duration::from_secs(10);

/// What a restart of a validator is carried out with.
#[derive(Clone, Copy)]
pub(crate) struct Errand<'a> {
    pub(crate) client: &'a Client,
    pub(crate) namespace: &'a str,
    /// The notes as they were decided on together with the restart.
    pub(crate) notes: &'a Notes,
    /// A text that was never a token before.
    pub(crate) token: &'a str,
    pub(crate) at: Timestamp,
    /// How the list is given to the validator.
    pub(crate) inject: &'a InjectMode,
    /// Whether the decision still holds: it is not too old, and we still lead.
    pub(crate) is_timely: &'a (dyn Fn() -> bool + Sync),
}

/// A restart that was carried out.
#[derive(Debug)]
pub(crate) struct Carried {
    /// The generation that the StatefulSet has since.
    pub(crate) generation: i64,
    /// The ConfigMap as written with the turn.
    pub(crate) written: ConfigMapView,
}

/// Restarts a validator: gives its StatefulSet a token, takes the network's turn, and patches the template. The
/// decision rested on `fresh`.
///
/// # Errors
/// [`ReconcileError::Conflict`] where anything is another by now, [`ReconcileError::Outdated`] where it took too long:
/// it is read and decided again, never repeated as it was.
pub(crate) async fn restart(
    errand: Errand<'_>,
    fresh: &Fresh,
    start: &Start,
) -> Result<Carried, ReconcileError> {
    let Errand {
        client,
        namespace,
        notes,
        token,
        at,
        inject,
        is_timely,
    } = errand;
    let changed = |what: &str| ReconcileError::Conflict {
        what: what.to_owned(),
    };
    let outdated = || ReconcileError::Outdated(start.node.clone());
    let timely = || is_timely().then_some(()).ok_or_else(outdated);
    let object = fresh.stateful_sets.get(&start.node);
    let object = object.ok_or_else(|| changed("the StatefulSet"))?;
    let stored = fresh.config_map.as_ref().ok_or_else(|| changed(LIST))?;
    let set = Set {
        client,
        namespace,
        node: &start.node,
    };

    let seen = start.turn.as_deref();
    let operations = token_patch(&document(object), start, token);
    let object = set
        .patch(operations, |now| is_as_decided_on(now, start, seen))
        .await?;

    timely()?;
    let mut notes = notes.clone();
    let turn = Turn::of(start, token);
    notes.turns.insert(turn.network.clone(), turn);
    let written = apply_notes(client, namespace, &notes, stored).await?;

    timely()?;
    let object = document(&object);
    let operations = restart_patch(&object, start, token, inject, at).map_err(|why| {
        let node = start.node.clone();
        ReconcileError::CannotInject { node, why }
    })?;
    let restarted = set
        .patch(operations, |now| is_as_decided_on(now, start, Some(token)))
        .await?;
    let restarted = StatefulSetView::from(&restarted);
    if restarted.template.membership.as_deref() == Some(start.hash.as_str()) {
        Ok(Carried {
            generation: restarted.generation,
            written,
        })
    } else {
        Err(ReconcileError::NotTaken(start.node.clone()))
    }
}

/// Replaces the token of a restart that was not carried out: now it never will be.
///
/// # Errors
/// [`ReconcileError::Conflict`] where it was carried out, or fenced, a moment ago.
pub(crate) async fn fence(
    client: &Client,
    namespace: &str,
    fence: &Fence,
) -> Result<(), ReconcileError> {
    let set = Set {
        client,
        namespace,
        node: &fence.node,
    };
    let is_as_seen = |now: &StatefulSetView| {
        now.uid == fence.uid && now.turn.as_deref() == Some(fence.token.as_str())
    };
    set.patch(fence_patch(fence), is_as_seen).await.map(drop)
}

/// Deletes a pod, if it still is as it was when it was not Ready.
///
/// # Errors
/// [`ReconcileError::Conflict`] where it isn't, or is gone.
pub(crate) async fn delete_pod(
    client: &Client,
    namespace: &str,
    deletion: &Deletion,
    pod: &PodObject,
) -> Result<(), ReconcileError> {
    let params = DeleteParams {
        preconditions: Some(Preconditions {
            uid: Some(deletion.uid.clone()),
            resource_version: pod.metadata.resource_version.clone(),
        }),
        ..DeleteParams::default()
    };
    let api = Api::<PodObject>::namespaced(client.clone(), namespace);
    let what = format!("pod {}", deletion.pod);
    let deleted = request("delete", &what, api.delete(&deletion.pod, &params)).await;
    match deleted {
        Err(ReconcileError::Api { what, source, .. }) if matches!(&*source, kube::Error::Api(status) if status.code == 404) => {
            Err(ReconcileError::Conflict { what })
        }
        other => other.map(drop),
    }
}

/// One StatefulSet at the API server.
struct Set<'a> {
    client: &'a Client,
    namespace: &'a str,
    node: &'a NodeName,
}

impl Set<'_> {
    /// Patches it. A failed test looks like a refusal; reading again tells which it was.
    async fn patch(
        &self,
        operations: Vec<Operation<'_>>,
        is_as_decided_on: impl Fn(&StatefulSetView) -> bool,
    ) -> Result<StatefulSetObject, ReconcileError> {
        let api = Api::<StatefulSetObject>::namespaced(self.client.clone(), self.namespace);
        let (name, what) = (self.node.as_str(), format!("StatefulSet {}", self.node));
        let patch = Patch::Json::<()>(sendable(operations));
        match request("patch", &what, api.patch(name, &params(), &patch)).await {
            Err(ReconcileError::Api { verb, what, source }) if is_invalid(&source) => {
                let now = request("get", &what, api.get(name)).await?;
                Err(if is_as_decided_on(&StatefulSetView::from(&now)) {
                    ReconcileError::Refused { verb, what, source }
                } else {
                    ReconcileError::Conflict { what }
                })
            }
            written => written,
        }
    }
}

fn document(object: &StatefulSetObject) -> Json<'static> {
    serde_json::to_value(object).unwrap_or_default().into()
}

fn is_as_decided_on(now: &StatefulSetView, start: &Start, turn: Option<&str>) -> bool {
    (now.uid.as_str(), now.generation) == (start.uid.as_str(), start.generation)
        && now.template.membership == start.carried
        && now.turn.as_deref() == turn
}
