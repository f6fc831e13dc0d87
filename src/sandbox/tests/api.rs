//! Verbs, preconditions, selectors, pages, log, faults.

use kube::api::{DeleteParams, DynamicObject, ListParams, Preconditions};

use super::*;
use crate::sandbox::Fault;

#[tokio::test(start_paused = true)]
async fn a_created_object_reads_back_with_identity_and_defaults() {
    let client = Sandbox::default().client("me");
    let made = create(&client, &stateful_set("a")).await;
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(
        made["spec"]["template"]["spec"]["dnsPolicy"],
        "ClusterFirst"
    );
    let read = sets(&client).get("a").await.unwrap();
    assert_eq!(
        read.metadata.uid.as_deref(),
        made["metadata"]["uid"].as_str()
    );
    assert_eq!(
        refused(fixtures::create(&client, &stateful_set("a")).await).reason,
        "AlreadyExists"
    );
    assert_eq!(
        refused(sets(&client).get("b").await).message,
        "statefulsets.apps \"b\" not found"
    );
    let mut made = stateful_set("");
    made["metadata"] = json!({"generateName": "x-", "namespace": "default"});
    let name = create(&client, &made).await["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!((name.len(), &name[..2]), (7, "x-"));
}

#[tokio::test(start_paused = true)]
async fn a_stale_resource_version_or_a_foreign_uid_is_a_conflict() {
    let client = Sandbox::default().client("me");
    let old = create(&client, &config_map("a", "k", "1")).await;
    let path = format!("{CONFIG_MAPS}/a");
    merge(&client, &path, json!({"data": {"k": "2"}}))
        .await
        .unwrap();
    let status = refused(call(&client, "PUT", &path, "application/json", &old).await);
    assert_eq!((status.code, status.reason.as_str()), (409, "Conflict"));
    for (metadata, code) in [
        (json!({"uid": "other"}), 422),
        (json!({"resourceVersion": "1"}), 409),
    ] {
        let status = refused(merge(&client, &path, json!({"metadata": metadata})).await);
        assert_eq!(status.code, code);
    }
    let mut foreign = old.clone();
    foreign["metadata"]["uid"] = "other".into();
    foreign["metadata"]["resourceVersion"] = Value::Null;
    let replaced = call(&client, "PUT", &path, "application/json", &foreign).await;
    assert_eq!(refused(replaced).code, 409);
    let mut unconditional = old.clone();
    unconditional["metadata"]["resourceVersion"] = Value::Null;
    call(&client, "PUT", &path, "application/json", &unconditional)
        .await
        .unwrap();
    let preconditions = Preconditions {
        uid: Some("other".into()),
        resource_version: None,
    };
    let parameters = DeleteParams {
        preconditions: Some(preconditions),
        ..DeleteParams::default()
    };
    assert_eq!(
        refused(config_maps(&client).delete("a", &parameters).await).code,
        409
    );
    config_maps(&client)
        .delete("a", &DeleteParams::default())
        .await
        .unwrap();
    assert_eq!(
        refused(call(&client, "PUT", &path, "application/json", &old).await).code,
        404
    );
}

#[tokio::test(start_paused = true)]
async fn a_write_that_changes_nothing_moves_nothing_and_generation_counts_spec_changes_only() {
    let sandbox = Sandbox::default();
    let client = sandbox.client("me");
    let made = create(&client, &stateful_set("a")).await;
    let path = format!("{SETS}/a");
    let same = merge(&client, &path, json!({"spec": {"replicas": 1}}))
        .await
        .unwrap();
    assert_eq!(same, made);
    let labelled = merge(&client, &path, json!({"metadata": {"labels": {"x": "y"}}}))
        .await
        .unwrap();
    assert_ne!(
        labelled["metadata"]["resourceVersion"],
        made["metadata"]["resourceVersion"]
    );
    assert_eq!(labelled["metadata"]["generation"], 1);
    let scaled = merge(&client, &path, json!({"spec": {"replicas": 2}}))
        .await
        .unwrap();
    assert_eq!(scaled["metadata"]["generation"], 2);
    let status = merge(
        &client,
        &format!("{path}/status"),
        json!({"status": {"replicas": 5}, "spec": {"replicas": 9}}),
    )
    .await
    .unwrap();
    assert_eq!(
        (&status["status"]["replicas"], &status["spec"]["replicas"]),
        (&json!(5), &json!(2))
    );
    assert_eq!(status["metadata"]["generation"], 2);
    let ignored = merge(&client, &path, json!({"status": {"replicas": 7}}))
        .await
        .unwrap();
    assert_eq!(
        ignored["status"]["replicas"], 5,
        "the main resource doesn't write status"
    );
}

#[tokio::test(start_paused = true)]
async fn scale_reads_and_writes_the_replicas() {
    let client = Sandbox::default().client("me");
    create(&client, &stateful_set("a")).await;
    let scale = sets(&client).get_scale("a").await.unwrap();
    assert_eq!(scale.spec.unwrap().replicas, Some(1));
    merge(
        &client,
        &format!("{SETS}/a/scale"),
        json!({"spec": {"replicas": 3}}),
    )
    .await
    .unwrap();
    let set = sets(&client).get("a").await.unwrap();
    assert_eq!(
        (set.spec.unwrap().replicas, set.metadata.generation),
        (Some(3), Some(2))
    );
}

#[tokio::test(start_paused = true)]
async fn a_failed_test_of_a_json_patch_is_a_bare_422() {
    let client = Sandbox::default().client("me");
    let made = create(&client, &stateful_set("a")).await;
    let path = format!("{SETS}/a");
    let guarded = |generation: u64| {
        json!([
            {"op": "test", "path": "/metadata/uid", "value": made["metadata"]["uid"]},
            {"op": "test", "path": "/metadata/generation", "value": generation},
            {"op": "add", "path": "/spec/template/metadata/annotations", "value": {"a": "b"}},
        ])
    };
    let status = refused(json_patch(&client, &path, guarded(7)).await);
    assert_eq!((status.code, status.reason.as_str()), (422, "Invalid"));
    assert_eq!(
        status.message,
        "the server rejected our request due to an error in our request"
    );
    let patched = json_patch(&client, &path, guarded(1)).await.unwrap();
    assert_eq!(patched["metadata"]["generation"], 2);
    let numbers =
        json!([{"op": "add", "path": "/spec/template/metadata/annotations/n", "value": 1}]);
    assert_eq!(refused(json_patch(&client, &path, numbers).await).code, 422);
}

#[tokio::test(start_paused = true)]
async fn lists_are_selected_and_paged_as_of_their_first_page() {
    let sandbox = Sandbox::default();
    sandbox.create_namespace("other");
    let client = sandbox.client("me");
    for (namespace, name, app) in [
        ("default", "a", "x"),
        ("default", "b", "y"),
        ("default", "c", "x"),
        ("other", "a", "x"),
    ] {
        let mut object = config_map(name, "k", "v");
        object["metadata"]["namespace"] = namespace.into();
        object["metadata"]["labels"] = json!({"app": app});
        create(&client, &object).await;
    }
    let names = |list: kube::core::ObjectList<ConfigMap>| -> Vec<String> {
        list.items
            .into_iter()
            .map(|o| {
                format!(
                    "{}/{}",
                    o.metadata.namespace.unwrap(),
                    o.metadata.name.unwrap()
                )
            })
            .collect()
    };
    let all: Api<ConfigMap> = Api::all(client.clone());
    let list = all
        .list(&ListParams::default().labels("app=x"))
        .await
        .unwrap();
    assert_eq!(names(list), ["default/a", "default/c", "other/a"]);
    let list = all
        .list(&ListParams::default().fields("metadata.name=a"))
        .await
        .unwrap();
    assert_eq!(names(list), ["default/a", "other/a"]);
    let page = all.list(&ListParams::default().limit(3)).await.unwrap();
    let (token, version) = (
        page.metadata.continue_.clone().unwrap(),
        page.metadata.resource_version.clone(),
    );
    assert_eq!(names(page).len(), 3);
    config_maps(&client)
        .delete("c", &DeleteParams::default())
        .await
        .unwrap();
    let rest = all
        .list(&ListParams::default().limit(3).continue_token(&token))
        .await
        .unwrap();
    assert_eq!(
        (
            rest.metadata.resource_version.clone(),
            rest.metadata.continue_.clone()
        ),
        (version, None)
    );
    assert_eq!(names(rest), ["other/a"]);
    let metadata = config_maps(&client)
        .list_metadata(&ListParams::default())
        .await
        .unwrap();
    assert_eq!(metadata.items.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_custom_resource_is_there_only_with_its_definition() {
    let sandbox = Sandbox::default();
    let client = sandbox.client("me");
    let node = fixtures::stellar_node("default", "v1", &[]);
    let status = refused(fixtures::create(&client, &node).await);
    assert_eq!(
        (status.code, status.message.as_str()),
        (404, "404 page not found")
    );
    create(&client, &fixtures::stellar_node_definition()).await;
    let made = create(&client, &node).await;
    assert_eq!(made["metadata"]["generation"], 1);
    let path = "/apis/stellar.org/v1alpha1/namespaces/default/stellarnodes/v1";
    let status = merge(
        &client,
        &format!("{path}/status"),
        json!({"status": {"phase": "Ready"}}),
    )
    .await
    .unwrap();
    assert_eq!(
        (
            &status["status"]["phase"],
            &status["metadata"]["generation"]
        ),
        (&json!("Ready"), &json!(1))
    );
    assert_eq!(
        refused(
            call(
                &client,
                "PATCH",
                path,
                "application/strategic-merge-patch+json",
                &json!({})
            )
            .await
        )
        .code,
        415
    );
    let definition =
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/stellarnodes.stellar.org";
    call(
        &client,
        "DELETE",
        definition,
        "application/json",
        &Value::Null,
    )
    .await
    .unwrap();
    assert_eq!(
        refused(call(&client, "GET", path, "", &Value::Null).await).code,
        404
    );
}

#[tokio::test(start_paused = true)]
async fn discovery_names_what_is_served() {
    let client = Sandbox::default().client("me");
    assert_eq!(client.apiserver_version().await.unwrap().minor, "35");
    assert!(
        client
            .list_api_groups()
            .await
            .unwrap()
            .groups
            .iter()
            .any(|group| group.name == "apps")
    );
    let resources = client
        .list_api_group_resources("apps/v1")
        .await
        .unwrap()
        .resources;
    assert!(
        resources
            .iter()
            .any(|resource| resource.name == "statefulsets/scale")
    );
    assert_eq!(
        refused(
            client
                .list_api_group_resources("stellar.org/v1alpha1")
                .await
        )
        .code,
        404
    );
    let discovered = kube::discovery::group(&client, "apps").await.unwrap();
    let (resource, _) = discovered.recommended_kind("StatefulSet").unwrap();
    create(&client, &stateful_set("a")).await;
    let api: Api<DynamicObject> = Api::namespaced_with(client, "default", &resource);
    assert_eq!(
        api.list(&ListParams::default()).await.unwrap().items.len(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn the_log_tells_who_asked_for_what() {
    let sandbox = Sandbox::default();
    create(&sandbox.client("alice"), &config_map("a", "k", "v")).await;
    config_maps(&sandbox.client("bob"))
        .get_opt("b")
        .await
        .unwrap();
    let path = format!("{CONFIG_MAPS}/a");
    apply(
        &sandbox.client("carol"),
        &path,
        "peers",
        false,
        &config_map("a", "k", "v"),
    )
    .await
    .unwrap();
    let requests = sandbox.take_requests();
    let told: Vec<_> = requests
        .iter()
        .map(|r| {
            (
                &*r.info.user,
                r.info.verb,
                &*r.info.resource,
                &*r.info.name,
                &*r.info.field_manager,
                r.code,
                r.is_write(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("alice", "create", "configmaps", "", "", Some(201), true),
            ("bob", "get", "configmaps", "b", "", Some(404), false),
            (
                "carol",
                "patch",
                "configmaps",
                "a",
                "peers",
                Some(200),
                true
            ),
        ]
    );
    assert!(sandbox.requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn faults_do_what_they_say() {
    let sandbox = Sandbox::default();
    let client = sandbox.client("me");
    sandbox.set_faults(|request| {
        if request.verb == "get" {
            Fault::Status(503)
        } else {
            Fault::LoseAnswer
        }
    });
    assert!(
        fixtures::create(&client, &config_map("a", "k", "v"))
            .await
            .is_err()
    );
    assert_eq!(refused(config_maps(&client).get("a").await).code, 503);
    sandbox.clear_faults();
    config_maps(&client)
        .get("a")
        .await
        .expect("the lost answer was to a write that took effect");
    sandbox.set_faults(|_| Fault::Delay(SECOND));
    let before = sandbox.elapsed();
    config_maps(&client).get("a").await.unwrap();
    assert_eq!(sandbox.elapsed(), before + SECOND);
    sandbox.set_faults(|_| Fault::LoseRequest);
    assert!(
        config_maps(&client)
            .delete("a", &DeleteParams::default())
            .await
            .is_err()
    );
    sandbox.clear_faults();
    sandbox.set_available(false);
    assert!(matches!(
        config_maps(&client).get("a").await,
        Err(Error::Service(_))
    ));
    sandbox.set_available(true);
    config_maps(&client).get("a").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_changes_nothing() {
    let sandbox = Sandbox::default();
    let client = sandbox.client("me");
    let version = sandbox.version();
    call(
        &client,
        "POST",
        &format!("{CONFIG_MAPS}?dryRun=All"),
        "application/json",
        &config_map("a", "k", "v"),
    )
    .await
    .unwrap();
    assert_eq!(sandbox.version(), version);
    assert!(!sandbox.requests()[0].is_write());
}

#[tokio::test(start_paused = true)]
async fn everything_is_allowed_and_says_so() {
    let client = Sandbox::default().client("me");
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let answer = call(&client, "POST", path, "application/json", &review)
        .await
        .unwrap();
    assert_eq!(answer["status"]["allowed"], true);
}
