//! AdmissionReview in, AdmissionReview out. Whether our own failure means allow or deny is decided here and
//! nowhere else: it means allow, with a warning.

use std::{collections::BTreeSet, sync::Arc};

use json_patch::{Patch, PatchOperation};
use k8s_openapi::ByteString;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::{debug, info, instrument, warn};

use crate::{
    controller::stores::Stores,
    domain::{
        Memory, Moment, Policy,
        discovery::discover,
        injection::{
            Admission, Knowledge, Outcome, Review, admit_stateful_set, admit_stellar_node,
        },
        node::NodeName,
        snapshot::{ConfigMapView, Snapshot},
        survey::{survey, unaccounted},
    },
    observe::AdmissionOutcome,
};

/// Decides reviews from what the stores hold.
#[derive(Debug)]
pub struct Admitter {
    /// Only these namespaces are looked after; all where empty.
    pub namespaces: BTreeSet<String>,
    /// What the watches saw.
    pub stores: Arc<Stores>,
    /// The flags.
    pub policy: Policy,
    /// Decide and tell, change nothing.
    pub dry_run: bool,
}

/// A body in which not even the uid of a request can be read.
#[derive(Debug, thiserror::Error)]
#[error("the body is no AdmissionReview with a request.uid: {0}")]
pub struct Unreadable(String);

#[derive(Deserialize)]
struct ReviewIn {
    request: RequestIn,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestIn {
    uid: String,
    resource: ResourceIn,
    #[serde(default)]
    kind: KindIn,
    #[serde(default)]
    sub_resource: Option<String>,
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
    operation: String,
    #[serde(default)]
    object: Value,
    #[serde(default)]
    old_object: Value,
    #[serde(default)]
    options: Value,
}

impl RequestIn {
    /// The object's, where it has one already: by it a line leads to the object.
    fn object_uid(&self) -> Option<&str> {
        let uid = |object: &'_ Value| {
            object
                .pointer("/metadata/uid")
                .is_some_and(Value::is_string)
        };
        let object = [&self.object, &self.old_object]
            .into_iter()
            .find(|it| uid(it))?;
        object.pointer("/metadata/uid")?.as_str()
    }
}

#[derive(Default, Deserialize)]
struct KindIn {
    #[serde(default)]
    kind: String,
}

#[derive(Deserialize)]
struct ResourceIn {
    group: String,
    resource: String,
}

/// The answer, ready to be sent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    api_version: &'static str,
    kind: &'static str,
    response: Response,
    #[serde(skip)]
    outcome: Option<AdmissionOutcome>,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    uid: String,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<ByteString>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Refusal>,
}

#[derive(Debug, Serialize)]
struct Refusal {
    code: u16,
    reason: &'static str,
    message: String,
}

impl Answer {
    fn allowed(uid: String, outcome: AdmissionOutcome) -> Self {
        let response = Response {
            uid,
            allowed: true,
            ..Response::default()
        };
        Self {
            api_version: "admission.k8s.io/v1",
            kind: "AdmissionReview",
            response,
            outcome: Some(outcome),
        }
    }

    fn patched(mut self, operations: Vec<PatchOperation>) -> Self {
        if !operations.is_empty() {
            let patch = serde_json::to_vec(&Patch(operations))
                .expect("a patch of JSON values always serializes");
            self.response.patch_type = Some("JSONPatch");
            self.response.patch = Some(ByteString(patch));
        }
        self
    }

    fn warned(mut self, warnings: impl IntoIterator<Item = String>) -> Self {
        self.response.warnings.extend(warnings);
        self
    }

    fn refused(uid: String, message: String) -> Self {
        let mut answer = Self::allowed(uid, AdmissionOutcome::Refused);
        answer.response.allowed = false;
        answer.response.status = Some(Refusal {
            code: 422,
            reason: "Invalid",
            message,
        });
        answer
    }

    /// How it ended, for the metrics.
    #[must_use]
    pub fn outcome(&self) -> AdmissionOutcome {
        self.outcome.unwrap_or(AdmissionOutcome::Untouched)
    }
}

impl Admitter {
    /// The answer to the body of a review.
    ///
    /// # Errors
    /// [`Unreadable`] where there is no uid to answer to.
    pub fn answer(&self, body: &[u8]) -> Result<Answer, Unreadable> {
        match serde_json::from_slice::<ReviewIn>(body) {
            Ok(review) => Ok(self.admit(review.request)),
            Err(error) => {
                // Perhaps only a part is not as we know it: then the write goes on, and we say so.
                let value: Value =
                    serde_json::from_slice(body).map_err(|error| Unreadable(error.to_string()))?;
                let uid = value
                    .pointer("/request/uid")
                    .and_then(Value::as_str)
                    .filter(|uid| !uid.is_empty());
                let uid = uid.ok_or_else(|| Unreadable(error.to_string()))?;
                warn!(uid, %error, "Could not read an AdmissionReview; allowed it as it is");
                let warning = format!(
                    "stellar-peers: could not read the review, and left the object as it is: {error}"
                );
                let shortened = warning.chars().take(250).collect();
                Ok(
                    Answer::allowed(uid.to_owned(), AdmissionOutcome::Unreadable)
                        .warned([shortened]),
                )
            }
        }
    }

