//! Addresses change.

use super::THREE;
use crate::world::World;

/// Links work both ways, and a moved pod dials everyone itself: nobody else has to restart.
pub(crate) async fn a_moved_pod_changes_the_list_and_restarts_nobody(world: &mut World) {
    world.begin().await;
    world.create_validators(&THREE).await;
    world.everyone_knows(&THREE).await;
    let before = world.known_peers().await;
    let mark = world.history.mark();
    world.lose_pod("validator-2").await;
    world
        .eventually("the list has another address", async |world| {
            world.known_peers().await != before && world.lists_exactly(&THREE).await
        })
        .await;
    world.nobody_restarts(&["validator-1", "validator-3"]).await;
    world.restarted(&["validator-2"], mark, 1).await;
    world.nothing_is_written().await;
}
