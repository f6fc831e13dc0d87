//! Deletion: grace, finalizers, owners, namespaces.

use kube::api::DeleteParams;

use super::*;

fn owned(name: &str, owner: &Value) -> Value {
    let mut object = config_map(name, "k", "v");
    object["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
    }]);
    object
}

#[tokio::test(start_paused = true)]
async fn a_finalizer_holds_a_deletion_back_and_no_new_one_may_come() {
    let client = Sandbox::default().client("me");
    let mut object = config_map("a", "k", "v");
    object["metadata"]["finalizers"] = json!(["x.org/f"]);
    create(&client, &object).await;
    config_maps(&client)
        .delete("a", &DeleteParams::default())
        .await
        .unwrap();
    let path = format!("{CONFIG_MAPS}/a");
    assert!(
        config_maps(&client)
            .get("a")
            .await
            .unwrap()
            .metadata
            .deletion_timestamp
            .is_some()
    );
    let more = merge(
        &client,
        &path,
        json!({"metadata": {"finalizers": ["x.org/f", "x.org/g"]}}),
    )
    .await;
    assert_eq!(refused(more).code, 422);
    merge(&client, &path, json!({"metadata": {"finalizers": null}}))
        .await
        .unwrap();
    assert!(config_maps(&client).get_opt("a").await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn what_an_owner_leaves_behind_goes_after_it() {
    let sandbox = Sandbox::default();
    let _running = sandbox.start();
    let client = sandbox.client("me");
    let owner = create(&client, &config_map("owner", "k", "v")).await;
    create(&client, &owned("child", &owner)).await;
    pass(SECOND).await;
    assert!(sandbox.peek("configmaps", "default", "child").is_some());
    config_maps(&client)
        .delete("owner", &DeleteParams::background())
        .await
        .unwrap();
    assert!(
        sandbox.peek("configmaps", "default", "child").is_some(),
        "garbage is collected later"
    );
    pass(SECOND).await;
    assert!(sandbox.peek("configmaps", "default", "child").is_none());
    create(&client, &owned("late", &owner)).await;
    pass(SECOND).await;
    assert!(
        sandbox.peek("configmaps", "default", "late").is_none(),
        "its owner never is there"
    );
}

#[tokio::test(start_paused = true)]
async fn dependents_go_first_in_the_foreground_and_stay_when_orphaned() {
    let sandbox = Sandbox::default();
    let _running = sandbox.start();
    let client = sandbox.client("me");
    for (name, parameters) in [
        ("f", DeleteParams::foreground()),
        ("o", DeleteParams::orphan()),
    ] {
        let owner = create(&client, &config_map(name, "k", "v")).await;
        create(&client, &owned(&format!("{name}-child"), &owner)).await;
        config_maps(&client)
            .delete(name, &parameters)
            .await
            .unwrap();
        assert!(sandbox.peek("configmaps", "default", name).is_some());
        pass(SECOND).await;
        assert!(sandbox.peek("configmaps", "default", name).is_none());
    }
    assert!(sandbox.peek("configmaps", "default", "f-child").is_none());
    let orphan = sandbox.peek("configmaps", "default", "o-child").unwrap();
    assert!(orphan["metadata"]["ownerReferences"].is_null());
}

#[tokio::test(start_paused = true)]
async fn a_terminating_namespace_takes_nothing_new_and_empties() {
    let sandbox = Sandbox::default();
    let client = sandbox.client("me");
    sandbox.create_namespace("ns");
    let mut object = config_map("a", "k", "v");
    object["metadata"]["namespace"] = "ns".into();
    create(&client, &object).await;
    call(
        &client,
        "DELETE",
        "/api/v1/namespaces/ns",
        "application/json",
        &Value::Null,
    )
    .await
    .unwrap();
    object["metadata"]["name"] = "b".into();
    let status = refused(fixtures::create(&client, &object).await);
    assert_eq!(status.code, 403);
    assert!(
        status.message.ends_with(
            "unable to create new content in namespace ns because it is being terminated"
        )
    );
    let applied = apply(
        &client,
        "/api/v1/namespaces/ns/configmaps/b",
        "m",
        true,
        &object,
    )
    .await;
    assert_eq!(refused(applied).code, 403);
    let _running = sandbox.start();
    pass(5 * SECOND).await;
    assert!(sandbox.peek("namespaces", "", "ns").is_none());
    assert_eq!(
        refused(fixtures::create(&client, &object).await).message,
        "namespaces \"ns\" not found"
    );
}
