//! Validators leave, in all the ways there are.

use serde_json::json;
use stellar_peers::{
    api::{StatefulSetObject, StellarNodeObject, names},
    sandbox::fixtures,
};

use super::THREE;
use crate::world::{World, hash_of};

pub(crate) async fn suspended_deleted_and_retyped_validators_leave_the_list(world: &mut World) {
    world.begin().await;
    let all = ["validator-1", "validator-2", "validator-3", "validator-4"];
    world.create_validators(&all).await;
    world.everyone_knows(&all).await;
    world
        .patch_validator("validator-4", json!({"spec": {"suspended": true}}))
        .await;
    world
        .eventually("the suspended one is gone", async |world| {
            world.lists_exactly(&all[..3]).await
        })
        .await;
    world.delete::<StellarNodeObject>("validator-3").await;
    world
        .eventually("the deleted one is gone", async |world| {
            world.lists_exactly(&all[..2]).await
        })
        .await;
    let mark = world.history.mark();
    world.everyone_knows(&all[..2]).await;
    // Two left in one settle time: one restart each for both.
    world.restarted(&all[..2], mark, 1).await;
    assert!(world.history.most_down_at_once(&all[..2], mark) <= 1);
    world.is_told("validator-3", "Left").await;
    world.is_told("validator-1", "RestartFinished").await;
    world
        .patch_validator("validator-2", json!({"spec": {"nodeType": "Horizon"}}))
        .await;
    world
        .eventually("the retyped one is gone", async |world| {
            world.lists_exactly(&all[..1]).await
        })
        .await;
    world.delete::<StellarNodeObject>("validator-1").await;
    world
        .eventually("the list is empty and stays", async |world| {
            world.data(names::KEY_KNOWN_PEERS).await.as_deref() == Some("")
                && world
                    .record()
                    .await
                    .is_some_and(|record| record.nodes.is_empty())
        })
        .await;
}

pub(crate) async fn a_statefulset_that_is_made_again_starts_anew(world: &mut World) {
    world.begin().await;
    world.create_validators(&THREE).await;
    world.everyone_knows(&THREE).await;
    let uid_of = async |world: &World| {
        let record = world.record().await?;
        record
            .nodes
            .into_iter()
            .find(|node| node.name.as_str() == "validator-2")
            .map(|node| node.uid)
    };
    let before = uid_of(world).await;
    let mark = world.history.mark();
    // The operator makes it again at once.
    world.delete::<StatefulSetObject>("validator-2").await;
    world
        .eventually("it is recorded as another", async |world| {
            let now = uid_of(world).await;
            now.is_some() && now != before && world.lists_exactly(&THREE).await
        })
        .await;
    assert!(
        world.runs_with("validator-2", &hash_of(&THREE)).await,
        "the webhook told it of the others"
    );
    world.nobody_restarts(&THREE).await;
    world
        .restarted(&["validator-1", "validator-3"], mark, 0)
        .await;
}

pub(crate) async fn a_pod_that_is_never_ready_is_not_listed(world: &mut World) {
    world.begin().await;
    let both = ["validator-1", "validator-2"];
    world.create_validators(&both).await;
    world.everyone_knows(&both).await;
    let mut never = fixtures::chart_stateful_set(&world.namespace, "validator-3");
    never["metadata"]["labels"]["stellar-network"] = json!("testnet");
    never["spec"]["template"]["metadata"]["annotations"] = json!({"rig.test/ready": "never"});
    fixtures::create(&world.client, &never)
        .await
        .expect("a new StatefulSet");
    world
        .eventually("it runs and is recorded", async |world| {
            let recorded = world
                .record()
                .await
                .is_some_and(|record| record.nodes.len() == 3);
            recorded
                && world
                    .pod("validator-3")
                    .await
                    .is_some_and(|pod| pod.running && !pod.ips.is_empty())
        })
        .await;
    world.nobody_restarts(&both).await;
    assert!(world.lists_exactly(&both).await);
    let record = world.record().await.expect("the record is readable");
    let node = record
        .nodes
        .iter()
        .find(|node| node.name.as_str() == "validator-3")
        .expect("it is a candidate");
    assert!(
        !node.member && !node.ready && node.addresses.is_empty(),
        "{node:?}"
    );
    assert!(record.nodes.iter().filter(|node| node.member).count() == 2);
}
