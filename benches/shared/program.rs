//! Our binary as a process: how it is started, and what it needs of a cluster.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::{Api, api::PostParams};
use stellar_peers::api::stellar_node_crd;
use tokio::time::Instant;

use crate::{
    process::{BINARY, ready},
    real::control_plane::{ControlPlane, User},
};

/// A process of ours. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Running(Child);

impl Running {
    /// Starts it; what it says goes to `log`, which is written anew.
    pub(crate) fn start(mut command: Command, log: &Path) -> io::Result<Self> {
        let log = fs::File::create(log)?;
        let command = command.stdin(Stdio::null()).stdout(log.try_clone()?);
        command.stderr(log).spawn().map(Self)
    }

    /// Its id, by which `/proc` knows it.
    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Either it runs, or it has ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How our program is started: as it is by default, with its webhook and its Lease, but for restarts. A restart would
/// make pods Ready at times of its own.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    /// What starts it, such as what pins it to a core; may be empty.
    pub(crate) launcher: Vec<String>,
    /// The user's kubeconfig that it goes by.
    pub(crate) kubeconfig: PathBuf,
    /// Namespace of its Lease.
    pub(crate) own_namespace: String,
    /// Folder of its certificate.
    pub(crate) tls: PathBuf,
    pub(crate) http: SocketAddr,
    pub(crate) webhook: SocketAddr,
    pub(crate) log: PathBuf,
}

impl Program {
    fn command(&self) -> Command {
        let mut words = self.launcher.iter().map(String::as_str).chain([BINARY]);
        let mut command = Command::new(words.next().expect("there is one at least"));
        command.args(words).args([
            "run",
            "--adopt=never",
            "--restart-on=never",
            &format!("--kubeconfig={}", self.kubeconfig.display()),
            &format!("--own-namespace={}", self.own_namespace),
            &format!("--tls-dir={}", self.tls.display()),
            &format!("--http-listen={}", self.http),
            &format!("--webhook-listen={}", self.webhook),
        ]);
        command
    }

    /// Starts it and waits until it is ready; tells how long that took, from before the fork.
    pub(crate) async fn start(&self) -> (Running, Duration) {
        let started = Instant::now();
        let running = Running::start(self.command(), &self.log).expect("our binary can be run");
        let took = ready(self.http, &self.log, started).await;
        (running, took)
    }
}

/// The kind StellarNode, and for our program the rights that the documentation tells to grant.
pub(crate) async fn prepare(plane: &ControlPlane) {
    let kinds = Api::all(plane.client_for(User::Admin).await);
    let (params, kind) = (PostParams::default(), stellar_node_crd());
    let created = kinds.create(&params, &kind).await;
    created.expect("the kind is new");
    let role = include_str!("../../docs/rbac.yaml");
    let role: ClusterRole = serde_saphyr::from_str(role).expect("docs/rbac.yaml is a ClusterRole");
    let rules = role.rules.expect("the role has rules");
    plane.allow(User::StellarPeers, rules).await;
}

/// Bytes of the binary. It is stripped, and has the sandbox and its demo in it.
pub(crate) fn size() -> u64 {
    fs::metadata(BINARY).expect("the binary is there").len()
}
