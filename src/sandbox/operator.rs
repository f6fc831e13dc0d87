//! A stand-in for the Stellar-K8s operator: a plain client program, so it runs on a real API server as well.
//!
//! The shape of what it writes, and how often it writes, are those of the real operator as it was run in mid-2026:
//! forced server-side apply for ever, each write flipping two metadata labels, so that `resourceVersion` moves all the
//! time and `generation` does not.

use std::{collections::BTreeMap, time::Duration};

use kube::core::PartialObjectMeta;
use kube::{
    Api, Client,
    api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use tokio::{task::JoinHandle, time::Instant};
use tracing::debug;

/// Its field manager, and the value of the `managed-by` label.
const MANAGER: &str = "stellar-operator";
const FINALIZER: &str = "stellarnode.stellar.org/finalizer";
/// The port that it always declares: it knows no `peerPort`.
const PEER_PORT: u16 = 11625;

/// How the operator writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteMode {
    /// Forced server-side apply: what others add stays.
    #[default]
    Apply,
    /// Builds the object anew and replaces the stored one: what others added is gone.
    Replace,
}

/// How the operator is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorOptions {
    /// How it writes.
    pub mode: WriteMode,
    /// Between two rounds over all StellarNodes.
    pub interval: Duration,
    /// How long an object that is as it was last written is left alone. The real operator writes it each time.
    pub rest: Duration,
    /// The node to name in the template, which passes the scheduler by.
    pub node_name: Option<String>,
    /// Whether the ledger lies on the claim `<node>-data`, as the real operator has it, or on an emptyDir.
    pub has_claim: bool,
    /// Annotations of the pod template.
    pub pod_annotations: BTreeMap<String, String>,
}

impl Default for OperatorOptions {
    fn default() -> Self {
        Self {
            mode: WriteMode::Apply,
            interval: Duration::from_millis(500),
            rest: Duration::ZERO,
            node_name: None,
            has_claim: true,
            pod_annotations: BTreeMap::new(),
        }
    }
}

/// A running operator. It stops when this is dropped.
#[derive(Debug)]
pub struct Operator(JoinHandle<()>);

impl Drop for Operator {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Operator {
    /// Starts an operator for the StellarNodes of one namespace.
    #[must_use = "the operator stops when this is dropped"]
    pub fn start(client: Client, namespace: &str, options: OperatorOptions) -> Self {
        let mut rounds = Rounds::new(client, namespace, options);
        Self(tokio::spawn(async move {
            loop {
                // As the real one: what failed is tried again in the next round.
                if let Err(error) = rounds.run_once().await {
                    debug!(%error, "Operator round failed");
                }
                tokio::time::sleep(rounds.options.interval).await;
            }
        }))
    }
}

struct Rounds {
    nodes: Api<DynamicObject>,
    sets: Api<DynamicObject>,
    configs: Api<DynamicObject>,
    options: OperatorOptions,
    /// Which of the two values the flipping labels get next.
    parity: bool,
    /// What was written last, by name.
    written: BTreeMap<String, Written>,
}

/// What was last written for a StellarNode.
struct Written {
    /// The version of the StellarNode.
    version: Option<String>,
    config: Value,
    at: Instant,
}

impl Rounds {
    fn new(client: Client, namespace: &str, options: OperatorOptions) -> Self {
        let nodes = resource("stellar.org", "v1alpha1", "StellarNode", "stellarnodes");
        let sets = resource("apps", "v1", "StatefulSet", "statefulsets");
        let configs = resource("", "v1", "ConfigMap", "configmaps");
        Self {
            nodes: Api::namespaced_with(client.clone(), namespace, &nodes),
            sets: Api::namespaced_with(client.clone(), namespace, &sets),
            configs: Api::namespaced_with(client, namespace, &configs),
            options,
            parity: false,
            written: BTreeMap::new(),
        }
    }

