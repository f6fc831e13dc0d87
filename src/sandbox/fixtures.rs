//! Objects as users and charts make them, for demos and tests.

use kube::Client;
use serde_json::{Value, json};

/// Creates an object by its own `apiVersion`, `kind` and namespace, on whatever server the client talks to.
///
/// # Errors
/// As the server refuses.
pub async fn create(client: &Client, object: &Value) -> Result<Value, kube::Error> {
    let body = serde_json::to_vec(object).map_err(kube::Error::SerdeError)?;
    let request = http::Request::post(collection(object))
        .header(http::header::CONTENT_TYPE, "application/json");
    client
        .request(request.body(body).map_err(kube::Error::HttpError)?)
        .await
}

/// The path of an object's collection. The kinds that occur here have regular plurals.
fn collection(object: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let version = text(&object["apiVersion"]);
    let root = if version.contains('/') { "apis" } else { "api" };
    let namespace = match text(&object["metadata"]["namespace"]) {
        none if none.is_empty() => String::new(),
        namespace => format!("/namespaces/{namespace}"),
    };
    format!(
        "/{root}/{version}{namespace}/{}s",
        text(&object["kind"]).to_lowercase()
    )
}

/// The `CustomResourceDefinition` of StellarNode, with `status` and an open schema.
#[must_use]
pub fn stellar_node_definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "stellarnodes.stellar.org"},
        "spec": {
            "group": "stellar.org", "scope": "Namespaced",
            "names": {"kind": "StellarNode", "plural": "stellarnodes", "singular": "stellarnode", "listKind": "StellarNodeList"},
            "versions": [{
                "name": "v1alpha1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {
                    "type": "object",
                    "properties": {
                        "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                    },
                }},
            }],
        },
    })
}

/// A validator of the test network, as the feature's description shows it; `trusts` are the names in its quorum set.
#[must_use]
pub fn stellar_node(namespace: &str, name: &str, trusts: &[&str]) -> Value {
    let quoted: Vec<_> = trusts.iter().map(|name| format!("\"{name}\"")).collect();
    let quorum_set = format!(
        "[QUORUM_SET]\nTHRESHOLD_PERCENT = 50\nVALIDATORS = [{}]\n",
        quoted.join(", ")
    );
    json!({
        "apiVersion": "stellar.org/v1alpha1", "kind": "StellarNode",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "nodeType": "Validator", "network": "Testnet", "version": "v21.0.0",
            "storage": {"storageClass": "standard", "size": "100Gi"},
            "validatorConfig": {
                "seedSecretRef": format!("{name}-seed"), "quorumSet": quorum_set, "enableHistoryArchive": true,
                "historyArchiveUrls": ["https://history.stellar.org"], "peerPort": 11625,
            },
        },
    })
}

/// A StatefulSet as SDF's `core` chart renders it, opted in by a label on the pod template.
#[must_use]
pub fn chart_stateful_set(namespace: &str, name: &str) -> Value {
    let labels = json!({"app": name, "peers.stellar.org/inject": "enabled"});
    let mount = |volume: &str, path: &str| json!({"name": volume, "mountPath": path});
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name, "release": name}},
        "spec": {
            "replicas": 1, "serviceName": name, "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "initContainers": [{
                        "name": "core-init", "image": "stellar/stellar-core:21", "command": ["/bin/sh", "-c"],
                        "args": ["stellar-core new-db --conf /config/stellar-core.cfg"],
                        "volumeMounts": [mount("data", "/data"), mount("core-config", "/config")],
                    }],
                    "containers": [{
                        "name": "core", "image": "stellar/stellar-core:21",
                        "args": ["run", "--conf", "/config/stellar-core.cfg", "--console"],
                        "ports": [{"name": "core", "containerPort": 11626}, {"name": "core-peer", "containerPort": 11625}],
                        "volumeMounts": [mount("data", "/data"), mount("core-config", "/config")],
                    }],
                    "volumes": [{"name": "core-config", "configMap": {"name": name}}],
                },
            },
            "volumeClaimTemplates": [{
                "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}},
            }],
        },
    })
}

/// The same with its data on an emptyDir, which is the chart's default.
#[must_use]
pub fn chart_stateful_set_without_claim(namespace: &str, name: &str) -> Value {
    let mut set = chart_stateful_set(namespace, name);
    let spec = &mut set["spec"];
    spec["volumeClaimTemplates"] = json!([]);
    if let Some(volumes) = spec["template"]["spec"]["volumes"].as_array_mut() {
        volumes.push(json!({"name": "data", "emptyDir": {}}));
    }
    set
}

/// The configuration that the chart renders for its release.
#[must_use]
pub fn chart_config_map(namespace: &str, name: &str) -> Value {
    let config = "# Generated by Helm\nHTTP_PORT = 11626\nNODE_SEED = \"SAAA self\"\nNODE_IS_VALIDATOR = true\n\n\
                  [[HOME_DOMAINS]]\nHOME_DOMAIN = \"stellar.example\"\nQUALITY = \"MEDIUM\"\n\n\
                  [HISTORY.local]\nget = \"cp /history/{0} {1}\"\n";
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace},
        "data": {"stellar-core.cfg": config},
    })
}

/// The headless Service of a chart's StatefulSet, which publishes addresses of pods that are not Ready.
#[must_use]
pub fn headless_service(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "clusterIP": "None", "publishNotReadyAddresses": true, "selector": {"app": name},
            "ports": [{"name": "core-peer", "port": 11625}],
        },
    })
}
