//! Objects that nobody should have written.

use serde_json::{Value, json};
use stellar_peers::{api::names, sandbox::fixtures};

use crate::world::World;

pub(crate) async fn odd_objects_harm_nobody_else(world: &mut World) {
    let broken = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": names::STELLAR_PEERS, "namespace": world.namespace},
        "data": {names::KEY_MEMBERS: "{\"v\":1,\"nodes\":\"none\"}", names::KEY_KNOWN_PEERS: "\u{7}", "notes": "keep me"},
    });
    fixtures::create(&world.client, &broken)
        .await
        .expect("a new ConfigMap");
    world.begin().await;
    world
        .create_validator("odd-type", json!({"nodeType": "Quasar"}))
        .await;
    world
        .create_validator(
            "odd-fields",
            json!({"suspended": null, "network": null, "storage": [], "x": {"y": 1}}),
        )
        .await;
    let mut two_cores = fixtures::chart_stateful_set(&world.namespace, "odd-containers");
    two_cores["metadata"]["labels"]["stellar-network"] = json!("other");
    two_cores["spec"]["template"]["spec"]["containers"][0]["name"] = json!("a");
    let mut second = two_cores["spec"]["template"]["spec"]["containers"][0].clone();
    second["name"] = json!("b");
    second["ports"] = json!([]);
    two_cores["spec"]["template"]["spec"]["containers"]
        .as_array_mut()
        .expect("a list")
        .push(second);
    fixtures::create(&world.client, &two_cores)
        .await
        .expect("a new StatefulSet");
    let both = ["validator-1", "validator-2"];
    // Without a network of its own it is in that of its StatefulSet's label.
    let testnet = ["odd-fields", "validator-1", "validator-2"];
    world.create_validators(&both).await;
    world
        .eventually(
            "the two know each other, and the odd ones are what they are",
            async |world| {
                let Some(record) = world.record().await else {
                    return false;
                };
                let names: Vec<&str> = record.nodes.iter().map(|node| node.name.as_str()).collect();
                names == ["odd-containers", "odd-fields", "validator-1", "validator-2"]
                    && world
                        .runs_with("validator-1", &crate::world::hash_of(&testnet))
                        .await
                    && world
                        .runs_with("validator-2", &crate::world::hash_of(&testnet))
                        .await
            },
        )
        .await;
    assert_eq!(world.data("notes").await.as_deref(), Some("keep me"));
    // It cannot be injected, and runs as its writer made it.
    let set = world
        .stateful_set("odd-containers")
        .await
        .expect("it is there");
    let template = Value::from(set.spec.template);
    assert!(
        template["spec"]["volumes"]
            .as_array()
            .is_some_and(|it| it.iter().all(|it| it["name"] != "stellar-peers"))
    );
}
