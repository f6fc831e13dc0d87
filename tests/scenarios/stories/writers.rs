//! Others write what we write.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;
use stellar_peers::{api::names, sandbox::operator::WriteMode};

use super::{FOUR, THREE};
use crate::world::{World, hash_of};

pub(crate) async fn an_edited_and_a_deleted_list_are_restored(world: &mut World) {
    world.begin().await;
    world.create_validators(&THREE).await;
    world.everyone_knows(&THREE).await;
    let mark = world.history.mark();
    let edits = [
        json!({"data": {names::KEY_KNOWN_PEERS: "10.9.9.9:1\n"}}),
        json!({"data": {names::KEY_MEMBERS: "not json", "peers.json": "[]"}}),
        json!({"data": {names::KEY_KNOWN_PEERS: null, names::KEY_METADATA: null}}),
        json!({"metadata": {"labels": {names::LABEL_COMPONENT: "mine"}}}),
    ];
    for edit in edits {
        world
            .patch::<ConfigMap>(names::STELLAR_PEERS, edit.clone())
            .await;
        world
            .eventually(&format!("{edit} is repaired"), async |world| {
                let map = world.list().await.unwrap_or_default();
                let labelled = map
                    .metadata
                    .labels
                    .unwrap_or_default()
                    .get(names::LABEL_COMPONENT)
                    .map(String::as_str)
                    == Some(names::COMPONENT_PEER_DISCOVERY);
                let has_metadata = map
                    .data
                    .unwrap_or_default()
                    .contains_key(names::KEY_METADATA);
                labelled
                    && has_metadata
                    && world.record().await.is_some()
                    && world.lists_exactly(&THREE).await
            })
            .await;
    }
    assert_eq!(
        world.data("peers.json").await.as_deref(),
        Some("[]"),
        "a foreign key stays"
    );
    world.delete::<ConfigMap>(names::STELLAR_PEERS).await;
    world
        .eventually("the list is made again", async |world| {
            world.lists_exactly(&THREE).await
        })
        .await;
    world.nobody_restarts(&THREE).await;
    world.restarted(&THREE, mark, 0).await;
}

/// As often as the real one.
const FOR_EVER: Duration = Duration::from_millis(500);

pub(crate) async fn an_operator_that_applies_for_ever_restarts_nobody(world: &mut World) {
    world.pace.operator = FOR_EVER;
    world.begin().await;
    world.create_validators(&THREE).await;
    an_operator_restarts_nobody(world).await;
}

pub(crate) async fn an_operator_that_replaces_for_ever_restarts_nobody(world: &mut World) {
    world.pace.operator = FOR_EVER;
    world.begin().await;
    world.start_operator(WriteMode::Replace).await;
    world.create_validators(&THREE).await;
    an_operator_restarts_nobody(world).await;
}

async fn an_operator_restarts_nobody(world: &mut World) {
    world.everyone_knows(&THREE).await;
    let generation = async |world: &World, node| {
        world
            .stateful_set(node)
            .await
            .and_then(|set| set.metadata.generation)
    };
    let version = async |world: &World, node| {
        world
            .stateful_set(node)
            .await
            .and_then(|set| set.metadata.resource_version)
    };
    let (before, first) = (
        generation(world, "validator-1").await,
        version(world, "validator-1").await,
    );
    world.nobody_restarts(&THREE).await;
    assert_eq!(
        generation(world, "validator-1").await,
        before,
        "the spec never changed"
    );
    assert_ne!(
        version(world, "validator-1").await,
        first,
        "the operator did write"
    );
    for node in THREE {
        assert!(
            world.runs_with(node, &hash_of(&THREE)).await,
            "{node} lost something of ours"
        );
        let set = world.stateful_set(node).await.expect("it is there");
        let annotations = set.metadata.annotations.unwrap_or_default();
        assert!(
            annotations.contains_key(names::JOINED_AT),
            "{node} lost its joined-at"
        );
    }
    world.nothing_is_written().await;
}

pub(crate) async fn whoever_scribbles_on_the_list_restarts_nobody(world: &mut World) {
    world.begin().await;
    world.create_validators(&THREE).await;
    world.everyone_knows(&THREE).await;
    let mark = world.history.mark();
    let set = world
        .stateful_set("validator-1")
        .await
        .expect("it is there");
    let uid = set.metadata.uid.unwrap_or_default();
    let turn = |generation: i64| {
        json!({
            "network": "testnet", "node": "validator-1", "uid": uid, "generation": generation, "reason": "Outage",
            "hash": "v1:000000000000", "outage": true, "token": "forged",
        })
        .to_string()
    };
    let of_testnet = format!("{}testnet", names::TURN_OF);
    let member = |name: &str| {
        json!({
            "name": name, "network": "testnet", "port": 1, "addresses": ["10.9.9.9:1"], "ready": true, "member": true,
            "uid": "forged",
        })
    };
    let record = |writer: &str| {
        let nodes = [member("intruder"), member("validator-1")];
        json!({"v": 1, "writer": writer, "nodes": nodes}).to_string()
    };
    let edits = [
        json!({"metadata": {"annotations": {&of_testnet: turn(0)}}}),
        json!({"metadata": {"annotations": {&of_testnet: turn(1_000), names::RECORD_LOST: "true"}}}),
        json!({"metadata": {"annotations": {
            &of_testnet: "{", names::RESTARTS: "{\"validator-2\":\"x Outage v1:0 - outage\"}",
            names::KEYS: "{\"testnet\":\"v1:000000000000\"}", names::DEPARTED: "{\"testnet\":[\"../x\"]}",
        }}}),
        json!({"data": {names::KEY_MEMBERS: record("../..")}}),
        json!({"data": {names::KEY_MEMBERS: record("nobody/here"), names::KEY_METADATA: "bootstrap=true"}}),
        json!({"data": {names::KEY_MEMBERS: "[".repeat(400_000), names::KEY_KNOWN_PEERS: "x\n".repeat(100_000)}}),
        json!({"data": {names::KEY_MEMBERS: null, "foreign": "y".repeat(400_000)}}),
    ];
    for edit in edits {
        world
            .patch::<ConfigMap>(names::STELLAR_PEERS, edit.clone())
            .await;
        let what: String = edit.to_string().chars().take(120).collect();
        world
            .eventually(&format!("{what} is repaired"), async |world| {
                world.record().await.is_some() && world.lists_exactly(&THREE).await
            })
            .await;
    }
    world.nobody_restarts(&THREE).await;
    world.restarted(&THREE, mark, 0).await;

    // And it goes on from there: a newcomer costs each one restart.
    world.create_validators(&["validator-4"]).await;
    world.everyone_knows(&FOUR).await;
    world.restarted(&THREE, mark, 1).await;
}
