//! `stellar-peers check` as people run it: the binary, with a kubeconfig, against what is installed.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use stellar_peers::{api::stellar_node_crd, sandbox::fixtures};
use tokio::process::Command;

use super::{Installation, NAMESPACE};
use crate::real::{
    control_plane::{User, eventually},
    free_port,
};

const SOON: Duration = Duration::from_mins(1);

/// What the program said and how it ended.
#[derive(Debug)]
struct Checked {
    code: Option<i32>,
    /// Outcomes by id; the worst where there are several.
    outcomes: BTreeMap<String, String>,
    report: Value,
}

impl Checked {
    fn of(&self, outcome: &str) -> Vec<&str> {
        let these = self.outcomes.iter().filter(|(_, it)| *it == outcome);
        these.map(|(id, _)| id.as_str()).collect()
    }

    fn text(&self, id: &str) -> &str {
        let findings = self.report["findings"].as_array();
        let mut findings = findings.into_iter().flatten();
        let found = findings.find(|it| it["id"] == id);
        found.and_then(|it| it["text"].as_str()).unwrap_or_default()
    }
}

async fn check(kubeconfig: &Path, arguments: &[&str]) -> Checked {
    let binary = env!("CARGO_BIN_EXE_stellar-peers");
    let run = async |format: &str| {
        let mut command = Command::new(binary);
        command
            .args(["check", "-o", format, "--kubeconfig"])
            .arg(kubeconfig);
        let output = command.args(arguments).output().await;
        output.expect("our binary starts")
    };
    // What people see goes into the test's output.
    let text = run("text").await;
    eprintln!(
        "check {arguments:?}\n{}",
        String::from_utf8_lossy(&text.stdout)
    );
    let output = run("json").await;
    let report: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    let severity = ["pass", "skipped", "warning", "failed"];
    let mut outcomes: BTreeMap<String, String> = BTreeMap::new();
    for finding in report["findings"].as_array().into_iter().flatten() {
        let word = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        let rank = |word: &str| severity.iter().position(|it| *it == word);
        let outcome = outcomes.entry(word("id")).or_default();
        if rank(outcome) < rank(&word("outcome")) {
            *outcome = word("outcome");
        }
    }
    Checked {
        code: output.status.code(),
        outcomes,
        report,
    }
}