    async fn run_once(&mut self) -> Result<(), kube::Error> {
        self.parity = !self.parity;
        let nodes = self.nodes.list(&ListParams::default()).await?;
        let ours = ListParams::default().labels(&format!("app.kubernetes.io/managed-by={MANAGER}"));
        let sets = self.sets.list_metadata(&ours).await?;
        let mut validators = Vec::new();
        for node in nodes {
            let name = node.metadata.name.clone().unwrap_or_default();
            if node.metadata.deletion_timestamp.is_some() {
                self.remove(&name).await?;
                self.set_finalizers(&name, &[]).await?;
            } else if node.data["spec"]["nodeType"] == "Validator" {
                if node.metadata.finalizers.is_none() {
                    self.set_finalizers(&name, &[FINALIZER]).await?;
                }
                let is_it = |set: &PartialObjectMeta<DynamicObject>| {
                    set.metadata.name.as_ref() == Some(&name)
                };
                if !sets.iter().any(is_it) {
                    self.written.remove(&name);
                }
                validators.push(name.clone());
                let version = node.metadata.resource_version.clone();
                let is_at_rest =
                    |it: &Written| it.version == version && it.at.elapsed() < self.options.rest;
                if self.written.get(&name).is_some_and(is_at_rest) {
                    continue;
                }
                let node = serde_json::to_value(&node).map_err(kube::Error::SerdeError)?;
                let config = self.write(&name, &node).await?;
                let at = Instant::now();
                let written = Written {
                    version,
                    config,
                    at,
                };
                self.written.insert(name, written);
            }
        }
        for set in sets {
            let name = set.metadata.name.unwrap_or_default();
            if !validators.contains(&name) && set.metadata.deletion_timestamp.is_none() {
                self.remove(&name).await?;
            }
        }
        Ok(())
    }

    async fn set_finalizers(&self, name: &str, finalizers: &[&str]) -> Result<(), kube::Error> {
        let patch = json!({"metadata": {"finalizers": finalizers}});
        self.nodes
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map(drop)
    }

