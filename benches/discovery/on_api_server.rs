//! Our binary as a process, against a real kube-apiserver with etcd, its controllers and kwok on the same machine.
//!
//! All of these share the machine's cores with our program, so the figures are those of a busy control plane.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::{Api, api::PostParams};
use stellar_peers::api::stellar_node_crd;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::{
    changes,
    cluster::{Cluster, VALIDATORS},
    figures::{Samples, fact, row, title},
    real::control_plane::{ControlPlane, StartError, User},
    traffic::Traffic,
};

const BINARY: &str = env!("CARGO_BIN_EXE_stellar-peers");
const REST: Duration = Duration::from_mins(1);
/// How often the program is started for the time until it is ready.
const STARTS: usize = 10;
/// Between two looks at whether it is.
const PROBE_PERIOD: Duration = Duration::from_millis(1);
/// A program that is not ready by then never will be.
const START_DEADLINE: Duration = Duration::from_secs(30);

/// Prints the table of the real API server, or why there is none.
pub(crate) async fn measure() {
    title(&format!("Real API server, {VALIDATORS} validators"));
    let folder = TempDir::new().expect("a temporary folder");
    match ControlPlane::start(&ControlPlane::default_bin_dir(), folder.path()).await {
        Ok(plane) => measure_on(&plane, folder.path()).await,
        Err(missing @ StartError::Missing { .. }) => {
            println!("  skipped; `make control-plane` builds what it needs: {missing}");
        }
        Err(error) => println!("  skipped; the control plane did not start: {error}"),
    }
}

async fn measure_on(plane: &ControlPlane, folder: &Path) {
    prepare(plane).await;
    let admin = plane.client_for(User::Admin).await;
    let namespace = plane.namespace("bench").await;
    let cluster = Cluster::create(&admin, &namespace).await;
    let program = Program::prepare(plane, &namespace, folder).await;
    let (ours, _) = program.start().await;
    changes::measure(&cluster, || traffic(plane)).await;
    let before = traffic(plane);
    sleep(REST).await;
    (traffic(plane) - before).show_at_rest("60 s");
    show_memory(&ours);
    end(ours).await;
    let mut starts = Samples::default();
    for _ in 0..STARTS {
        let (ours, took) = program.start().await;
        starts.add(took);
        end(ours).await;
    }
    row("start of the process → /readyz is 200", &starts);
    show_size();
}

/// The kind StellarNode, and for our program the rights that the documentation tells to grant.
async fn prepare(plane: &ControlPlane) {
    let kinds = Api::all(plane.client_for(User::Admin).await);
    let (params, kind) = (PostParams::default(), stellar_node_crd());
    let created = kinds.create(&params, &kind).await;
    created.expect("the kind is new");
    let role = include_str!("../../docs/rbac.yaml");
    let role: ClusterRole = serde_saphyr::from_str(role).expect("docs/rbac.yaml is a ClusterRole");
    let rules = role.rules.expect("the role has rules");
    plane.allow(User::StellarPeers, rules).await;
}

fn traffic(plane: &ControlPlane) -> Traffic {
    let (audit, user) = (plane.audit(), User::StellarPeers.to_string());
    let ours = audit.iter().filter(|it| it.user == user);
    Traffic::of(ours.map(|it| (it.verb.as_str(), it.resource.as_str(), it.is_write())))
}

/// How our program is started: as it is by default, with its webhook and its Lease, but for restarts. A restart would
/// make pods Ready at times of its own.
struct Program {
    arguments: Vec<String>,
    http: SocketAddr,
    log: PathBuf,
}

impl Program {
    async fn prepare(plane: &ControlPlane, namespace: &str, folder: &Path) -> Self {
        let tls = folder.join("tls");
        let mut certs = Command::new(BINARY);
        certs
            .args(["certs", "--ip=127.0.0.1", "--out-dir"])
            .arg(&tls);
        let made = certs.output().await.expect("our binary can be run");
        assert!(made.status.success(), "no certificate: {made:?}");
        let http = free_address();
        let kubeconfig = plane.kubeconfig_for(User::StellarPeers);
        let arguments = vec![
            "run".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--own-namespace={namespace}"),
            format!("--tls-dir={}", tls.display()),
            format!("--http-listen={http}"),
            "--webhook-listen=127.0.0.1:0".to_owned(),
            "--adopt=never".to_owned(),
            "--restart-on=never".to_owned(),
        ];
        let log = folder.join("stellar-peers.log");
        Self {
            arguments,
            http,
            log,
        }
    }

    /// Starts it and waits until it is ready; tells how long that took, from before the fork.
    async fn start(&self) -> (Child, Duration) {
        let log = fs::File::create(&self.log).expect("a log file");
        let mut command = Command::new(BINARY);
        command.args(&self.arguments).kill_on_drop(true);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let started = Instant::now();
        let child = command.spawn().expect("our binary can be run");
        while !is_ready(self.http).await.unwrap_or(false) {
            let log = || fs::read_to_string(&self.log).unwrap_or_default();
            assert!(started.elapsed() < START_DEADLINE, "not ready:\n{}", log());
            sleep(PROBE_PERIOD).await;
        }
        (child, started.elapsed())
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

async fn end(mut ours: Child) {
    ours.kill().await.expect("a child of ours can be killed");
}

/// A port that nobody has just now. Our program binds it a moment later.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound address")
}

/// Resident memory of the running program: now, and at its highest.
fn show_memory(ours: &Child) {
    let id = ours.id().expect("it runs");
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.map_or("unknown", str::trim).to_owned()
    };
    let text = format!("{}, at its highest {}", field("VmRSS:"), field("VmHWM:"));
    fact("resident memory after all this", &text);
}

fn show_size() {
    let size = fs::metadata(BINARY).expect("the binary is there").len();
    let text = format!("{} kB (with the sandbox and its demo in it)", size / 1000);
    fact("size of the binary, stripped", &text);
}
