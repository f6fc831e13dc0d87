//! We come to a network that is already there.

use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use stellar_peers::{api::StatefulSetObject, sandbox::operator::WriteMode};

use super::FOUR;
use crate::{
    ours::Webhook,
    world::{World, hash_of},
};

pub(crate) async fn installed_into_a_running_network_each_is_taken_in_once_and_then_left_alone(
    world: &mut World,
) {
    world.start_operator(WriteMode::Apply).await;
    world.create_validators(&FOUR).await;
    ready(world).await;
    world.register(Webhook::Registered).await;
    let mark = world.history.mark();
    world.start_ours().await;
    world.everyone_knows(&FOUR).await;
    world.restarted(&FOUR, mark, 1).await;
    assert!(world.history.most_down_at_once(&FOUR, mark) <= 1);

    // We are away, and the operator goes on writing.
    let mark = world.history.mark();
    world.kill_ours();
    tokio::time::sleep(world.pace.quiet).await;
    world.start_ours().await;
    world.nobody_restarts(&FOUR).await;
    world.restarted(&FOUR, mark, 0).await;

    // What an older version of ours injected has another form.
    world.kill_ours();
    for node in FOUR {
        give_older_form(world, node).await;
    }
    ready(world).await;
    let mark = world.history.mark();
    world.start_ours().await;
    world.nobody_restarts(&FOUR).await;
    world.restarted(&FOUR, mark, 0).await;
}

async fn ready(world: &World) {
    world
        .eventually("all run on their newest template", async |world| {
            for node in FOUR {
                let (Some(set), Some(pod)) =
                    (world.stateful_set(node).await, world.pod(node).await)
                else {
                    return false;
                };
                let is_seen = Some(set.status.observed_generation) == set.metadata.generation;
                if !is_seen
                    || Some(pod.revision) != set.status.update_revision
                    || !pod.ready
                    || pod.terminating
                {
                    return false;
                }
            }
            true
        })
        .await;
}

async fn give_older_form(world: &World, node: &str) {
    let set = world.stateful_set(node).await.expect("it is there");
    let template = Value::from(set.spec.template);
    let volumes = template["spec"]["volumes"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let index = volumes
        .iter()
        .position(|it| it["name"] == "stellar-peers")
        .expect("it was injected");
    let path = format!("/spec/template/spec/volumes/{index}/configMap/defaultMode");
    let patch: json_patch::Patch =
        serde_json::from_value(json!([{"op": "replace", "path": path, "value": 256}]))
            .expect("a patch");
    let api = Api::<StatefulSetObject>::namespaced(world.client.clone(), &world.namespace);
    api.patch(node, &PatchParams::default(), &Patch::Json::<()>(patch))
        .await
        .expect("the patch fits");
}

/// SDF's chart can label only the pod template.
pub(crate) async fn a_statefulset_that_opts_in_by_its_template_is_a_node(world: &mut World) {
    world.register(Webhook::Registered).await;
    world.start_ours().await;
    let both = ["core-a", "core-b"];
    for name in both {
        world.create_release(name, true).await;
    }
    world.everyone_knows(&both).await;
    assert!(world.runs_with("core-a", &hash_of(&both)).await);
    world.nobody_restarts(&both).await;
}
