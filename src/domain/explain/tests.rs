use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::domain::{
    fixtures::{Cluster, name},
    peer::PeerPort,
    snapshot::{Inject, StatefulSetView},
    status::status,
};

fn explained(cluster: &mut Cluster, node: &str) -> (Explanation, Decision) {
    let decision = cluster.decide();
    let now = cluster.now();
    let seen = status(
        &cluster.snapshot,
        &decision,
        &cluster.memory,
        &cluster.policy,
        now,
    );
    let policy = &cluster.policy;
    let told = explain(&cluster.snapshot, &decision, &seen, policy, &name(node));
    (told, decision)
}

#[test]
fn a_peer_passes_every_question() {
    let mut cluster = Cluster::settled(&["a", "b"]);
    let (told, _) = explained(&mut cluster, "a");
    assert!(told.steps.iter().all(|step| step.holds) && told.is_peer());
    let last = told.steps.last().unwrap();
    assert_eq!(last.claim, "a pod is Ready");
    assert_eq!((told.because, told.fix), (None, None));
    assert!(
        told.steps
            .iter()
            .any(|step| step.found == "testnet" && step.place == "StellarNode a, spec.network")
    );
}

#[test]
fn a_statefulset_that_opts_in_is_not_asked_for_a_stellarnode() {
    let mut cluster = Cluster::settled(&["a", "b"]);
    Arc::make_mut(&mut cluster.snapshot.stellar_nodes).remove(&name("a"));
    cluster.set("a", |set| {
        (set.operator_labelled, set.inject) = (false, Inject::Enabled);
    });
    let (told, _) = explained(&mut cluster, "a");
    assert!(told.is_peer());
    assert!(
        !told
            .steps
            .iter()
            .any(|step| step.place.starts_with("StellarNode"))
    );
}

#[test]
fn nobody_is_told_how_to_become_somebody() {
    let mut cluster = Cluster::settled(&["a", "b"]);
    Arc::make_mut(&mut cluster.snapshot.stateful_sets)
        .insert(name("web"), Arc::new(StatefulSetView::default()));
    let (web, _) = explained(&mut cluster, "web");
    assert!(
        web.fix
            .unwrap()
            .starts_with("kubectl label statefulset -n stellar web")
    );
    let (gone, _) = explained(&mut cluster, "gone");
    assert_eq!(gone.because.unwrap().reason, "NoNode");
    assert_eq!(gone.fix.unwrap(), "the nodes of this namespace are a, b");
}

#[test]
fn a_member_that_is_listed_though_it_is_down_is_told_why() {
    let mut cluster = Cluster::settled(&["a", "b", "c"]);
    for down in ["a", "b"] {
        cluster.pod(down, |pod| pod.ready = false);
    }
    let (told, _) = explained(&mut cluster, "a");
    assert!(told.is_peer());
    let because = told.because.unwrap();
    assert_eq!(because.reason, "PodNotReady");
    assert!(because.text.contains("fewer than half"), "{}", because.text);
}

type Change = fn(&mut Cluster);

/// Everything that can be wrong with a node.
const CHANGES: [Change; 17] = [
    |it| it.node("a", |node| node.node_type = "Horizon".to_owned()),
    |it| it.node("a", |node| node.inject = Inject::Disabled),
    |it| it.node("a", |node| node.terminating = true),
    |it| it.node("a", |node| node.suspended = true),
    |it| it.node("a", |node| node.peer_port = Some(PeerPort::new(0))),
    |it| it.set("a", |set| set.inject = Inject::Disabled),
    |it| it.set("a", |set| set.inject = Inject::Enabled),
    |it| it.set("a", |set| set.terminating = true),
    |it| it.set("a", |set| set.read_pool = true),
    |it| it.set("a", |set| set.replicas = 0),
    |it| it.set("a", |set| set.operator_labelled = false),
    |it| it.pod("a", |pod| pod.terminating = true),
    |it| it.pod("a", |pod| pod.ready = false),
    |it| it.pod("a", |pod| pod.ips.clear()),
    |it| it.pod("a", |pod| pod.ips = vec!["::1".parse().unwrap()]),
    |it| it.pod("a", |pod| pod.instance = None),
    |it| it.pod("a", |pod| pod.owner = "else".to_owned()),
];

proptest! {
    #[test]
    fn the_question_that_fails_is_discoverys_reason(
        chosen in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
        has_node: bool,
        has_set in prop::bool::weighted(0.9),
    ) {
        let mut cluster = Cluster::settled(&["a", "b", "c"]);
        for change in chosen {
            CHANGES[change.index(CHANGES.len())](&mut cluster);
        }
        if !has_node {
            Arc::make_mut(&mut cluster.snapshot.stellar_nodes).remove(&name("a"));
        }
        if !has_set {
            Arc::make_mut(&mut cluster.snapshot.stateful_sets).remove(&name("a"));
        }
        let (told, decision) = explained(&mut cluster, "a");
        let skipped = match decision.survey.get(&name("a")) {
            None => Some("NoNode".to_owned()),
            Some(Standing::Out(why)) => Some(why.reason().to_owned()),
            Some(Standing::Candidate(node)) => node.skipped().map(|why| why.reason().to_owned()),
        };
        prop_assert_eq!(told.because.map(|because| because.reason), skipped.clone());
        let failed = told.steps.iter().position(|step| !step.holds);
        // The last question that is asked is the one that fails, where one does.
        prop_assert_eq!(failed, skipped.as_ref().map(|_| told.steps.len() - 1));
        prop_assert_eq!(told.fix.is_some(), skipped.is_some());
        for step in &told.steps {
            prop_assert!(!step.found.is_empty() && !step.place.is_empty(), "{:?}", step);
        }
    }
}
