//! One pass over one namespace: read, decide, write.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kube::{Client, runtime::events::EventType};
use tracing::{Span, debug, error, field::Empty, info, trace, warn};

use super::{
    adoption::Adoptions,
    apply,
    error::{ReconcileError, accounted},
    foreign::ForeignWriters,
    fresh::read_list,
    lease::Leadership,
    restart::restart_some,
    stores::Stores,
};
use crate::{
    clock::Clock,
    domain::{
        Decision, Moment, Policy, Snapshot, decide,
        rollout::Verdict,
        snapshot::ConfigMapView,
        status::Reason,
        survey::{Standing, candidates},
    },
    observe::{Board, Metrics, SharedMemory, error_chain, events::Events},
};

/// Time until a validator asks again whether nobody of its network is being taken in elsewhere.
const ADOPTION_RETRY: Duration = Duration::from_secs(5);

/// What a pass needs besides its namespace. One for the whole process.
pub struct Context {
    /// Access to the API server.
    pub client: Client,
    /// What the watches saw.
    pub stores: Arc<Stores>,
    /// The flags.
    pub policy: Policy,
    /// Decide and tell, write nothing.
    pub dry_run: bool,
    /// The clocks.
    pub clock: Clock,
    /// Whether this replica may write.
    pub leadership: Leadership,
    /// Who is being taken in.
    pub adoptions: Arc<Adoptions>,
    /// Other installations.
    pub foreign: ForeignWriters,
    /// Where the last decisions are shown.
    pub board: Arc<Board>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Events.
    pub events: Events,
    /// Name of this process, which no other has.
    pub instance: String,
    /// How many tokens were given.
    pub tokens: AtomicU64,
}

impl Context {
    /// A text that was never given before.
    pub(super) fn token(&self) -> String {
        let count = self.tokens.fetch_add(1, Ordering::Relaxed);
        format!("{}.{count}", self.instance)
    }

    /// The uid of a namespace's list, by which an Event is found.
    fn list_uid(&self, namespace: &str) -> Option<String> {
        let list = self.stores.config_map(namespace)?;
        Some(list.uid.clone())
    }
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("policy", &self.policy)
            .field("dry_run", &self.dry_run)
            .finish_non_exhaustive()
    }
}

/// What one namespace's passes carry from one to the next, besides the core's own memory.
#[derive(Debug)]
pub struct State {
    pub(super) memory: SharedMemory,
    told: BTreeMap<String, String>,
}

impl State {
    /// Nothing was seen and nothing told yet.
    #[must_use]
    pub const fn new(memory: SharedMemory) -> Self {
        Self {
            memory,
            told: BTreeMap::new(),
        }
    }
}

/// How a pass ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// When to look again though nothing happens.
    pub look_again: Option<Moment>,
    /// Something was written.
    pub changed: bool,
    /// Nothing is left to look after.
    pub is_empty: bool,
}

/// Brings one namespace in line with its validators.
///
/// # Errors
/// [`ReconcileError`]; the caller logs it once, counts it and schedules the retry.
#[tracing::instrument(skip_all, fields(%namespace, peers = Empty))]
pub async fn reconcile(
    namespace: &str,
    state: &mut State,
    context: &Context,
) -> Result<Outcome, ReconcileError> {
    let Some(snapshot) = context.stores.snapshot(namespace) else {
        return Ok(Outcome::default());
    };
    let snapshot = accounted(snapshot)?;
    let now = context.clock.now();
    let Context {
        adoptions,
        stores,
        policy,
        ..
    } = context;
    let mut decision = {
        let mut memory = state.memory.lock();
        let decision = decide(&snapshot, &mut memory, policy, now);
        adoptions.release(namespace, &decision, &memory, policy, now);
        decision
    };
    if adoptions.gate(namespace, &mut decision, stores, policy, now) {
        let again = now.moment + ADOPTION_RETRY;
        decision.look_again = Some(decision.look_again.map_or(again, |it| it.min(again)));
    }
    tell(namespace, &snapshot, &decision, state, context);
    write(namespace, &snapshot, decision, state, context).await
}

