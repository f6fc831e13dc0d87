//! The validators of a namespace, seen with the service's own eyes: what it would write now, and what is written.

#[cfg(all(test, feature = "sandbox"))]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use kube::{Api, Client, ResourceExt, api::ListParams};

use super::{
    ask::{Unseen, ask},
    finding::Finding,
    judge::{Judged, Ours, findings},
    list,
    namespaces::looks_like_core,
};
use crate::{
    api::ServiceObject,
    cli::check::finding::Check,
    clock::Clock,
    controller::error::ReconcileError,
    domain::{
        Decision, Memory, Moment, Now, Snapshot, decide,
        node::NodeName,
        snapshot::{Inject, ServiceView, StatefulSetView},
    },
    peer_discovery::{decide_once, read},
};

/// How often a list that says something else is looked at again before it counts as wrong.
const LOOKS: usize = 4;
/// The service writes within a quarter of a second of what it sees.
const BETWEEN_LOOKS: Duration = Duration::from_millis(1200);

/// Looks at one namespace.
pub(super) async fn look(
    client: &Client,
    namespace: &str,
    ours: &Ours,
    clock: Clock,
) -> Vec<Finding> {
    let mut before = None;
    for last in (0..LOOKS).rev() {
        let now = clock.now();
        let judged = match judge(client, namespace, ours, now).await {
            Ok(judged) => judged,
            Err(finding) => return vec![*finding],
        };
        let difference = list::difference(&judged);
        let is_settled = difference.is_none() || difference == before;
        if is_settled || last == 0 || !ours.writes_lists {
            return findings(&judged, ours, is_settled, now.wall);
        }
        before = difference;
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Vec::new()
}

async fn judge(
    client: &Client,
    namespace: &str,
    ours: &Ours,
    now: Now,
) -> Result<Judged, Box<Finding>> {
    let unseen = |unseen: &Unseen| {
        let mut finding = Finding::unseen(Check::Namespace, unseen);
        finding.text = format!("{namespace}: {}", finding.text);
        Box::new(finding.of(format!("Namespace {namespace}")))
    };
    let (mut snapshot, fresh) = match read(client, namespace).await {
        Ok(seen) => seen,
        Err(error @ ReconcileError::KindMissing(_)) => {
            let text = format!("{namespace}: {error}");
            let finding = Finding::failed(Check::Namespace, text)
                .means("list and validators of the namespace stay as they are")
                .fix("the operator's CustomResourceDefinition, or the label that opts out");
            return Err(Box::new(finding.of(format!("Namespace {namespace}"))));
        }
        Err(error) => return Err(unseen(&Unseen::from(error))),
    };
    if ours.uses_names {
        let services = services(client, namespace)
            .await
            .map_err(|it| unseen(&it))?;
        let services = services.into_iter();
        let services: BTreeMap<_, _> = services
            .map(|it| (it.name_any(), Arc::new(ServiceView::from(&it))))
            .collect();
        snapshot.services = services.into();
    }
    let sets = fresh.stateful_sets.iter();
    let is_strange = |set| {
        let view = StatefulSetView::from(set);
        view.inject == Inject::Unset && !view.operator_labelled && looks_like_core(set)
    };
    let strangers: BTreeSet<NodeName> = sets
        .filter(|(name, set)| is_strange(set) && !snapshot.stellar_nodes.contains_key(*name))
        .map(|(name, _)| name.clone())
        .collect();
    let decision = decide_once(&snapshot, ours.policy.clone(), now);
    let young = decide_young(&snapshot, ours, now);
    Ok(Judged {
        namespace: namespace.to_owned(),
        snapshot,
        decision,
        young,
        strangers,
    })
}

/// As a service decides that has just seen all of this for the first time.
fn decide_young(snapshot: &Snapshot, ours: &Ours, now: Now) -> Decision {
    let first = Now {
        moment: Moment::default(),
        ..now
    };
    decide(snapshot, &mut Memory::default(), &ours.policy, first)
}

async fn services(client: &Client, namespace: &str) -> Result<Vec<ServiceObject>, Unseen> {
    let api = Api::<ServiceObject>::namespaced(client.clone(), namespace);
    let what = format!("Services in {namespace}");
    let listed = ask("list", &what, api.list(&ListParams::default())).await?;
    Ok(listed.items)
}
