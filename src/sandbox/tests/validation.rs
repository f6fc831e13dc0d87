//! What is refused, and which field is named.

use super::*;

/// The field that the server names for a StatefulSet changed like this.
async fn field_refused(change: impl FnOnce(&mut Value)) -> String {
    let client = Sandbox::default().client("me");
    let mut set = stateful_set("a");
    set["spec"]["template"]["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
    set["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "v", "mountPath": "/v"}]);
    set["spec"]["template"]["spec"]["containers"][0]["ports"] =
        json!([{"name": "p", "containerPort": 1}]);
    change(&mut set);
    let status = refused(fixtures::create(&client, &set).await);
    assert_eq!(
        (status.code, status.reason.as_str()),
        (422, "Invalid"),
        "{}",
        status.message
    );
    status.details.unwrap().causes[0].field.clone()
}

#[tokio::test(start_paused = true)]
async fn a_broken_pod_template_is_refused_by_field() {
    let pod = "spec.template.spec";
    let field = field_refused(|set| set["spec"]["template"]["spec"]["volumes"] = json!([])).await;
    assert_eq!(field, format!("{pod}.containers[0].volumeMounts[0].name"));
    let field = field_refused(|set| {
        set["spec"]["template"]["spec"]["volumes"] = json!([{"name": "v"}, {"name": "v"}]);
    })
    .await;
    assert_eq!(field, format!("{pod}.volumes[1].name"));
    let field = field_refused(|set| {
        set["spec"]["template"]["spec"]["containers"][0]["ports"] =
            json!([{"name": "p", "containerPort": 1}, {"name": "p", "containerPort": 2}]);
    });
    assert_eq!(field.await, format!("{pod}.containers[0].ports[1].name"));
    let field = field_refused(|set| {
        let mount = json!({"name": "v", "mountPath": "/v"});
        set["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = json!([mount, mount]);
    });
    assert_eq!(
        field.await,
        format!("{pod}.containers[0].volumeMounts[1].mountPath")
    );
    let field =
        field_refused(|set| set["spec"]["template"]["metadata"]["labels"] = json!({"app": "b"}))
            .await;
    assert_eq!(field, "spec.template.metadata.labels");
    assert_eq!(
        field_refused(|set| set["metadata"]["name"] = "A".into()).await,
        "metadata.name"
    );
}

#[tokio::test(start_paused = true)]
async fn what_may_not_change_does_not_change() {
    let client = Sandbox::default().client("me");
    create(&client, &stateful_set("a")).await;
    let path = format!("{SETS}/a");
    for spec in [
        json!({"serviceName": "x"}),
        json!({"podManagementPolicy": "Parallel"}),
        json!({"selector": {"matchLabels": {"b": "c"}}}),
    ] {
        let status = refused(merge(&client, &path, json!({"spec": spec})).await);
        assert!(
            status
                .message
                .contains("updates to statefulset spec for fields other than"),
            "{}",
            status.message
        );
    }
    merge(
        &client,
        &path,
        json!({"spec": {"updateStrategy": {"rollingUpdate": {"partition": 1}}}}),
    )
    .await
    .unwrap();
    let mut fixed = config_map("c", "k", "v");
    fixed["immutable"] = true.into();
    create(&client, &fixed).await;
    let status = refused(
        merge(
            &client,
            &format!("{CONFIG_MAPS}/c"),
            json!({"data": {"k": "w"}}),
        )
        .await,
    );
    assert_eq!(status.details.unwrap().causes[0].field, "data");
}

#[tokio::test(start_paused = true)]
async fn wrong_types_and_large_data_are_refused() {
    let client = Sandbox::default().client("me");
    let mut set = stateful_set("a");
    set["spec"]["template"]["metadata"]["annotations"] = json!({"n": 1});
    assert_eq!(refused(fixtures::create(&client, &set).await).code, 400);
    let large = config_map("a", "k", &"x".repeat(1024 * 1024 + 1));
    assert_eq!(refused(fixtures::create(&client, &large).await).code, 422);
    let other = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}});
    assert_eq!(
        refused(call(&client, "POST", CONFIG_MAPS, "application/json", &other).await).code,
        400
    );
    assert_eq!(
        refused(call(&client, "POST", CONFIG_MAPS, "application/json", &json!([])).await).code,
        400
    );
    assert_eq!(
        refused(
            call(
                &client,
                "POST",
                &CONFIG_MAPS.replace("default", "none"),
                "application/json",
                &json!({})
            )
            .await
        )
        .code,
        404
    );
}
