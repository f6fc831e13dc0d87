//! Tests of the rig itself: what the scenarios take for granted about it.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time;

use super::{AuditEntry, ControlPlane, User, create, eventually};

const SOON: Duration = Duration::from_secs(20);
const REVISION: &str = "controller-revision-hash";

/// A validator as the Stellar-K8s operator makes it, with annotations on its pods.
fn validator(name: &str, pod_annotations: &Value) -> Value {
    let labels = json!({
        "app.kubernetes.io/name": "stellar-node",
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/component": "validator",
        "app.kubernetes.io/managed-by": "stellar-operator",
    });
    let same_kind = json!({ "app.kubernetes.io/name": "stellar-node" });
    json!({
        "metadata": { "name": name, "labels": labels },
        "spec": {
            "replicas": 1,
            "serviceName": format!("{name}-headless"),
            "podManagementPolicy": "OrderedReady",
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels, "annotations": pod_annotations },
                "spec": {
                    "affinity": { "podAntiAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": [{
                            "labelSelector": { "matchLabels": same_kind },
                            "topologyKey": "kubernetes.io/hostname",
                        }],
                    } },
                    "initContainers": [{ "name": "render", "image": "render" }],
                    "containers": [{
                        "name": "stellar-node",
                        "image": "stellar-core",
                        "ports": [{ "containerPort": 11625 }],
                        "volumeMounts": [{ "name": "data", "mountPath": "/opt/stellar/data" }],
                    }],
                    "volumes": [{
                        "name": "data",
                        "persistentVolumeClaim": { "claimName": format!("{name}-data") },
                    }],
                },
            },
        },
    })
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

async fn await_ready(pods: &Api<Pod>, name: &str) -> Pod {
    let ready = async || {
        pods.get_opt(name)
            .await
            .is_ok_and(|pod| pod.as_ref().is_some_and(is_ready))
    };
    eventually("the pod is Ready", SOON, ready).await;
    pods.get(name)
        .await
        .expect("the pod was there a moment ago")
}

fn annotation(key: &str, value: &str) -> Patch<Value> {
    let annotations = json!({ key: value });
    Patch::Merge(json!({ "spec": { "template": { "metadata": { "annotations": annotations } } } }))
}

#[tokio::test]
#[ignore = "needs a real control plane"]
async fn a_validator_becomes_ready_and_rolls_when_its_template_changes() {
    let rig = ControlPlane::shared().await;
    let namespace = rig.namespace("roll").await;
    rig.claim(&namespace, "alice-data").await;
    let client = rig.client_for(User::Admin).await;
    let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
    let sets = Api::<StatefulSet>::namespaced(client, &namespace);
    let created = time::Instant::now();
    create(&sets, validator("alice", &json!({}))).await;
    let first = await_ready(&pods, "alice-0").await;
    eprintln!("Ready {:?} after the create", created.elapsed());

    let patched = time::Instant::now();
    let change = annotation("peers.stellar.org/membership", "abc");
    sets.patch("alice", &PatchParams::default(), &change)
        .await
        .expect("the patch is valid");
    let revision = |pod: &Pod| pod.metadata.labels.clone().unwrap_or_default()[REVISION].clone();
    let has_rolled = async || {
        let pod = pods.get_opt("alice-0").await.ok().flatten();
        pod.is_some_and(|pod| is_ready(&pod) && revision(&pod) != revision(&first))
    };
    eventually("the pod runs the new revision", SOON, has_rolled).await;
    eprintln!("Ready again {:?} after the patch", patched.elapsed());
    let second = pods.get("alice-0").await.expect("it is Ready");
    let ip = |pod: &Pod| {
        pod.status
            .clone()
            .and_then(|status| status.pod_ip)
            .expect("a Ready pod has one")
    };
    assert_ne!(ip(&first), ip(&second), "an address is given once");
    assert!(
        ip(&first).starts_with("10.64."),
        "{} is from the pool",
        ip(&first)
    );
    let third = rig.replace_pod(&namespace, "alice-0").await;
    assert_ne!(third, ip(&second), "an address is given once");
    rig.pod_with_address(&namespace, "stranger", &ip(&first))
        .await;
}

