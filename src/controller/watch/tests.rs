//! What is said of watches that fail.

use tracing::level_filters::LevelFilter;

use super::*;
use crate::{
    controller::lease::Leadership,
    observe::{Board, logs::captured::Captured},
    sandbox::{Sandbox, fixtures},
};

const KINDS: [&str; 4] = ["configmaps", "pods", "statefulsets", STELLAR_NODES];

struct Rig {
    sandbox: Sandbox,
    stores: Arc<Stores>,
    metrics: Arc<Metrics>,
    said: Captured,
    _tasks: JoinSet<&'static str>,
}

impl Rig {
    async fn start(is_available: bool) -> Self {
        let said = Captured::at(LevelFilter::INFO);
        let sandbox = Sandbox::default();
        let client = sandbox.client("us");
        fixtures::create(&client, &fixtures::stellar_node_definition())
            .await
            .unwrap();
        sandbox.set_available(is_available);
        let (dirty, mut tasks) = (Arc::new(Dirty::default()), JoinSet::new());
        let metrics = Metrics::new(Arc::new(Board::default()), Leadership::fixed(true));
        let metrics = Arc::new(metrics);
        let mode = AddressMode::Ip;
        let stores = spawn(&client, &[], &mode, &dirty, &metrics, &mut tasks);
        Self {
            sandbox,
            stores,
            metrics,
            said,
            _tasks: tasks,
        }
    }

    async fn wait(seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    /// The kinds of which this was said, in order, by ours.
    fn said(&self, message: &str) -> Vec<String> {
        let lines = self.said.take();
        let ours = lines.iter().filter(|line| {
            line["target"]
                .as_str()
                .unwrap()
                .starts_with("stellar_peers")
                && line["message"].as_str().unwrap().starts_with(message)
        });
        let mut kinds: Vec<String> = ours
            .map(|line| line["kind"].as_str().unwrap().to_owned())
            .collect();
        kinds.sort();
        kinds
    }
}

#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_away_at_the_start_is_told_once_a_kind_and_a_minute() {
    let rig = Rig::start(false).await;
    Rig::wait(30).await;
    assert_eq!(rig.said("Watch fails; retrying"), KINDS);
    Rig::wait(60).await;
    assert_eq!(rig.said("Watch still fails; retrying"), KINDS);
    rig.sandbox.set_available(true);
    Rig::wait(2).await;
    assert_eq!(rig.said("Watch is back"), KINDS);
    assert!(rig.stores.are_full());
    let text = rig.metrics.encode().unwrap();
    assert!(!text.contains("stellar_peers_watch_restarts_total{kind=\"pods\"} 0"));
}

#[tokio::test(start_paused = true)]
async fn an_outage_in_the_midst_is_told_and_so_is_its_end_though_nothing_happens_then() {
    let rig = Rig::start(true).await;
    Rig::wait(5).await;
    rig.sandbox.set_available(false);
    Rig::wait(45).await;
    assert_eq!(rig.said("Watch fails; retrying"), KINDS);
    rig.sandbox.set_available(true);
    Rig::wait(150).await;
    assert_eq!(rig.said("Watch fails no more"), KINDS);
}

#[tokio::test(start_paused = true)]
async fn watches_that_break_off_once_are_nothing_to_tell() {
    let rig = Rig::start(true).await;
    Rig::wait(5).await;
    rig.sandbox.break_watches();
    rig.sandbox.compact();
    Rig::wait(200).await;
    assert_eq!(rig.said("Watch"), [""; 0]);
}
