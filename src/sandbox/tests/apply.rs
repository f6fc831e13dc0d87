//! Server-side apply: who owns what, and what becomes of it.

use super::*;

fn path(name: &str) -> String {
    format!("{CONFIG_MAPS}/{name}")
}

#[tokio::test(start_paused = true)]
async fn an_apply_creates_and_an_unchanged_one_moves_nothing() {
    let sandbox = Sandbox::default();
    let client = sandbox.client("me");
    let first = apply(
        &client,
        &path("a"),
        "one",
        false,
        &config_map("a", "k", "v"),
    )
    .await
    .unwrap();
    assert_eq!(
        first["metadata"]["managedFields"][0]["fieldsV1"],
        json!({"f:data": {"f:k": {}}})
    );
    pass(5 * SECOND).await;
    let again = apply(
        &client,
        &path("a"),
        "one",
        false,
        &config_map("a", "k", "v"),
    )
    .await
    .unwrap();
    assert_eq!(again, first);
    let set = apply(
        &client,
        &format!("{SETS}/s"),
        "one",
        true,
        &stateful_set("s"),
    )
    .await
    .unwrap();
    let again = apply(
        &client,
        &format!("{SETS}/s"),
        "one",
        true,
        &stateful_set("s"),
    )
    .await
    .unwrap();
    assert_eq!(again, set);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_field_conflicts_unless_forced_and_then_changes_hands() {
    let client = Sandbox::default().client("me");
    apply(
        &client,
        &path("a"),
        "one",
        false,
        &config_map("a", "k", "1"),
    )
    .await
    .unwrap();
    let status = refused(
        apply(
            &client,
            &path("a"),
            "two",
            false,
            &config_map("a", "k", "2"),
        )
        .await,
    );
    assert_eq!(
        (status.code, status.message.as_str()),
        (
            409,
            "Apply failed with 1 conflict: conflict with \"one\": .data.k"
        )
    );
    let causes = status.details.unwrap().causes;
    assert_eq!(
        (causes[0].reason.as_str(), causes[0].field.as_str()),
        ("FieldManagerConflict", ".data.k")
    );
    let taken = apply(&client, &path("a"), "two", true, &config_map("a", "k", "2"))
        .await
        .unwrap();
    assert_eq!(taken["data"]["k"], "2");
    let owners: Vec<_> = taken["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["manager"].clone())
        .collect();
    assert_eq!(owners, ["two"]);
    apply(
        &client,
        &path("a"),
        "one",
        false,
        &config_map("a", "k", "2"),
    )
    .await
    .expect("the same value is shared");
}

#[tokio::test(start_paused = true)]
async fn what_a_manager_drops_goes_unless_somebody_else_owns_it() {
    let client = Sandbox::default().client("me");
    let mut both = config_map("a", "mine", "1");
    both["data"]["shared"] = "1".into();
    apply(&client, &path("a"), "one", false, &both)
        .await
        .unwrap();
    apply(
        &client,
        &path("a"),
        "two",
        false,
        &config_map("a", "shared", "1"),
    )
    .await
    .unwrap();
    merge(&client, &path("a"), json!({"data": {"foreign": "1"}}))
        .await
        .unwrap();
    let left = apply(
        &client,
        &path("a"),
        "one",
        false,
        &config_map("a", "other", "1"),
    )
    .await
    .unwrap();
    assert_eq!(
        left["data"],
        json!({"shared": "1", "foreign": "1", "other": "1"})
    );
}

#[tokio::test(start_paused = true)]
async fn an_apply_is_compare_and_swap_where_it_names_a_version_or_a_uid() {
    let client = Sandbox::default().client("me");
    let mut object = config_map("a", "k", "1");
    object["metadata"]["uid"] = "nobody".into();
    assert_eq!(
        refused(apply(&client, &path("a"), "one", true, &object).await).code,
        409
    );
    let first = apply(
        &client,
        &path("a"),
        "one",
        false,
        &config_map("a", "k", "1"),
    )
    .await
    .unwrap();
    let mut swap = config_map("a", "k", "2");
    swap["metadata"]["resourceVersion"] = first["metadata"]["resourceVersion"].clone();
    apply(&client, &path("a"), "one", false, &swap)
        .await
        .unwrap();
    swap["data"]["k"] = "3".into();
    assert_eq!(
        refused(apply(&client, &path("a"), "one", true, &swap).await).reason,
        "Conflict"
    );
    let nameless = call(
        &client,
        "PATCH",
        &path("a"),
        "application/apply-patch+yaml",
        &swap,
    )
    .await;
    assert_eq!(refused(nameless).code, 422, "an apply needs a manager");
}

#[tokio::test(start_paused = true)]
async fn lists_merge_by_their_keys_and_unowned_items_keep_their_place() {
    let client = Sandbox::default().client("me");
    let path = format!("{SETS}/a");
    apply(&client, &path, "operator", true, &stateful_set("a"))
        .await
        .unwrap();
    let ours = json!([
        {"op": "add", "path": "/spec/template/spec/initContainers", "value": [{"name": "ours", "image": "x:1"}]},
        {"op": "add", "path": "/spec/template/spec/volumes", "value": [{"name": "ours", "emptyDir": {}}]},
        {"op": "add", "path": "/spec/template/spec/containers/0/volumeMounts", "value": [{"name": "ours", "mountPath": "/x"}]},
        {"op": "add", "path": "/spec/template/metadata/annotations", "value": {"ours": "1"}},
    ]);
    json_patch(&client, &path, ours).await.unwrap();
    let mut more = stateful_set("a");
    more["spec"]["template"]["spec"]["initContainers"] =
        json!([{"name": "theirs", "image": "y:1"}]);
    more["spec"]["template"]["spec"]["containers"][0]["image"] = "core:2".into();
    let merged = apply(&client, &path, "operator", true, &more)
        .await
        .unwrap();
    let spec = &merged["spec"]["template"]["spec"];
    let names: Vec<_> = spec["initContainers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].clone())
        .collect();
    assert_eq!(names, ["ours", "theirs"]);
    assert_eq!(spec["containers"][0]["image"], "core:2");
    assert_eq!(spec["containers"][0]["volumeMounts"][0]["name"], "ours");
    assert_eq!(
        merged["spec"]["template"]["metadata"]["annotations"]["ours"],
        "1"
    );
}

#[tokio::test(start_paused = true)]
async fn an_update_takes_what_it_changes_from_those_who_applied_it() {
    let client = Sandbox::default().client("me");
    apply(
        &client,
        &path("a"),
        "one",
        false,
        &config_map("a", "k", "1"),
    )
    .await
    .unwrap();
    let changed = merge(&client, &path("a"), json!({"data": {"k": "2"}}))
        .await
        .unwrap();
    let managers = &changed["metadata"]["managedFields"];
    assert_eq!(
        (
            managers.as_array().unwrap().len(),
            &managers[0]["manager"],
            &managers[0]["operation"]
        ),
        (1, &json!("me"), &json!("Update"))
    );
    assert_eq!(
        refused(
            apply(
                &client,
                &path("a"),
                "one",
                false,
                &config_map("a", "k", "1")
            )
            .await
        )
        .code,
        409
    );
}

#[tokio::test(start_paused = true)]
async fn an_apply_names_only_fields_that_exist_and_creates_whatever_version_it_names() {
    let client = Sandbox::default().client("me");
    let mut unknown = config_map("a", "k", "1");
    unknown["spec"] = json!({"x": 1});
    let status = refused(apply(&client, &path("a"), "one", true, &unknown).await);
    assert_eq!(status.code, 500);
    assert!(
        status
            .message
            .ends_with(".spec: field not declared in schema"),
        "{}",
        status.message
    );
    let pruned = create(&client, &unknown).await;
    assert!(pruned["spec"].is_null(), "other writes drop such fields");
    let mut fresh = config_map("b", "k", "1");
    fresh["metadata"]["resourceVersion"] = "1".into();
    let made = apply(&client, &path("b"), "one", false, &fresh)
        .await
        .unwrap();
    assert_eq!(
        made["data"]["k"], "1",
        "there is nothing to compare it with"
    );
}

#[tokio::test(start_paused = true)]
async fn an_item_that_its_manager_drops_goes_with_what_others_own_in_it() {
    let client = Sandbox::default().client("me");
    let path = format!("{SETS}/a");
    let mut two = stateful_set("a");
    let side = json!({"name": "side", "image": "side:1"});
    two["spec"]["template"]["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(side);
    apply(&client, &path, "operator", true, &two).await.unwrap();
    let port = json!([{"op": "add", "path": "/spec/template/spec/containers/1/ports", "value": [{"containerPort": 1}]}]);
    json_patch(&client, &path, port).await.unwrap();
    let left = apply(&client, &path, "operator", true, &stateful_set("a"))
        .await
        .unwrap();
    assert_eq!(
        left["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let metadata =
        json!([{"op": "add", "path": "/metadata/annotations", "value": {"foreign": "1"}}]);
    json_patch(&client, &path, metadata).await.unwrap();
    let mut labelled = stateful_set("a");
    labelled["metadata"]["labels"] = json!({"x": "y"});
    apply(&client, &path, "operator", true, &labelled)
        .await
        .unwrap();
    let bare = apply(&client, &path, "operator", true, &stateful_set("a"))
        .await
        .unwrap();
    assert_eq!(bare["metadata"]["annotations"]["foreign"], "1");
    assert!(bare["metadata"]["labels"].is_null());
}
