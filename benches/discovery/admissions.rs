//! An admission without its connection: the bytes of a review in, the answer out, on one core.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use json_patch::Patch;
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use stellar_peers::{
    admission::review::Admitter,
    controller::stores::Stores,
    domain::{Policy, Snapshot},
};

use crate::{
    cluster::VALIDATORS,
    decisions::Namespace,
    figures::{Samples, row_and, title},
    validator::{NAMESPACE, Validator},
};

/// For each row.
const BUDGET: Duration = Duration::from_secs(1);
const REVIEWS_MIN: usize = 1000;

/// Prints the table of admissions.
pub(crate) fn measure(validator: &Validator) {
    title(&format!(
        "An admission of a StatefulSet (Admitter::answer), {VALIDATORS} validators"
    ));
    let namespace = Namespace::settled(validator, VALIDATORS);
    let stores = Arc::new(filled(namespace.snapshot));
    let admitter = Admitter::new(BTreeSet::new(), stores, Policy::default(), false);
    let new = &validator.stateful_set;
    let stored = injected(&admitter, new);
    let mut relabelled = stored.clone();
    relabelled["metadata"]["labels"]["stellar.org/reconcile"] = json!("another");
    let mut upgraded = stored.clone();
    upgraded["spec"]["template"]["spec"]["containers"][0]["image"] = json!("stellar-core:next");
    for (what, object, old) in [
        ("CREATE", new, None),
        ("UPDATE, the template unchanged", &relabelled, Some(&stored)),
        ("UPDATE, only our parts dropped", new, Some(&stored)),
        ("UPDATE, the template changed", &upgraded, Some(&stored)),
    ] {
        let body = review(object, old);
        let samples = Samples::of(REVIEWS_MIN, BUDGET, || admitter.answer(&body));
        let rate = samples.per_second();
        let more = format!("{rate:.0} a second; a body of {} bytes", body.len());
        row_and(what, &samples, &more);
    }
}

/// Stores that have seen all of a namespace.
fn filled(snapshot: Snapshot) -> Stores {
    let stores = Stores::filled_by(0);
    for (name, node) in snapshot.stellar_nodes {
        let node = Arc::unwrap_or_clone(node);
        stores.stellar_nodes.apply(NAMESPACE, name, node);
    }
    for (name, set) in snapshot.stateful_sets {
        let set = Arc::unwrap_or_clone(set);
        stores.stateful_sets.apply(NAMESPACE, name, set);
    }
    for (name, pod) in snapshot.pods {
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

/// The body of a review, as the API server sends it.
fn review(object: &Value, old: Option<&Value>) -> Vec<u8> {
    let resource = json!({"group": "apps", "version": "v1", "resource": "statefulsets"});
    let kind = json!({"group": "apps", "version": "v1", "kind": "StatefulSet"});
    let options = json!({
        "kind": if old.is_some() { "PatchOptions" } else { "CreateOptions" },
        "apiVersion": "meta.k8s.io/v1", "force": true, "fieldManager": "stellar-operator",
    });
    let review = json!({
        "kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "kind": kind, "resource": resource,
            "requestKind": kind, "requestResource": resource, "dryRun": false,
            "name": object["metadata"]["name"], "namespace": NAMESPACE,
            "operation": if old.is_some() { "UPDATE" } else { "CREATE" },
            "userInfo": {"username": "system:serviceaccount:stellar:operator", "groups": ["system:authenticated"]},
            "object": object, "oldObject": old, "options": options,
        },
    });
    review.to_string().into_bytes()
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