    async fn remove(&mut self, name: &str) -> Result<(), kube::Error> {
        self.written.remove(name);
        for (api, name) in [
            (&self.sets, name.to_owned()),
            (&self.configs, format!("{name}-config")),
        ] {
            match api.delete(&name, &DeleteParams::background()).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes the objects of a StellarNode; gives back its ConfigMap.
    async fn write(&self, name: &str, node: &Value) -> Result<Value, kube::Error> {
        let config = config_map(node);
        let mut set = stateful_set(node, &self.options);
        let parameters = PatchParams::apply(MANAGER).force();
        if self.written.get(name).is_none_or(|it| it.config != config) {
            self.configs
                .patch(
                    &format!("{name}-config"),
                    &parameters,
                    &Patch::Apply(&config),
                )
                .await?;
        }
        let (first, second) = if self.parity {
            ("even", "odd")
        } else {
            ("odd", "even")
        };
        set["metadata"]["labels"]["stellar.org/reconcile"] = first.into();
        set["metadata"]["labels"]["stellar.org/previous-reconcile"] = second.into();
        match self.options.mode {
            WriteMode::Apply => {
                let apply = Patch::Apply(&set);
                self.sets.patch_metadata(name, &parameters, &apply).await?;
            }
            WriteMode::Replace => self.replace(name, set).await?,
        }
        Ok(config)
    }

    async fn replace(&self, name: &str, mut set: Value) -> Result<(), kube::Error> {
        let parameters = PostParams {
            field_manager: Some(MANAGER.to_owned()),
            ..PostParams::default()
        };
        let stored = self.sets.get_opt(name).await?;
        if let Some(stored) = &stored {
            set["metadata"]["uid"] = stored.metadata.uid.clone().into();
            set["metadata"]["resourceVersion"] = stored.metadata.resource_version.clone().into();
        }
        let set: DynamicObject = serde_json::from_value(set).map_err(kube::Error::SerdeError)?;
        match stored {
            Some(_) => self.sets.replace(name, &parameters, &set).await.map(drop),
            None => self.sets.create(&parameters, &set).await.map(drop),
        }
    }
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    let api_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version,
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

fn text<'a>(value: &'a Value, default: &'a str) -> &'a str {
    value.as_str().unwrap_or(default)
}

fn labels(node: &Value) -> Value {
    json!({
        "app.kubernetes.io/name": "stellar-node",
        "app.kubernetes.io/instance": node["metadata"]["name"],
        "app.kubernetes.io/component": "validator",
        "app.kubernetes.io/managed-by": MANAGER,
        "stellar.org/node-type": "Validator",
        "stellar-network": text(&node["spec"]["network"], "testnet").to_lowercase(),
    })
}

fn metadata(node: &Value, name: &str) -> Value {
    json!({
        "name": name, "namespace": node["metadata"]["namespace"], "labels": labels(node),
        "ownerReferences": [{
            "apiVersion": "stellar.org/v1alpha1", "kind": "StellarNode", "name": node["metadata"]["name"],
            "uid": node["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
        }],
    })
}

/// The ConfigMap `<node>-config` that the operator keeps for a StellarNode.
#[must_use]
pub fn config_map(node: &Value) -> Value {
    let name = text(&node["metadata"]["name"], "");
    let quorum_set = text(&node["spec"]["validatorConfig"]["quorumSet"], "");
    let config = format!("{quorum_set}\nCATCHUP_COMPLETE=false\nCATCHUP_RECENT=1024\n");
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(node, &format!("{name}-config")),
        "data": {"stellar-core.cfg": config},
    })
}

/// The StatefulSet that the operator keeps for a StellarNode.
#[must_use]
pub fn stateful_set(node: &Value, options: &OperatorOptions) -> Value {
    let name = text(&node["metadata"]["name"], "");
    let is_suspended = node["spec"]["suspended"] == true;
    let mut template =
        json!({"metadata": {"labels": labels(node)}, "spec": pod_spec(node, name, options)});
    if !options.pod_annotations.is_empty() {
        template["metadata"]["annotations"] = json!(options.pod_annotations);
    }
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": metadata(node, name),
        "spec": {
            "replicas": u8::from(!is_suspended),
            "serviceName": format!("{name}-headless"),
            "podManagementPolicy": "OrderedReady",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "selector": {"matchLabels": labels(node)},
            "template": template,
        },
    })
}

fn pod_spec(node: &Value, name: &str, options: &OperatorOptions) -> Value {
    let mut data = json!({"name": "data"});
    if options.has_claim {
        data["persistentVolumeClaim"] = json!({"claimName": format!("{name}-data")});
    } else {
        data["emptyDir"] = json!({});
    }
    let instance = json!({"matchLabels": {"app.kubernetes.io/name": "stellar-node"}});
    let mut spec = json!({
        "securityContext": {"runAsUser": 10000, "fsGroup": 10000, "runAsNonRoot": true},
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"labelSelector": instance, "topologyKey": "kubernetes.io/hostname"},
        ]}},
        "containers": [core_container(node), health_check_container()],
        "volumes": [
            data,
            {"name": "config", "configMap": {"name": format!("{name}-config")}},
            {"name": "tls", "secret": {"secretName": format!("{name}-client-cert"), "optional": true}},
        ],
    });
    if let Some(node_name) = &options.node_name {
        spec["nodeName"] = node_name.as_str().into();
    }
    spec
}

fn security_context() -> Value {
    json!({
        "runAsNonRoot": true, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
    })
}

/// No command, no args, one port without a name.
fn core_container(node: &Value) -> Value {
    let version = text(&node["spec"]["version"], "latest");
    json!({
        "name": "stellar-node", "image": format!("stellar/stellar-core:{version}"),
        "ports": [{"containerPort": PEER_PORT}],
        "securityContext": security_context(),
        "volumeMounts": [
            {"name": "data", "mountPath": "/opt/stellar/data"},
            {"name": "config", "mountPath": "/config", "readOnly": true},
            {"name": "tls", "mountPath": "/etc/stellar/tls", "readOnly": true},
        ],
    })
}

fn health_check_container() -> Value {
    json!({
        "name": "stellar-health-check", "image": "stellar/health-check:latest",
        "ports": [{"name": "health", "containerPort": 8081}],
        "securityContext": security_context(),
    })
}
