//! What holds one back, or all.

use super::*;

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
            carried: None,
            came_up: false,
            past: false,
            outage: false,
            pod: None,
        };
        notes.restarts.0.insert("v1".to_owned(), restart);
    });
    cluster.pass();
    cluster.memory = crate::domain::Memory::default();
    cluster.pod("v1", |pod| pod.ready = false);
    cluster.pass();
    assert_eq!(starts(&cluster.after(Duration::from_hours(1))), ["v2"]);
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
    let start = decision.plan.starts().next().unwrap().clone();
    cluster.note_restart(&start);
    let decision = cluster.pass();
    assert_eq!(held(&decision, "v1"), &Held::AlreadyRestarted);
    assert_eq!(starts(&decision), ["v2"]);
    // What a write of somebody else's renewed since is restarted for the same again.
    let mut renewed = cluster.clone();
    renewed.inject("v1", &hash_of(&["v1", "v2"]));
    renewed.note(|notes| {
        let restart = notes.restarts.0.get_mut("v1").unwrap();
        restart.reason = "Membership".to_owned();
    });
    assert_eq!(starts(&renewed.pass()), ["v1"]);
    // Another membership is another reason.
    cluster.add("v4");
    cluster.inject("v4", &hash_of(&["v1", "v2", "v3", "v4"]));
    cluster.pass();
    assert_eq!(starts(&cluster.after(MIN_READY)), ["v1"]);
}

#[test]
fn what_a_template_carried_in_between_counts_though_it_is_what_it_carried_before() {
    let mut cluster = joined();
    let decision = cluster.after(MIN_READY);
    let start = decision.plan.starts().next().unwrap().clone();
    cluster.restart("v1", &start.hash);
    cluster.note_restart(&start);
    // The fourth leaves, and a write of somebody else's renews the template meanwhile.
    cluster.remove("v4");
    cluster.restart("v1", &hash_of(&THREE));
    cluster.pass();
    cluster.after(MIN_READY);
    cluster.add("v4");
    cluster.inject("v4", &start.hash);
    cluster.pass();
    assert_eq!(starts(&cluster.after(MIN_READY)), ["v1"]);
}