/// A kubeconfig that leads to a port where nobody listens.
fn to_nobody(folder: &Path) -> PathBuf {
    let path = folder.join("nobody.kubeconfig");
    let server = format!("https://127.0.0.1:{}", free_port());
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "clusters": [{"name": "a", "cluster": {"server": server}}],
        "users": [{"name": "a", "user": {"token": "a"}}],
    });
    std::fs::write(&path, config.to_string()).expect("a file");
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a control plane: make e2e"]
async fn a_healthy_installation_passes_and_one_that_stopped_or_cannot_be_seen_is_told() {
    let installation = Installation::prepare().await;
    installation.apply("install", &[]).await;
    installation.roll_out().await;
    installation.injects("default").await;
    for name in ["core-a", "core-b"] {
        installation.starts("default", name).await;
    }
    let admin = installation.plane.kubeconfig_for(User::Admin);
    let webhook = installation.replicas().remove(0).webhook;
    let webhook = format!("--webhook-address={}", webhook.expect("the chart has one"));
    eventually("all that is looked at passes", SOON, async || {
        let checked = check(&admin, &[&webhook]).await;
        checked.code == Some(0) && checked.of("warning").is_empty()
    })
    .await;
    let healthy = check(&admin, &[&webhook]).await;
    assert_eq!(healthy.of("failed"), Vec::<&str>::new(), "{healthy:#?}");
    for id in [
        "api-server",
        "version",
        "stellarnode-kind",
        "peer-port",
        "installation",
        "lease",
        "replicas",
        "rights",
        "registered",
        "ca-bundle",
        "certificate",
        "fail-single",
        "webhook-timeout",
        "injects",
        "namespace",
        "list-current",
    ] {
        assert_eq!(
            healthy.outcomes.get(id).map(String::as_str),
            Some("pass"),
            "{id}: {healthy:#?}"
        );
    }
    // Without an address of ours the Service's name leads nowhere from here.
    let afar = check(&admin, &[]).await;
    assert_eq!(
        (afar.code, afar.of("skipped")),
        (Some(0), vec!["certificate"])
    );

    // An account without any right of its own, in a namespace with nothing in it.
    let nobody = installation
        .plane
        .kubeconfig_for_service_account("default", "default")
        .await;
    let blind = check(&nobody, &[]).await;
    assert_eq!(blind.code, Some(0), "{blind:#?}");
    assert_eq!(blind.of("failed"), Vec::<&str>::new());
    let seen = ["api-server", "stellarnode-kind", "version"];
    assert_eq!(blind.of("pass"), seen, "{blind:#?}");
    assert!(
        blind
            .text("registered")
            .contains("may not get MutatingWebhookConfiguration")
    );

    installation.end_pods().await;
    let stopped = check(&admin, &[]).await;
    assert_eq!(stopped.code, Some(1));
    assert_eq!(stopped.of("failed"), ["injects", "lease"], "{stopped:#?}");

    let absent = check(&to_nobody(installation.folder.path()), &[]).await;
    assert_eq!(
        (absent.code, absent.of("failed")),
        (Some(1), vec!["api-server"])
    );
    assert_eq!(absent.outcomes.len(), 1);
    assert!(
        absent.text("api-server").contains("onnection refused"),
        "{absent:#?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a control plane: make e2e"]
async fn an_installation_for_one_namespace_is_found_and_judged_by_its_own_flags() {
    let installation = Installation::prepare().await;
    let ours = installation.plane.namespace("ours").await;
    let namespaces = format!("namespaces={{{ours}}}");
    let values = [
        namespaces.as_str(),
        "discovery.addressMode=dns",
        "webhook.failurePolicy=Fail",
        "replicaCount=1",
    ];
    installation.apply("install", &values).await;
    installation.roll_out().await;
    installation.injects(&ours).await;
    for name in ["core-a", "core-b"] {
        installation.starts(&ours, name).await;
    }
    let admin = installation.plane.kubeconfig_for(User::Admin);
    let warnings = ["fail-single", "replicas"];
    eventually("all else passes", SOON, async || {
        let checked = check(&admin, &[]).await;
        checked.code == Some(0) && checked.of("warning") == warnings
    })
    .await;
    let limited = check(&admin, &[]).await;
    for id in ["rights", "injects", "list-current", "lease", "registered"] {
        assert_eq!(limited.outcomes[id], "pass", "{id}: {limited:#?}");
    }
    let place = format!("stellar-peers-peers calls the webhook for namespaces {ours}");
    assert_eq!(limited.text("registered"), place);

    // Somebody takes its rights in the namespace away, and edits the list while nobody looks.
    installation
        .kubectl(&["delete", "rolebinding", "--all", "-n", &ours])
        .await;
    installation.end_pods().await;
    let edit = r#"{"data": {"KNOWN_PEERS": "192.0.2.1:11625\n"}}"#;
    let list = [
        "patch",
        "configmap",
        "stellar-peers",
        "-n",
        &ours,
        "-p",
        edit,
    ];
    installation.kubectl(&list).await;
    let wrong = check(&admin, &["-n", &ours]).await;
    assert_eq!(wrong.code, Some(1));
    let failed = ["injects", "lease", "list-current", "rights"];
    assert_eq!(wrong.of("failed"), failed, "{wrong:#?}");
    assert!(
        wrong
            .text("rights")
            .contains(&format!("get, patch statefulsets.apps in {ours};"))
    );
    assert!(wrong.text("injects").contains("failed calling webhook"));
    assert!(wrong.text("list-current").contains("192.0.2.1:11625"));
}

/// As an operator brings it: closed schemas, of which one knows settings of validators and the other none.
fn pruning_definition() -> Value {
    let mut definition = serde_json::to_value(stellar_node_crd()).expect("it serializes");
    let schema = |properties: Value| {
        json!({"openAPIV3Schema": {
            "type": "object", "required": ["spec"],
            "properties": {"spec": {"type": "object", "properties": properties}},
        }})
    };
    let kind = json!({"type": "string"});
    let config = json!({"type": "object", "properties": {"seedSecretRef": {"type": "string"}}});
    definition["spec"]["versions"] = json!([
        {"name": "v1alpha1", "served": true, "storage": true,
         "schema": schema(json!({"nodeType": kind, "validatorConfig": config}))},
        {"name": "v1beta1", "served": true, "storage": false, "schema": schema(json!({"nodeType": kind}))},
    ]);
    definition
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a control plane: make e2e"]
async fn a_schema_that_drops_the_port_is_told_and_mended_where_that_is_asked_for() {
    let installation = Installation::bare(NAMESPACE).await;
    let admin = installation.plane.kubeconfig_for(User::Admin);
    let without = check(&admin, &["--no-webhook"]).await;
    assert_eq!(without.of("failed"), Vec::<&str>::new(), "{without:#?}");
    assert_eq!(without.outcomes["stellarnode-kind"], "pass", "{without:#?}");
    assert!(!without.outcomes.contains_key("peer-port"));

    let created = fixtures::create(&installation.admin, &pruning_definition()).await;
    created.expect("the kind is new");
    installation
        .kubectl(&["wait", "crd", "--all", "--for=condition=Established"])
        .await;
    let ports = async || {
        let mut node = fixtures::stellar_node("default", "validator-1", &[]);
        node["spec"] = json!({"nodeType": "Validator", "validatorConfig": {"peerPort": 12000}});
        let mut ports = Vec::new();
        for version in ["v1alpha1", "v1beta1"] {
            node["apiVersion"] = json!(format!("stellar.org/{version}"));
            let file = installation.folder.path().join("node.json");
            std::fs::write(&file, node.to_string()).expect("a file");
            let file = file.display().to_string();
            let stored = installation
                .kubectl(&[
                    "create",
                    "--dry-run=server",
                    "--validate=false",
                    "-o",
                    "jsonpath={.spec.validatorConfig.peerPort}",
                    "-f",
                    &file,
                ])
                .await;
            ports.push(stored);
        }
        ports
    };
    eventually("both versions are served", SOON, async || {
        let served = installation
            .kubectl(&["api-resources", "--api-group=stellar.org", "-o", "name"])
            .await;
        !served.is_empty()
    })
    .await;
    assert_eq!(ports().await, ["", ""], "it is dropped");

    let dropped = check(&admin, &["--no-webhook"]).await;
    assert_eq!(dropped.outcomes["peer-port"], "warning", "{dropped:#?}");
    let before = installation.object("crd", "stellarnodes.stellar.org").await;

    let mended = check(&admin, &["--no-webhook", "--fix"]).await;
    assert_eq!(mended.outcomes["peer-port"], "pass", "{mended:#?}");
    eventually("the port is kept by both versions", SOON, async || {
        ports().await == ["12000", "12000"]
    })
    .await;
    // Only the field was added, and a second time nothing is written.
    let after = installation.object("crd", "stellarnodes.stellar.org").await;
    let mut less = after.clone();
    for (version, path) in [(0, "/validatorConfig/properties"), (1, "")] {
        let properties = format!(
            "/spec/versions/{version}/schema/openAPIV3Schema/properties/spec/properties{path}"
        );
        let properties = less.pointer_mut(&properties).and_then(Value::as_object_mut);
        let properties = properties.expect("it is an object");
        let field = if version == 0 {
            "peerPort"
        } else {
            "validatorConfig"
        };
        assert!(properties.remove(field).is_some(), "{field}");
    }
    assert_eq!(less["spec"], before["spec"]);
    let again = check(&admin, &["--no-webhook", "--fix"]).await;
    assert_eq!(again.outcomes["peer-port"], "pass");
    let last = installation.object("crd", "stellarnodes.stellar.org").await;
    assert_eq!(
        last["metadata"]["resourceVersion"],
        after["metadata"]["resourceVersion"]
    );
}
