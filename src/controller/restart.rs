//! Restarting validators: read past the stores, decide again, write.

use std::collections::BTreeSet;

use kube::runtime::events::EventType;
use tracing::info;

use super::{
    error::{ReconcileError, accounted},
    fresh::{Fresh, read_fresh},
    reconcile::{Context, State},
    turn::{self, DECISION_AGE_MAX, Errand},
};
use crate::domain::{
    Decision, Moment, Snapshot, decide,
    node::Network,
    rollout::{Deletion, Plan, Start},
    survey::{Survey, candidate},
};

/// What came of the restarts of a pass.
#[derive(Debug, Default)]
pub(super) struct Restarted {
    /// Something was written.
    pub(super) any: bool,
    /// The first thing that went wrong; the others were tried all the same.
    pub(super) error: Option<ReconcileError>,
}

/// Does what the plan still wants after everything was read past the stores, network by network, each on a reading of
/// its own: a slow one must not have the next act on what was true long ago.
pub(super) async fn restart_some(
    namespace: &str,
    snapshot: &Snapshot,
    decision: &Decision,
    state: &mut State,
    context: &Context,
) -> Result<Restarted, ReconcileError> {
    let mut restarted = Restarted::default();
    for network in networks(decision) {
        let read_at = context.clock.now().moment;
        let fresh = read_fresh(&context.client, namespace).await?;
        let current = accounted(fresh.over(snapshot.clone()))?;
        let own = &context.policy.writer;
        context
            .foreign
            .yield_to(&context.client, &current, own)
            .await?;
        let now = context.clock.now();
        let mut decision = decide(&current, &mut state.memory.lock(), &context.policy, now);
        let Context {
            adoptions,
            stores,
            policy,
            ..
        } = context;
        adoptions.gate(namespace, &mut decision, stores, policy, now);
        let mut pass = Pass {
            namespace,
            snapshot: &current,
            context,
            decision: &decision,
            read_at,
            restarted: &mut restarted,
        };
        // Where a token is left that may be used at any time, nobody may start.
        if !pass.fence().await {
            break;
        }
        let is_of = |it: &Network| Some(it) == network.as_ref();
        for start in decision.plan.starts().filter(|it| is_of(&it.network)) {
            pass.start(&fresh, state, start).await;
        }
        for deletion in &decision.plan.deletions {
            if is_of(&network_of(&decision.survey, deletion)) {
                pass.delete(&fresh, deletion).await;
            }
        }
    }
    Ok(restarted)
}

/// The networks in which something is to be done; one round without any where only tokens are to be fenced.
fn networks(decision: &Decision) -> Vec<Option<Network>> {
    let Plan { deletions, .. } = &decision.plan;
    let starts = decision.plan.starts().map(|start| start.network.clone());
    let deletions = deletions.iter().map(|it| network_of(&decision.survey, it));
    let networks: BTreeSet<Network> = starts.chain(deletions).collect();
    if networks.is_empty() {
        vec![None]
    } else {
        networks.into_iter().map(Some).collect()
    }
}

fn network_of(survey: &Survey, deletion: &Deletion) -> Network {
    candidate(survey, &deletion.node).map_or_else(Network::unnamed, |node| node.network.clone())
}

struct Pass<'a> {
    namespace: &'a str,
    snapshot: &'a Snapshot,
    context: &'a Context,
    decision: &'a Decision,
    read_at: Moment,
    restarted: &'a mut Restarted,
}

impl Pass<'_> {
    /// Fences the restarts that were not carried out; false where one is left.
    async fn fence(&mut self) -> bool {
        let mut all = true;
        for fence in &self.decision.plan.fences {
            let result = turn::fence(&self.context.client, self.namespace, fence).await;
            if result.is_ok() {
                info!(namespace = self.namespace, name = %fence.node, "Took back a restart that was not carried out");
            }
            all &= result.is_ok();
            self.note(result);
        }
        all
    }

    async fn start(&mut self, fresh: &Fresh, state: &mut State, start: &Start) {
        let (namespace, context) = (self.namespace, self.context);
        let Some(list) = &self.decision.list else {
            return;
        };
        let now = context.clock.now();
        let read_at = self.read_at;
        let errand = Errand {
            client: &context.client,
            namespace,
            notes: &list.notes,
            token: &context.token(),
            at: now.wall,
            inject: &context.policy.inject,
            is_timely: &|| {
                let age = context.clock.now().moment.since(read_at);
                age < DECISION_AGE_MAX && context.leadership.is_held()
            },
        };
        let before = context.stores.config_map(namespace);
        let result = match turn::restart(errand, fresh, start).await {
            Ok(carried) => {
                let generation = carried.generation;
                let mut memory = state.memory.lock();
                memory.started(&start.network, &start.node, &start.uid, generation);
                drop(memory);
                // The watch brings the same soon; until then nobody should decide on the old one.
                let (lists, written) = (&context.stores.config_maps, Some(carried.written));
                lists.take_over(namespace, (), before.as_ref(), written);
                self.tell_start(start);
                Ok(())
            }
            Err(error) => {
                if error.is_refusal() {
                    let (node, uid) = (&start.node, &start.uid);
                    state.memory.lock().refused(node, uid, now.moment);
                }
                Err(error)
            }
        };
        self.note(result);
    }

    async fn delete(&mut self, fresh: &Fresh, deletion: &Deletion) {
        let (namespace, context) = (self.namespace, self.context);
        let Some(pod) = fresh.pods.get(&deletion.pod) else {
            return;
        };
        if !context.leadership.is_held() {
            return;
        }
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
