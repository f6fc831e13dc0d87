//! StatefulSets and their pods, as they were seen on a real control plane.

use kube::api::DeleteParams;

use super::*;

async fn cluster(
    change: impl FnOnce(&mut Value),
) -> (Sandbox, Client, crate::sandbox::RunningControllers) {
    let sandbox = Sandbox::default();
    let running = sandbox.start();
    let client = sandbox.client("me");
    let mut set = stateful_set("a");
    change(&mut set);
    create(&client, &set).await;
    (sandbox, client, running)
}

fn pod(sandbox: &Sandbox, name: &str) -> Value {
    sandbox.peek("pods", "default", name).unwrap_or_default()
}

fn uid(sandbox: &Sandbox, name: &str) -> String {
    pod(sandbox, name)["metadata"]["uid"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn status(sandbox: &Sandbox) -> Value {
    sandbox.peek("statefulsets.apps", "default", "a").unwrap()["status"].clone()
}

fn parallel(set: &mut Value) {
    set["spec"]["podManagementPolicy"] = "Parallel".into();
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_created_runs_and_becomes_ready() {
    let (sandbox, _client, _running) = cluster(|_| {}).await;
    pass(100 * MILLISECOND).await;
    let made = pod(&sandbox, "a-0");
    assert_eq!(
        (&made["status"]["phase"], &made["status"]["podIP"]),
        (&json!("Pending"), &Value::Null)
    );
    assert_eq!(
        made["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"],
        "a-0"
    );
    assert_eq!(
        made["metadata"]["labels"]["apps.kubernetes.io/pod-index"],
        "0"
    );
    assert_eq!(made["metadata"]["ownerReferences"][0]["controller"], true);
    pass(200 * MILLISECOND).await;
    assert_eq!(pod(&sandbox, "a-0")["status"]["podIP"], "10.244.0.1");
    assert!(!is_ready(&pod(&sandbox, "a-0")));
    pass(SECOND).await;
    assert!(is_ready(&pod(&sandbox, "a-0")));
    let status = status(&sandbox);
    assert_eq!(
        (
            &status["readyReplicas"],
            &status["updatedReplicas"],
            &status["observedGeneration"]
        ),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(status["currentRevision"], status["updateRevision"]);
    assert_eq!(
        pod(&sandbox, "a-0")["metadata"]["labels"]["controller-revision-hash"],
        status["updateRevision"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_changed_template_replaces_a_ready_pod_and_the_current_revision_lags() {
    let (sandbox, client, _running) = cluster(|_| {}).await;
    pass(2 * SECOND).await;
    let (before, old) = (pod(&sandbox, "a-0"), status(&sandbox));
    touch_template(&client, "a", "1").await;
    pass(100 * MILLISECOND).await;
    let halfway = status(&sandbox);
    assert_eq!(halfway["currentRevision"], old["updateRevision"]);
    assert_ne!(halfway["updateRevision"], old["updateRevision"]);
    assert_eq!(halfway["observedGeneration"], 2);
    assert!(
        !pod(&sandbox, "a-0")["metadata"]["deletionTimestamp"].is_null(),
        "it has its grace"
    );
    pass(3 * SECOND).await;
    let after = pod(&sandbox, "a-0");
    assert_ne!(after["metadata"]["uid"], before["metadata"]["uid"]);
    assert_ne!(after["status"]["podIP"], before["status"]["podIP"]);
    assert!(is_ready(&after));
    assert_eq!(
        status(&sandbox)["currentRevision"],
        halfway["updateRevision"]
    );
}

#[tokio::test(start_paused = true)]
async fn an_ordered_set_keeps_a_not_ready_pod_and_a_parallel_one_replaces_it() {
    for (is_parallel, is_replaced) in [(false, false), (true, true)] {
        let (sandbox, client, _running) = cluster(|set| {
            if is_parallel {
                parallel(set);
            }
        })
        .await;
        pass(2 * SECOND).await;
        sandbox.hold_ready("default", "a-0");
        pass(SECOND).await;
        assert!(!is_ready(&pod(&sandbox, "a-0")));
        let before = uid(&sandbox, "a-0");
        touch_template(&client, "a", "1").await;
        pass(12 * SECOND).await;
        assert_eq!(uid(&sandbox, "a-0") != before, is_replaced);
        if !is_replaced {
            pods(&client)
                .delete("a-0", &DeleteParams::default())
                .await
                .unwrap();
            pass(2 * SECOND).await;
            let revision =
                pod(&sandbox, "a-0")["metadata"]["labels"]["controller-revision-hash"].clone();
            assert_eq!(
                revision,
                status(&sandbox)["updateRevision"],
                "deleting it brings it back on the new revision"
            );
        }
        sandbox.release_ready("default", "a-0");
        pass(2 * SECOND).await;
        assert!(is_ready(&pod(&sandbox, "a-0")));
    }
}

#[tokio::test(start_paused = true)]
async fn an_ordered_set_starts_upwards_and_rolls_downwards_one_at_a_time() {
    let (sandbox, client, _running) = cluster(|set| set["spec"]["replicas"] = 3.into()).await;
    pass(500 * MILLISECOND).await;
    assert_eq!(
        sandbox.peek_all("pods", "default").len(),
        1,
        "the second waits for the first"
    );
    pass(5 * SECOND).await;
    assert_eq!(status(&sandbox)["readyReplicas"], 3);
    let old = [
        uid(&sandbox, "a-0"),
        uid(&sandbox, "a-1"),
        uid(&sandbox, "a-2"),
    ];
    touch_template(&client, "a", "1").await;
    pass(SECOND).await;
    assert_eq!([uid(&sandbox, "a-0"), uid(&sandbox, "a-1")], old[..2]);
    assert_ne!(uid(&sandbox, "a-2"), old[2]);
    pass(5 * SECOND).await;
    assert_eq!(status(&sandbox)["updatedReplicas"], 3);
    merge(
        &client,
        &format!("{SETS}/a/scale"),
        json!({"spec": {"replicas": 0}}),
    )
    .await
    .unwrap();
    pass(5 * SECOND).await;
    assert!(sandbox.peek_all("pods", "default").is_empty());
    assert_eq!(status(&sandbox)["replicas"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_partition_and_on_delete_hold_the_old_revision() {
    for strategy in [
        json!({"type": "OnDelete"}),
        json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}),
    ] {
        let is_on_delete = strategy["type"] == "OnDelete";
        let (sandbox, client, _running) =
            cluster(|set| set["spec"]["updateStrategy"] = strategy).await;
        pass(2 * SECOND).await;
        let (before, revision) = (
            uid(&sandbox, "a-0"),
            status(&sandbox)["updateRevision"].clone(),
        );
        touch_template(&client, "a", "1").await;
        pass(10 * SECOND).await;
        assert_eq!(uid(&sandbox, "a-0"), before);
        pods(&client)
            .delete("a-0", &DeleteParams::default())
            .await
            .unwrap();
        pass(2 * SECOND).await;
        let now = pod(&sandbox, "a-0")["metadata"]["labels"]["controller-revision-hash"].clone();
        assert_eq!(
            now == revision,
            !is_on_delete,
            "beneath the partition it comes back as it was"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn readiness_follows_annotations_holds_and_a_check() {
    let (sandbox, client, _running) = cluster(|set| {
        set["spec"]["template"]["metadata"]["annotations"] =
            json!({"rig.test/ready-delay-ms": "5000"});
    })
    .await;
    pass(5 * SECOND).await;
    assert!(!is_ready(&pod(&sandbox, "a-0")));
    pass(SECOND).await;
    assert!(is_ready(&pod(&sandbox, "a-0")));
    merge(
        &client,
        &format!("{SETS}/a"),
        json!({"spec": {"template": {"metadata": {"annotations": {"rig.test/ready": "never"}}}}}),
    )
    .await
    .unwrap();
    pass(20 * SECOND).await;
    assert!(!is_ready(&pod(&sandbox, "a-0")));

    let sandbox = Sandbox::default();
    sandbox.set_ready_check(|_, world| world.object("configmaps", "default", "go").is_some());
    let _running = sandbox.start();
    let client = sandbox.client("me");
    create(&client, &stateful_set("a")).await;
    pass(10 * SECOND).await;
    assert!(!is_ready(&pod(&sandbox, "a-0")));
    create(&client, &config_map("go", "k", "v")).await;
    pass(2 * SECOND).await;
    assert!(is_ready(&pod(&sandbox, "a-0")));
}

#[tokio::test(start_paused = true)]
async fn a_pod_loses_and_gains_readiness_by_annotation() {
    let (sandbox, client, _running) = cluster(|_| {}).await;
    pass(2 * SECOND).await;
    assert!(is_ready(&pod(&sandbox, "a-0")));
    let uid = pod(&sandbox, "a-0")["metadata"]["uid"].clone();
    for (annotation, ready) in [(json!("never"), false), (json!(null), true)] {
        let patch = json!({"metadata": {"annotations": {"rig.test/ready": annotation}}});
        let path = "/api/v1/namespaces/default/pods/a-0";
        merge(&client, path, patch).await.unwrap();
        pass(SECOND).await;
        assert_eq!(is_ready(&pod(&sandbox, "a-0")), ready);
    }
    assert_eq!(pod(&sandbox, "a-0")["metadata"]["uid"], uid);
}

#[tokio::test(start_paused = true)]
async fn deleting_a_set_collects_its_pods_and_keeps_its_claims() {
    let sandbox = Sandbox::default();
    let _running = sandbox.start();
    let client = sandbox.client("me");
    create(&client, &fixtures::chart_stateful_set("default", "core")).await;
    pass(2 * SECOND).await;
    assert!(is_ready(
        &sandbox.peek("pods", "default", "core-0").unwrap()
    ));
    sets(&client)
        .delete("core", &DeleteParams::default())
        .await
        .unwrap();
    pass(2 * SECOND).await;
    assert!(sandbox.peek("pods", "default", "core-0").is_none());
    assert!(
        sandbox
            .peek("persistentvolumeclaims", "default", "data-core-0")
            .is_some()
    );
}

#[tokio::test(start_paused = true)]
async fn an_address_can_be_chosen() {
    let sandbox = Sandbox::default();
    sandbox.pin_address("default", "a-0", "10.244.9.9".parse().unwrap());
    let _running = sandbox.start();
    create(&sandbox.client("me"), &stateful_set("a")).await;
    pass(SECOND).await;
    assert_eq!(pod(&sandbox, "a-0")["status"]["podIP"], "10.244.9.9");
}

#[tokio::test(start_paused = true)]
async fn nothing_moves_while_the_server_is_cut_off() {
    let (sandbox, _client, _running) = cluster(|_| {}).await;
    sandbox.set_available(false);
    let version = sandbox.version();
    pass(60 * SECOND).await;
    assert_eq!(sandbox.version(), version);
    sandbox.set_available(true);
    pass(5 * SECOND).await;
    assert!(is_ready(&pod(&sandbox, "a-0")));
}
