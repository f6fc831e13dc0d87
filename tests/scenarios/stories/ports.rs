//! Ports other than the default.

use serde_json::{Value, json};
use stellar_peers::{api::names, domain::injection::Template, sandbox::fixtures};

use crate::world::World;

pub(crate) async fn a_custom_peer_port_is_listed_and_counts(world: &mut World) {
    world.begin().await;
    world.create_validator("validator-1", json!({})).await;
    world
        .create_validator(
            "validator-2",
            json!({"validatorConfig": {"peerPort": 11700}}),
        )
        .await;
    world
        .eventually("both are listed, each at its port", async |world| {
            let ip = async |node| {
                world
                    .pod(node)
                    .await
                    .and_then(|pod| pod.ips.first().copied())
            };
            let (Some(one), Some(two)) = (ip("validator-1").await, ip("validator-2").await) else {
                return false;
            };
            let mut expected = vec![format!("{one}:11625"), format!("{two}:11700")];
            let mut listed = world.known_peers().await;
            expected.sort();
            listed.sort();
            expected == listed
        })
        .await;
    let set = world
        .stateful_set("validator-2")
        .await
        .expect("it is there");
    assert_eq!(
        Template::new(&set.spec.template).annotation(names::PORT),
        Some("11700")
    );
    let template = Value::from(set.spec.template);
    let ports = &template["spec"]["containers"][0]["ports"];
    let ours = ports
        .as_array()
        .into_iter()
        .flatten()
        .find(|port| port["name"] == "stellar-peers");
    assert_eq!(
        ours.map(|port| port["containerPort"].clone()),
        Some(json!(11700)),
        "the operator declares only 11625"
    );

    for port in [json!(0), json!(65536), json!("11625")] {
        let mut node = fixtures::stellar_node(&world.namespace, "validator-3", &[]);
        node["spec"]["validatorConfig"]["peerPort"] = port;
        let refused = fixtures::create(&world.client, &node)
            .await
            .expect_err("no such port")
            .to_string();
        assert!(
            refused.contains("spec.validatorConfig.peerPort"),
            "{refused}"
        );
    }
}
