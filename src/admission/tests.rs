//! The webhook's route, asked as the API server asks it, and as nobody should.

mod hostile;

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
};
use http_body_util::BodyExt;
use proptest::prelude::*;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::{
    review::Admitter,
    router::{Webhook, router},
};
use crate::{
    controller::{lease::Leadership, stores::Stores},
    domain::{
        Policy,
        injection::{
            Knowledge, Outcome,
            tests::{Admitted, admitted, any_stored},
        },
        policy::InjectMode,
    },
    observe::{AdmissionOutcome, Board, Metrics},
};

fn webhook(dry_run: bool) -> Router {
    let stores = Arc::new(Stores::filled_by(0));
    let admitter = Admitter::new(BTreeSet::new(), stores, Policy::default(), dry_run);
    let metrics = Metrics::new(Arc::new(Board::default()), Leadership::fixed(false));
    router(Webhook {
        admitter: Arc::new(admitter),
        metrics: Arc::new(metrics),
    })
}

async fn post(router: Router, body: impl Into<Body>) -> (StatusCode, Value) {
    let request = Request::post("/mutate").body(body.into()).unwrap();
    let answer = router.oneshot(request).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&body).into_owned();
    (
        status,
        serde_json::from_slice(&body).unwrap_or(Value::String(text)),
    )
}

fn review(resource: (&str, &str), operation: &str, object: &Value, old: &Value) -> String {
    json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "resource": {"group": resource.0, "version": "v1", "resource": resource.1},
            "name": "validator-1", "namespace": "stellar", "operation": operation,
            "userInfo": {"username": "admin"},
            "object": object, "oldObject": old, "options": {"fieldManager": "kubectl"},
        },
    })
    .to_string()
}

const STATEFUL_SETS: (&str, &str) = ("apps", "statefulsets");
const STELLAR_NODES: (&str, &str) = ("stellar.org", "stellarnodes");

fn validator() -> Value {
    json!({
        "metadata": {"name": "validator-1", "labels": {
            "app.kubernetes.io/name": "stellar-node", "app.kubernetes.io/component": "validator",
        }},
        "spec": {"template": {"metadata": {}, "spec": {"containers": [{"name": "stellar-node"}]}}},
    })
}

/// The patch of an answer, decoded.
fn patch(answer: &Value) -> Value {
    let encoded: k8s_openapi::ByteString =
        serde_json::from_value(answer["response"]["patch"].clone()).unwrap();
    serde_json::from_slice(&encoded.0).unwrap()
}

#[tokio::test]
async fn a_new_validator_is_answered_with_the_patch_that_injects_it() {
    let body = review(STATEFUL_SETS, "CREATE", &validator(), &Value::Null);
    let (status, answer) = post(webhook(false), body).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["kind"], "AdmissionReview");
    let response = &answer["response"];
    assert_eq!(response["uid"], "705ab4f5-6393-11e8-b7cc-42010a800002");
    assert_eq!(
        (&response["allowed"], &response["patchType"]),
        (&json!(true), &json!("JSONPatch"))
    );
    // printf 'validator-1:11625\n' | sha256sum
    let golden = json!([
        {"op": "add", "path": "/spec/template/spec/volumes", "value": [
            {"name": "stellar-peers",
             "configMap": {"name": "stellar-peers", "optional": true, "defaultMode": 420}},
        ]},
        {"op": "add", "path": "/spec/template/spec/containers/0/volumeMounts", "value": [
            {"name": "stellar-peers", "mountPath": "/etc/stellar-peers", "readOnly": true},
        ]},
        {"op": "add", "path": "/spec/template/spec/containers/0/ports", "value": [
            {"name": "stellar-peers", "containerPort": 11625, "protocol": "TCP"},
        ]},
        {"op": "add", "path": "/spec/template/metadata/annotations", "value": {
            "peers.stellar.org/port": "11625", "peers.stellar.org/membership": "v1:124770ae4a11",
        }},
    ]);
    assert_eq!(patch(&answer), golden);
}

#[tokio::test]
async fn an_unchanged_update_is_allowed_without_a_patch() {
    let body = review(STATEFUL_SETS, "UPDATE", &validator(), &validator());
    let (_, answer) = post(webhook(false), body).await;
    let expected = json!({"uid": "705ab4f5-6393-11e8-b7cc-42010a800002", "allowed": true});
    assert_eq!(answer["response"], expected);
}

