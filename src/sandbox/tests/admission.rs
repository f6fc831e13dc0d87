//! The admission call-out, in process and over HTTPS.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Response;
use k8s_openapi::ByteString;

use super::*;
use crate::sandbox::{InProcess, SandboxOptions};

type Seen = Arc<Mutex<Vec<Value>>>;

/// A sandbox whose webhooks are answered by `answer`, which gets the path and the request; and what they were asked.
fn sandbox(answer: impl Fn(&str, &Value) -> Value + Send + Sync + 'static) -> (Sandbox, Seen) {
    let seen = Seen::default();
    let log = Arc::clone(&seen);
    let handler = move |request: http::Request<Bytes>| {
        let review: Value = serde_json::from_slice(request.body()).unwrap();
        let mut response = answer(request.uri().path(), &review["request"]);
        response["uid"] = review["request"]["uid"].clone();
        log.lock().unwrap().push(review["request"].clone());
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
        async move { Ok(Response::new(Bytes::from(review.to_string()))) }
    };
    let webhooks = Arc::new(InProcess::new(handler));
    (
        Sandbox::new(SandboxOptions {
            webhooks,
            ..SandboxOptions::default()
        }),
        seen,
    )
}

pub(super) fn registration(name: &str, url: &str, change: impl FnOnce(&mut Value)) -> Value {
    let mut webhook = json!({
        "name": format!("{name}.stellar.org"), "clientConfig": {"url": url}, "sideEffects": "None",
        "admissionReviewVersions": ["v1"], "failurePolicy": "Ignore", "reinvocationPolicy": "IfNeeded", "timeoutSeconds": 3,
        "rules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["statefulsets"], "operations": ["CREATE", "UPDATE"]}],
    });
    change(&mut webhook);
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name}, "webhooks": [webhook],
    })
}

pub(super) fn patched(operations: &Value) -> Value {
    let patch = serde_json::to_value(ByteString(operations.to_string().into_bytes())).unwrap();
    json!({"allowed": true, "patchType": "JSONPatch", "patch": patch})
}

fn add_volume(_: &str, request: &Value) -> Value {
    if request["object"]["spec"]["template"]["spec"]["volumes"].is_null() {
        let volume = json!([{"name": "peers", "configMap": {"name": "peers"}}]);
        patched(&json!([{"op": "add", "path": "/spec/template/spec/volumes", "value": volume}]))
    } else {
        json!({"allowed": true})
    }
}

#[tokio::test(start_paused = true)]
async fn a_webhook_changes_a_write_and_owns_nothing_of_it() {
    let (sandbox, seen) = sandbox(add_volume);
    let client = sandbox.client("me");
    create(&client, &registration("w", "https://x.test/mutate", |_| {})).await;
    let made = apply(
        &client,
        &format!("{SETS}/a"),
        "operator",
        true,
        &stateful_set("a"),
    )
    .await
    .unwrap();
    let volume = &made["spec"]["template"]["spec"]["volumes"][0];
    assert_eq!(
        volume["configMap"]["defaultMode"], 420,
        "what it adds is defaulted"
    );
    assert!(
        !made["metadata"]["managedFields"]
            .to_string()
            .contains("f:volumes")
    );
    let mut next = stateful_set("a");
    next["spec"]["replicas"] = 2.into();
    let kept = apply(&client, &format!("{SETS}/a"), "operator", true, &next)
        .await
        .unwrap();
    assert_eq!(
        kept["spec"]["template"]["spec"]["volumes"],
        made["spec"]["template"]["spec"]["volumes"]
    );
    let seen = seen.lock().unwrap();
    assert_eq!(
        (
            &seen[0]["operation"],
            &seen[0]["oldObject"],
            &seen[0]["options"]["kind"]
        ),
        (&json!("CREATE"), &Value::Null, &json!("CreateOptions"))
    );
    assert_eq!(
        (&seen[1]["operation"], &seen[1]["options"]["fieldManager"]),
        (&json!("UPDATE"), &json!("operator"))
    );
    assert_eq!(seen[1]["oldObject"]["spec"]["replicas"], 1);
    assert_eq!(seen[1]["userInfo"]["username"], "me");
    assert!(seen[1]["object"]["metadata"]["managedFields"].is_array());
}

