//! `pause` and `resume`: hold restarts back, and let them go on.

use std::io::Write;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{ConnectArgs, Failed};
use crate::{
    api::{StatefulSetObject, names},
    controller::error::{ReconcileError, request},
    peer_discovery,
};

/// Not the service's own: what a person sets, the service leaves alone.
const FIELD_MANAGER: &str = "stellar-peers-cli";

/// Where to pause or resume.
#[derive(Clone, Debug, clap::Args)]
pub struct PauseArgs {
    /// The namespace; without it that of the context in use.
    #[arg(short, long, env = "STELLAR_PEERS_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,
    /// Access to the cluster.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Sets or clears the annotation on the ConfigMap and on each validator's StatefulSet: on both, so that a ConfigMap
/// that is made anew doesn't resume what was paused.
///
/// # Errors
/// [`Failed`] with the first object that could not be written; those before it are.
pub(super) async fn run(args: &PauseArgs, pauses: bool) -> Result<(), Failed> {
    let failed = |error: &dyn std::error::Error| Failed::from_error(error);
    let client = args
        .connect
        .client()
        .await
        .map_err(|error| failed(&error))?;
    let namespace = args.namespace.as_deref();
    let namespace = namespace.unwrap_or(client.default_namespace()).to_owned();
    let done = annotate_all(&client, &namespace, pauses)
        .await
        .map_err(|error| failed(&error))?;
    let verb = if pauses { "paused" } else { "resumed" };
    let mut out = std::io::stdout().lock();
    let lines = done.iter().map(|what| writeln!(out, "{verb} {what}"));
    lines
        .collect::<Result<(), _>>()
        .map_err(|error| failed(&error))
}

/// The objects that were annotated, in words.
async fn annotate_all(
    client: &Client,
    namespace: &str,
    pauses: bool,
) -> Result<Vec<String>, ReconcileError> {
    let value = if pauses { json!("true") } else { Value::Null };
    let patch = Patch::Merge(json!({"metadata": {"annotations": {names::PAUSED: value}}}));
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let mut done = Vec::new();
    let lists = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let what = format!("ConfigMap {namespace}/{}", names::STELLAR_PEERS);
    let list = request("get", &what, lists.get_opt(names::STELLAR_PEERS)).await?;
    if list.is_some() {
        request(
            "patch",
            &what,
            lists.patch(names::STELLAR_PEERS, &params, &patch),
        )
        .await?;
        done.push(what);
    }
    let sets = Api::<StatefulSetObject>::namespaced(client.clone(), namespace);
    for name in peer_discovery::validators(client, namespace).await? {
        let what = format!("StatefulSet {namespace}/{name}");
        request("patch", &what, sets.patch(name.as_str(), &params, &patch)).await?;
        done.push(what);
    }
    Ok(done)
}

#[cfg(all(test, feature = "sandbox"))]
mod tests {
    use super::*;
    use crate::sandbox::{Sandbox, fixtures};

    #[tokio::test(start_paused = true)]
    async fn the_list_and_each_validator_are_paused_and_resumed_and_others_are_left_alone() {
        let sandbox = Sandbox::default();
        let client = sandbox.client("a-person");
        for name in ["core-a", "core-b", "web"] {
            let mut set = fixtures::chart_stateful_set("default", name);
            if name == "web" {
                set["spec"]["template"]["metadata"]["labels"][names::INJECT] = json!("no");
            }
            fixtures::create(&client, &set).await.unwrap();
        }
        let is_paused = |name: &str| {
            let set = sandbox.peek("statefulsets.apps", "default", name).unwrap();
            set["metadata"]["annotations"][names::PAUSED] == "true"
        };
        let done = annotate_all(&client, "default", true).await.unwrap();
        assert_eq!(
            done,
            ["StatefulSet default/core-a", "StatefulSet default/core-b"]
        );
        assert!(is_paused("core-a") && is_paused("core-b") && !is_paused("web"));
        let list = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": names::STELLAR_PEERS, "namespace": "default"},
        });
        fixtures::create(&client, &list).await.unwrap();
        assert_eq!(
            annotate_all(&client, "default", false).await.unwrap().len(),
            3
        );
        assert!(!is_paused("core-a"));
    }
}
