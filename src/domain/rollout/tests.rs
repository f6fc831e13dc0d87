//! The rules of restarts, on small clusters.

use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    api::names,
    domain::{
        decision::Decision,
        fixtures::{Cluster, hash_of, name},
        injection::{Parts, Template, TemplateView},
        notes::{Restart, short_uid},
        peer::PeerPort,
        policy::OnZeroTolerance,
    },
};

const SETTLE: Duration = Duration::from_secs(30);
const MIN_READY: Duration = Duration::from_mins(1);
const BOOTSTRAP_AFTER: Duration = Duration::from_mins(1);
const THREE: [&str; 3] = ["v1", "v2", "v3"];

type Change = fn(&mut Cluster);

fn starts(decision: &Decision) -> Vec<&str> {
    decision
        .plan
        .starts()
        .map(|start| start.node.as_str())
        .collect()
}

fn held<'a>(decision: &'a Decision, node: &str) -> &'a Held {
    match &decision.plan.verdicts[&name(node)] {
        Verdict::Held(_, held) => held,
        Verdict::Start(_) => panic!("{node} starts"),
    }
}

/// A settled network that somebody joined, ready to restart.
fn joined() -> Cluster {
    let mut cluster = Cluster::settled(&THREE);
    cluster.add("v4");
    cluster.inject("v4", &hash_of(&["v1", "v2", "v3", "v4"]));
    cluster.pass();
    cluster.after(MIN_READY);
    cluster
}

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
    cluster.snapshot.pods.clear();
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
fn each_reason_to_hold_one_validator_back_is_told_and_the_next_one_goes() {
    let ways: [(Held, Change); 6] = [
        (Held::Paused(PausedBy::Node), |it| {
            it.node("v1", |node| node.paused = true);
        }),
        (Held::Paused(PausedBy::Node), |it| {
            it.set("v1", |set| set.paused = true);
        }),
        (Held::OnDelete, |it| {
            it.set("v1", |set| set.update_strategy = UpdateStrategy::OnDelete);
        }),
        (Held::Partition(1), |it| {
            it.set("v1", |set| {
                set.update_strategy = UpdateStrategy::Rolling { partition: 1 }
            });
        }),
        (Held::EphemeralLedger, |it| {
            it.set("v1", |set| set.template.ephemeral_ledger = true);
        }),
        (Held::CannotInject(CannotInject::VolumeNameTaken), |it| {
            it.set("v1", |set| {
                set.template.blocked = Some(CannotInject::VolumeNameTaken);
            });
        }),
    ];
    for (expected, change) in ways {
        let mut cluster = joined();
        change(&mut cluster);
        let decision = cluster.pass();
        assert_eq!(held(&decision, "v1"), &expected);
        assert_eq!(starts(&decision), ["v2"]);
    }
    let mut allowed = joined();
    allowed.set("v1", |set| {
        (set.template.ephemeral_ledger, set.allow_ephemeral) = (true, true);
    });
    assert_eq!(starts(&allowed.pass()), ["v1"]);
}

#[test]
fn a_paused_namespace_and_restart_on_never_restart_nobody() {
    let mut cluster = joined();
    cluster.policy.restart_on = RestartOn::Never;
    assert_eq!(held(&cluster.pass(), "v1"), &Held::RestartsOff);
    let mut paused = joined();
    std::sync::Arc::make_mut(paused.snapshot.config_map.as_mut().unwrap()).paused = true;
    assert_eq!(
        held(&paused.pass(), "v1"),
        &Held::Paused(PausedBy::ConfigMap)
    );
}

