//! The sandbox as its clients see it.

mod admission;
mod api;
mod apply;
mod determinism;
mod https;
mod lifecycle;
mod operator;
mod validation;
mod watch;
mod workloads;

use std::time::Duration;

use http::Request;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, Pod},
};
use kube::{
    Api, Client, Error,
    api::{Patch, PatchParams},
    core::Status,
};
use serde_json::{Value, json};

use super::{Sandbox, fixtures};

fn config_maps(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), "default")
}

fn sets(client: &Client) -> Api<StatefulSet> {
    Api::namespaced(client.clone(), "default")
}

fn pods(client: &Client) -> Api<Pod> {
    Api::namespaced(client.clone(), "default")
}

fn config_map(name: &str, key: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": {key: value}})
}

fn stateful_set(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "serviceName": name, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "core", "image": "core:1"}]},
            },
        },
    })
}

async fn create(client: &Client, object: &Value) -> Value {
    fixtures::create(client, object)
        .await
        .expect("the server accepts it")
}

/// A request to a path, with a JSON body unless that is null.
async fn call(
    client: &Client,
    method: &str,
    path: &str,
    content_type: &str,
    body: &Value,
) -> Result<Value, Error> {
    let body = if body.is_null() {
        Vec::new()
    } else {
        body.to_string().into_bytes()
    };
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", content_type);
    client.request(request.body(body).unwrap()).await
}

const SETS: &str = "/apis/apps/v1/namespaces/default/statefulsets";
const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn merge(client: &Client, path: &str, change: Value) -> Result<Value, Error> {
    call(
        client,
        "PATCH",
        path,
        "application/merge-patch+json",
        &change,
    )
    .await
}

async fn json_patch(client: &Client, path: &str, change: Value) -> Result<Value, Error> {
    call(
        client,
        "PATCH",
        path,
        "application/json-patch+json",
        &change,
    )
    .await
}

async fn apply(
    client: &Client,
    path: &str,
    manager: &str,
    force: bool,
    object: &Value,
) -> Result<Value, Error> {
    let path = format!("{path}?fieldManager={manager}&force={force}");
    call(
        client,
        "PATCH",
        &path,
        "application/apply-patch+yaml",
        object,
    )
    .await
}

/// The refusal, where there has to be one.
fn refused<T: std::fmt::Debug>(result: Result<T, Error>) -> Box<Status> {
    match result {
        Err(Error::Api(status)) => status,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

fn is_ready(pod: &Value) -> bool {
    pod["status"]["conditions"].as_array().is_some_and(|c| {
        c.iter()
            .any(|c| c["type"] == "Ready" && c["status"] == "True")
    })
}

/// Changes the pod template, as a restart does.
async fn touch_template(client: &Client, name: &str, value: &str) {
    let patch = json!({"spec": {"template": {"metadata": {"annotations": {"touched": value}}}}});
    let sets = sets(client);
    sets.patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap();
}
