//! Whom a change restarts, and how often.

use std::time::Duration;

use super::THREE;
use crate::world::World;

/// Ten come within a minute: whoever came before others were Ready doesn't know them, and is told with the old ones.
pub(crate) async fn ten_that_join_in_a_minute_cost_each_at_most_one_restart(world: &mut World) {
    // Longer than the time from one to the next.
    world.pace.settle = world.pace.settle.max(Duration::from_secs(10));
    world.begin().await;
    world.create_validators(&THREE).await;
    world.everyone_knows(&THREE).await;
    let names: Vec<String> = (10..20)
        .map(|number| format!("validator-{number}"))
        .collect();
    let mark = world.history.mark();
    for name in &names {
        world.create_validators(&[name]).await;
        tokio::time::sleep(world.pace.settle / 10).await;
    }
    let all: Vec<&str> = THREE
        .into_iter()
        .chain(names.iter().map(String::as_str))
        .collect();
    world.everyone_knows(&all).await;
    world.restarted(&THREE, mark, 1).await;
    for node in &all {
        let restarts = world.history.restarts(node, mark);
        assert!(restarts <= 1, "{restarts} restarts of {node}");
    }
    assert!(world.history.most_down_at_once(&THREE, mark) <= 1);
    assert!(world.history.most_down_at_once(&all, mark) <= 1);
    assert!(world.our_pod_deletions().is_empty());
    world.nobody_restarts(&all).await;
}

/// Kubernetes leaves a pod alone that is not Ready, though its template is a newer one.
pub(crate) async fn a_stale_validator_that_is_down_goes_first_and_its_old_pod_is_deleted(
    world: &mut World,
) {
    world.begin_with_cores(1).await;
    world.create_validators(&THREE).await;
    world.everyone_knows(&THREE).await;
    assert!(world.our_pod_deletions().is_empty());
    let mark = world.history.mark();
    world.cores().break_now(&["validator-2"]);
    world
        .eventually("validator-2 is not Ready", async |world| {
            world.pod("validator-2").await.is_some_and(|pod| !pod.ready)
        })
        .await;
    world.create_validators(&["validator-4"]).await;
    world.restarts("validator-2", mark).await;
    world
        .restarted(&["validator-1", "validator-3"], mark, 0)
        .await;
    world.everyone_knows(&super::FOUR).await;
    world.restarted(&THREE, mark, 1).await;
    world.restarted(&["validator-4"], mark, 0).await;
    assert!(world.history.most_down_at_once(&THREE, mark) <= 1);
    world.nobody_restarts(&super::FOUR).await;
    assert_eq!(world.our_pod_deletions(), ["validator-2-0"]);
}
