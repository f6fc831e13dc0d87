//! What an admission costs over its real connection, beside a server that does nothing and one in Go. No figure fails
//! anything; an answer that is wrong does.
//!
//! A part of `make bench`, or `cargo bench --features sandbox --bench webhook`. Under five minutes. `BENCH_QUICK=1` has
//! short rounds, to see that it works. The figures are printed, and written as [`page`] tells.
//!
//! Compared are three processes with the same certificate, on TLS 1.3 and HTTP/2 over loopback:
//! 1. [`limit`]: our stack with a handler that reads nothing.
//! 2. Ours: the program as users run it, against a real API server with validators in it.
//! 3. `benches/controller-runtime`: the same mutation as operators in Go write it.
//!
//! The bodies are those that a real API server sends ([`cases`]); one answer of each server to each is looked at
//! ([`answers`]). How it is asked is told in [`load`] and [`measure`], who runs on which core in [`cores`].

#![expect(
    clippy::print_stdout,
    reason = "the figures go to where the caller looks for them"
)]

mod about;
mod answers;
mod cases;
mod cores;
#[expect(
    dead_code,
    reason = "what prints single samples is the other benchmark's"
)]
#[path = "../shared/figures.rs"]
mod figures;
mod limit;
mod load;
#[expect(dead_code, reason = "here the page's writer tells of the machine")]
#[path = "../shared/machine.rs"]
mod machine;
mod measure;
#[path = "../shared/page.rs"]
mod page;
#[expect(dead_code, reason = "lines are for what grows")]
#[path = "../plot.rs"]
mod plot;
#[path = "../shared/process.rs"]
#[expect(dead_code, reason = "made for more than one benchmark")]
mod process;
#[path = "../shared/program.rs"]
mod program;
mod report;
mod servers;
mod surroundings;
#[path = "../shared/table.rs"]
mod table;
mod writer;

/// The rig of the scenarios that starts a real API server.
#[path = "../../tests/scenarios/real"]
mod real {
    #[expect(
        dead_code,
        unused_imports,
        reason = "the scenarios need all of the rig, and its own tests do"
    )]
    pub(crate) mod control_plane;
}

use std::{env, path::Path, time::Duration};

use tempfile::TempDir;
use tokio::{runtime::Builder, time::sleep};

use self::{
    about::About,
    cases::Case,
    cores::Cores,
    figures::{Samples, fact},
    measure::Pace,
    process::{Resident, free_address},
    program::Program,
    real::control_plane::{ControlPlane, StartError, User},
    servers::{OURS, Server},
};

/// How often the program is started for the time until it is ready.
const STARTS: usize = 5;
/// For what a program does right after it is ready.
const AFTERMATH: Duration = Duration::from_secs(1);

fn main() {
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() == Some(limit::ARGUMENT) {
        return limit::run(arguments);
    }
    println!("\nThe webhook over its connection");
    // Before anything is pinned: afterwards it is a smaller machine, and a busy one.
    let machine = machine::facts();
    println!("  building the webhook in Go, which takes minutes the first time");
    let controller_runtime = servers::build_controller_runtime();
    let cores = Cores::choose();
    cores.make_room();
    // For clients of the API server; it goes on in the background while the load is another runtime's.
    let runtime = Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime for the clients of a real API server");
    let folder = TempDir::new().expect("a temporary folder");
    let folder = folder.path();
    let plane = runtime.block_on(ControlPlane::start(
        &ControlPlane::default_bin_dir(),
        folder,
    ));
    let plane = match plane {
        Ok(plane) => plane,
        Err(missing @ StartError::Missing { .. }) => {
            println!("  skipped; `make control-plane` builds what it needs: {missing}");
            return;
        }
        Err(error) => {
            println!("  skipped; the control plane did not start: {error}");
            return;
        }
    };
    let tls = folder.join("tls");
    servers::write_certificate(&tls);
    let (mut about, ours, cases) = runtime.block_on(prepare(&plane, &cores, folder, &tls));
    let mut servers = vec![servers::limit(&cores, &tls, folder), ours];
    match controller_runtime {
        Ok(binary) => servers.push(servers::controller_runtime(&cores, &binary, &tls, folder)),
        Err(why) => println!("  without controller-runtime: {why}"),
    }
    let pace = if env::var_os("BENCH_QUICK").is_some() {
        Pace::QUICK
    } else {
        Pace::WHOLE
    };
    about.facts = about::facts(machine, &cores, &cases, pace);
    for (what, value) in &about.facts {
        fact(what, value);
    }
    cores.become_load();
    surroundings::hold_still();
    let load = Builder::new_current_thread().enable_all().build();
    let load = load.expect("a runtime for the load");
    let measured = load.block_on(measure::measure(&servers, &cases, &tls, pace));
    report::show(&about, &measured).expect("the figures can be written");
}

/// Starts our program on an empty cluster, again and again, and then once more to let validators come.
async fn prepare(
    plane: &ControlPlane,
    cores: &Cores,
    folder: &Path,
    tls: &Path,
) -> (About, Server, [Case; 3]) {
    program::prepare(plane).await;
    let mut about = About {
        facts: Vec::new(),
        starts: Samples::default(),
        empty_memory: None,
    };
    let mut program = Program {
        launcher: cores.server(),
        kubeconfig: plane.kubeconfig_for(User::StellarPeers),
        own_namespace: plane.namespace("starts").await,
        tls: tls.to_owned(),
        http: free_address(),
        webhook: free_address(),
        log: folder.join("stellar-peers.log"),
    };
    for _ in 0..STARTS {
        let (running, took) = program.start().await;
        about.starts.add(took);
        sleep(AFTERMATH).await;
        about.empty_memory = Resident::of(running.id()).map(|it| it.now);
    }
    // With a Lease of its own: that of those that were killed would first have to run out.
    program.own_namespace = plane.namespace("ours").await;
    let namespace = plane.namespace("bench").await;
    let (process, _) = program.start().await;
    let cases = cases::record_on(plane, &namespace, program.webhook, tls).await;
    let server = Server {
        name: OURS,
        address: program.webhook,
        process,
    };
    (about, server, cases)
}