#[tokio::test]
#[ignore = "needs a real control plane"]
async fn ordered_ready_does_not_replace_a_pod_that_never_gets_ready() {
    let rig = ControlPlane::shared().await;
    let namespace = rig.namespace("never").await;
    rig.claim(&namespace, "bob-data").await;
    let client = rig.client_for(User::Admin).await;
    let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
    let sets = Api::<StatefulSet>::namespaced(client, &namespace);
    create(
        &sets,
        validator("bob", &json!({ "rig.test/ready": "never" })),
    )
    .await;
    let runs = async || {
        let pod = pods.get_opt("bob-0").await.ok().flatten();
        let status = pod.and_then(|pod| pod.status).unwrap_or_default();
        status.phase.as_deref() == Some("Running") && status.pod_ip.is_some()
    };
    eventually("the pod runs", SOON, runs).await;
    let old = pods.get("bob-0").await.expect("it runs");

    let change = annotation("rig.test/ready", "yes");
    sets.patch("bob", &PatchParams::default(), &change)
        .await
        .expect("the patch is valid");
    time::sleep(Duration::from_secs(5)).await;
    let same = pods.get("bob-0").await.expect("nobody replaced it");
    assert_eq!(same.metadata.uid, old.metadata.uid);
    assert!(!is_ready(&same), "it was told never to get Ready");

    rig.replace_pod(&namespace, "bob-0").await;
    await_ready(&pods, "bob-0").await;
    let unready = json!({ "metadata": { "annotations": { "rig.test/ready": "never" } } });
    pods.patch("bob-0", &PatchParams::default(), &Patch::Merge(unready))
        .await
        .expect("the patch is valid");
    let lost = async || pods.get("bob-0").await.is_ok_and(|pod| !is_ready(&pod));
    eventually("the pod is told to lose Ready", SOON, lost).await;
}

#[tokio::test]
#[ignore = "needs a real control plane"]
async fn pods_get_ready_as_late_as_their_template_says_and_claims_may_come_from_one() {
    let rig = ControlPlane::shared().await;
    let namespace = rig.namespace("late").await;
    let client = rig.client_for(User::Admin).await;
    let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
    let mut late = validator("carol", &json!({ "rig.test/ready-delay": "3s" }));
    late["spec"]["template"]["spec"]["volumes"] = json!([]);
    late["spec"]["volumeClaimTemplates"] = json!([{
        "metadata": { "name": "data" },
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": { "requests": { "storage": "1Gi" } },
        },
    }]);
    let created = time::Instant::now();
    create(&Api::<StatefulSet>::namespaced(client, &namespace), late).await;
    await_ready(&pods, "carol-0").await;
    assert!(
        created.elapsed() > Duration::from_secs(3),
        "Ready after {:?}",
        created.elapsed()
    );
}

#[tokio::test]
#[ignore = "needs a real control plane"]
async fn what_our_program_asks_is_counted_and_refused_without_rights() {
    let rig = ControlPlane::shared().await;
    let namespace = rig.namespace("audit").await;
    let maps = Api::<ConfigMap>::namespaced(rig.client_for(User::StellarPeers).await, &namespace);
    let refused = maps.list(&ListParams::default()).await;
    assert!(matches!(refused, Err(kube::Error::Api(status)) if status.code == 403));
    let rule = PolicyRule {
        api_groups: Some(vec![String::new()]),
        resources: Some(vec!["configmaps".to_owned()]),
        verbs: vec!["list".to_owned(), "create".to_owned()],
        ..PolicyRule::default()
    };
    rig.allow(User::StellarPeers, vec![rule]).await;
    let lists = async || maps.list(&ListParams::default()).await.is_ok();
    eventually("the right is in effect", SOON, lists).await;
    create(&maps, json!({ "metadata": { "name": "peers" } })).await;
    let operators = Api::<ConfigMap>::namespaced(rig.client_for(User::Operator).await, &namespace);
    create(&operators, json!({ "metadata": { "name": "foreign" } })).await;

    let ours = || {
        let all = rig.audit().into_iter();
        all.filter(|entry| entry.namespace == namespace)
            .collect::<Vec<_>>()
    };
    eventually("the write is in the log", SOON, async || {
        ours().iter().any(AuditEntry::is_write)
    })
    .await;
    let seen: Vec<_> = ours()
        .iter()
        .map(|entry| (entry.verb.clone(), entry.code))
        .collect();
    assert_eq!(seen[0], ("list".to_owned(), 403));
    assert_eq!(
        seen[seen.len() - 2..],
        [("list".to_owned(), 200), ("create".to_owned(), 201)]
    );
    let last = ours().pop().expect("there are some");
    assert_eq!(
        (last.user.as_str(), last.resource.as_str()),
        ("stellar-peers", "configmaps")
    );

    let kubeconfig = rig
        .kubeconfig_for_service_account(&namespace, "default")
        .await;
    let mut whoami = rig.kubectl(User::Admin);
    whoami
        .env("KUBECONFIG", kubeconfig)
        .args(["auth", "whoami", "--output=name"]);
    let answer = whoami.output().expect("kubectl was built");
    assert!(
        answer.status.success(),
        "{}",
        String::from_utf8_lossy(&answer.stderr)
    );
}

