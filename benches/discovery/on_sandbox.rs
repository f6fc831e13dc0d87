//! Our engine in this process, on the in-memory API server: what our program and the client beneath it take, without
//! a network or a database.
//!
//! One thread runs the engine, the API server, its controllers and the watching client, in real time.

use std::time::Duration;

use clap::Parser;
use stellar_peers::{
    app::AppArgs,
    clock::Clock,
    engine::Engine,
    sandbox::{Sandbox, fixtures},
};
use tokio::time::{pause, sleep};

use crate::{
    changes,
    cluster::{Cluster, VALIDATORS},
    figures::title,
    traffic::Traffic,
};

/// The name under which our program talks to the API server.
const USER: &str = "stellar-peers";
const NAMESPACE: &str = "stellar";
/// Long enough for each watch to end and begin anew.
const REST: Duration = Duration::from_mins(10);

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    app: AppArgs,
}

/// Prints the table of the sandbox.
pub(crate) async fn measure() {
    title(&format!("Sandbox, {VALIDATORS} validators"));
    let sandbox = Sandbox::default();
    let _controllers = sandbox.start();
    sandbox.create_namespace(NAMESPACE);
    let admin = sandbox.client("admin");
    let kind = fixtures::stellar_node_definition();
    let kind = fixtures::create(&admin, &kind).await;
    kind.expect("the kind is new");
    let cluster = Cluster::create(&admin, NAMESPACE).await;
    let _engine = start(&sandbox).await;
    changes::measure(&cluster, || traffic(&sandbox)).await;
    // From here on minutes cost nothing.
    pause();
    let before = traffic(&sandbox);
    sleep(REST).await;
    (traffic(&sandbox) - before).show_at_rest("10 min (virtual)");
}

/// Our engine, ready. The list alone is measured: a restart would make pods Ready at times of its own.
async fn start(sandbox: &Sandbox) -> Engine {
    let flags = ["ours", "--adopt=never", "--restart-on=never"];
    let settings = Flags::parse_from(flags).app.settings(NAMESPACE);
    let client = sandbox.client(USER);
    let engine = Engine::start(client, settings, Clock::system());
    while !engine.stores.are_full() {
        sleep(Duration::from_millis(10)).await;
    }
    engine
}

fn traffic(sandbox: &Sandbox) -> Traffic {
    let requests = sandbox.requests();
    let ours = requests.iter().filter(|it| it.info.user == USER);
    Traffic::of(ours.map(|it| (it.info.verb, it.info.resource.as_str(), it.is_write())))
}
