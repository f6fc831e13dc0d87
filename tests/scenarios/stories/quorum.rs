//! What the declared quorum sets allow.

use serde_json::{Value, json};

use super::{FOUR, THREE};
use crate::{
    ours::Webhook,
    world::{World, hash_of},
};
use stellar_peers::sandbox::operator::WriteMode;

fn trusting(names: &[&str]) -> Value {
    let set = format!("[QUORUM_SET]\nTHRESHOLD_PERCENT = 67\nVALIDATORS = {names:?}\n");
    json!({"validatorConfig": {"quorumSet": set}})
}

async fn create(world: &World, names: &[&str], trusted: &[&str]) {
    for name in names {
        world.create_validator(name, trusting(trusted)).await;
    }
}

pub(crate) async fn a_network_that_tolerates_nobody_is_restarted_one_by_one_and_told_of_the_pause(
    world: &mut World,
) {
    world.begin().await;
    create(world, &THREE, &THREE).await;
    world.everyone_knows(&THREE).await;
    let mark = world.history.mark();
    create(world, &["validator-4"], &THREE).await;
    world.everyone_knows(&FOUR).await;
    world.restarted(&THREE, mark, 1).await;
    assert!(world.history.most_down_at_once(&THREE, mark) <= 1);
    let hash = hash_of(&FOUR).to_string();
    let told = world.our_events().await;
    for node in THREE {
        let mut starts = told
            .iter()
            .filter(|it| it.about == node && it.reason == "RestartStarted");
        let is_told = |note: &str| note.contains(&hash) && note.contains("the network pauses");
        assert!(starts.any(|it| is_told(&it.note)), "{node}: {told:#?}");
    }
}

pub(crate) async fn a_network_that_tolerates_nobody_can_be_held_instead(world: &mut World) {
    world.register(Webhook::Registered).await;
    world.start_ours_with(&["--on-zero-tolerance=hold"]).await;
    world.start_operator(WriteMode::Apply).await;
    let mark = world.history.mark();
    create(world, &THREE, &THREE).await;
    world.all_ready(&THREE).await;
    // The first one was started when there was nobody else.
    world.is_told("validator-1", "ZeroTolerance").await;
    world.nothing_is_told(&THREE).await;
    world.restarted(&THREE, mark, 0).await;
    assert!(world.lists_exactly(&THREE).await);
}

pub(crate) async fn nobody_is_restarted_past_what_the_quorum_sets_tolerate(world: &mut World) {
    world.begin().await;
    create(world, &FOUR, &FOUR).await;
    world.everyone_knows(&FOUR).await;
    world
        .patch_validator("validator-4", json!({"spec": {"suspended": true}}))
        .await;
    world
        .eventually("the suspended one is gone", async |world| {
            world.lists_exactly(&THREE).await
        })
        .await;
    let mark = world.history.mark();
    create(world, &["validator-5"], &FOUR).await;
    for node in THREE {
        world.is_told(node, "Quorum").await;
    }
    world.nothing_is_told(&THREE).await;
    world.restarted(&THREE, mark, 0).await;

    world
        .patch_validator("validator-4", json!({"spec": {"suspended": false}}))
        .await;
    world
        .everyone_knows(&[&FOUR[..], &["validator-5"]].concat())
        .await;
    world.restarted(&THREE, mark, 1).await;
    assert!(world.history.most_down_at_once(&THREE, mark) <= 1);
}
