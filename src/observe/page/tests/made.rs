//! Something to see, made up.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use axum::Router;
use tokio::sync::watch;

use crate::{
    domain::status::{ListStatus, NetworkStatus, NodeStatus, Phase, PodStatus, Status},
    observe::{Overlook, Overview, page},
};

pub(super) const HASH: &str = "v1:abcdef012345";

/// Answers what it is told to.
#[derive(Debug)]
pub(super) struct Made {
    overview: Mutex<Overview>,
    changes: watch::Sender<u64>,
    pub(super) stopping: watch::Sender<bool>,
    asked: AtomicUsize,
}

impl Made {
    pub(super) fn router(overview: Overview) -> (Router, Arc<Self>) {
        let made = Arc::new(Self {
            overview: Mutex::new(overview),
            changes: watch::channel(0).0,
            stopping: watch::channel(false).0,
            asked: AtomicUsize::new(0),
        });
        let outlook = Arc::<Self>::clone(&made);
        (page::router(outlook, made.stopping.subscribe()), made)
    }

    /// It is otherwise now, and who watches is told.
    pub(super) fn change(&self, change: impl FnOnce(&mut Overview)) {
        change(&mut self.overview.lock().unwrap());
        self.changes.send_modify(|count| *count += 1);
    }

    /// How often somebody looked.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Overlook for Made {
    fn overview(&self) -> Overview {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.overview.lock().unwrap().clone()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

pub(super) fn overview(namespaces: Vec<Status>) -> Overview {
    Overview {
        version: "0.1.0".to_owned(),
        instance: "stellar-peers-0".to_owned(),
        at: "2027-01-15T08:00:00Z".to_owned(),
        leads: true,
        leader: Some("stellar-peers-0".to_owned()),
        dry_run: false,
        ready: true,
        namespaces,
        timeline: Vec::new(),
    }
}

/// A namespace with one network whose nodes all know each other.
pub(super) fn status(namespace: &str, names: &[&str]) -> Status {
    Status {
        namespace: namespace.to_owned(),
        list: Some(ListStatus {
            peers: names.len(),
            revision: "ab12cd".to_owned(),
            written: Some("2027-01-15T07:00:00Z".to_owned()),
            up_to_date: true,
            bootstrap: false,
            writer: Some("stellar-peers/stellar-peers".to_owned()),
        }),
        problem: None,
        paused: false,
        networks: vec![network("Testnet", names.len())],
        nodes: names.iter().map(|name| node(name, "Testnet")).collect(),
    }
}

pub(super) fn network(name: &str, members: usize) -> NetworkStatus {
    NetworkStatus {
        name: name.to_owned(),
        membership: HASH.to_owned(),
        members,
        ready: members,
        current: members,
        max_unavailable: 1,
        ..NetworkStatus::default()
    }
}

pub(super) fn node(name: &str, network: &str) -> NodeStatus {
    NodeStatus {
        name: name.to_owned(),
        network: network.to_owned(),
        phase: Phase::Ready,
        info: "10.0.0.1:11625".to_owned(),
        addresses: vec!["10.0.0.1:11625".to_owned()],
        basis: Some("Ready".to_owned()),
        port: Some(11625),
        ready: true,
        ready_since: Some("2027-01-15T07:50:00Z".to_owned()),
        member: true,
        member_since: Some("2027-01-10T07:50:00Z".to_owned()),
        membership: Some(HASH.to_owned()),
        current: true,
        restarted: Some("2027-01-15T07:48:30Z".to_owned()),
        pods: vec![PodStatus::default()],
        ..NodeStatus::default()
    }
}
