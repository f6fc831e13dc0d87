//! Values in, manifests out: what renders an API server takes, and what makes no sense is refused with a reason.

use clap::Parser;
use serde_json::{Value, json};
use stellar_peers::{cli::Cli, sandbox::fixtures};
use tokio::process::Command;

use super::{Installation, NAMESPACE, RELEASE, chart};
use crate::real::control_plane::ControlPlane;

/// Values that people may set together. What names no mode is rendered in each that needs nothing else.
const MATRIX: &[&[&str]] = &[
    &[],
    &[
        "tls.mode=self",
        "tls.lifetime=90days",
        "tls.caLifetime=3650days",
    ],
    &["tls.mode=certManager"],
    &[
        "tls.mode=certManager",
        "tls.certManager.issuerRef.kind=ClusterIssuer",
        "tls.certManager.issuerRef.name=internal",
    ],
    &[
        "tls.mode=existing",
        "tls.secretName=mine",
        "tls.caBundle=-----BEGIN CERTIFICATE-----",
    ],
    &["webhook.enabled=false"],
    &["discovery.enabled=false", "namespaces={default,peers}"],
    &[
        "namespaces={default}",
        "discovery.addressMode=dns",
        "dryRun=true",
        "leaderElection=false",
    ],
    &["hostNetwork=true", "replicaCount=1", "listenAddress=[::]"],
    &[
        "serviceMonitor.enabled=true",
        "serviceMonitor.interval=30s",
        "serviceMonitor.labels.release=prometheus",
    ],
    &[
        "prometheusRule.enabled=true",
        "prometheusRule.labels.release=prometheus",
        "dashboard.enabled=true",
    ],
    &[
        "crds.keep=false",
        "rbac.create=false",
        "serviceAccount.create=false",
        "serviceAccount.name=mine",
    ],
    &[
        "crds.enabled=false",
        "podDisruptionBudget.enabled=false",
        "networkPolicy.enabled=false",
    ],
    &[
        "networkPolicy.httpFrom[0].namespaceSelector.matchLabels.a=b",
        "networkPolicy.egress[0].ports[0].port=6443",
    ],
    &[
        "image.digest=sha256:0123456789012345678901234567890123456789012345678901234567890123",
        "imagePullSecrets[0].name=pull",
    ],
    &[
        "nodeSelector.a=b",
        "tolerations[0].operator=Exists",
        "priorityClassName=system-cluster-critical",
        "extraEnv[0].name=A",
        "extraEnv[0].value=b",
    ],
    &[
        "commonLabels.team=core",
        "commonAnnotations.note=ours",
        "podLabels.a=b",
        "podAnnotations.c=d",
        "service.annotations.e=f",
    ],
    &[
        "fullnameOverride=peers",
        "restarts.restartOn=joins",
        "restarts.adopt=never",
        "restarts.onZeroTolerance=hold",
        "restarts.maxUnavailable=2",
    ],
    &[
        "updateStrategy.type=Recreate",
        "topologySpreadConstraints=null",
        "preStopSeconds=10",
        "log.format=text",
        "log.filter=debug",
    ],
];

/// Wrong values, and what the message has to name.
const WRONG: &[(&[&str], &[&str])] = &[
    (&["replicas=3"], &["replicas", "not allowed"]),
    (
        &["tls.mode=magic"],
        &["/tls/mode", "'helm', 'self', 'certManager', 'existing'"],
    ),
    (
        &["tls.mode=existing"],
        &["tls.mode existing needs tls.secretName"],
    ),
    (
        &["tls.mode=existing", "tls.secretName=mine"],
        &["tls.mode existing needs tls.caBundle", "--set-file"],
    ),
    (&["restarts.settle=soon"], &["/restarts/settle", "soon"]),
    (&["restarts.stuckAfter=0s"], &["/restarts/stuckAfter", "0s"]),
    (
        &["restarts.maxUnavailable=0"],
        &["/restarts/maxUnavailable", "got 0, want 1"],
    ),
    (
        &["namespaces={Not A Name}"],
        &["/namespaces/0", "Not A Name"],
    ),
    (
        &["webhook.failurePolicy=ignore"],
        &["/webhook/failurePolicy", "'Ignore', 'Fail'"],
    ),
    (&["webhook.port=70000"], &["/webhook/port", "65,535"]),
    (
        &["webhook.port=8080"],
        &["webhook.port and http.port are both 8080"],
    ),
    (
        &["webhook.enabled=false", "discovery.enabled=false"],
        &["nothing would be left to do"],
    ),
];