#[tokio::test]
#[ignore = "needs a real control plane"]
async fn a_webhook_is_called_by_url_and_for_its_namespaces_only() {
    let rig = ControlPlane::shared().await;
    let (ours, other) = (rig.namespace("hook").await, rig.namespace("hook").await);
    let listener = TcpListener::bind("127.0.0.1:0")
        .await
        .expect("loopback has a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let authority = std::fs::read_to_string(rig.settings.path("ca.crt")).expect("the rig wrote it");
    let produced = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": "stellar-peers" },
        "webhooks": [{
            "name": "inject.peers.stellar.org",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "timeoutSeconds": 1,
            "clientConfig": { "service": { "name": "stellar-peers", "namespace": "x" } },
            "rules": [{
                "apiGroups": [""], "apiVersions": ["v1"],
                "operations": ["CREATE"], "resources": ["configmaps"],
            }],
        }],
    });
    let url = format!("https://127.0.0.1:{port}/mutate");
    rig.register_webhook(&produced, &url, &authority, &[&ours])
        .await;
    let client = rig.client_for(User::Admin).await;
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let map: ConfigMap =
        serde_json::from_value(json!({ "metadata": { "name": "probe" } })).expect("it is one");
    let called = async || {
        let maps = Api::<ConfigMap>::namespaced(client.clone(), &ours);
        let (created, connected) = tokio::join!(
            maps.create(&dry, &map),
            time::timeout(Duration::from_millis(500), listener.accept()),
        );
        created.is_err() && connected.is_ok()
    };
    eventually("the webhook is called", SOON, called).await;
    let elsewhere = Api::<ConfigMap>::namespaced(client.clone(), &other);
    elsewhere
        .create(&dry, &map)
        .await
        .expect("the webhook doesn't see this namespace");
}

#[tokio::test]
#[ignore = "needs a real control plane"]
async fn the_api_server_comes_back_with_its_data_and_pods_still_become_ready() {
    let data_dir = tempfile::tempdir().expect("a temporary folder");
    let began = time::Instant::now();
    let rig = ControlPlane::start(&ControlPlane::default_bin_dir(), data_dir.path()).await;
    let rig = rig.unwrap_or_else(|error| panic!("no control plane: {error}"));
    eprintln!("Usable {:?} after the start", began.elapsed());
    let namespace = rig.namespace("away").await;
    let client = rig.client_for(User::Admin).await;
    let sets = Api::<StatefulSet>::namespaced(client.clone(), &namespace);
    let pods = Api::<Pod>::namespaced(client, &namespace);
    rig.claim(&namespace, "dave-data").await;
    create(&sets, validator("dave", &json!({}))).await;
    await_ready(&pods, "dave-0").await;

    rig.stop_api_server();
    assert!(sets.get("dave").await.is_err(), "nobody answers");
    time::sleep(Duration::from_secs(20)).await;
    let restarted = time::Instant::now();
    let back = rig.start_api_server().await;
    back.unwrap_or_else(|error| panic!("the API server did not come back: {error}"));
    eprintln!("Ready {:?} after the restart", restarted.elapsed());
    await_ready(&pods, "dave-0").await;
    rig.claim(&namespace, "erin-data").await;
    create(&sets, validator("erin", &json!({}))).await;
    await_ready(&pods, "erin-0").await;
    eprintln!(
        "A new pod is Ready {:?} after the restart",
        restarted.elapsed()
    );
}
