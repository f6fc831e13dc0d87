//! What a run shows of itself.

use serde_json::Value;
use tracing::level_filters::LevelFilter;

use super::*;
use crate::{
    observe::logs::captured::Captured,
    sandbox::{Sandbox, fixtures},
};

fn settings() -> Settings {
    Settings {
        namespaces: Vec::new(),
        policy: Policy::default(),
        dry_run: false,
        recheck: Duration::from_secs(30),
        runs_loop: true,
        election: None,
        instance: "us".to_owned(),
    }
}

/// The value of a sample.
fn sample(engine: &Engine, name: &str) -> String {
    let text = engine.metrics.encode().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let line = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    line.trim().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_becomes_ready_is_listed_in_the_time_that_is_measured() {
    let said = Captured::at(LevelFilter::INFO);
    let sandbox = Sandbox::default();
    let _controllers = sandbox.start();
    let client = sandbox.client("us");
    let engine = Engine::start(
        client.clone(),
        settings(),
        Clock::of_runtime(jiff::Timestamp::UNIX_EPOCH),
    );
    tokio::time::sleep(Duration::from_secs(5)).await;
    let set = fixtures::chart_stateful_set("default", "v1");
    fixtures::create(&client, &set).await.unwrap();
    tokio::time::sleep(Duration::from_mins(2)).await;

    assert_eq!(
        sample(&engine, "stellar_peers_peers{namespace=\"default\"}"),
        "1"
    );
    assert_eq!(
        sample(&engine, "stellar_peers_list_behind{namespace=\"default\"}"),
        "0"
    );
    assert_eq!(
        sample(&engine, "stellar_peers_store_objects{kind=\"pods\"}"),
        "1"
    );
    // An empty list at first, and the one with it. Nothing that happened later is counted.
    let written = sample(&engine, "stellar_peers_list_changes_total");
    assert_eq!(
        sample(&engine, "stellar_peers_discovery_latency_seconds_count"),
        written
    );
    let in_time = "stellar_peers_discovery_latency_seconds_bucket{le=\"0.5\"}";
    assert_eq!(sample(&engine, in_time), written);

    let lines = said.take();
    let listed = |line: &&Value| line["message"] == "Peer discovery detected changes";
    let line = lines.iter().rfind(listed).unwrap();
    assert_eq!(
        (&line["span"], &line["namespace"]),
        (&"reconcile".into(), &"default".into())
    );
    assert!(line["pass"].as_u64().unwrap() > 1, "{line}");
}
