//! Who goes, in which order, and how many.

use super::*;

#[test]
fn a_settled_network_restarts_nobody() {
    let decision = Cluster::settled(&THREE).decide();
    assert!(decision.plan.verdicts.is_empty());
    assert_eq!(decision.look_again, None);
}

#[test]
fn old_members_restart_one_after_the_other_and_the_newcomer_not_at_all() {
    let mut cluster = joined();
    let all = hash_of(&["v1", "v2", "v3", "v4"]);
    for node in THREE {
        let decision = cluster.pass();
        assert_eq!(starts(&decision), [node]);
        let start = decision.plan.starts().next().unwrap();
        assert_eq!((&start.hash, start.reason), (&all, Stale::Membership));
        cluster.restart(node, &all);
        assert_eq!(
            starts(&cluster.pass()).len(),
            0,
            "the last one is Ready for too short a time"
        );
        cluster.after(MIN_READY);
    }
    assert!(cluster.pass().plan.verdicts.is_empty());
}

#[test]
fn nothing_starts_before_the_membership_has_settled() {
    let mut cluster = Cluster::settled(&THREE);
    cluster.policy.min_ready = Duration::ZERO;
    cluster.add("v4");
    cluster.inject("v4", &hash_of(&["v1", "v2", "v3", "v4"]));
    let decision = cluster.pass();
    assert_eq!(held(&decision, "v1"), &Held::Settling);
    assert_eq!(
        decision.look_again.map(|at| at.since(cluster.now().moment)),
        Some(SETTLE)
    );
    assert_eq!(
        starts(&cluster.after(SETTLE.checked_sub(Duration::from_secs(1)).unwrap())).len(),
        0
    );
    // Another one joins: the time begins anew.
    cluster.add("v5");
    cluster.inject("v5", &hash_of(&["v1", "v2", "v3", "v4", "v5"]));
    cluster.pass();
    assert_eq!(
        starts(&cluster.after(SETTLE.checked_sub(Duration::from_secs(1)).unwrap())).len(),
        0
    );
    assert_eq!(starts(&cluster.after(Duration::from_secs(1))), ["v1"]);
}

#[test]
fn where_somebody_only_left_the_rest_waits_longer_and_delete_and_create_again_costs_nothing() {
    let mut cluster = Cluster::settled(&THREE);
    cluster.remove("v3");
    cluster.pass();
    assert_eq!(held(&cluster.after(2 * SETTLE), "v1"), &Held::Settling);
    cluster.add("v3");
    cluster.inject("v3", &hash_of(&THREE));
    cluster.set("v3", |set| set.uid = "again".to_owned());
    cluster.pod("v3", |pod| pod.owner = "again".to_owned());
    assert!(cluster.pass().plan.verdicts.is_empty());
    cluster.remove("v3");
    cluster.pass();
    assert_eq!(starts(&cluster.after(Duration::from_mins(5))), ["v1"]);
}

#[test]
fn whoever_is_down_for_whatever_reason_holds_the_others_back() {
    let ways: [Change; 4] = [
        |it| it.pod("v3", |pod| pod.ready = false),
        |it| it.set("v3", |set| set.generation += 1),
        |it| it.set("v3", |set| set.update_revision = "r9".to_owned()),
        |it| it.start_pod("v3"),
    ];
    for change in ways {
        let mut cluster = joined();
        change(&mut cluster);
        let decision = cluster.pass();
        assert_eq!(starts(&decision).len(), 0);
        assert_eq!(held(&decision, "v1"), &Held::Budget(name("v3")));
    }
}

#[test]
fn max_unavailable_lets_more_go_one_after_the_other_and_counts_who_is_down() {
    let all = hash_of(&["v1", "v2", "v3", "v4"]);
    let mut cluster = joined();
    cluster.policy.max_unavailable = std::num::NonZeroUsize::new(2).unwrap();
    let decision = cluster.pass();
    assert_eq!(starts(&decision), ["v1"], "one takes the turn in one pass");
    assert_eq!(held(&decision, "v2"), &Held::Budget(name("v1")));
    cluster.restart("v1", &all);
    assert_eq!(starts(&cluster.pass()), ["v2"]);
    cluster.pod("v4", |pod| pod.ready = false);
    assert_eq!(held(&cluster.pass(), "v2"), &Held::Budget(name("v1")));
}