#[tokio::test]
async fn an_impossible_port_is_refused_with_the_fields_name() {
    let node = json!({"spec": {"nodeType": "Validator", "validatorConfig": {"peerPort": "11625"}}});
    let body = review(STELLAR_NODES, "CREATE", &node, &Value::Null);
    let (status, answer) = post(webhook(false), body).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(answer["response"]["allowed"], false);
    let message = answer["response"]["status"]["message"].as_str().unwrap();
    assert_eq!(
        message,
        "spec.validatorConfig.peerPort must be a whole number from 1 to 65535, but is \"11625\""
    );
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let body = review(STATEFUL_SETS, "CREATE", &validator(), &Value::Null);
    let (_, answer) = post(webhook(true), body).await;
    assert_eq!(answer["response"].get("patch"), None);
    assert_eq!(answer["response"]["allowed"], true);
}

#[tokio::test]
async fn what_is_no_review_gets_400_and_what_has_a_uid_an_answer() {
    for body in [
        "",
        "{",
        "null",
        "[]",
        "{}",
        "\u{0}",
        "{\"request\":{}}",
        "{\"request\":{\"uid\":1}}",
        "{\"request\":{\"uid\":\"\"}}",
        &"[".repeat(100_000),
    ] {
        let (status, text) = post(webhook(false), body.to_owned()).await;
        assert_eq!(
            status,
            StatusCode::BAD_REQUEST,
            "{}",
            &body[..body.len().min(40)]
        );
        assert!(text.as_str().unwrap().contains("AdmissionReview"), "{text}");
    }
    let halves = [
        json!({"request": {"uid": "u"}}),
        json!({"request": {"uid": "u", "operation": 1, "resource": "statefulsets"}}),
        json!({"request": {"uid": "u", "object": []}}),
    ];
    for half in halves {
        let (status, answer) = post(webhook(false), half.to_string()).await;
        assert_eq!(status, StatusCode::OK);
        assert_eq!(
            (&answer["response"]["uid"], &answer["response"]["allowed"]),
            (&json!("u"), &json!(true))
        );
        let warning = answer["response"]["warnings"][0].as_str().unwrap();
        assert!(
            warning.starts_with("stellar-peers: could not read"),
            "{warning}"
        );
    }
}

#[tokio::test]
async fn odd_objects_are_allowed_as_they_are() {
    let labelled = |spec: Value| {
        let mut object = validator();
        object["spec"] = spec;
        object
    };
    let odd = [
        Value::Null,
        json!([]),
        json!("text"),
        json!({}),
        labelled(Value::Null),
        labelled(json!({"template": null})),
        labelled(json!({"template": {"spec": null}})),
        labelled(json!({"template": {"spec": {"containers": null}}})),
        labelled(json!({"template": {"spec": {"containers": [null, 1]}}})),
        labelled(
            json!({"template": {"spec": {"containers": [{"name": "core", "ports": "11625"}], "volumes": {}}}}),
        ),
    ];
    for object in &odd {
        for operation in ["CREATE", "UPDATE", "DELETE", "CONNECT", "whatever"] {
            for resource in [STATEFUL_SETS, STELLAR_NODES, ("", "pods")] {
                let (status, answer) = post(
                    webhook(false),
                    review(resource, operation, object, &validator()),
                )
                .await;
                assert_eq!(status, StatusCode::OK);
                assert_eq!(answer["response"]["allowed"], true, "{operation} {object}");
            }
        }
    }
}

#[tokio::test]
async fn a_name_of_300_characters_is_served_like_any_other() {
    let mut object = validator();
    object["metadata"]["name"] = json!("x".repeat(300));
    let body = review(STATEFUL_SETS, "CREATE", &object, &Value::Null)
        .replace("validator-1", &"x".repeat(300));
    let (_, answer) = post(webhook(false), body).await;
    assert_eq!(answer["response"]["allowed"], true);
}

