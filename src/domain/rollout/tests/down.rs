//! Those that are down anyway.

use super::*;

/// `v1` is stale and has no Ready pod.
fn down_and_stale() -> Cluster {
    let mut cluster = joined();
    cluster.pod("v1", |pod| pod.ready = false);
    cluster
}

#[test]
fn who_is_down_for_long_goes_first_and_costs_nothing() {
    let mut cluster = down_and_stale();
    let decision = cluster.pass();
    assert_eq!(held(&decision, "v1"), &Held::NotReady);
    assert_eq!(held(&decision, "v2"), &Held::Budget(name("v1")));
    let decision = cluster.after(BOOTSTRAP_AFTER);
    assert_eq!(starts(&decision), ["v1"]);
    assert!(decision.plan.starts().next().unwrap().was_down);

    // The limit is not for those that are down anyway, and the next one waits for no more than an address.
    cluster.pod("v2", |pod| pod.ready = false);
    cluster.pass();
    cluster.after(BOOTSTRAP_AFTER);
    cluster.restart("v1", &hash_of(&["v1", "v2", "v3", "v4"]));
    cluster.pod("v1", |pod| (pod.ready, pod.running) = (false, false));
    let decision = cluster.pass();
    assert_eq!(held(&decision, "v2"), &Held::Behind(name("v1")));
    assert_eq!(held(&decision, "v3"), &Held::Budget(name("v1")));
    cluster.pod("v1", |pod| pod.running = true);
    assert_eq!(starts(&cluster.pass()), ["v2"]);

    let mut off = down_and_stale();
    off.policy.bootstrap_after = Duration::ZERO;
    off.pass();
    assert_eq!(
        held(&off.after(Duration::from_hours(1)), "v1"),
        &Held::NotReady
    );
}

#[test]
fn who_was_restarted_lately_is_not_restarted_for_being_down() {
    let mut cluster = joined();
    cluster.restart("v1", &hash_of(&["other"]));
    cluster.pod("v1", |pod| pod.ready = false);
    cluster.pass();
    let decision = cluster.after(Duration::from_mins(14));
    assert_eq!(held(&decision, "v1"), &Held::NotReady);
    let decision = cluster.after(Duration::from_mins(1));
    assert_eq!(
        starts(&decision),
        ["v1"],
        "it is not its own reason to wait"
    );
    assert_eq!(held(&decision, "v2"), &Held::Stuck(name("v1")));
}

#[test]
fn who_was_never_ready_is_restarted_only_where_it_does_not_come_up_and_knows_others() {
    let mut cluster = Cluster::settled(&THREE);
    cluster.add("v4");
    cluster.inject("v4", &hash_of(&["v4"]));
    cluster.pod("v4", |pod| pod.ready = false);
    assert!(cluster.pass().plan.verdicts.is_empty());
    let decision = cluster.after(BOOTSTRAP_AFTER);
    let start = decision.plan.starts().next().unwrap();
    assert_eq!(start.node, name("v4"));
    assert_eq!(start.hash, hash_of(&["v1", "v2", "v3", "v4"]));
    assert!(start.was_down && start.reason == Stale::Membership);
    cluster.inject("v4", &start.hash);
    assert!(cluster.after(BOOTSTRAP_AFTER).plan.verdicts.is_empty());
}