/// The chart with these values, without an API server: its objects, or what Helm said.
pub(super) async fn render(values: &[&str]) -> Result<Vec<Value>, String> {
    let bin = ControlPlane::default_bin_dir().join("helm");
    let mut command = Command::new(bin);
    command
        .args(["template", RELEASE])
        .arg(chart())
        .args(["--namespace", NAMESPACE]);
    command.args(values.iter().flat_map(|value| ["--set", value]));
    let output = command
        .output()
        .await
        .expect("helm was built: make control-plane");
    if output.status.success() {
        Ok(parse(&String::from_utf8_lossy(&output.stdout)))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// The objects of a YAML stream.
pub(super) fn parse(text: &str) -> Vec<Value> {
    let documents = text.split("\n---").filter(|it| {
        it.lines()
            .any(|line| !line.is_empty() && !line.starts_with('#') && line != "---")
    });
    let parsed = documents
        .map(|it| serde_saphyr::from_str(it).unwrap_or_else(|error| panic!("{error}\n{it}")));
    parsed.filter(|it: &Value| !it.is_null()).collect()
}

#[tokio::test]
#[ignore = "needs helm: make e2e"]
async fn wrong_values_are_refused_with_what_is_wrong() {
    for (values, expected) in WRONG {
        let said = render(values).await.expect_err("it makes no sense");
        for part in *expected {
            assert!(
                said.contains(part),
                "{values:?}: {part:?} is not in\n{said}"
            );
        }
    }
}

/// The program takes the arguments that the chart gives it, whatever the values.
#[tokio::test]
#[ignore = "needs helm: make e2e"]
async fn the_program_takes_the_arguments_of_the_chart() {
    for values in MATRIX {
        let objects = render(values).await.expect("it renders");
        for kind in ["Deployment", "Pod"] {
            let object = objects
                .iter()
                .find(|it| it["kind"] == kind)
                .expect("the chart has one");
            let pod = if kind == "Pod" {
                object
            } else {
                &object["spec"]["template"]
            };
            let arguments = pod["spec"]["containers"][0]["args"]
                .as_array()
                .expect("it has arguments");
            let arguments = arguments.iter().filter_map(Value::as_str);
            let parsed = Cli::try_parse_from(["stellar-peers"].into_iter().chain(arguments));
            assert!(parsed.is_ok(), "{values:?}: {}", parsed.unwrap_err());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a control plane: make e2e"]
async fn what_renders_the_api_server_takes() {
    let installation = Installation::prepare().await;
    installation.serve_foreign_kinds().await;
    let chart = chart().display().to_string();
    installation.helm(&["lint", "--strict", &chart]).await;
    // A pod is not even tried without its account.
    for account in ["stellar-peers-check", "peers-check"] {
        installation
            .kubectl(&["create", "serviceaccount", "-n", NAMESPACE, account])
            .await;
    }
    for values in MATRIX {
        let mut arguments = vec!["install", RELEASE, &chart, "--dry-run=server"];
        arguments.extend(values.iter().flat_map(|value| ["--set", value]));
        installation.helm(&arguments).await;
        // Helm looks at no more than the schemas; the API server itself says whether it would take each.
        let objects = render(values).await.expect("it renders");
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        let file = installation.folder.path().join("rendered.json");
        std::fs::write(&file, list.to_string()).expect("a file");
        installation
            .kubectl(&[
                "apply",
                "--dry-run=server",
                "-f",
                &file.display().to_string(),
            ])
            .await;
    }
}

/// An operator's own kind is never replaced, and a definition of ours never once somebody else has written it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a control plane: make e2e"]
async fn a_definition_of_somebody_else_stays_as_it_is() {
    let installation = Installation::prepare().await;
    let file = installation.folder.path().join("operators.json");
    std::fs::write(&file, fixtures::stellar_node_definition().to_string()).expect("a file");
    let file = file.display().to_string();
    let spec = async || {
        let name = "stellarnodes.stellar.org";
        installation.object("crd", name).await["spec"].clone()
    };
    installation.kubectl(&["apply", "-f", &file]).await;
    let operators = spec().await;
    installation.apply("install", &[]).await;
    installation.apply("upgrade", &["crds.keep=false"]).await;
    assert_eq!(spec().await, operators);
    installation.helm(&["uninstall", RELEASE]).await;
    assert_eq!(spec().await, operators);

    installation.kubectl(&["delete", "-f", &file]).await;
    installation.apply("install", &[]).await;
    assert_ne!(spec().await, operators);
    installation.apply("upgrade", &[]).await;
    installation
        .kubectl(&["apply", "-f", &file, "--server-side", "--force-conflicts"])
        .await;
    let written = spec().await;
    installation
        .apply("upgrade", &["podLabels.upgrade=one"])
        .await;
    assert_eq!(spec().await, written, "somebody else has written it since");
    installation.helm(&["uninstall", RELEASE]).await;
    assert_eq!(spec().await, written);
}

impl Installation {
    /// Kinds that other projects bring, as far as the chart writes them.
    pub(super) async fn serve_foreign_kinds(&self) {
        let kinds = [
            ("monitoring.coreos.com", "ServiceMonitor", "servicemonitors"),
            ("monitoring.coreos.com", "PrometheusRule", "prometheusrules"),
            ("cert-manager.io", "Certificate", "certificates"),
            ("cert-manager.io", "Issuer", "issuers"),
        ];
        for (group, kind, plural) in kinds {
            let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
            let definition = json!({
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": format!("{plural}.{group}")},
                "spec": {
                    "group": group, "scope": "Namespaced",
                    "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase(), "listKind": format!("{kind}List")},
                    "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": open}}],
                },
            });
            fixtures::create(&self.admin, &definition)
                .await
                .expect("it is new");
        }
        self.kubectl(&["wait", "crd", "--all", "--for=condition=Established"])
            .await;
    }
}
