//! Releases of SDF's chart, which know nobody when they start, and are Ready only with others.

use std::collections::BTreeSet;

use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use stellar_peers::api::{StatefulSetObject, names};

use crate::{
    ours::Webhook,
    release,
    world::{World, hash_of},
};

const SEVEN: [&str; 7] = [
    "core-a", "core-b", "core-c", "core-d", "core-e", "core-f", "core-g",
];

/// How the others are dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dialled {
    ByIp,
    ByName,
}

pub(crate) async fn three_releases_form_a_network_by_their_pods_addresses(world: &mut World) {
    form(world, &SEVEN[..3], 3, Dialled::ByIp).await;
}

pub(crate) async fn three_releases_form_a_network_by_their_pods_names(world: &mut World) {
    form(world, &SEVEN[..3], 3, Dialled::ByName).await;
}

pub(crate) async fn four_releases_form_a_network_by_their_pods_addresses(world: &mut World) {
    form(world, &SEVEN[..4], 3, Dialled::ByIp).await;
}

pub(crate) async fn four_releases_form_a_network_by_their_pods_names(world: &mut World) {
    form(world, &SEVEN[..4], 3, Dialled::ByName).await;
}

pub(crate) async fn seven_releases_form_a_network_by_their_pods_addresses(world: &mut World) {
    form(world, &SEVEN, 5, Dialled::ByIp).await;
}

pub(crate) async fn seven_releases_form_a_network_by_their_pods_names(world: &mut World) {
    form(world, &SEVEN, 5, Dialled::ByName).await;
}

/// The chart's default. Who was never Ready has nothing to lose, and who was is not restarted any more.
pub(crate) async fn releases_without_claims_form_a_network_and_then_keep_their_ledgers(
    world: &mut World,
) {
    let nodes = &SEVEN[..3];
    world.start_cores(nodes.len());
    world.register(Webhook::Registered).await;
    world.start_ours().await;
    for node in nodes {
        world.create_release(node, false).await;
    }
    world.all_ready(nodes).await;
    // Whether those three carry the whole membership by then is a matter of luck; a fourth makes it another.
    let newcomer = SEVEN[3];
    world.create_release(newcomer, false).await;
    world.all_ready(&[newcomer]).await;
    world.is_told("core-b", "EphemeralLedger").await;
    world.nobody_restarts(nodes).await;
}

/// Nobody changes a pod template but the chart: its init script merges, and the loop lists and restarts.
pub(crate) async fn releases_with_printed_values_form_a_network_without_a_webhook(
    world: &mut World,
) {
    let nodes = &SEVEN[..3];
    world.start_cores(nodes.len());
    world.start_ours().await;
    for node in nodes {
        let values = release::printed_values(node);
        world.create_release_with(node, &values).await;
    }
    world.all_ready(nodes).await;
    everyone_dials(world, nodes, Dialled::ByIp).await;
    for node in nodes {
        let pod = world.pod_object(node).await.expect("it runs");
        let spec = pod.spec.expect("a pod has a spec");
        let names = spec.init_containers.into_iter().flatten().map(|it| it.name);
        assert_eq!(names.collect::<Vec<_>>(), ["core-init"]);
    }
    world.nobody_restarts(nodes).await;
}

/// A fresh network forms by itself, each core dialling what it finds in its file, and again after all pods were lost.
async fn form(world: &mut World, nodes: &[&str], enough: usize, dialled: Dialled) {
    world.start_cores(enough);
    world.register(Webhook::Registered).await;
    let flags: &[&str] = match dialled {
        Dialled::ByIp => &[],
        Dialled::ByName => &["--address-mode=dns"],
    };
    world.start_ours_with(flags).await;
    let start = world.history.mark();
    for node in nodes {
        world.create_release(node, true).await;
    }
    world.all_ready(nodes).await;
    everyone_dials(world, nodes, dialled).await;
    for node in nodes {
        let restarts = world.history.restarts(node, start);
        assert!(restarts <= 1, "{restarts} restarts of {node}");
    }

    let mark = world.history.mark();
    for node in nodes {
        world.lose_pod(node).await;
    }
    for node in nodes {
        world.restarts(node, mark).await;
    }
    world.all_ready(nodes).await;
    everyone_dials(world, nodes, dialled).await;
    world.nobody_restarts(nodes).await;
}

/// Each runs with the membership of all, and its core dials exactly the others.
async fn everyone_dials(world: &World, nodes: &[&str], dialled: Dialled) {
    let hash = hash_of(nodes);
    world
        .eventually("each dials the others", async |world| {
            for node in nodes {
                let (Some(pod), true) = (world.pod(node).await, world.runs_with(node, &hash).await)
                else {
                    return false;
                };
                let mut others = BTreeSet::new();
                for other in nodes.iter().filter(|other| *other != node) {
                    others.extend(address(world, other, dialled).await);
                }
                let dials = world.cores().dials(&pod.uid);
                let knows = match dialled {
                    // Who started before another moved has its old address; links work both ways.
                    Dialled::ByIp => dials.len() == others.len(),
                    Dialled::ByName => dials == others,
                };
                if !knows {
                    return false;
                }
            }
            true
        })
        .await;
}

async fn address(world: &World, node: &str, dialled: Dialled) -> Option<String> {
    let namespace = &world.namespace;
    match dialled {
        Dialled::ByIp => {
            let pod = world.pod(node).await?;
            Some(format!("{}:11625", pod.ips.first()?))
        }
        Dialled::ByName => Some(format!(
            "{node}-0.{node}.{namespace}.svc.cluster.local:11625"
        )),
    }
}

/// Nothing of ours stays in the template, and nobody lists the pod any more.
pub(crate) async fn who_opts_out_with_a_new_template_has_nothing_of_ours(world: &mut World) {
    let nodes = &SEVEN[..2];
    world.register(Webhook::Registered).await;
    world.start_ours().await;
    for node in nodes {
        world.create_release(node, true).await;
    }
    world.everyone_knows(nodes).await;
    let container = template_of(world, nodes[0]).await["spec"]["initContainers"][0].clone();
    assert_eq!(container["name"], names::RENDER_CONTAINER);

    let label = format!(
        "/spec/template/metadata/labels/{}",
        names::INJECT.replace('/', "~1")
    );
    let patch = json!([
        {"op": "replace", "path": label, "value": names::INJECT_DISABLED},
        {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "core:22"},
    ]);
    let patch: json_patch::Patch = serde_json::from_value(patch).expect("a patch");
    let sets = Api::<StatefulSetObject>::namespaced(world.client.clone(), &world.namespace);
    let params = PatchParams::default();
    let patch = Patch::Json::<()>(patch);
    sets.patch(nodes[0], &params, &patch)
        .await
        .expect("it fits");
    let left = template_of(world, nodes[0]).await;
    assert_eq!(left["spec"]["initContainers"][0]["name"], "core-init");
    let of_ours = |it: &Value| it.to_string().contains(names::STELLAR_PEERS);
    assert!(!of_ours(&left["spec"]), "{left}");
    world
        .eventually("it leaves the list", async |world| {
            world.lists_exactly(&nodes[1..]).await
        })
        .await;
}

async fn template_of(world: &World, node: &str) -> Value {
    let set = world.stateful_set(node).await.expect("it is there");
    set.spec.template.into()
}
