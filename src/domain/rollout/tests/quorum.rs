//! What declared quorum sets tolerate.

use super::*;

/// Four members, of which `v1` is stale, that all declare this.
fn with_quorum(percent: u8, names: &[&str]) -> Cluster {
    let all = ["v1", "v2", "v3", "v4"];
    let mut cluster = Cluster::settled(&all);
    let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
    let text = format!(
        "[QUORUM_SET]\nTHRESHOLD_PERCENT = {percent}\nVALIDATORS = [{}]\n",
        quoted.join(", ")
    );
    for node in all {
        cluster.declare(node, &text);
    }
    cluster.inject("v1", &hash_of(&["other"]));
    cluster.policy.max_unavailable = std::num::NonZeroUsize::new(3).unwrap();
    cluster.pass();
    cluster
}

#[test]
fn no_quorum_set_is_taken_past_what_it_tolerates() {
    let four = ["v1", "v2", "v3", "v4"];
    assert_eq!(starts(&with_quorum(67, &four).pass()), ["v1"]);
    let down: [Change; 5] = [
        // A finalizer holds it for a while before it is gone.
        |it| {
            it.node("v3", |node| node.terminating = true);
            it.pass();
            it.remove("v3");
        },
        |it| it.pod("v3", |pod| pod.ready = false),
        |it| it.node("v3", |node| node.suspended = true),
        |it| it.set("v3", |set| set.replicas = 0),
        |it| it.remove("v3"),
    ];
    for change in down {
        let mut cluster = with_quorum(67, &four);
        change(&mut cluster);
        cluster.pass();
        // The list is written by now, and so is who is gone.
        let decision = cluster.after(Duration::from_mins(10));
        assert_eq!(held(&decision, "v1"), &Held::Quorum(name("v2")));
    }
    let mut never_ready = with_quorum(67, &["v1", "v2", "v3", "v5"]);
    never_ready.add("v5");
    never_ready.pod("v5", |pod| pod.ready = false);
    let decision = never_ready.pass();
    assert_eq!(held(&decision, "v1"), &Held::Quorum(name("v2")));
}

#[test]
fn a_set_that_tolerates_nobody_is_restarted_one_by_one_or_held_and_told() {
    let mut cluster = with_quorum(100, &["v1", "v2", "v3", "v4"]);
    let decision = cluster.pass();
    let start = decision.plan.starts().next().unwrap();
    assert_eq!(start.halts, Some(name("v2")));
    cluster.pod("v3", |pod| pod.ready = false);
    assert!(matches!(
        held(&cluster.pass(), "v1"),
        Held::Budget(_) | Held::Quorum(_)
    ));
    cluster.policy.on_zero_tolerance = OnZeroTolerance::Hold;
    cluster.pod("v3", |pod| pod.ready = true);
    cluster.pass();
    let decision = cluster.after(MIN_READY);
    assert_eq!(held(&decision, "v1"), &Held::ZeroTolerance(name("v2")));
}

#[test]
fn what_cannot_be_read_or_found_of_a_set_is_told_and_holds_nobody() {
    let mut cluster = with_quorum(67, &["v1", "v2", "v3", "someone-else"]);
    let decision = cluster.pass();
    assert_eq!(starts(&decision), ["v1"]);
    assert!(
        decision
            .plan
            .notices
            .iter()
            .all(|it| it.reason == "QuorumUnmapped")
    );
    assert_eq!(decision.plan.notices.len(), 4);
    cluster.declare("v2", "not toml");
    let decision = cluster.pass();
    assert_eq!(starts(&decision), ["v1"]);
    let unreadable: Vec<_> = decision
        .plan
        .notices
        .iter()
        .filter(|it| it.reason == "QuorumUnreadable")
        .collect();
    assert_eq!(unreadable.len(), 1);
    assert_eq!(unreadable[0].node, name("v2"));
}