#[tokio::test(start_paused = true)]
async fn scale_and_status_and_other_kinds_do_not_reach_it() {
    let (sandbox, seen) = sandbox(|_, _| json!({"allowed": true}));
    let client = sandbox.client("me");
    create(&client, &registration("w", "https://x.test/", |_| {})).await;
    create(&client, &stateful_set("a")).await;
    merge(
        &client,
        &format!("{SETS}/a/scale"),
        json!({"spec": {"replicas": 0}}),
    )
    .await
    .unwrap();
    merge(
        &client,
        &format!("{SETS}/a/status"),
        json!({"status": {"replicas": 1}}),
    )
    .await
    .unwrap();
    create(&client, &config_map("a", "k", "v")).await;
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn selectors_choose_namespaces_and_objects() {
    let (sandbox, seen) = sandbox(|_, _| json!({"allowed": true}));
    let client = sandbox.client("me");
    let namespaces = json!({"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}]});
    create(
        &client,
        &registration("w", "https://x.test/", |w| {
            w["namespaceSelector"] = namespaces;
            w["objectSelector"] = json!({"matchLabels": {"x": "y"}});
        }),
    )
    .await;
    for (namespace, label, expected) in [
        ("kube-system", "y", 0),
        ("default", "n", 0),
        ("default", "y", 1),
    ] {
        let mut set = stateful_set(&format!("{namespace}-{label}"));
        set["metadata"]["namespace"] = namespace.into();
        set["metadata"]["labels"] = json!({"x": label});
        create(&client, &set).await;
        assert_eq!(seen.lock().unwrap().len(), expected);
    }
    merge(
        &client,
        &format!("{SETS}/default-y"),
        json!({"metadata": {"labels": null}}),
    )
    .await
    .unwrap();
    assert_eq!(
        seen.lock().unwrap().len(),
        2,
        "the old object counts as well"
    );
}

#[tokio::test(start_paused = true)]
async fn a_denial_and_a_warning_reach_the_client() {
    let (sandbox, _) = sandbox(|path, _| match path {
        "/deny" => {
            json!({"allowed": false, "status": {"message": "port 0 is no port", "code": 422, "reason": "Invalid"}})
        }
        _ => json!({"allowed": true, "warnings": ["mind the \"gap\""]}),
    });
    let client = sandbox.client("me");
    create(&client, &registration("w", "https://x.test/warn", |_| {})).await;
    let body = stateful_set("a").to_string().into_bytes();
    let request = Request::post(SETS)
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(response.headers()["warning"], r#"299 - "mind the \"gap\"""#);
    create(&client, &registration("x", "https://x.test/deny", |_| {})).await;
    let status = refused(fixtures::create(&client, &stateful_set("b")).await);
    assert_eq!(
        status.message,
        "admission webhook \"x.stellar.org\" denied the request: port 0 is no port"
    );
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
}

#[tokio::test(start_paused = true)]
async fn a_failing_webhook_is_passed_over_or_refuses_by_its_policy() {
    let sandbox = Sandbox::default();
    let client = sandbox.client("me");
    create(&client, &registration("w", "https://nowhere.test/", |_| {})).await;
    create(&client, &stateful_set("a")).await;
    create(
        &client,
        &registration("x", "https://nowhere.test/", |w| {
            w["failurePolicy"] = "Fail".into();
        }),
    )
    .await;
    let status = refused(fixtures::create(&client, &stateful_set("b")).await);
    assert_eq!(status.code, 500);
    assert!(
        status
            .message
            .starts_with("Internal error occurred: failed calling webhook \"x.stellar.org\""),
        "{}",
        status.message
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_webhook_has_as_long_as_it_asked_for() {
    let webhooks = Arc::new(InProcess::new(|_| std::future::pending()));
    let sandbox = Sandbox::new(SandboxOptions {
        webhooks,
        ..SandboxOptions::default()
    });
    let client = sandbox.client("me");
    create(&client, &registration("w", "https://x.test/", |_| {})).await;
    let before = sandbox.elapsed();
    create(&client, &stateful_set("a")).await;
    assert_eq!(sandbox.elapsed(), before + 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn an_earlier_webhook_is_asked_again_after_a_later_one_changed_something() {
    let (sandbox, seen) = sandbox(|path, request| match path {
        "/first" => json!({"allowed": true}),
        _ if request["object"]["metadata"]["labels"].is_null() => {
            patched(&json!([{"op": "add", "path": "/metadata/labels", "value": {"later": "1"}}]))
        }
        _ => json!({"allowed": true}),
    });
    let client = sandbox.client("me");
    create(
        &client,
        &registration("a-first", "https://x.test/first", |_| {}),
    )
    .await;
    create(
        &client,
        &registration("b-later", "https://x.test/later", |_| {}),
    )
    .await;
    create(&client, &stateful_set("a")).await;
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    assert_eq!(seen[2]["object"]["metadata"]["labels"]["later"], "1");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_meets_another_during_the_call_out_is_drafted_again() {
    let (sender, receiver) = tokio::sync::watch::channel(false);
    let webhooks = Arc::new(InProcess::new(move |request: http::Request<Bytes>| {
        let mut receiver = receiver.clone();
        async move {
            let review: Value = serde_json::from_slice(request.body()).unwrap();
            receiver.wait_for(|go| *go).await?;
            let response = json!({"uid": review["request"]["uid"], "allowed": true});
            let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
            Ok(Response::new(Bytes::from(review.to_string())))
        }
    }));
    let sandbox = Sandbox::new(SandboxOptions {
        webhooks,
        ..SandboxOptions::default()
    });
    let client = sandbox.client("me");
    create(&client, &stateful_set("a")).await;
    create(&client, &registration("w", "https://x.test/", |_| {})).await;
    let slow = tokio::spawn({
        let client = client.clone();
        async move {
            merge(
                &client,
                &format!("{SETS}/a"),
                json!({"metadata": {"labels": {"slow": "1"}}}),
            )
            .await
        }
    });
    pass(MILLISECOND).await;
    merge(
        &client,
        &format!("{SETS}/a/scale"),
        json!({"spec": {"replicas": 3}}),
    )
    .await
    .unwrap();
    sender.send_replace(true);
    let merged = slow.await.unwrap().unwrap();
    assert_eq!(
        (
            &merged["metadata"]["labels"]["slow"],
            &merged["spec"]["replicas"]
        ),
        (&json!("1"), &json!(3))
    );
}
