//! Networks in which nobody is Ready: new ones, and those that lost all their pods at once.

use super::{FOUR, THREE};
use crate::world::{World, hash_of};

/// How many of [`FOUR`] have to reach each other at two thirds.
const QUORUM: usize = 3;

/// The pods are Ready only once they reach a quorum, and at first nobody knows anybody.
pub(crate) async fn a_fresh_network_forms_by_itself(world: &mut World) {
    world.begin_with_cores(QUORUM).await;
    let start = world.history.mark();
    world.create_validators(&FOUR).await;
    world
        .eventually(
            "a list is published though nobody was ever Ready",
            async |world| {
                let metadata = world.data("discovery_metadata").await;
                metadata.is_some_and(|text| text.ends_with("bootstrap=true"))
            },
        )
        .await;
    let first = world.history.mark();
    world.everyone_knows(&FOUR).await;
    for node in FOUR {
        let restarts = world.history.restarts(node, start);
        assert!(restarts <= 1, "{restarts} restarts of {node}");
    }
    // The one that went first was not Ready, and Kubernetes would have left it so.
    assert!(!world.our_pod_deletions().is_empty());
    assert!(world.history.fewest_listed(first) >= 2);
    // From the first one's restart on the network is up, and stays so.
    assert!(world.history.most_down_at_once(&FOUR, start) <= 1);
    world.nobody_restarts(&FOUR).await;
}

async fn all_run(world: &World, nodes: &[&str]) {
    world
        .eventually("all pods run", async |world| {
            let mut uids = Vec::new();
            for node in nodes {
                match world.pod(node).await {
                    Some(pod) if pod.running && !pod.terminating => uids.push(pod.uid),
                    _ => return false,
                }
            }
            world.cores().have_started(&uids)
        })
        .await;
}

/// All pods come back at other addresses, and their kubelets' copies of the list have the old ones.
async fn lose_all_pods(world: &World, nodes: &[&str]) {
    let old = world.list().await.and_then(|list| list.data);
    world.cores().mount(old.unwrap_or_default());
    let mark = world.history.mark();
    for node in nodes {
        world.lose_pod(node).await;
    }
    for node in nodes {
        world.restarts(node, mark).await;
    }
    all_run(world, nodes).await;
    world.cores().mount_the_present_list();
}

pub(crate) async fn a_network_that_lost_all_its_pods_at_once_finds_itself_again(world: &mut World) {
    world.begin_with_cores(QUORUM).await;
    world.create_validators(&FOUR).await;
    world.everyone_knows(&FOUR).await;
    let before = world.history.mark();
    lose_all_pods(world, &FOUR).await;
    let mark = world.history.mark();
    world.all_ready(&FOUR).await;
    world.everyone_knows(&FOUR).await;
    world.nobody_restarts(&FOUR).await;
    // One that knows the new addresses is enough: links work both ways. The next may go before that one is Ready.
    let restarts = FOUR.map(|node| world.history.restarts(node, mark));
    assert!(restarts.iter().all(|it| *it <= 1), "{restarts:?}");
    assert!(restarts.contains(&1), "{restarts:?}");
    assert!(world.history.fewest_listed(before) >= 2);
}

/// Something else keeps them down: each is restarted once, and that is that.
pub(crate) async fn in_a_cold_start_the_list_keeps_all_and_each_is_restarted_once(
    world: &mut World,
) {
    world.begin_with_cores(1).await;
    world.create_validators(&THREE).await;
    world.everyone_knows(&THREE).await;
    let before = world.history.mark();
    world.cores().break_next(&THREE);
    lose_all_pods(world, &THREE).await;
    world
        .eventually("all are listed at their new addresses", async |world| {
            world.lists_exactly(&THREE).await
        })
        .await;
    let mark = world.history.mark();
    for node in THREE {
        world.restarts(node, mark).await;
    }
    world
        .eventually("all are listed at their newest addresses", async |world| {
            world.lists_exactly(&THREE).await
        })
        .await;
    world.nothing_is_told(&THREE).await;
    world.restarted(&THREE, mark, 1).await;
    assert!(world.history.most_away_at_once(&THREE, mark) <= 1);
    assert!(world.lists_exactly(&THREE).await);
    // With two of three Ready these two are listed; never fewer.
    assert!(world.history.fewest_listed(before) >= 2);

    world.cores().repair(&THREE);
    world.all_ready(&THREE).await;
    world.nobody_restarts(&THREE).await;
    world.restarted(&THREE, mark, 1).await;
    for node in THREE {
        assert!(world.runs_with(node, &hash_of(&THREE)).await, "{node}");
    }
}
