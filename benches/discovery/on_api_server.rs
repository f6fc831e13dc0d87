//! Our binary as a process, against a real kube-apiserver with etcd, its controllers and kwok on the same machine.
//!
//! All of these share the machine's cores with our program, so the figures are those of a busy control plane.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    changes,
    cluster::{Cluster, VALIDATORS},
    figures::{Samples, fact, row, title},
    process::{BINARY, Resident, free_address},
    program::{self, Program, Running},
    real::control_plane::{ControlPlane, StartError, User},
    traffic::Traffic,
};

const REST: Duration = Duration::from_mins(1);
/// How often the program is started for the time until it is ready.
const STARTS: usize = 10;

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
    program::prepare(plane).await;
    let admin = plane.client_for(User::Admin).await;
    let namespace = plane.namespace("bench").await;
    let cluster = Cluster::create(&admin, &namespace).await;
    let program = ours(plane, &namespace, folder);
    let (ours, _) = program.start().await;
    changes::measure(&cluster, || traffic(plane)).await;
    let before = traffic(plane);
    sleep(REST).await;
    (traffic(plane) - before).show_at_rest("60 s");
    show_memory(&ours);
    drop(ours);
    let mut starts = Samples::default();
    for _ in 0..STARTS {
        let (_ours, took) = program.start().await;
        starts.add(took);
    }
    row("start of the process → /readyz is 200", &starts);
    show_size();
}

fn traffic(plane: &ControlPlane) -> Traffic {
    let (audit, user) = (plane.audit(), User::StellarPeers.to_string());
    let ours = audit.iter().filter(|it| it.user == user);
    Traffic::of(ours.map(|it| (it.verb.as_str(), it.resource.as_str(), it.is_write())))
}

/// Our program with a certificate that it made itself.
fn ours(plane: &ControlPlane, namespace: &str, folder: &Path) -> Program {
    let tls = folder.join("tls");
    let mut certs = Command::new(BINARY);
    certs
        .args(["certs", "--ip=127.0.0.1", "--out-dir"])
        .arg(&tls);
    let made = certs.output().expect("our binary can be run");
    assert!(made.status.success(), "no certificate: {made:?}");
    Program {
        launcher: Vec::new(),
        kubeconfig: plane.kubeconfig_for(User::StellarPeers),
        own_namespace: namespace.to_owned(),
        tls,
        http: free_address(),
        webhook: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        log: folder.join("stellar-peers.log"),
    }
}

/// Resident memory of the running program: now, and at its highest.
fn show_memory(ours: &Running) {
    let text = Resident::of(ours.id()).map_or("unknown".to_owned(), |it| {
        format!("{} kB, at its highest {} kB", it.now / 1000, it.peak / 1000)
    });
    fact("resident memory after all this", &text);
}

fn show_size() {
    let text = format!(
        "{} kB (with the sandbox and its demo in it)",
        program::size() / 1000
    );
    fact("size of the binary, stripped", &text);
}
