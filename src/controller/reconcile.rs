//! One pass over one namespace: read, decide, write.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kube::{Client, runtime::events::EventType};
use tokio::time::Instant;
use tracing::field::Empty;

use super::{
    adoption::Adoptions,
    apply,
    error::{ReconcileError, accounted},
    foreign::ForeignWriters,
    fresh::read_list,
    lease::Leadership,
    restart::restart_some,
    stores::Stores,
    tell::{Told, tell, tell_list},
};
use crate::{
    clock::Clock,
    domain::{Decision, Moment, Policy, Snapshot, decide},
    observe::{Board, Metrics, SharedMemory, events::Events},
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
    pub(super) fn list_uid(&self, namespace: &str) -> Option<String> {
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
    told: Told,
    /// Since when there is a change that no pass has dealt with.
    pub(super) changed_at: Option<Instant>,
    /// How many passes there were, the present one included.
    pub(super) passes: u64,
}

impl State {
    /// Nothing was seen and nothing told yet.
    #[must_use]
    pub const fn new(memory: SharedMemory) -> Self {
        Self {
            memory,
            told: Told::new(),
            changed_at: None,
            passes: 0,
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
#[tracing::instrument(level = "error", skip_all, fields(%namespace, pass = state.passes, peers = Empty))]
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
    tell(namespace, &snapshot, &decision, &mut state.told, context);
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
    context.board.owe(namespace, decision.writes_list);
    if decision.writes_list {
        write_list(namespace, snapshot, &decision, context).await?;
        outcome.changed = true;
        context.board.owe(namespace, false);
        let changed_at = state.changed_at.take();
        if let Some(since) = changed_at.filter(|_| decision.changes_peers(snapshot)) {
            context.metrics.listed(since.elapsed());
        }
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
    tell_list(namespace, snapshot, decision, list, context);
    Ok(())
}