async fn write(
    namespace: &str,
    snapshot: &Snapshot,
    decision: Decision,
    state: &mut State,
    context: &Context,
) -> Result<Outcome, ReconcileError> {
    let mut outcome = Outcome {
        look_again: decision.look_again,
        is_empty: decision.survey.is_empty() && decision.list.is_none(),
        changed: false,
    };
    if !context.leadership.is_held() || context.dry_run {
        return Ok(outcome);
    }
    context
        .foreign
        .yield_to(&context.client, snapshot, &context.policy.writer)
        .await?;
    if decision.writes_list {
        write_list(namespace, snapshot, &decision, context).await?;
        outcome.changed = true;
    }
    let mut failed = None;
    for (node, uid) in &decision.joins {
        let at = context.clock.now().wall;
        match apply::write_joined(&context.client, namespace, node, uid, at).await {
            Ok(()) => {
                state.memory.lock().joined(uid);
                let note = "Ready for the first time: a member from now on";
                let events = &context.events;
                events.on_node(namespace, node, snapshot, EventType::Normal, "Joined", note);
                outcome.changed = true;
            }
            // One validator that can't be written to must not hold the others up.
            Err(error) => drop(failed.get_or_insert(error)),
        }
    }
    if !decision.plan.is_idle() {
        let restarted = restart_some(namespace, snapshot, &decision, state, context).await?;
        outcome.changed |= restarted.any;
        failed = failed.or(restarted.error);
        if restarted.any {
            // What was done is noted down by the next pass.
            outcome.look_again = Some(context.clock.now().moment);
        }
    }
    failed.map_or(Ok(outcome), Err)
}

async fn write_list(
    namespace: &str,
    snapshot: &Snapshot,
    decision: &Decision,
    context: &Context,
) -> Result<(), ReconcileError> {
    let Some(list) = &decision.list else {
        return Ok(());
    };
    let stored = snapshot.config_map.as_deref();
    let at = context.clock.now().wall;
    let stores = &context.stores;
    let before = stores.config_map(namespace);
    let written = apply::apply_list(&context.client, namespace, list, stored, at).await;
    if let Err(ReconcileError::Conflict { .. }) = &written {
        // The stores may have missed what is there now, and nothing tells them of it again.
        let before = stores.config_map(namespace);
        let now = read_list(&context.client, namespace).await?;
        stores
            .config_maps
            .take_over(namespace, (), before.as_ref(), now);
    }
    let written = written?;
    // The watch brings the same soon; until then nobody should decide on the old one.
    stores
        .config_maps
        .take_over(namespace, (), before.as_ref(), Some(written));
    let was_bootstrap = stored.is_some_and(ConfigMapView::is_bootstrap);
    if stored.and_then(|stored| stored.known_peers.as_ref()) == Some(&list.known_peers) {
        debug!(namespace, "Wrote the record; the list is the same");
    } else {
        context.metrics.list_changes.inc();
        info!(
            namespace,
            peers = list.peers,
            active_validators = list.active_validators,
            "Peer discovery detected changes"
        );
        let note = format!(
            "{} peers of {} validators",
            list.peers, list.active_validators
        );
        context.events.on_list(
            namespace,
            context.list_uid(namespace),
            EventType::Normal,
            "ListChanged",
            &note,
        );
    }
    if list.bootstrap && !was_bootstrap {
        context.events.on_list(
            namespace,
            context.list_uid(namespace),
            EventType::Normal,
            "Bootstrap",
            "No validator was ever Ready: those that run are listed, so that they can find each other",
        );
    }
    Ok(())
}