#[test]
fn nothing_is_decided_before_the_last_start_is_seen() {
    let mut cluster = joined();
    cluster.policy.max_unavailable = std::num::NonZeroUsize::new(2).unwrap();
    let decision = cluster.pass();
    let start = decision.plan.starts().next().unwrap();
    cluster.memory.started(
        &start.network,
        &start.node,
        &start.uid,
        start.generation + 1,
    );
    let decision = cluster.pass();
    assert_eq!(starts(&decision).len(), 0);
    assert_eq!(held(&decision, "v2"), &Held::Budget(name("v1")));
    cluster.restart("v1", &start.hash);
    assert_eq!(starts(&cluster.pass()), ["v2"]);
}

#[test]
fn a_moved_pod_a_drained_node_and_an_unready_pod_make_nobody_stale() {
    let mut cluster = Cluster::settled(&THREE);
    cluster.start_pod("v1");
    assert!(cluster.pass().plan.verdicts.is_empty());
    cluster.pod("v2", |pod| pod.ready = false);
    assert!(
        cluster
            .after(Duration::from_hours(1))
            .plan
            .verdicts
            .is_empty()
    );
    Arc::make_mut(&mut cluster.snapshot.pods).clear();
    assert!(
        cluster
            .after(Duration::from_hours(1))
            .plan
            .verdicts
            .is_empty()
    );
}

#[test]
fn what_is_half_injected_goes_first() {
    let mut cluster = joined();
    cluster.set("v3", |set| set.template.parts = Parts::Partial);
    let decision = cluster.pass();
    assert_eq!(starts(&decision), ["v3"]);
    assert_eq!(held(&decision, "v1"), &Held::Budget(name("v3")));
}

#[test]
fn who_was_there_before_us_is_taken_in_unless_its_list_would_be_empty_or_nobody_wants_that() {
    let mut cluster = Cluster::with_ready(&THREE);
    cluster.pass();
    assert_eq!(starts(&cluster.after(MIN_READY)), ["v1"]);
    cluster.policy.adopt = Adopt::Never;
    assert_eq!(held(&cluster.pass(), "v1"), &Held::AdoptionOff);
    let mut alone = Cluster::with_ready(&["v1"]);
    alone.pass();
    assert_eq!(held(&alone.after(MIN_READY), "v1"), &Held::NoPeers);
}

#[test]
fn where_restarts_are_for_joins_alone_nobody_restarts_because_somebody_left() {
    let mut cluster = Cluster::settled(&["v1", "v2", "v3", "v4"]);
    cluster.policy.restart_on = RestartOn::Joins;
    cluster.pass();
    cluster.remove("v4");
    for _ in 0..3 {
        assert!(
            cluster
                .after(Duration::from_hours(1))
                .plan
                .verdicts
                .is_empty()
        );
    }
    // Whoever is told the members of today is as good.
    cluster.inject("v1", &hash_of(&THREE));
    assert!(cluster.pass().plan.verdicts.is_empty());
    cluster.add("v5");
    cluster.inject("v5", &hash_of(&["v1", "v2", "v3", "v5"]));
    cluster.pass();
    let decision = cluster.after(MIN_READY);
    assert_eq!(starts(&decision), ["v1"]);
    assert_eq!(decision.plan.verdicts.len(), 3);
}

#[test]
fn a_hash_of_a_version_that_we_do_not_know_is_left_alone() {
    let mut cluster = Cluster::settled(&THREE);
    for node in THREE {
        cluster.set(node, |set| {
            set.template.membership = Some("v2:whatever".to_owned());
        });
    }
    assert!(cluster.pass().plan.verdicts.is_empty());
}

proptest! {
    /// Members in any mix of states: no plan starts more than there is room for.
    #[test]
    fn no_plan_exceeds_the_budget(
        states in prop::collection::vec((0..5_u8, any::<bool>()), 1..8),
        max_unavailable in 1..4_usize,
        wait in 0..200_u64,
    ) {
        let names: Vec<String> = (0..states.len()).map(|index| format!("v{index}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut cluster = Cluster::settled(&names);
        cluster.policy.max_unavailable = std::num::NonZeroUsize::new(max_unavailable).unwrap();
        for (node, (state, is_stale)) in names.iter().zip(&states) {
            if *is_stale {
                cluster.inject(node, &hash_of(&["other"]));
            }
            match state {
                0 => cluster.pod(node, |pod| pod.ready = false),
                1 => cluster.set(node, |set| set.generation += 1),
                2 => cluster.start_pod(node),
                _ => {}
            }
        }
        cluster.pass();
        let decision = cluster.after(Duration::from_secs(wait));
        let fresh_counts = wait < MIN_READY.as_secs();
        let down = states.iter().filter(|(state, _)| *state < 2 || (*state == 2 && fresh_counts)).count();
        let started = decision.plan.starts().filter(|start| !start.was_down).count();
        prop_assert!(started == 0 || down + started <= max_unavailable, "{down} down, {started} started");
    }
}