#[test]
fn after_all_pods_were_lost_each_is_restarted_once_one_after_the_other_until_one_is_ready() {
    let mut cluster = Cluster::settled(&THREE);
    for node in THREE {
        cluster.start_pod(node);
        cluster.pod(node, |pod| pod.ready = false);
    }
    assert!(cluster.pass().plan.verdicts.is_empty());
    for node in THREE {
        let decision = if node == "v1" {
            cluster.after(BOOTSTRAP_AFTER)
        } else {
            cluster.pass()
        };
        assert_eq!(starts(&decision), [node]);
        let start = decision.plan.starts().next().unwrap().clone();
        assert!(start.reason == Stale::Outage && start.outage);
        cluster.restart(node, &start.hash);
        cluster.pod(node, |pod| pod.ready = false);
        cluster.note_restart(&start);
        cluster.pass();
    }
    for wait in [BOOTSTRAP_AFTER, Duration::from_hours(1)] {
        assert!(
            cluster.after(wait).plan.verdicts.is_empty(),
            "once an outage"
        );
    }
    // stellar-core is Ready for a while even without a network: that is no end of an outage.
    let ready_for = |cluster: &mut Cluster, duration| {
        cluster.pod("v2", |pod| pod.ready = true);
        assert!(cluster.pass().plan.verdicts.is_empty());
        assert!(cluster.after(duration).plan.verdicts.is_empty());
        cluster.pod("v2", |pod| pod.ready = false);
        cluster.pass();
        cluster.after(BOOTSTRAP_AFTER)
    };
    let decision = ready_for(&mut cluster, Duration::from_secs(35));
    assert!(decision.plan.verdicts.is_empty());
    // One that was lost again was started anew.
    let mut lost = cluster.clone();
    lost.start_pod("v3");
    lost.pod("v3", |pod| pod.ready = false);
    lost.pass();
    assert_eq!(starts(&lost.after(Duration::from_hours(1))), ["v3"]);
    // Whoever came up is helped again in the next one. It dials those that have been down since the first.
    let decision = ready_for(&mut cluster, MIN_READY);
    assert_eq!(starts(&decision), ["v2"], "another outage");
}

#[test]
fn a_pod_that_kubernetes_would_never_replace_is_deleted_and_a_ready_one_never() {
    let mut cluster = down_and_stale();
    cluster.pass();
    let decision = cluster.after(BOOTSTRAP_AFTER);
    assert!(
        decision.plan.deletions.is_empty(),
        "before our patch is seen"
    );
    let start = decision.plan.starts().next().unwrap().clone();
    cluster.inject("v1", &start.hash);
    cluster.set("v1", |set| {
        set.generation += 1;
        set.template.restarted_at = Some("2027-01-15T08:00:00Z".to_owned());
    });
    cluster.note_restart(&start);
    assert!(
        cluster.pass().plan.deletions.is_empty(),
        "before it is observed"
    );
    cluster.set("v1", |set| {
        set.observed_generation = set.generation;
        set.update_revision = "r2".to_owned();
    });
    let deletions = cluster.pass().plan.deletions;
    assert_eq!(deletions.len(), 1);
    assert_eq!(deletions[0].pod, "v1-0");
    // It would be started without the address of one that is about to get it.
    let mut behind = cluster.clone();
    behind.add("v0");
    behind.restart("v0", &start.hash);
    behind.pod("v0", |pod| (pod.ready, pod.running) = (false, false));
    assert!(behind.pass().plan.deletions.is_empty());
    behind.pod("v0", |pod| pod.running = true);
    assert_eq!(behind.pass().plan.deletions.len(), 1);
    let no_longer: [Change; 5] = [
        |it| it.pod("v1", |pod| pod.ready = true),
        |it| it.pod("v1", |pod| pod.revision = "r2".to_owned()),
        |it| it.pod("v1", |pod| pod.terminating = true),
        |it| it.set("v1", |set| set.pod_management = PodManagement::Parallel),
        |it| it.set("v1", |set| set.update_strategy = UpdateStrategy::OnDelete),
    ];
    for change in no_longer {
        let mut cluster = cluster.clone();
        change(&mut cluster);
        assert!(cluster.pass().plan.deletions.is_empty());
    }
}

#[test]
fn whoever_is_still_down_after_an_outage_is_restarted_though_others_are_ready_by_then() {
    let mut cluster = Cluster::settled(&THREE);
    for node in THREE {
        cluster.start_pod(node);
        cluster.pod(node, |pod| pod.ready = false);
    }
    cluster.pass();
    cluster.after(BOOTSTRAP_AFTER);
    cluster.pod("v1", |pod| pod.ready = true);
    cluster.pod("v2", |pod| pod.ready = true);
    assert_eq!(starts(&cluster.after(MIN_READY)), ["v3"]);
    // Whoever goes down later is not lost: it comes back by itself.
    cluster.pod("v3", |pod| pod.ready = true);
    cluster.pass();
    cluster.pod("v3", |pod| pod.ready = false);
    cluster.pass();
    assert!(
        cluster
            .after(Duration::from_hours(1))
            .plan
            .verdicts
            .is_empty()
    );
}
