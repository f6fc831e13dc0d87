//! Restarting validators: read past the stores, decide again, patch.

use kube::runtime::events::EventType;
use tracing::{debug, info};

use super::{
    apply::{self, ReconcileError},
    reconcile::{Context, State},
};
use crate::domain::{
    Snapshot, decide,
    peer_list::RestartRecord,
    rollout::{Stale, Start},
};

/// What came of the restarts of a pass.
#[derive(Debug, Default)]
pub(super) struct Restarted {
    /// Somebody was restarted.
    pub(super) any: bool,
    /// Somebody has to wait for an adoption in another namespace.
    pub(super) waits_elsewhere: bool,
    /// The first thing that went wrong; the others were tried all the same.
    pub(super) error: Option<ReconcileError>,
}

/// Restarts whom the plan still lets start after everything was read past the stores.
pub(super) async fn restart_some(
    namespace: &str,
    snapshot: &Snapshot,
    state: &mut State,
    context: &Context,
) -> Result<Restarted, ReconcileError> {
    let Context { client, clock, .. } = context;
    let fresh = apply::read_fresh(client, namespace).await?;
    let current = fresh.over(snapshot.clone());
    let own = &context.policy.writer;
    context.foreign.yield_to(client, &current, own).await?;
    let decision = decide(&current, &mut state.memory, &context.policy, clock.now());
    let mut restarted = Restarted::default();
    for start in decision.plan.starts() {
        let Some(object) = fresh.stateful_sets.get(&start.node) else {
            continue;
        };
        if !context.leadership.is_held() {
            break;
        }
        let is_adoption = start.reason != Stale::Membership;
        if is_adoption && !context.adoptions.admit(namespace, start, &context.stores) {
            debug!(namespace, name = %start.node, network = %start.network, "Waits for an adoption elsewhere");
            restarted.waits_elsewhere = true;
            continue;
        }
        let now = clock.now();
        match apply::restart(client, namespace, object, start, now.wall).await {
            Ok(()) => {
                tell_start(namespace, &current, start, context);
                state.memory.restarted(&start.node, record_of(start));
                restarted.any = true;
            }
            Err(error) => {
                if matches!(error, ReconcileError::NotTaken(_)) {
                    // It was restarted, though for nothing: once is enough.
                    state.memory.restarted(&start.node, record_of(start));
                } else if error.is_refusal() {
                    state.memory.refused(&start.node, &start.uid, now.moment);
                }
                restarted.error.get_or_insert(error);
            }
        }
    }
    Ok(restarted)
}

fn record_of(start: &Start) -> RestartRecord {
    RestartRecord {
        uid: start.uid.clone(),
        reason: start.reason.reason().to_owned(),
        hash: start.hash.to_string(),
    }
}

fn tell_start(namespace: &str, snapshot: &Snapshot, start: &Start, context: &Context) {
    context.metrics.restarted(start.reason);
    let reason = start.reason.reason();
    info!(namespace, name = %start.node, reason, membership = %start.hash, "Restart started");
    let note = format!("{reason}: its pods will know membership {}", start.hash);
    context.events.on_node(
        namespace,
        &start.node,
        snapshot,
        EventType::Normal,
        "RestartStarted",
        &note,
    );
}
