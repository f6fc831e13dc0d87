//! Our binary as a process: how it is started, when it is ready, what it takes of the machine.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::{Api, api::PostParams};
use stellar_peers::api::stellar_node_crd;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::real::control_plane::{ControlPlane, User};

/// The program, built with the sandbox in it.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_stellar-peers");
/// Between two looks at whether it is ready.
const PROBE_PERIOD: Duration = Duration::from_millis(1);
/// A program that is not ready by then never will be.
const START_DEADLINE: Duration = Duration::from_secs(30);

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
        while !is_ready(self.http).await.unwrap_or(false) {
            let log = || fs::read_to_string(&self.log).unwrap_or_default();
            assert!(started.elapsed() < START_DEADLINE, "not ready:\n{}", log());
            sleep(PROBE_PERIOD).await;
        }
        (running, started.elapsed())
    }
}

/// Whether `/readyz` answers 200.
async fn is_ready(http: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(http).await?;
    let request = "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.starts_with("HTTP/1.1 200"))
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

/// A port that nobody has just now. Who is told of it binds it a moment later.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound address")
}

/// Resident memory of a process in bytes: now, and at its highest. Nothing where the system doesn't tell.
pub(crate) fn memory(id: u32) -> Option<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib * 1024)
    };
    Some((field("VmRSS:")?, field("VmHWM:")?))
}

/// Bytes of the binary. It is stripped, and has the sandbox and its demo in it.
pub(crate) fn size() -> u64 {
    fs::metadata(BINARY).expect("the binary is there").len()
}
