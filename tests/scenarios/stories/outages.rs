//! Parts of the whole are away.

use stellar_peers::sandbox::operator::WriteMode;

use super::{FOUR, THREE};
use crate::{
    ours::Webhook,
    world::{World, hash_of},
};

/// Validators that run before we do.
pub(super) async fn running_before_us(world: &mut World, names: &[&str]) {
    world.start_operator(WriteMode::Apply).await;
    world.create_validators(names).await;
    world.all_ready(names).await;
}

pub(crate) async fn without_our_webhook_everyone_is_taken_in_once(world: &mut World) {
    taken_in_once(world, Webhook::Unregistered).await;
}

pub(crate) async fn with_a_wrong_ca_everyone_is_taken_in_once(world: &mut World) {
    taken_in_once(world, Webhook::WrongCa).await;
}

async fn taken_in_once(world: &mut World, webhook: Webhook) {
    running_before_us(world, &THREE).await;
    world.register(webhook).await;
    let mark = world.history.mark();
    world.start_ours().await;
    world.everyone_knows(&THREE).await;
    world.restarted(&THREE, mark, 1).await;
    assert!(world.history.most_down_at_once(&THREE, mark) <= 1);
    // An operator that replaces takes our parts out each time, and nobody puts them back: that must not go on for ever.
    world.nobody_restarts(&THREE).await;
}

pub(crate) async fn killed_between_two_restarts_the_rest_goes_on_and_nobody_is_restarted_twice(
    world: &mut World,
) {
    running_before_us(world, &FOUR).await;
    world.register(Webhook::Registered).await;
    let mark = world.history.mark();
    world.start_ours().await;
    world
        .eventually("the first restart began", async |world| {
            FOUR.iter()
                .any(|node| world.history.restarts(node, mark) > 0)
        })
        .await;
    world.kill_ours();
    tokio::time::sleep(world.pace.settle).await;
    world.start_ours().await;
    world.everyone_knows(&FOUR).await;
    world.restarted(&FOUR, mark, 1).await;
    assert!(world.history.most_down_at_once(&FOUR, mark) <= 1);
}

pub(crate) async fn an_api_server_that_is_away_empties_no_list(world: &mut World) {
    world.begin().await;
    world.create_validators(&THREE).await;
    world.everyone_knows(&THREE).await;
    let mark = world.history.mark();
    world.api_server_goes_away(world.pace.outage).await;
    assert!(
        world.still_runs(),
        "our program ended while the API server was away"
    );
    world
        .eventually("the list is there and whole", async |world| {
            world.lists_exactly(&THREE).await
        })
        .await;
    assert!(world.runs_with("validator-1", &hash_of(&THREE)).await);
    world.restarted(&THREE, mark, 0).await;
    // Who joins after that is seen as before.
    world.create_validators(&["validator-4"]).await;
    world.everyone_knows(&FOUR).await;
    world.restarted(&THREE, mark, 1).await;
}
