//! What a person may switch off.

use serde_json::json;
use stellar_peers::{
    api::{StellarNodeObject, names},
    domain::injection::Parts,
    sandbox::operator::WriteMode,
};

use super::{FOUR, THREE, outages::running_before_us};
use crate::{ours::Webhook, world::World};

async fn begin_with(world: &mut World, flag: &str) {
    world.register(Webhook::Registered).await;
    world.start_ours_with(&[flag]).await;
    world.start_operator(WriteMode::Apply).await;
}

pub(crate) async fn where_only_joins_count_nobody_is_restarted_for_who_left(world: &mut World) {
    begin_with(world, "--restart-on=joins").await;
    world.create_validators(&FOUR).await;
    world.everyone_knows(&FOUR).await;
    let mark = world.history.mark();
    world.delete::<StellarNodeObject>("validator-4").await;
    world
        .eventually("it is gone from the list", async |world| {
            world.lists_exactly(&THREE).await
        })
        .await;
    tokio::time::sleep(world.pace.settle_leave).await;
    world.nobody_restarts(&THREE).await;
    world.restarted(&THREE, mark, 0).await;

    world.create_validators(&["validator-5"]).await;
    let all = [&THREE[..], &["validator-5"]].concat();
    world.everyone_knows(&all).await;
    world.restarted(&THREE, mark, 1).await;
    world.restarted(&["validator-5"], mark, 0).await;
    assert!(world.history.most_down_at_once(&THREE, mark) <= 1);
}

pub(crate) async fn where_restarts_are_off_the_list_follows_all_the_same(world: &mut World) {
    begin_with(world, "--restart-on=never").await;
    let mark = world.history.mark();
    world.create_validators(&THREE).await;
    let listed = async |world: &World, nodes: &[&str]| {
        let what = format!("the list has {nodes:?}");
        let holds = async |world: &World| world.lists_exactly(nodes).await;
        world.eventually(&what, holds).await;
    };
    listed(world, &THREE).await;
    world.create_validators(&["validator-4"]).await;
    listed(world, &FOUR).await;
    world
        .patch_validator("validator-1", json!({"spec": {"suspended": true}}))
        .await;
    listed(world, &FOUR[1..]).await;
    tokio::time::sleep(world.pace.settle_leave).await;
    world.nobody_restarts(&FOUR[1..]).await;
    world.restarted(&FOUR[1..], mark, 0).await;
}

pub(crate) async fn a_dry_run_writes_nothing_though_restarts_are_due(world: &mut World) {
    running_before_us(world, &THREE).await;
    world.register(Webhook::Registered).await;
    let mark = world.history.mark();
    world.start_ours_with(&["--dry-run"]).await;
    world.create_validators(&["validator-4"]).await;
    world.all_ready(&FOUR).await;
    world.nobody_restarts(&FOUR).await;
    world.restarted(&FOUR, mark, 0).await;
    let mut writes = world.our_requests();
    assert!(!writes.is_empty(), "it did look");
    writes.retain(|it| it.is_write);
    assert!(writes.is_empty(), "a dry run sent {writes:?}");
    assert!(world.list().await.is_none(), "a dry run wrote the list");
    assert_eq!(world.leader().await, None, "a dry run took the Lease");
    assert_eq!(world.our_events().await, []);
    for node in FOUR {
        let set = world.stateful_set(node).await.expect("it is there");
        let view = stellar_peers::domain::snapshot::StatefulSetView::from(&set);
        assert_eq!(view.template.parts, Parts::Absent, "{node}");
        let annotations = set.metadata.annotations.unwrap_or_default();
        assert!(!annotations.contains_key(names::JOINED_AT), "{node}");
    }

    world.kill_ours();
    world.start_ours().await;
    world.everyone_knows(&FOUR).await;
    world.restarted(&FOUR, mark, 1).await;
}