/// Shows the decision, and says each change of what holds a restart back once.
fn tell(
    namespace: &str,
    snapshot: &Snapshot,
    decision: &Decision,
    state: &mut State,
    context: &Context,
) {
    Span::current().record("peers", decision.list.as_ref().map_or(0, |list| list.peers));
    context.board.show(namespace, decision);
    for (name, standing) in &decision.survey {
        match standing {
            Standing::Candidate(node) => trace!(
                namespace, %name, network = %node.network, ready = node.is_ready(), pods = node.pods.len(),
                listing = ?decision.discovery.listings.get(name), "Looked at a candidate"
            ),
            Standing::Out(why) => {
                trace!(namespace, %name, reason = why.reason(), %why, "Left a node out");
            }
        }
    }
    let mut told = BTreeMap::new();
    for (name, verdict) in &decision.plan.verdicts {
        trace!(namespace, %name, ?verdict, "Looked at a validator that is due");
        let Verdict::Held(stale, held) = verdict else {
            continue;
        };
        let (key, reason) = (format!("{name} held"), held.reason());
        if state.told.get(&key).map(String::as_str) != Some(reason) {
            info!(namespace, %name, reason, stale = stale.reason(), %held, "Restart held");
            let note = format!("{}: held: {held}", stale.reason());
            // Waiting for one's turn is nothing to worry about.
            let kind = if held.is_only_a_turn() {
                EventType::Normal
            } else {
                EventType::Warning
            };
            context
                .events
                .on_node(namespace, name, snapshot, kind, reason, &note);
        }
        told.insert(key, reason.to_owned());
    }
    for notice in &decision.plan.notices {
        let (name, reason, note) = (&notice.node, notice.reason, &notice.note);
        let key = format!("{name} {reason}");
        if state.told.get(&key) != Some(note) {
            warn!(namespace, %name, reason, note, "Found something that a person should know");
            context
                .events
                .on_node(namespace, name, snapshot, EventType::Warning, reason, note);
        }
        told.insert(key, note.clone());
    }
    if context.dry_run {
        tell_what_would_be(namespace, decision, &state.told, &mut told);
    }
    for (name, node) in candidates(&decision.survey).filter(|(_, node)| node.falls_back_to_ip) {
        let note = "no headless Service with publishNotReadyAddresses: listed by pod IP instead of by name";
        if !state.told.contains_key(&format!("{name} dns")) {
            warn!(namespace, %name, service = node.stateful_set.service_name, "Listed by pod IP instead of by name");
            context.events.on_node(
                namespace,
                name,
                snapshot,
                EventType::Warning,
                "NoDnsName",
                note,
            );
        }
        told.insert(format!("{name} dns"), note.to_owned());
    }
    let broken = snapshot
        .config_map
        .as_ref()
        .and_then(|map| map.record.as_ref()?.as_ref().err());
    if let Some(error) = broken {
        if state.told.get("members.json") != Some(error) {
            warn!(
                namespace,
                error, "The record of members is not readable; it is made anew"
            );
        }
        told.insert("members.json".to_owned(), error.clone());
    }
    state.told = told;
}

/// With `--dry-run`, says once what would be written.
fn tell_what_would_be(
    namespace: &str,
    decision: &Decision,
    before: &BTreeMap<String, String>,
    told: &mut BTreeMap<String, String>,
) {
    for start in decision.plan.starts() {
        let (key, note) = (format!("{} start", start.node), start.hash.to_string());
        if before.get(&key) != Some(&note) {
            let reason = start.reason.reason();
            info!(namespace, name = %start.node, reason, membership = note, "Would restart");
        }
        told.insert(key, note);
    }
    if let Some(list) = decision.list.as_ref().filter(|_| decision.writes_list) {
        let key = "list".to_owned();
        if before.get(&key) != Some(&list.known_peers) {
            info!(namespace, peers = list.peers, "Would write the peer list");
        }
        told.insert(key, list.known_peers.clone());
    }
}

/// Says how a pass failed; in full only where the last one failed otherwise.
pub fn tell_error(namespace: &str, error: &ReconcileError, is_news: bool, context: &Context) {
    let (reason, text) = (error.reason(), error_chain(error));
    let problem = Reason {
        reason: reason.to_owned(),
        text: text.clone(),
    };
    context.board.set_problem(namespace, Some(problem));
    if !is_news {
        debug!(
            namespace,
            reason,
            error = text,
            "Peer discovery failed again"
        );
    } else if error.needs_a_person() {
        error!(namespace, reason, error = text, "Peer discovery failed");
        context.events.on_list(
            namespace,
            context.list_uid(namespace),
            EventType::Warning,
            reason,
            &error.to_string(),
        );
    } else {
        warn!(namespace, reason, error = text, "Peer discovery failed");
    }
}
