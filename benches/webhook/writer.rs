//! Who writes the StatefulSets: an operator as the Stellar-K8s operator is, by forced server-side apply that flips two
//! labels each time.
//!
//! The shape is that of its stand-in ([`operator::stateful_set`]), and in addition what validators in production have:
//! resources, probes, environment, tolerations, an exporter of metrics. The size of a review is most of what it costs.

use std::time::Duration;

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use stellar_peers::sandbox::{
    fixtures::{create, stellar_node},
    operator::{self, OperatorOptions},
};
use tokio::time::sleep;

/// Other than the port that the operator declares, so that this one has to be added.
pub(crate) const PEER_PORT: u16 = 11725;
const MANAGER: &str = "stellar-operator";
/// The stand-in's; the real operator is faster.
const PERIOD: Duration = Duration::from_millis(500);

/// One validator of the operator.
pub(crate) struct Validator {
    node: Value,
    sets: Api<StatefulSet>,
    is_even: bool,
}

impl Validator {
    /// Makes the StellarNode, and then the StatefulSet.
    pub(crate) async fn create(client: &Client, namespace: &str, name: &str) -> Self {
        let mut node = stellar_node(namespace, name, &[name]);
        node["spec"]["validatorConfig"]["peerPort"] = json!(PEER_PORT);
        let created = create(client, &node).await;
        let mut validator = Self {
            node: created.expect("a new StellarNode"),
            sets: Api::namespaced(client.clone(), namespace),
            is_even: false,
        };
        validator.write().await;
        validator
    }

    /// Writes the StatefulSet a few times, as the operator does for ever.
    pub(crate) async fn write_on(&mut self, times: usize) {
        for _ in 0..times {
            sleep(PERIOD).await;
            self.write().await;
        }
    }

    /// Another version of stellar-core, and so another template.
    pub(crate) async fn upgrade(&mut self) {
        self.node["spec"]["version"] = json!("v22.0.0");
        self.write().await;
    }

    async fn write(&mut self) {
        self.is_even = !self.is_even;
        let set = stateful_set(&self.node, self.is_even);
        let name = set["metadata"]["name"].as_str().unwrap_or_default();
        let params = PatchParams::apply(MANAGER).force();
        let written = self.sets.patch(name, &params, &Patch::Apply(&set)).await;
        written.expect("the operator may write StatefulSets");
    }
}

fn stateful_set(node: &Value, is_even: bool) -> Value {
    let mut set = operator::stateful_set(node, &OperatorOptions::default());
    let (now, before) = if is_even {
        ("even", "odd")
    } else {
        ("odd", "even")
    };
    set["metadata"]["labels"]["stellar.org/reconcile"] = json!(now);
    set["metadata"]["labels"]["stellar.org/previous-reconcile"] = json!(before);
    let pod = &mut set["spec"]["template"]["spec"];
    pod["terminationGracePeriodSeconds"] = json!(120);
    pod["tolerations"] = json!([
        {"key": "stellar.org/validators", "operator": "Equal", "value": "true", "effect": "NoSchedule"},
    ]);
    let core = &mut pod["containers"][0];
    core["resources"] = json!({
        "requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "4Gi"},
    });
    let field = |path: &str| json!({"fieldRef": {"apiVersion": "v1", "fieldPath": path}});
    let secret = |key: &str| json!({"secretKeyRef": {"name": "validator-secrets", "key": key, "optional": true}});
    core["env"] = json!([
        {"name": "NETWORK_PASSPHRASE", "value": "Test SDF Network ; September 2015"},
        {"name": "STELLAR_NODE_NAME", "valueFrom": field("metadata.name")},
        {"name": "STELLAR_NAMESPACE", "valueFrom": field("metadata.namespace")},
        {"name": "POD_IP", "valueFrom": field("status.podIP")},
        {"name": "STELLAR_CORE_SEED", "valueFrom": secret("seed")},
        {"name": "DATABASE_URL", "valueFrom": secret("database-url")},
        {"name": "HISTORY_ACCESS_KEY", "valueFrom": secret("history-access-key")},
        {"name": "HISTORY_SECRET_KEY", "valueFrom": secret("history-secret-key")},
        {"name": "LOG_LEVEL", "value": "info"},
    ]);
    let probe = |path: &str, period: u32, failures: u32| {
        json!({
            "httpGet": {"path": path, "port": "health", "scheme": "HTTP"},
            "periodSeconds": period, "timeoutSeconds": 5, "failureThreshold": failures,
        })
    };
    let small = json!({
        "requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "100m", "memory": "64Mi"},
    });
    let health = &mut pod["containers"][1];
    health["startupProbe"] = probe("/started", 10, 60);
    health["livenessProbe"] = probe("/alive", 20, 6);
    health["readinessProbe"] = probe("/synced", 5, 3);
    health["resources"] = small.clone();
    let exporter = json!({
        "name": "exporter", "image": "stellar/stellar-core-prometheus-exporter:latest",
        "ports": [{"name": "metrics", "containerPort": 9473}],
        "env": [
            {"name": "CORE_URL", "value": "http://127.0.0.1:11626"},
            {"name": "EXPORTER_NODE_NAME", "valueFrom": field("metadata.name")},
        ],
        "livenessProbe": {"tcpSocket": {"port": "metrics"}, "periodSeconds": 20},
        "resources": small, "securityContext": health["securityContext"],
    });
    let containers = pod["containers"].as_array_mut();
    containers.expect("the stand-in has some").push(exporter);
    set["spec"]["template"]["metadata"]["annotations"] = json!({
        "prometheus.io/scrape": "true", "prometheus.io/port": "9473", "prometheus.io/path": "/metrics",
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    });
    set
}
