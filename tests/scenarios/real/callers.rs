//! The webhook asks who calls. Only a real API server shows what it shows.

use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration, apps::v1::StatefulSet,
};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use stellar_peers::{api::names, sandbox::fixtures, tls::Authority};

use super::{DAY, control_plane::ControlPlane, now};
use crate::{ours::Webhook, world::World};

const REFUSED: &str =
    "stellar_peers_webhook_handshake_failures_total{reason=\"ClientCertificateRefused\"} ";

/// Creates a release without storing it. Whether it came back injected, or why it didn't come back.
async fn attempt(world: &World) -> Result<bool, String> {
    let set = fixtures::chart_stateful_set(&world.namespace, "core-a");
    let set: StatefulSet = serde_json::from_value(set).expect("a StatefulSet");
    let sets = Api::<StatefulSet>::namespaced(world.client.clone(), &world.namespace);
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let created = sets.create(&dry_run, &set).await;
    let created = created.map_err(|error| error.to_string())?;
    let pod = created.spec.and_then(|spec| spec.template.spec);
    let mut volumes = pod
        .into_iter()
        .flat_map(|pod| pod.volumes.unwrap_or_default());
    Ok(volumes.any(|volume| volume.name == names::STELLAR_PEERS))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a control plane: make e2e"]
async fn an_api_server_that_shows_its_certificate_is_answered() {
    let mut world = super::world("who_calls_is_known").await;
    world.register(Webhook::Registered).await;
    let authority = ControlPlane::shared().await.callers_authority();
    let flag = format!("--client-ca={}", authority.display());
    world.start_ours_with(&[&flag]).await;
    assert_eq!(attempt(&world).await, Ok(true));
    assert_eq!(world.metric(REFUSED).await, Some(0));
    world.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a control plane: make e2e"]
async fn an_api_server_whose_certificate_is_not_taken_goes_by_its_failure_policy_and_is_counted() {
    let mut world = super::world("who_calls_is_not_taken").await;
    world.register(Webhook::Registered).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("ca.crt");
    let another = Authority::generate(DAY, now()).expect("a CA");
    std::fs::write(&file, another.certificate_pem()).expect("a file");
    let flag = format!("--client-ca={}", file.display());
    world.start_ours_with(&[&flag]).await;

    assert_eq!(attempt(&world).await, Ok(false), "Ignore lets it through");
    let counted = world.metric(REFUSED).await;
    assert!(counted.is_some_and(|count| count > 0), "{counted:?}");

    let all = Api::<MutatingWebhookConfiguration>::all(world.client.clone());
    let listed = all.list(&ListParams::default()).await.expect("a list");
    let of_world = |it: &MutatingWebhookConfiguration| {
        let text = serde_json::to_string(it).expect("it serializes");
        text.contains(&format!("\"{}\"", world.namespace))
    };
    let ours = listed.into_iter().find(of_world).expect("it is registered");
    let webhooks = ours.webhooks.iter().flatten().enumerate();
    let fail = webhooks.map(|(at, _)| {
        json!({"op": "replace", "path": format!("/webhooks/{at}/failurePolicy"), "value": "Fail"})
    });
    let fail: json_patch::Patch =
        serde_json::from_value(fail.collect()).expect("a patch of JSON values");
    let patch = Patch::Json::<()>(fail);
    let params = PatchParams::default();
    let patched = all.patch(&ours.name_any(), &params, &patch).await;
    patched.expect("it is there");
    world
        .eventually("Fail refuses it", async |world| {
            let refused = attempt(world).await;
            refused.is_err_and(|why| why.contains("failed calling webhook"))
        })
        .await;
    world.end().await;
}