    #[instrument(name = "admit", level = "error", skip_all, fields(
        uid = request.uid, kind = request.kind.kind, namespace = request.namespace, name = request.name,
        operation = request.operation, object_uid = request.object_uid(),
    ))]
    fn admit(&self, request: RequestIn) -> Answer {
        if !self.namespaces.is_empty() && !self.namespaces.contains(&request.namespace) {
            return Answer::allowed(request.uid, AdmissionOutcome::Untouched);
        }
        let is_whole = request
            .sub_resource
            .as_deref()
            .unwrap_or_default()
            .is_empty();
        let is_write = matches!(request.operation.as_str(), "CREATE" | "UPDATE");
        let answer = match (
            request.resource.group.as_str(),
            request.resource.resource.as_str(),
        ) {
            ("apps", "statefulsets") if is_whole && is_write => self.admit_stateful_set(request),
            ("stellar.org", "stellarnodes") if is_whole && is_write => {
                Self::admit_stellar_node(request)
            }
            _ => Answer::allowed(request.uid, AdmissionOutcome::Untouched),
        };
        if self.dry_run && (answer.response.patch.is_some() || !answer.response.allowed) {
            info!(outcome = ?answer.outcome(), "Would have changed the object; --dry-run leaves it as it is");
            return Answer::allowed(answer.response.uid, AdmissionOutcome::Untouched);
        }
        answer
    }

    fn admit_stateful_set(&self, request: RequestIn) -> Answer {
        // The name is in the object where the request leaves it to the server.
        let in_object = request
            .object
            .pointer("/metadata/name")
            .and_then(Value::as_str);
        let name = if request.name.is_empty() {
            in_object.unwrap_or_default()
        } else {
            &request.name
        };
        let review = Review {
            name,
            object: &request.object,
            old: (request.operation == "UPDATE")
                .then_some(&request.old_object)
                .filter(|it| it.is_object()),
            field_manager: request.options.get("fieldManager").and_then(Value::as_str),
        };
        if review.old.is_none() && request.operation == "UPDATE" {
            let warning =
                "stellar-peers: the review has no old object, and so the object is left as it is";
            return Answer::allowed(request.uid, AdmissionOutcome::Unreadable)
                .warned([warning.to_owned()]);
        }
        let Admission {
            outcome,
            operations,
            warnings,
        } = admit_stateful_set(review, || self.knowledge(&request.namespace, name));
        debug!(
            ?outcome,
            operations = operations.len(),
            "Admitted a StatefulSet"
        );
        if outcome == Outcome::NotInjected {
            info!(?warnings, "Let a StatefulSet through without the list");
        }
        let outcome = match outcome {
            Outcome::Untouched => AdmissionOutcome::Untouched,
            Outcome::Injected => AdmissionOutcome::Injected,
            Outcome::Kept => AdmissionOutcome::Kept,
            Outcome::Removed => AdmissionOutcome::Removed,
            Outcome::NotInjected => AdmissionOutcome::NotInjected,
        };
        Answer::allowed(request.uid, outcome)
            .patched(operations)
            .warned(warnings)
    }

    fn admit_stellar_node(request: RequestIn) -> Answer {
        let old = (request.operation == "UPDATE")
            .then_some(&request.old_object)
            .filter(|it| it.is_object());
        match admit_stellar_node(&request.object, old) {
            Ok(operations) if operations.is_empty() => {
                Answer::allowed(request.uid, AdmissionOutcome::Untouched)
            }
            Ok(operations) => {
                Answer::allowed(request.uid, AdmissionOutcome::PortSet).patched(operations)
            }
            Err(message) => {
                info!(why = message, "Refused a StellarNode");
                Answer::refused(request.uid, message)
            }
        }
    }

    /// What the stores know about a StatefulSet's namespace; nothing before they are full, or while validators are
    /// out of their sight.
    fn knowledge(&self, namespace: &str, name: &str) -> Option<Knowledge> {
        let snapshot = self.stores.snapshot(namespace)?;
        if !unaccounted(&snapshot).is_empty() {
            return None;
        }
        let survey = survey(&snapshot, &self.policy.address_mode);
        let was_bootstrap = snapshot
            .config_map
            .as_deref()
            .is_some_and(ConfigMapView::is_bootstrap);
        let discovery = discover(
            &survey,
            was_bootstrap,
            &Memory::default(),
            &self.policy,
            Moment::default(),
        );
        let name_is_valid = NodeName::new(name).ok();
        Some(Knowledge {
            stellar_node: name_is_valid.and_then(|name| snapshot.stellar_nodes.get(&name).cloned()),
            members: discovery
                .networks
                .into_iter()
                .map(|(network, state)| (network, state.members))
                .collect(),
            inject: self.policy.inject.clone(),
            kept_by_another: snapshot.foreign_writer(&self.policy.writer).is_some(),
            has_orphans: has_orphans(&snapshot, name),
        })
    }
}

/// Pods with names that this StatefulSet would give, which nobody owns: left behind by `--cascade=orphan`.
fn has_orphans(snapshot: &Snapshot, name: &str) -> bool {
    let is_orphan = |pod: &str| {
        let ordinal = pod
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('-'));
        ordinal.is_some_and(|ordinal| {
            !ordinal.is_empty() && ordinal.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    snapshot
        .pods
        .iter()
        .any(|(name, pod)| pod.owner.is_empty() && !pod.terminating && is_orphan(name))
}
