//! Restarting validators: read past the stores, decide again, write.

use std::collections::BTreeSet;

use kube::runtime::events::EventType;
use tracing::{debug, info};

use super::{
    error::ReconcileError,
    fresh::{Fresh, read_fresh},
    reconcile::{Context, State},
    turn::{self, Errand},
};
use crate::domain::{
    Decision, Snapshot, decide,
    node::Network,
    peer_list::PeerList,
    rollout::{Deletion, Start},
    survey::candidate,
};

/// What came of the restarts of a pass.
#[derive(Debug, Default)]
pub(super) struct Restarted {
    /// Something was written.
    pub(super) any: bool,
    /// Somebody has to wait for an adoption in another namespace.
    pub(super) waits_elsewhere: bool,
    /// The first thing that went wrong; the others were tried all the same.
    pub(super) error: Option<ReconcileError>,
}

/// Does what the plan still wants after everything was read past the stores: takes tokens away, restarts, deletes pods
/// that would stay for ever.
pub(super) async fn restart_some(
    namespace: &str,
    snapshot: &Snapshot,
    state: &mut State,
    context: &Context,
) -> Result<Restarted, ReconcileError> {
    let Context { client, clock, .. } = context;
    let mut fresh = read_fresh(client, namespace).await?;
    let current = fresh.over(snapshot.clone());
    let own = &context.policy.writer;
    context.foreign.yield_to(client, &current, own).await?;
    let decision = decide(&current, &mut state.memory, &context.policy, clock.now());
    let mut pass = Pass {
        namespace,
        snapshot: &current,
        context,
        decision: &decision,
        restarted: Restarted::default(),
    };
    let mut list = decision.list.clone();
    let unsafe_networks = pass.fence(state).await;
    for start in decision.plan.starts() {
        let Some(list) = &mut list else { break };
        if !unsafe_networks.contains(&start.network) && context.leadership.is_held() {
            pass.start(&mut fresh, list, state, start).await;
        }
    }
    for deletion in &decision.plan.deletions {
        if context.leadership.is_held() {
            pass.delete(&fresh, deletion).await;
        }
    }
    Ok(pass.restarted)
}

struct Pass<'a> {
    namespace: &'a str,
    snapshot: &'a Snapshot,
    context: &'a Context,
    decision: &'a Decision,
    restarted: Restarted,
}

impl Pass<'_> {
    /// Takes away the tokens of restarts that were not carried out, but for those that a start is about to replace.
    /// Gives the networks where one is left: nobody may start there.
    async fn fence(&mut self, state: &mut State) -> BTreeSet<Network> {
        let mut left = BTreeSet::new();
        for fence in &self.decision.plan.fences {
            let is_replaced = |start: &Start| start.node == fence.node;
            if self.decision.plan.starts().any(is_replaced) {
                continue;
            }
            let result = turn::fence(&self.context.client, self.namespace, fence).await;
            if result.is_ok() {
                info!(namespace = self.namespace, name = %fence.node, "Took back a restart that was not carried out");
                state.memory.fenced(&fence.token);
            } else if let Some(node) = candidate(&self.decision.survey, &fence.node) {
                left.insert(node.network.clone());
            }
            self.note(result);
        }
        left
    }

    async fn start(
        &mut self,
        fresh: &mut Fresh,
        list: &mut PeerList,
        state: &mut State,
        start: &Start,
    ) {
        let (namespace, context) = (self.namespace, self.context);
        let is_gated = start.reason.is_adoption() && !start.was_down;
        if is_gated && !context.adoptions.admit(namespace, start, &context.stores) {
            debug!(namespace, name = %start.node, network = %start.network, "Waits for an adoption elsewhere");
            self.restarted.waits_elsewhere = true;
            return;
        }
        let now = context.clock.now();
        let errand = Errand {
            client: &context.client,
            namespace,
            token: &context.token(),
            at: now.wall,
        };
        let result = turn::restart(errand, fresh, list, start).await;
        if let Some(written) = fresh.config_map.clone() {
            // The watch brings the same soon; until then nobody should decide on the old one.
            context.stores.config_maps.apply(namespace, (), written);
        }
        if let Some(replaced) = &start.turn {
            state.memory.fenced(replaced);
        }
        match &result {
            Ok(generation) => {
                state
                    .memory
                    .started(&start.network, &start.node, &start.uid, *generation);
                self.tell_start(start);
            }
            Err(error) if error.is_refusal() => {
                state.memory.refused(&start.node, &start.uid, now.moment);
            }
            Err(_) => {}
        }
        self.note(result.map(drop));
    }

    async fn delete(&mut self, fresh: &Fresh, deletion: &Deletion) {
        let (namespace, context) = (self.namespace, self.context);
        let Some(pod) = fresh.pods.get(&deletion.pod) else {
            return;
        };
        let result = turn::delete_pod(&context.client, namespace, deletion, pod).await;
        if result.is_ok() {
            info!(namespace, name = %deletion.node, pod = deletion.pod, "Deleted a pod that was not Ready and would have stayed on its old template");
            context.events.on_node(
                namespace,
                &deletion.node,
                self.snapshot,
                EventType::Normal,
                "PodDeleted",
                "its pod was not Ready, and Kubernetes does not replace it by itself",
            );
        }
        self.note(result);
    }

    /// Takes down how a write ended. What changed in between is read and decided again.
    fn note(&mut self, result: Result<(), ReconcileError>) {
        match result {
            Ok(()) => self.restarted.any = true,
            Err(error) => drop(self.restarted.error.get_or_insert(error)),
        }
    }

    fn tell_start(&self, start: &Start) {
        let (namespace, context) = (self.namespace, self.context);
        context.metrics.restarted(start.reason);
        let reason = start.reason.reason();
        info!(namespace, name = %start.node, reason, membership = %start.hash, was_down = start.was_down, "Restart started");
        let meanwhile = start.halts.as_ref().map_or_else(String::new, |of| {
            format!("; the quorum set of {of} is not met meanwhile, and the network pauses")
        });
        let note = format!(
            "{reason}: its pods will know membership {}{meanwhile}",
            start.hash
        );
        context.events.on_node(
            namespace,
            &start.node,
            self.snapshot,
            EventType::Normal,
            "RestartStarted",
            &note,
        );
    }
}