#[tokio::test]
async fn bodies_up_to_7_mib_are_read_and_larger_ones_are_not() {
    let padded = |bytes: usize| {
        let mut object = validator();
        object["metadata"]["annotations"] = json!({"padding": "x".repeat(bytes)});
        review(STATEFUL_SETS, "CREATE", &object, &Value::Null)
    };
    let (status, answer) = post(webhook(false), padded((7 << 20) - 10_000)).await;
    assert_eq!(
        (status, &answer["response"]["allowed"]),
        (StatusCode::OK, &json!(true))
    );
    let (status, _) = post(webhook(false), padded(7 << 20)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn only_posts_to_mutate_are_served() {
    for (method, path, expected) in [
        ("GET", "/mutate", StatusCode::METHOD_NOT_ALLOWED),
        ("POST", "/", StatusCode::NOT_FOUND),
        ("POST", "/mutate/../etc", StatusCode::NOT_FOUND),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .body(Body::empty())
            .unwrap();
        let answer = webhook(false).oneshot(request).await.unwrap();
        assert_eq!(answer.status(), expected, "{method} {path}");
    }
}

/// What the API server sends besides, and nobody looks at.
fn with_all_the_rest(mut object: Value, number: u32) -> Value {
    object["apiVersion"] = json!("apps/v1");
    object["metadata"]["uid"] = json!("0c4d1f3e-0000-4000-8000-000000000001");
    object["metadata"]["resourceVersion"] = json!(number.to_string());
    object["metadata"]["managedFields"] =
        json!([{"manager": "operator", "fieldsV1": {"f:spec": {"f:template": {}}}}]);
    object["spec"]["replicas"] = json!(1);
    object["spec"]["volumeClaimTemplates"] = json!([{"metadata": {"name": "data"}}]);
    object["status"] = json!({"replicas": number, "conditions": [null, true, 1.5, "text", {}]});
    object
}

proptest! {
    #[test]
    fn what_is_read_of_a_review_decides_as_the_whole_objects_do(
        stored in any_stored(), new in any_stored(), has_old in any::<bool>(), is_same in any::<bool>(),
        numbers in any::<(u32, u32)>(), joined in any::<bool>(), manager in prop::sample::select(vec!["kubectl", "stellar-peers"]),
    ) {
        let mut stored = with_all_the_rest(stored, numbers.0);
        if joined {
            stored["metadata"]["annotations"] = json!({crate::api::names::JOINED_AT: "2026-01-01T00:00:00Z"});
        }
        let new = with_all_the_rest(if is_same { stored.clone() } else { new }, numbers.1);
        let old = has_old.then_some(&stored);
        let inject = InjectMode::Render { image: "ours:1".to_owned() };
        let knowledge = || Some(Knowledge { inject: inject.clone(), ..Knowledge::default() });
        let Admitted { outcome, patch: expected, warnings, .. } = admitted(&new, old, manager, knowledge);

        let policy = Policy { inject: inject.clone(), ..Policy::default() };
        let admitter = Admitter::new(BTreeSet::new(), Arc::new(Stores::filled_by(0)), policy, false);
        let operation = if has_old { "UPDATE" } else { "CREATE" };
        let body = review(STATEFUL_SETS, operation, &new, old.unwrap_or(&Value::Null)).replace("kubectl", manager);
        let answer = admitter.answer(body.as_bytes()).unwrap();
        let read = match answer.outcome() {
            AdmissionOutcome::Untouched => Outcome::Untouched,
            AdmissionOutcome::Injected => Outcome::Injected,
            AdmissionOutcome::Kept => Outcome::Kept,
            AdmissionOutcome::Removed => Outcome::Removed,
            AdmissionOutcome::NotInjected => Outcome::NotInjected,
            other => panic!("{other:?}"),
        };
        prop_assert_eq!(read, outcome);
        let answer = serde_json::to_value(&answer).unwrap();
        let expected = (!expected.is_empty()).then(|| json!(expected));
        let patched = answer["response"].get("patch").is_some().then(|| patch(&answer));
        prop_assert_eq!(patched, expected);
        prop_assert_eq!(answer["response"]["warnings"].as_array().map_or(0, Vec::len), warnings.len());
    }
}

#[test]
fn what_is_nested_too_deeply_in_what_is_read_is_left_as_it_is_and_elsewhere_it_does_not_matter() {
    let admitter = Admitter::new(
        BTreeSet::new(),
        Arc::new(Stores::filled_by(0)),
        Policy::default(),
        false,
    );
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let answer = |path: &str| {
        let mut object = validator();
        *object.pointer_mut(path).unwrap() = json!("deep");
        let body = review(STATEFUL_SETS, "CREATE", &object, &Value::Null);
        let answer = admitter.answer(body.replace("\"deep\"", &deep).as_bytes());
        answer.unwrap().outcome()
    };
    assert_eq!(
        answer("/spec/template/spec/containers"),
        AdmissionOutcome::Unreadable
    );
    let mut with_status = validator();
    with_status["status"] = json!("deep");
    let body = review(STATEFUL_SETS, "CREATE", &with_status, &Value::Null);
    let answered = admitter.answer(body.replace("\"deep\"", &deep).as_bytes());
    assert_eq!(answered.unwrap().outcome(), AdmissionOutcome::Injected);
}
