//! The chart on a real API server: Helm installs it, and what it says is run.
//!
//! There are no containers here. The rig plays the kubelet (see [`pods`]): it reads the Deployment from the API server
//! and starts our binary with its arguments, environment and mounts, under a token of its account. Only addresses are
//! others. The API server calls the webhook through its Service, with the certificate and the CA that the chart made.

mod calling;
mod checking;
mod howtos;
mod installing;
mod looking;
mod pods;
mod recipes;
mod registering;
mod rendering;
mod rotating;
mod upgrading;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Output,
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::{Namespace, Service};
use kube::{Api, Client};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{process::Command, sync::MutexGuard};

pub(crate) use self::pods::Pod;
use super::control_plane::{AuditEntry, ControlPlane, User, create};
use crate::ours::Pace;

/// Name of the release, and of its namespace.
pub(crate) const RELEASE: &str = "stellar-peers";
pub(crate) const NAMESPACE: &str = "peers";
/// The Secret in which the program keeps its certificate.
const SECRET: &str = "stellar-peers-tls";

/// What tests make and take away themselves, what ends by itself, and what is only another view of a definition.
const PASSING_KINDS: [&str; 4] = ["events", "namespaces", "apiservices", "persistentvolumes"];

pub(crate) fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/stellar-peers")
}

/// A control plane of its own, with or without a release on it.
pub(crate) struct Installation {
    pub(crate) plane: Arc<ControlPlane>,
    pub(crate) admin: Client,
    namespace: &'static str,
    folder: TempDir,
    pods: Mutex<Vec<Arc<Pod>>>,
    /// What is installed is cluster-wide, and starting it takes all of a small machine: one after the other.
    _turn: MutexGuard<'static, ()>,
}

impl Installation {
    /// A control plane with an empty namespace that lets only the most careful pods in.
    pub(crate) async fn prepare() -> Self {
        let prepared = Self::bare(NAMESPACE).await;
        let restricted = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        let namespace = json!({"metadata": {"name": NAMESPACE, "labels": restricted}});
        create::<Namespace>(&Api::all(prepared.admin.clone()), namespace).await;
        prepared
    }

    /// A control plane for a release in a namespace that isn't there yet.
    pub(crate) async fn bare(namespace: &'static str) -> Self {
        static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let turn = TURN.lock().await;
        let folder = TempDir::new().expect("a temporary folder");
        let plane = ControlPlane::start(&ControlPlane::default_bin_dir(), folder.path()).await;
        let plane = plane.unwrap_or_else(|error| panic!("no control plane: {error}"));
        let admin = plane.client_for(User::Admin).await;
        Self {
            plane: Arc::new(plane),
            admin,
            namespace,
            folder,
            pods: Mutex::default(),
            _turn: turn,
        }
    }

