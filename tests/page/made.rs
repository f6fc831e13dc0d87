//! The page over something made up: what the pictures show, and text that wants to be more than text.

use std::{net::SocketAddr, sync::Arc};

use stellar_peers::{
    admission::connections::{ConnectionLimits, ConnectionStats, serve},
    domain::status::{ListStatus, NetworkStatus, NodeStatus, Phase, Reason, Status, Tolerates},
    observe::{Happening, Overlook, Overview, page},
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use crate::browser::Failed;

/// Always says the same.
#[derive(Debug)]
struct Made(Overview, watch::Sender<u64>);

impl Overlook for Made {
    fn overview(&self) -> Overview {
        self.0.clone()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.1.subscribe()
    }
}

/// A listener that shows it, until it is dropped.
pub(crate) struct Shown {
    pub(crate) address: SocketAddr,
    serving: JoinHandle<()>,
    _stopping: watch::Sender<bool>,
}

impl Shown {
    pub(crate) async fn start(overview: Overview) -> Result<Self, Failed> {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .map_err(|error| error.to_string())?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let (stopping, stopped) = watch::channel(false);
        let router = page::router(Arc::new(Made(overview, watch::channel(0).0)), stopped);
        let serving = tokio::spawn(async move {
            let (limits, stats) = (ConnectionLimits::default(), ConnectionStats::default());
            serve(
                listener,
                None,
                router,
                limits,
                stats,
                std::future::pending(),
            )
            .await;
        });
        Ok(Self {
            address,
            serving,
            _stopping: stopping,
        })
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

const OLD: &str = "v1:9c41d07b52aa";
const PRESENT: &str = "v1:5be2f1c07d93";

/// A network in which one has joined: three know it already, one restarts, one is held.
pub(crate) fn joining() -> Overview {
    let mut nodes = vec![
        node("archive-1", Phase::Held, "10.244.1.17", OLD),
        node("validator-1", Phase::Ready, "10.244.1.21", PRESENT),
        node("validator-2", Phase::Ready, "10.244.2.34", PRESENT),
        node("validator-3", Phase::Restarting, "10.244.3.8", PRESENT),
        node("validator-4", Phase::Waiting, "10.244.1.40", OLD),
        node("validator-5", Phase::Ready, "10.244.2.51", PRESENT),
    ];
    nodes[0].held = Some(reason(
        "EphemeralLedger",
        "the ledger is on an emptyDir and would be lost; allow it with annotation peers.stellar.org/allow-ephemeral",
    ));
    "Ready for 24s of 1m".clone_into(&mut nodes[3].info);
    nodes[1].restarted = at("03:07:33");
    nodes[1].ready_since = at("03:08:04");
    nodes[3].restarted = at("03:11:48");
    nodes[3].ready_since = at("03:12:16");
    nodes[4].held = Some(reason(
        "Budget",
        "validator-3 restarts, is down, or is Ready for too short a time",
    ));
    for late in [0, 4] {
        nodes[late].stale = Some("Membership".to_owned());
        nodes[late].restarted = Some("2027-01-09T14:20:05Z".to_owned());
        nodes[late].ready_since = Some("2027-01-09T14:20:41Z".to_owned());
    }
    nodes[5].member_since = at("03:07:02");
    nodes[5].ready_since = at("03:07:02");
    nodes[5].restarted = None;
    let mainnet = NetworkStatus {
        name: "mainnet".to_owned(),
        membership: PRESENT.to_owned(),
        members: 6,
        ready: 6,
        current: 4,
        due: 2,
        max_unavailable: 1,
        tolerates: Some(Tolerates::All),
        next: Some(
            "validator-4: validator-3 restarts, is down, or is Ready for too short a time"
                .to_owned(),
        ),
    };
    let mut quiet: Vec<NodeStatus> = (1..=4)
        .map(|number| {
            node(
                &format!("testnet-{number}"),
                Phase::Ready,
                &format!("10.244.5.{number}"),
                PRESENT,
            )
        })
        .collect();
    for node in &mut quiet {
        "testnet".clone_into(&mut node.network);
    }
    let testnet = NetworkStatus {
        name: "testnet".to_owned(),
        members: 4,
        ready: 4,
        current: 4,
        due: 0,
        next: None,
        ..mainnet.clone()
    };
    overview(
        vec![
            namespace("stellar", mainnet, nodes),
            namespace("stellar-test", testnet, quiet),
        ],
        happenings(),
    )
}

/// What had happened by then, newest first.
fn happenings() -> Vec<Happening> {
    let happenings = [
        (
            "03:11:48",
            Some("validator-3"),
            false,
            "RestartStarted",
            "Membership: its pods will know membership v1:5be2f1c07d93",
        ),
        (
            "03:09:40",
            Some("validator-2"),
            false,
            "RestartStarted",
            "Membership: its pods will know membership v1:5be2f1c07d93",
        ),
        (
            "03:07:33",
            Some("validator-1"),
            false,
            "RestartStarted",
            "Membership: its pods will know membership v1:5be2f1c07d93",
        ),
        (
            "03:07:33",
            Some("archive-1"),
            true,
            "EphemeralLedger",
            "Membership: held: the ledger is on an emptyDir and would be lost; allow it with annotation peers.stellar.org/allow-ephemeral",
        ),
        (
            "03:07:02",
            None,
            false,
            "ListChanged",
            "6 peers of 6 validators: +10.244.2.51:11625",
        ),
        (
            "03:07:02",
            Some("validator-5"),
            false,
            "Joined",
            "Ready for the first time: a member from now on",
        ),
    ];
    happenings
        .map(|(time, node, warning, reason, note)| Happening {
            at: at(time).unwrap_or_default(),
            namespace: "stellar".to_owned(),
            node: node.map(str::to_owned),
            warning,
            reason: reason.to_owned(),
            note: note.to_owned(),
        })
        .to_vec()
}

/// `text` wherever somebody else's text may stand.
pub(crate) fn hostile(text: &str) -> Overview {
    let mut overview = joining();
    for status in &mut overview.namespaces {
        status.namespace = format!("{text}{}", status.namespace);
        status.problem = Some(reason(text, text));
        let network = format!("{text}{}", status.networks[0].name);
        status.networks[0].next = Some(text.to_owned());
        status.networks[0].name.clone_from(&network);
        for node in &mut status.nodes {
            node.network.clone_from(&network);
            node.name = format!("{text}{}", node.name);
            text.clone_into(&mut node.info);
            node.addresses = vec![text.to_owned()];
            node.notices = vec![reason(text, text)];
            node.ready_since = Some(text.to_owned());
        }
    }
    for happening in &mut overview.timeline {
        text.clone_into(&mut happening.namespace);
        text.clone_into(&mut happening.note);
    }
    overview
}

fn overview(namespaces: Vec<Status>, timeline: Vec<Happening>) -> Overview {
    Overview {
        version: "0.1.0".to_owned(),
        instance: "stellar-peers-7d9c6b5f44-k2x8p".to_owned(),
        at: at("03:12:40").unwrap_or_default(),
        leads: true,
        leader: Some("stellar-peers-7d9c6b5f44-k2x8p".to_owned()),
        dry_run: false,
        ready: true,
        namespaces,
        timeline,
    }
}

fn namespace(name: &str, network: NetworkStatus, nodes: Vec<NodeStatus>) -> Status {
    Status {
        namespace: name.to_owned(),
        list: Some(ListStatus {
            peers: nodes.len(),
            revision: "e07a4c".to_owned(),
            written: at("03:07:02"),
            up_to_date: true,
            bootstrap: false,
            writer: Some("stellar-peers/stellar-peers".to_owned()),
        }),
        problem: None,
        paused: false,
        networks: vec![network],
        nodes,
    }
}

fn node(name: &str, phase: Phase, host: &str, membership: &str) -> NodeStatus {
    let address = format!("{host}:11625");
    NodeStatus {
        name: name.to_owned(),
        network: "mainnet".to_owned(),
        phase,
        info: address.clone(),
        addresses: vec![address],
        basis: Some("Ready".to_owned()),
        port: Some(11625),
        ready: true,
        ready_since: at("03:10:12"),
        member: true,
        member_since: Some("2026-12-02T09:30:00Z".to_owned()),
        membership: Some(membership.to_owned()),
        current: membership == PRESENT,
        restarted: at("03:09:40"),
        ..NodeStatus::default()
    }
}

fn reason(word: &str, text: &str) -> Reason {
    Reason {
        reason: word.to_owned(),
        text: text.to_owned(),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "most times may be absent")]
fn at(time: &str) -> Option<String> {
    Some(format!("2027-01-15T{time}Z"))
}
