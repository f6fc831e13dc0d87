//! What tests put into the cluster again and again: namespaces, claims, pods, webhooks, tokens.
//!
//! **Volumes:** the controller manager's own hostPath provisioner serves the default `StorageClass`,
//! so any claim is bound within a second, from a volumeClaimTemplate too, and its pods are
//! scheduled by the real scheduler. It makes an empty folder `hostpath_pv/<uid>` in the system's
//! folder for temporary files, and removes it with the claim.
//!
//! **Nodes:** there are [`NODES`], so that pods with a hard anti-affinity per host find places.

use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, WebhookClientConfig,
};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolumeClaim, Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule};
use k8s_openapi::api::storage::v1::StorageClass;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{ControlPlane, StartError, User};

/// Nodes of the cluster, named `node-0` and so on.
const NODES: usize = 16;
/// The longest that anything of this file takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

impl ControlPlane {
    /// A new namespace `<prefix>-<number>` in which pods can be created at once.
    pub(crate) async fn namespace(&self, prefix: &str) -> String {
        let client = self.client_for(User::Admin).await;
        let name = format!("{prefix}-{}", self.next_number());
        create::<Namespace>(
            &Api::all(client.clone()),
            json!({ "metadata": { "name": name } }),
        )
        .await;
        let accounts = Api::<ServiceAccount>::namespaced(client, &name);
        let has_default = async || matches!(accounts.get_opt("default").await, Ok(Some(_)));
        eventually(
            "the namespace has its service account",
            PATIENCE,
            has_default,
        )
        .await;
        name
    }

