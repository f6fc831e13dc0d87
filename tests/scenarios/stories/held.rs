//! What holds restarts back, and that it is told, once.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Resource, core::NamespaceResourceScope};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use stellar_peers::{
    api::{StatefulSetObject, StellarNodeObject, names},
    sandbox::fixtures,
};

use super::{FOUR, THREE};
use crate::{
    ours::Webhook,
    world::{World, hash_of},
};

pub(crate) async fn a_restart_that_does_not_get_done_stops_all_others_until_it_is_repaired(
    world: &mut World,
) {
    world.begin_with_cores(1).await;
    world.create_validators(&THREE).await;
    world.everyone_knows(&THREE).await;
    let mark = world.history.mark();
    world.cores().break_next(&["validator-1"]);
    world.create_validators(&["validator-4"]).await;
    world.restarts("validator-1", mark).await;
    let waiting = ["validator-2", "validator-3"];
    for node in waiting {
        world.is_told(node, "Stuck").await;
    }
    world.nothing_is_told(&FOUR).await;
    world.restarted(&["validator-1"], mark, 1).await;
    world.restarted(&waiting, mark, 0).await;

    world.cores().repair(&["validator-1"]);
    world.everyone_knows(&FOUR).await;
    world.restarted(&THREE, mark, 1).await;
    world.restarted(&["validator-4"], mark, 0).await;
    assert!(world.history.most_down_at_once(&THREE, mark) <= 1);
}

fn paused(value: impl Into<Value>) -> Value {
    json!({"metadata": {"annotations": {names::PAUSED: value.into()}}})
}

pub(crate) async fn a_paused_namespace_restarts_nobody_until_it_is_resumed(world: &mut World) {
    world.begin().await;
    world.create_validators(&THREE).await;
    world.everyone_knows(&THREE).await;
    world
        .patch::<ConfigMap>(names::STELLAR_PEERS, paused("true"))
        .await;
    let mark = world.history.mark();
    world.create_validators(&["validator-4"]).await;
    for node in THREE {
        world.is_told(node, "Paused").await;
    }
    world.nothing_is_told(&FOUR).await;
    assert!(world.lists_exactly(&FOUR).await, "the list goes on");
    world
        .patch::<ConfigMap>(names::STELLAR_PEERS, paused(Value::Null))
        .await;
    world.everyone_knows(&FOUR).await;
    world.restarted(&THREE, mark, 1).await;
}

pub(crate) async fn a_paused_validator_waits_until_it_is_resumed_and_the_others_do_not(
    world: &mut World,
) {
    world.begin().await;
    world.create_validators(&FOUR).await;
    world.everyone_knows(&FOUR).await;
    world
        .patch::<StellarNodeObject>("validator-2", paused("true"))
        .await;
    world
        .patch::<StatefulSetObject>("validator-3", paused("true"))
        .await;
    let mark = world.history.mark();
    world.create_validators(&["validator-5"]).await;
    let all = [&FOUR[..], &["validator-5"]].concat();
    let hash = hash_of(&all);
    world
        .eventually("the others know of it", async |world| {
            world.runs_with("validator-1", &hash).await
                && world.runs_with("validator-4", &hash).await
        })
        .await;
    for node in ["validator-2", "validator-3"] {
        world.is_told(node, "Paused").await;
    }
    world.nothing_is_told(&all).await;
    world
        .restarted(&["validator-2", "validator-3"], mark, 0)
        .await;

    resume::<StellarNodeObject>(world, "validator-2", &all).await;
    world.restarted(&["validator-3"], mark, 0).await;
    resume::<StatefulSetObject>(world, "validator-3", &all).await;
    world.restarted(&FOUR, mark, 1).await;
    world.restarted(&["validator-5"], mark, 0).await;
    assert!(world.history.most_down_at_once(&FOUR, mark) <= 1);
}

async fn resume<K>(world: &World, node: &str, all: &[&str])
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + std::fmt::Debug
        + DeserializeOwned,
{
    world.patch::<K>(node, paused(Value::Null)).await;
    let hash = hash_of(all);
    world
        .eventually(&format!("{node} goes on"), async |world| {
            world.runs_with(node, &hash).await
        })
        .await;
}

/// Of plain StatefulSets: an operator would put its own strategy back.
pub(crate) async fn whose_pods_would_not_follow_waits_and_the_others_do_not(world: &mut World) {
    world.register(Webhook::Registered).await;
    world.start_ours().await;
    let old = ["core-a", "core-b", "core-c"];
    for name in old {
        create_chart(world, name).await;
    }
    world.everyone_knows(&old).await;
    let mark = world.history.mark();
    set_strategy(
        world,
        "core-b",
        json!({"type": "OnDelete", "rollingUpdate": null}),
    )
    .await;
    set_strategy(world, "core-c", json!({"rollingUpdate": {"partition": 1}})).await;
    create_chart(world, "core-d").await;
    let all = ["core-a", "core-b", "core-c", "core-d"];
    let hash = hash_of(&all);
    world
        .eventually("core-a knows of it", async |world| {
            world.runs_with("core-a", &hash).await
        })
        .await;
    world.is_told("core-b", "OnDelete").await;
    world.is_told("core-c", "Partition").await;
    world.nothing_is_told(&all).await;
    world.restarted(&["core-b", "core-c"], mark, 0).await;
    let told = world.our_events().await;
    assert!(
        told.iter()
            .all(|it| it.about == names::STELLAR_PEERS || it.kind == "StatefulSet")
    );

    let usual = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}});
    set_strategy(world, "core-b", usual.clone()).await;
    set_strategy(world, "core-c", usual).await;
    world.everyone_knows(&all).await;
    world.restarted(&old, mark, 1).await;
    world.restarted(&["core-d"], mark, 0).await;
    assert!(world.history.most_down_at_once(&old, mark) <= 1);
}

async fn create_chart(world: &World, name: &str) {
    let set = fixtures::chart_stateful_set(&world.namespace, name);
    fixtures::create(&world.client, &set)
        .await
        .expect("a new StatefulSet");
}

async fn set_strategy(world: &World, name: &str, strategy: Value) {
    let patch = json!({"spec": {"updateStrategy": strategy}});
    world.patch::<StatefulSetObject>(name, patch).await;
}