#[test]
fn a_restart_that_does_not_get_done_stops_all_others() {
    let mut cluster = joined();
    cluster.policy.max_unavailable = std::num::NonZeroUsize::new(3).unwrap();
    cluster.restart("v1", &hash_of(&["v1", "v2", "v3", "v4"]));
    cluster.pod("v1", |pod| pod.ready = false);
    assert_eq!(starts(&cluster.after(Duration::from_mins(14))), ["v2"]);
    assert_eq!(
        held(&cluster.after(Duration::from_mins(1)), "v2"),
        &Held::Stuck(name("v1"))
    );
    // A time in the future, by a clock that went back, counts from first sight.
    cluster.set("v1", |set| {
        set.template.restarted_at = Some("2999-01-01T00:00:00Z".to_owned());
    });
    assert_eq!(starts(&cluster.pass()), ["v2"]);
    assert_eq!(
        held(&cluster.after(Duration::from_mins(15)), "v2"),
        &Held::Stuck(name("v1"))
    );
    cluster.pod("v1", |pod| pod.ready = true);
    cluster.pass();
    assert_eq!(starts(&cluster.after(MIN_READY)), ["v2"]);
    // A restart whose end was seen, by us or by a process before, is not stuck for a pod that is lost later.
    let hash = hash_of(&["v1", "v2", "v3", "v4"]);
    cluster.set("v1", |set| {
        set.template.restarted_at = Some("2027-01-15T08:00:00Z".to_owned());
    });
    cluster.note(|notes| {
        let restart = Restart {
            uid: short_uid("set-v1"),
            reason: "Membership".to_owned(),
            hash: hash.to_string(),
            came_up: false,
            outage: false,
        };
        notes.restarts.0.insert("v1".to_owned(), restart);
    });
    cluster.pass();
    cluster.memory = crate::domain::Memory::default();
    cluster.pod("v1", |pod| pod.ready = false);
    cluster.pass();
    assert_eq!(starts(&cluster.after(Duration::from_hours(1))), ["v2"]);
}

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
        cluster.note(|notes| {
            let record = Restart {
                uid: short_uid(&start.uid),
                reason: start.reason.reason().to_owned(),
                hash: start.hash.to_string(),
                came_up: false,
                outage: start.outage,
            };
            notes.restarts.0.insert(node.to_owned(), record);
        });
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
    let decision = ready_for(&mut cluster, MIN_READY);
    assert_eq!(starts(&decision), ["v1"], "another outage");
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
    cluster.note(|notes| {
        let record = Restart {
            uid: short_uid(&start.uid),
            reason: "Membership".to_owned(),
            hash: start.hash.to_string(),
            came_up: false,
            outage: false,
        };
        notes.restarts.0.insert("v1".to_owned(), record);
    });
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
fn a_token_that_was_not_used_is_taken_back() {
    let mut cluster = joined();
    cluster.set("v3", |set| set.turn = Some("token".to_owned()));
    let decision = cluster.pass();
    let fences: Vec<_> = decision
        .plan
        .fences
        .iter()
        .map(|it| (it.node.as_str(), it.token.as_str()))
        .collect();
    assert_eq!(fences, [("v3", "token")]);
    // Our own start, which the stores have not shown yet, is none of these.
    let set = &cluster.snapshot.stateful_sets[&name("v3")];
    let (uid, generation) = (set.uid.clone(), set.generation + 1);
    let network = crate::domain::node::Network::new("testnet");
    cluster
        .memory
        .started(&network, &name("v3"), &uid, generation);
    assert!(cluster.pass().plan.fences.is_empty());
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
    let down: [Change; 4] = [
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

#[test]
fn without_a_record_nobody_restarts_until_all_are_ready_or_long_enough() {
    let mut cluster = Cluster::with_ready(&THREE);
    cluster.pod("v3", |pod| pod.ready = false);
    cluster.pass();
    assert_eq!(held(&cluster.after(MIN_READY), "v1"), &Held::RecordLost);
    // The list is written by then, but for a process that has just started it is no less new.
    cluster.memory = crate::domain::Memory::default();
    cluster.pass();
    assert_eq!(held(&cluster.after(MIN_READY), "v1"), &Held::RecordLost);
    let mut patient = cluster;
    patient.pod("v3", |pod| pod.ready = true);
    patient.pass();
    assert_eq!(starts(&patient.after(MIN_READY)), ["v1"]);
    let mut cluster = Cluster::with_ready(&THREE);
    cluster.pod("v3", |pod| pod.ready = false);
    cluster.pass();
    assert_eq!(starts(&cluster.after(Duration::from_mins(15))), ["v3"]);
}

#[test]
fn nobody_is_restarted_twice_for_the_same_though_its_template_is_put_back() {
    let mut cluster = Cluster::with_ready(&THREE);
    cluster.pass();
    let decision = cluster.after(MIN_READY);
    let start = decision.plan.starts().next().unwrap();
    let record = Restart {
        uid: short_uid(&start.uid),
        reason: start.reason.reason().to_owned(),
        hash: start.hash.to_string(),
        came_up: false,
        outage: false,
    };
    cluster.note(|notes| {
        notes.restarts.0.insert("v1".to_owned(), record);
    });
    let decision = cluster.pass();
    assert_eq!(held(&decision, "v1"), &Held::AlreadyRestarted);
    assert_eq!(starts(&decision), ["v2"]);
    // Another membership is another reason.
    cluster.add("v4");
    cluster.inject("v4", &hash_of(&["v1", "v2", "v3", "v4"]));
    cluster.pass();
    assert_eq!(starts(&cluster.after(MIN_READY)), ["v1"]);
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

fn operators_set() -> serde_json::Value {
    json!({
        "metadata": {"uid": "u", "generation": 3, "annotations": {names::TURN: "t"}},
        "spec": {"template": {"metadata": {}, "spec": {"containers": [{"name": "stellar-node"}]}}},
    })
}

fn a_start(carried: Option<&str>) -> Start {
    Start {
        node: name("v1"),
        network: crate::domain::node::Network::default(),
        uid: "u".to_owned(),
        generation: 3,
        reason: Stale::NotInjected,
        hash: hash_of(&["v1", "v2"]),
        carried: carried.map(str::to_owned),
        turn: None,
        port: PeerPort::DEFAULT,
        was_down: false,
        outage: false,
        halts: None,
    }
}

const NOON: Timestamp = Timestamp::constant(1_800_000_000, 0);

#[test]
fn the_restart_patch_carries_our_parts_and_holds_only_on_what_was_decided() {
    let patch = restart_patch(&operators_set(), &a_start(None), "t", NOON).unwrap();
    let mut patched = operators_set();
    json_patch::patch(&mut patched, &patch).unwrap();
    let view: TemplateView = Template::new(&patched["spec"]["template"]).view(None);
    assert_eq!(view.parts, Parts::Whole);
    assert_eq!(
        view.membership.as_deref(),
        Some(hash_of(&["v1", "v2"]).as_str())
    );
    assert_eq!(view.restarted_at.as_deref(), Some("2027-01-15T08:00:00Z"));
    for (pointer, value) in [
        ("/metadata/uid", json!("other")),
        ("/metadata/generation", json!(4)),
        (
            "/metadata/annotations/peers.stellar.org~1turn",
            json!("other"),
        ),
    ] {
        let mut other = operators_set();
        *other.pointer_mut(pointer).unwrap() = value;
        assert!(json_patch::patch(&mut other, &patch).is_err(), "{pointer}");
    }
    assert!(
        json_patch::patch(&mut patched.clone(), &patch).is_err(),
        "the token is used up"
    );
    patched["metadata"]["annotations"][names::TURN] = json!("t");
    let patch = restart_patch(&patched, &a_start(Some("v1:000000000000")), "t", NOON).unwrap();
    assert!(
        json_patch::patch(&mut patched, &patch).is_err(),
        "it carries another membership than was seen"
    );
}

#[test]
fn a_restart_is_always_later_than_the_last_even_if_the_clock_went_back() {
    let mut set = operators_set();
    set["spec"]["template"]["metadata"]["annotations"] =
        json!({names::RESTARTED_AT: "2030-01-01T00:00:00Z"});
    let patch = restart_patch(&set, &a_start(None), "t", NOON).unwrap();
    json_patch::patch(&mut set, &patch).unwrap();
    let view = Template::new(&set["spec"]["template"]).view(None);
    assert_eq!(view.restarted_at.as_deref(), Some("2030-01-01T00:00:01Z"));
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
