//! More than one of us.

use super::{FOUR, outages::running_before_us};
use crate::{ours::Webhook, world::World};

pub(crate) async fn where_the_leader_is_killed_in_a_rollout_the_other_replica_goes_on(
    world: &mut World,
) {
    running_before_us(world, &FOUR).await;
    world.register(Webhook::Registered).await;
    let mark = world.history.mark();
    world.start_ours().await;
    world.start_ours().await;
    world
        .eventually("the first restart began", async |world| {
            let mut nodes = FOUR.iter();
            nodes.any(|node| world.history.restarts(node, mark) > 0)
        })
        .await;
    let killed = world.kill_the_leader().await;
    world.everyone_knows(&FOUR).await;
    let leader = world.leader().await;
    assert!(leader.is_some_and(|leader| leader != killed));
    world.restarted(&FOUR, mark, 1).await;
    assert!(world.history.most_down_at_once(&FOUR, mark) <= 1);
    world.nobody_restarts(&FOUR).await;
}
