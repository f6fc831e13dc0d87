//! What a person should know of one validator, whether it is due for a restart or not.

use super::Notice;
use crate::{
    api::names,
    domain::{Policy, injection::Parts, node::NodeName, policy::InjectMode, survey::Candidate},
};

/// All of them.
pub(super) fn notices(
    policy: &Policy,
    name: &NodeName,
    node: &Candidate,
) -> impl Iterator<Item = Notice> {
    let told = [
        unreadable(node).map(|note| ("QuorumUnreadable", note)),
        not_rendered(policy, node).map(|note| ("NotRendered", note)),
        shared_seed(node).map(|note| ("SharedSeed", note)),
        render_waits(node).map(|note| ("RenderNotStarted", note)),
    ];
    told.into_iter().flatten().map(|(reason, note)| Notice {
        node: name.clone(),
        reason,
        note,
    })
}

/// A quorum set that can't be read: for it the plain limit holds alone.
fn unreadable(node: &Candidate) -> Option<String> {
    let why = node.quorum_set.as_ref()?.as_ref().err()?;
    Some(format!("{why}; restarts go by --max-unavailable alone"))
}

/// It has the list and can't be made to use it.
fn not_rendered(policy: &Policy, node: &Candidate) -> Option<String> {
    let template = &node.stateful_set.template;
    let is_wanted =
        matches!(policy.inject, InjectMode::Render { .. }) && template.parts == Parts::Whole;
    let why = template.not_rendered.as_ref().filter(|_| is_wanted)?;
    Some(format!(
        "the list is mounted, and not put into stellar-core's configuration: {why}"
    ))
}

/// A pod of it waits in our init container, and so the validator doesn't start because of us.
fn render_waits(node: &Candidate) -> Option<String> {
    let mut pods = node.pods.iter();
    let (pod, wait) = pods.find_map(|pod| Some((&pod.name, pod.render_wait?)))?;
    Some(format!(
        "pod {pod} can't start: of its init container {}, {}",
        names::RENDER_CONTAINER,
        wait.advice()
    ))
}

/// All pods of a StatefulSet read one configuration, and so have one seed.
fn shared_seed(node: &Candidate) -> Option<String> {
    let replicas = node.stateful_set.replicas;
    (replicas > 1).then(|| {
        format!(
            "its {replicas} pods have one seed, and so vote as one node that contradicts itself; make one \
             StatefulSet a validator"
        )
    })
}
