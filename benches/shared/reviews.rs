//! Writes of a validator's StatefulSet, as the API server asks about them.

use json_patch::Patch;
use k8s_openapi::ByteString;
use serde::Serialize;
use serde_json::{Value, json};
use stellar_peers::admission::review::Admitter;

use crate::validator::{NAMESPACE, Validator};

/// The bodies of the reviews, each with what it is.
pub(crate) fn bodies(admitter: &Admitter, validator: &Validator) -> [(&'static str, Vec<u8>); 4] {
    let new = &validator.stateful_set;
    let stored = injected(admitter, new);
    let mut relabelled = stored.clone();
    relabelled["metadata"]["labels"]["stellar.org/reconcile"] = json!("another");
    let mut upgraded = stored.clone();
    upgraded["spec"]["template"]["spec"]["containers"][0]["image"] = json!("stellar-core:next");
    [
        ("CREATE", review(new, None)),
        (
            "UPDATE, the template unchanged",
            review(&relabelled, Some(&stored)),
        ),
        ("UPDATE, only our parts dropped", review(new, Some(&stored))),
        (
            "UPDATE, the template changed",
            review(&upgraded, Some(&stored)),
        ),
    ]
}

/// The request of a review, in the order in which the API server sends it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AdmissionRequest<'a> {
    uid: &'a str,
    kind: Value,
    resource: Value,
    request_kind: Value,
    request_resource: Value,
    name: &'a Value,
    namespace: &'a str,
    operation: &'a str,
    user_info: Value,
    object: &'a Value,
    old_object: Option<&'a Value>,
    dry_run: bool,
    options: Value,
}

/// The body of a review, as the API server sends it.
fn review(object: &Value, old: Option<&Value>) -> Vec<u8> {
    let resource = json!({"group": "apps", "version": "v1", "resource": "statefulsets"});
    let kind = json!({"group": "apps", "version": "v1", "kind": "StatefulSet"});
    let (operation, options) = match old {
        Some(_) => ("UPDATE", "PatchOptions"),
        None => ("CREATE", "CreateOptions"),
    };
    let request = AdmissionRequest {
        uid: "705ab4f5-6393-11e8-b7cc-42010a800002",
        kind: kind.clone(),
        resource: resource.clone(),
        request_kind: kind,
        request_resource: resource,
        name: &object["metadata"]["name"],
        namespace: NAMESPACE,
        operation,
        user_info: json!({"username": "system:serviceaccount:stellar:operator", "groups": ["system:authenticated"]}),
        object,
        old_object: old,
        dry_run: false,
        options: json!({
            "kind": options, "apiVersion": "meta.k8s.io/v1", "force": true, "fieldManager": "stellar-operator",
        }),
    };
    let request = serde_json::to_string(&request).expect("JSON is text");
    format!(
        r#"{{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":{request}}}"#
    )
    .into_bytes()
}

/// The object as it is stored after its creation was reviewed.
fn injected(admitter: &Admitter, object: &Value) -> Value {
    let answer = admitter.answer(&review(object, None));
    let answer = serde_json::to_value(answer.expect("the review is readable"));
    let answer = answer.expect("an answer is JSON");
    let patch = serde_json::from_value::<ByteString>(answer["response"]["patch"].clone());
    let patch = patch.expect("a new validator is patched").0;
    let patch: Patch = serde_json::from_slice(&patch).expect("a JSON patch");
    let mut object = object.clone();
    json_patch::patch(&mut object, &patch).expect("the patch fits the object");
    object
}
