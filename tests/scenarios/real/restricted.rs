//! Namespaces in which not every pod may run.

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use stellar_peers::{
    api::names::{CONFIG_VOLUME, RENDER_CONTAINER},
    sandbox::fixtures,
};

use crate::{ours::Webhook, world::World};

/// A release whose own containers pass the profile `restricted`, and say what they need.
fn release(world: &World, name: &str) -> Value {
    let mut set = fixtures::chart_stateful_set(&world.namespace, name);
    let spec = &mut set["spec"]["template"]["spec"];
    spec["securityContext"] = json!({
        "runAsNonRoot": true, "runAsUser": 1000, "fsGroup": 1000, "seccompProfile": {"type": "RuntimeDefault"},
    });
    let needs = json!({"cpu": "1", "memory": "1Gi"});
    for kind in ["containers", "initContainers"] {
        let container = &mut spec[kind][0];
        container["securityContext"] =
            json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
        container["resources"] = json!({"requests": needs, "limits": needs});
    }
    set
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a control plane: make e2e"]
async fn an_injected_pod_passes_the_profile_restricted_and_a_quota() {
    let mut world = super::world("an_injected_pod_passes").await;
    let namespaces = Api::<Namespace>::all(world.client.clone());
    let labels =
        json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    let params = PatchParams::default();
    let labels = Patch::Merge(labels);
    let labelled = namespaces.patch(&world.namespace, &params, &labels);
    labelled.await.expect("the namespace is there");
    let limits = [
        "requests.cpu",
        "requests.memory",
        "limits.cpu",
        "limits.memory",
    ];
    let hard = limits.map(|it| {
        (
            it.to_owned(),
            json!(if it.ends_with("cpu") { "9" } else { "9Gi" }),
        )
    });
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota",
        "metadata": {"name": "all", "namespace": world.namespace}, "spec": {"hard": Value::Object(hard.into_iter().collect())},
    });
    world.register(Webhook::Registered).await;
    world.start_ours().await;
    for object in [
        quota,
        fixtures::headless_service(&world.namespace, "core-a"),
        fixtures::chart_config_map(&world.namespace, "core-a"),
        release(&world, "core-a"),
    ] {
        let created = fixtures::create(&world.client, &object).await;
        created.expect("a new object");
    }
    world.all_ready(&["core-a"]).await;

    let pods = Api::<Pod>::namespaced(world.client.clone(), &world.namespace);
    let pod = pods.get("core-a-0").await.expect("it is Ready");
    let init = pod
        .spec
        .iter()
        .flat_map(|spec| spec.init_containers.iter().flatten());
    let first = init.map(|it| it.name.as_str()).next();
    assert_eq!(first, Some(RENDER_CONTAINER));

    // Both really look at our container.
    for field in ["securityContext", "resources"] {
        let mut other = serde_json::to_value(&pod).expect("pods serialize");
        other["metadata"] = json!({"name": "other"});
        other["spec"]["initContainers"][0][field] = json!({});
        let other: Pod = serde_json::from_value(other).expect("a pod");
        let dry_run = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let refused = pods
            .create(&dry_run, &other)
            .await
            .expect_err(field)
            .to_string();
        assert!(refused.contains(RENDER_CONTAINER), "{refused}");
    }
    let volumes = pod
        .spec
        .iter()
        .flat_map(|spec| spec.volumes.iter().flatten());
    let ours = volumes.into_iter().find(|it| it.name == CONFIG_VOLUME);
    let medium = ours.and_then(|it| it.empty_dir.as_ref()?.medium.clone());
    assert_eq!(medium.as_deref(), Some("Memory"));
    world.end().await;
}