    /// `helm` in the release's namespace.
    ///
    /// # Panics
    /// Where it fails, with all that it said.
    pub(crate) async fn helm(&self, arguments: &[&str]) -> String {
        let output = self.try_helm(arguments).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "helm {arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// The same for a test that wants to see it fail.
    pub(crate) async fn try_helm(&self, arguments: &[&str]) -> Output {
        let mut command = Command::from(self.plane.helm(User::Admin));
        command
            .args(["--namespace", self.namespace])
            .args(arguments);
        command.output().await.expect("helm was built")
    }

    /// `helm install` or `upgrade` with these values over those that make waits short.
    pub(crate) async fn apply(&self, verb: &str, values: &[&str]) {
        let chart = chart().display().to_string();
        let mut arguments = vec![verb, RELEASE, &chart];
        let short = short_waits();
        let values = short
            .iter()
            .map(String::as_str)
            .chain(values.iter().copied());
        arguments.extend(values.flat_map(|value| ["--set", value]));
        self.helm(&arguments).await;
    }

    /// `kubectl`; gives what it printed.
    ///
    /// # Panics
    /// Where it fails, with all that it said.
    pub(crate) async fn kubectl(&self, arguments: &[&str]) -> String {
        let mut command = Command::from(self.plane.kubectl(User::Admin));
        let output = command.args(arguments).output().await;
        let output = output.expect("kubectl was built");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "kubectl {arguments:?}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// One object, as the API server has it.
    pub(crate) async fn object(&self, kind: &str, name: &str) -> Value {
        let arguments = ["get", "-n", self.namespace, "-o", "json", kind, name];
        let text = self.kubectl(&arguments).await;
        serde_json::from_str(&text).expect("kubectl prints JSON")
    }

    /// Names of all objects that outlive a moment: those of the release's namespace, and those in none.
    pub(crate) async fn objects(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for namespaced in ["true", "false"] {
            let namespaced = format!("--namespaced={namespaced}");
            let kinds = ["api-resources", "--verbs=list", "-o", "name", &namespaced];
            let kinds = self.kubectl(&kinds).await;
            let kinds: Vec<&str> = kinds
                .lines()
                .filter(|kind| !PASSING_KINDS.iter().any(|it| kind.starts_with(it)))
                .collect();
            let kinds = kinds.join(",");
            let names = self
                .kubectl(&["get", "-n", self.namespace, "-o", "name", &kinds])
                .await;
            found.extend(names.lines().map(str::to_owned));
        }
        found
    }

    /// Our program's account, as the API server calls it.
    pub(crate) fn user(&self) -> String {
        format!("system:serviceaccount:{}:{RELEASE}", self.namespace)
    }

    /// What our program asked for so far.
    pub(crate) fn audit(&self) -> Vec<AuditEntry> {
        let mut entries = self.plane.audit();
        entries.retain(|entry| entry.user == self.user());
        entries
    }

    /// What our program was refused, and never allowed later: an API server that starts, or has just got new roles,
    /// refuses for a moment what it allows then.
    pub(crate) fn refused(&self) -> Vec<AuditEntry> {
        let asks = |it: &AuditEntry| {
            (
                it.verb.clone(),
                it.resource.clone(),
                it.namespace.clone(),
                it.name.clone(),
            )
        };
        let entries = self.audit();
        let allowed: BTreeSet<_> = entries
            .iter()
            .filter(|it| !it.is_denied)
            .map(asks)
            .collect();
        entries
            .into_iter()
            .filter(|it| !allowed.contains(&asks(it)))
            .collect()
    }

    /// The addresses by which the API server may call a port of the Service.
    async fn asked(&self) -> Vec<String> {
        let services = Api::<Service>::namespaced(self.admin.clone(), self.namespace);
        let service = services
            .get(RELEASE)
            .await
            .expect("the chart has a Service");
        let spec = service.spec.expect("it has a spec");
        let port = spec
            .ports
            .into_iter()
            .flatten()
            .find(|port| port.name.as_deref() == Some("webhook"));
        let Some(port) = port.map(|port| port.port) else {
            return Vec::new();
        };
        let address = spec.cluster_ip.expect("it has an address");
        let host = format!("{RELEASE}.{}.svc", self.namespace);
        [address, host].map(|host| format!("{host}:{port}")).into()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Pod>>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The times of the stories as the chart's values.
fn short_waits() -> Vec<String> {
    let millis = |it: std::time::Duration| format!("{}ms", it.as_millis());
    let pace = Pace::REAL;
    vec![
        format!("restarts.settle={}", millis(pace.settle)),
        format!("restarts.settleLeave={}", millis(pace.settle_leave)),
        format!("restarts.minReady={}", millis(pace.min_ready)),
        format!("restarts.stuckAfter={}", millis(pace.stuck_after)),
        format!("discovery.bootstrapAfter={}", millis(pace.bootstrap_after)),
        "log.format=text".to_owned(),
        "log.filter=info\\,stellar_peers=debug".to_owned(),
    ]
}
