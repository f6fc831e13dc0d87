//! Peer discovery as four functions, for programs that have a client and a loop of their own.
//!
//! They are thin: the same core decides as in the service. One call sees one instant, so what only time can tell is
//! taken from what the cluster has written down.

use std::{sync::Arc, time::Duration};

use crate::{
    api::names,
    clock::Clock,
    controller::{
        apply,
        error::{ReconcileError, accounted},
        foreign::ForeignWriters,
        fresh::{Fresh, read_fresh},
        turn::{self, DECISION_AGE_MAX, Errand},
    },
    domain::{
        Decision, Memory, Moment, Now, Policy, Snapshot, decide,
        node::NodeName,
        peer::PeerAddress,
        peer_list::PeerList,
        policy::{AddressMode, InjectMode},
        snapshot::{ConfigMapView, parse_time},
        survey::{candidates, survey},
    },
    engine::{Engine, Settings, identity},
};
use kube::Client;

/// What these functions return.
pub type Result<T, E = ReconcileError> = std::result::Result<T, E>;

/// The validators of a namespace that can be reached.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerDiscoveryResult {
    /// Their addresses, sorted and unique; without those of the excluded node.
    pub peers: Vec<PeerAddress>,
    /// Validators that are not suspended and have a StatefulSet with at least one replica.
    pub active_validator_count: usize,
    /// The ConfigMap says something else, or isn't there.
    pub changed: bool,
    list: Option<PeerList>,
    stored: Option<Arc<ConfigMapView>>,
}

/// Finds the validators of `namespace` that can be reached; `exclude_node` is left out of `peers`.
///
/// # Errors
/// [`ReconcileError`] where a part of the namespace can't be read: half a view is no view.
pub async fn discover_peers(
    client: &Client,
    namespace: &str,
    exclude_node: Option<&str>,
) -> Result<PeerDiscoveryResult> {
    let (snapshot, _) = read(client, namespace).await?;
    let decision = decide_once(&snapshot, policy(namespace), Clock::system().now());
    let excluded = exclude_node.and_then(|name| {
        decision
            .discovery
            .listings
            .iter()
            .find(|(node, _)| node.as_str() == name)
    });
    let mut peers = decision.discovery.peers();
    for address in excluded
        .into_iter()
        .flat_map(|(_, listing)| listing.addresses())
    {
        peers.remove(address);
    }
    Ok(PeerDiscoveryResult {
        peers: peers.into_iter().cloned().collect(),
        active_validator_count: candidates(&decision.survey).count(),
        changed: decision.writes_list,
        list: decision.list,
        stored: snapshot.config_map,
    })
}

/// Creates or updates ConfigMap `stellar-peers`; true where it had to be written.
///
/// The whole list is written, whoever was excluded from `peers`: the ConfigMap is for all.
///
/// # Errors
/// [`ReconcileError`]; [`ReconcileError::Conflict`] where the ConfigMap changed since the discovery.
pub async fn ensure_peers_config_map(
    client: &Client,
    namespace: &str,
    discovery_result: &PeerDiscoveryResult,
) -> Result<bool> {
    let PeerDiscoveryResult {
        changed,
        list,
        stored,
        ..
    } = discovery_result;
    let Some(list) = list.as_ref().filter(|_| *changed) else {
        return Ok(false);
    };
    let now = Clock::system().now().wall;
    apply::apply_list(client, namespace, list, stored.as_deref(), now).await?;
    Ok(true)
}

/// Starts the restart that may start now, and returns; never all at once. Call it again to go on.
///
/// How long the membership has been the same is taken from the list's `discovered_at`. Whoever is Ready counts as up,
/// however short a time that is: for `--min-ready` and everything else that takes time run [`watch_peers`].
///
/// # Errors
/// [`ReconcileError`]; what was started before the error stays started.
pub async fn trigger_rolling_update(client: &Client, namespace: &str) -> Result<()> {
    let (snapshot, fresh) = read(client, namespace).await?;
    let clock = Clock::system();
    let read_at = clock.now().moment;
    let own = policy(namespace).writer;
    let foreign = ForeignWriters::default();
    foreign.yield_to(client, &snapshot, &own).await?;
    let decision = decide_once(&snapshot, policy(namespace), clock.now());
    for fence in &decision.plan.fences {
        turn::fence(client, namespace, fence).await?;
    }
    let Some(list) = decision.list.as_ref() else {
        return Ok(());
    };
    // How long somebody has been down is nothing that one look can tell.
    let mut starts = decision.plan.starts().filter(|start| !start.was_down);
    let Some(start) = starts.next() else {
        return Ok(());
    };
    let errand = Errand {
        client,
        namespace,
        notes: &list.notes,
        token: &format!("{}.0", identity()),
        at: clock.now().wall,
        inject: &InjectMode::AsItIs,
        is_timely: &|| clock.now().moment.since(read_at) < DECISION_AGE_MAX,
    };
    turn::restart(errand, &fresh, start).await.map(drop)
}

/// Keeps the list of one namespace true and restarts its validators one after the other, for ever.
///
/// The service without webhook and without election: run it once per namespace and cluster.
pub async fn watch_peers(client: Client, namespace: String) {
    let policy = policy(&namespace);
    let settings = Settings {
        namespaces: vec![namespace],
        policy,
        dry_run: false,
        recheck: Duration::from_secs(30),
        runs_loop: true,
        election: None,
        instance: identity(),
    };
    let mut engine = Engine::start(client, settings, Clock::system());
    let name = engine.ended().await;
    tracing::error!(name, "Peer discovery ended unexpectedly");
}

/// The validators of a namespace that are not suspended and have a StatefulSet.
pub(crate) async fn validators(client: &Client, namespace: &str) -> Result<Vec<NodeName>> {
    let (snapshot, _) = read(client, namespace).await?;
    let survey = survey(&snapshot, &AddressMode::Ip);
    Ok(candidates(&survey).map(|(name, _)| name.clone()).collect())
}

fn policy(namespace: &str) -> Policy {
    Policy {
        writer: format!("{namespace}/{}", names::STELLAR_PEERS),
        ..Policy::default()
    }
}

/// A namespace as it is now.
///
/// # Errors
/// [`ReconcileError`] where a part of it can't be read, or not all of it is to be seen.
pub(crate) async fn read(client: &Client, namespace: &str) -> Result<(Snapshot, Fresh)> {
    let fresh = read_fresh(client, namespace).await?;
    let snapshot = fresh.over(Snapshot {
        namespace: namespace.to_owned(),
        ..Snapshot::default()
    });
    Ok((accounted(snapshot)?, fresh))
}

/// One look: the memory is as old as the list is. Whoever is Ready counts as up.
pub(crate) fn decide_once(snapshot: &Snapshot, policy: Policy, now: Now) -> Decision {
    let policy = Policy {
        min_ready: Duration::ZERO,
        ..policy
    };
    let written = snapshot
        .config_map
        .as_ref()
        .and_then(|map| parse_time(map.discovered_at()?));
    let age = written.and_then(|written| Duration::try_from(now.wall.duration_since(written)).ok());
    let mut memory = Memory::default();
    let first = Now {
        moment: Moment::default(),
        ..now
    };
    let _ = decide(snapshot, &mut memory, &policy, first);
    decide(
        snapshot,
        &mut memory,
        &policy,
        Now {
            moment: Moment(age.unwrap_or_default()),
            ..now
        },
    )
}