    /// Creates a claim and waits until it is bound: a pod that names it is scheduled at once.
    pub(crate) async fn claim(&self, namespace: &str, name: &str) {
        let claims =
            Api::<PersistentVolumeClaim>::namespaced(self.client_for(User::Admin).await, namespace);
        let claim = json!({
            "metadata": { "name": name },
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": { "requests": { "storage": "1Gi" } },
            },
        });
        create(&claims, claim).await;
        let is_bound = async || {
            let claim = claims.get(name).await.ok();
            let phase = claim.and_then(|claim| claim.status?.phase);
            phase.as_deref() == Some("Bound")
        };
        eventually("the claim is bound", PATIENCE, is_bound).await;
    }

    /// A stranger's pod with a given address, running: what a freed address may become.
    pub(crate) async fn pod_with_address(&self, namespace: &str, name: &str, address: &str) {
        let pods = Api::<Pod>::namespaced(self.client_for(User::Admin).await, namespace);
        let pod = json!({
            "metadata": { "name": name, "annotations": { "rig.test/pod-ip": address } },
            "spec": { "containers": [{ "name": "stranger", "image": "stranger" }] },
        });
        create(&pods, pod).await;
        let has_address = async || pod_ip(&pods, name).await.as_deref() == Some(address);
        eventually("the pod has its address", PATIENCE, has_address).await;
    }

    /// Deletes a pod and waits for its successor of the same name; gives the successor's address,
    /// which nobody had before.
    pub(crate) async fn replace_pod(&self, namespace: &str, name: &str) -> String {
        let pods = Api::<Pod>::namespaced(self.client_for(User::Admin).await, namespace);
        let old = pods
            .get(name)
            .await
            .expect("the pod to replace exists")
            .metadata
            .uid;
        let deletion = pods.delete(name, &DeleteParams::default()).await;
        deletion.expect("the admin may delete pods");
        let is_new = async || {
            let pod = pods.get_opt(name).await.ok().flatten();
            pod.is_some_and(|pod| {
                pod.metadata.uid != old && pod.status.is_some_and(|status| status.pod_ip.is_some())
            })
        };
        eventually("the pod has a successor", PATIENCE, is_new).await;
        pod_ip(&pods, name)
            .await
            .expect("the successor has an address")
    }

    /// Lets a user do what `rules` say, in the whole cluster.
    pub(crate) async fn allow(&self, user: User, rules: Vec<PolicyRule>) {
        let client = self.client_for(User::Admin).await;
        let name = format!("{user}-{}", self.next_number());
        let role = json!({ "metadata": { "name": name }, "rules": rules });
        create::<ClusterRole>(&Api::all(client.clone()), role).await;
        let binding = json!({
            "metadata": { "name": name },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name },
            "subjects": [
                { "apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user.to_string() },
            ],
        });
        create::<ClusterRoleBinding>(&Api::all(client), binding).await;
    }

    /// A kubeconfig with a fresh token of an existing service account, as `kubectl create token`
    /// makes it: our program runs with exactly the rights that a chart gives it.
    pub(crate) async fn kubeconfig_for_service_account(
        &self,
        namespace: &str,
        name: &str,
    ) -> PathBuf {
        let accounts =
            Api::<ServiceAccount>::namespaced(self.client_for(User::Admin).await, namespace);
        let request = TokenRequest {
            spec: TokenRequestSpec {
                // A soak may take longer than the hour that is given otherwise.
                expiration_seconds: Some(86_400),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await;
        let answer = answer.expect("the service account exists");
        let token = answer
            .status
            .expect("an answered request has a token")
            .token;
        let written = self
            .settings
            .write_kubeconfig(&format!("{namespace}.{name}"), &token);
        written.expect("the data folder is writable")
    }

    /// Registers a webhook configuration as our program produced it, but called by URL and for
    /// these namespaces only. Gives the name under which it is registered.
    ///
    /// The API server notices within some 100 ms: a test that creates something right away should
    /// first wait until a dry run is seen by its webhook.
    pub(crate) async fn register_webhook(
        &self,
        produced: &Value,
        url: &str,
        ca_bundle_pem: &str,
        namespaces: &[&str],
    ) -> String {
        let configuration = serde_json::from_value(produced.clone());
        let mut configuration: MutatingWebhookConfiguration =
            configuration.expect("our program produces a MutatingWebhookConfiguration");
        let meta = &mut configuration.metadata;
        let name = format!(
            "{}-{}",
            meta.name.as_deref().unwrap_or("webhook"),
            self.next_number()
        );
        meta.name = Some(name.clone());
        for webhook in configuration.webhooks.iter_mut().flatten() {
            webhook.client_config = WebhookClientConfig {
                ca_bundle: Some(ByteString(ca_bundle_pem.as_bytes().to_vec())),
                service: None,
                url: Some(url.to_owned()),
            };
            webhook.namespace_selector = Some(only(namespaces));
        }
        let configurations = Api::all(self.client_for(User::Admin).await);
        let registered = configurations
            .create(&PostParams::default(), &configuration)
            .await;
        registered.expect("the API server accepts our program's webhook configuration");
        name
    }
}

/// Polls until `probe` holds.
///
/// # Panics
/// After `patience`, with what was awaited.
pub(crate) async fn eventually(awaited: &str, patience: Duration, probe: impl AsyncFn() -> bool) {
    let polling = async {
        while !probe().await {
            tokio::time::sleep(super::POLL_PERIOD).await;
        }
    };
    let in_time = tokio::time::timeout(patience, polling).await;
    assert!(in_time.is_ok(), "not within {patience:?}: {awaited}");
}

/// What every test needs: nodes, and a `StorageClass` for claims.
pub(super) async fn create_cluster_objects(client: &Client) -> Result<(), StartError> {
    let post = PostParams::default();
    let nodes = Api::<Node>::all(client.clone());
    for number in 0..NODES {
        let name = format!("node-{number}");
        let labels = json!({ "kubernetes.io/hostname": name, "kubernetes.io/os": "linux" });
        let node = json!({ "metadata": { "name": name, "labels": labels } });
        nodes.create(&post, &parsed(node)).await.map_err(Box::new)?;
    }
    let class = json!({
        "metadata": {
            "name": "rig",
            "annotations": { "storageclass.kubernetes.io/is-default-class": "true" },
        },
        "provisioner": "kubernetes.io/host-path",
    });
    let classes = Api::<StorageClass>::all(client.clone());
    classes
        .create(&post, &parsed(class))
        .await
        .map_err(Box::new)?;
    Ok(())
}

/// Lets a new kwok take over the nodes at once, rather than when the old one's leases expire.
pub(super) async fn release_nodes(client: &Client) -> Result<(), StartError> {
    let leases = Api::<Lease>::namespaced(client.clone(), "kube-node-lease");
    let (delete, all) = (DeleteParams::default(), ListParams::default());
    let deleted = leases.delete_collection(&delete, &all).await;
    deleted.map_err(Box::new)?;
    Ok(())
}

/// Whether a pod created now would be admitted, placed and run.
pub(super) async fn is_usable(client: &Client) -> bool {
    let nodes = Api::<Node>::all(client.clone())
        .list(&ListParams::default())
        .await;
    let is_schedulable = |node: &Node| {
        let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref());
        let conditions = node
            .status
            .as_ref()
            .and_then(|status| status.conditions.as_ref());
        let is_ready = conditions
            .into_iter()
            .flatten()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True");
        is_ready && taints.is_none_or(Vec::is_empty)
    };
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), "default");
    let has_account = matches!(accounts.get_opt("default").await, Ok(Some(_)));
    has_account && nodes.is_ok_and(|nodes| nodes.items.iter().all(is_schedulable))
}

fn only(namespaces: &[&str]) -> LabelSelector {
    let names = namespaces.iter().map(|name| (*name).to_owned()).collect();
    LabelSelector {
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: "kubernetes.io/metadata.name".to_owned(),
            operator: "In".to_owned(),
            values: Some(names),
        }]),
        match_labels: None,
    }
}

async fn pod_ip(pods: &Api<Pod>, name: &str) -> Option<String> {
    pods.get(name).await.ok()?.status?.pod_ip
}

/// Creates an object given as JSON, without `apiVersion` and `kind`.
pub(crate) async fn create<K>(api: &Api<K>, object: Value) -> K
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Serialize + std::fmt::Debug,
{
    let created = api.create(&PostParams::default(), &parsed(object)).await;
    created.unwrap_or_else(|error| panic!("the API server refused a {}: {error}", K::kind(&())))
}

fn parsed<K: DeserializeOwned>(object: Value) -> K {
    serde_json::from_value(object).expect("the JSON in this test is of its kind")
}
