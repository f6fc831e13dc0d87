//! The stand-in operator, against the sandbox.

use kube::api::DeleteParams;

use super::*;
use crate::sandbox::operator::{Operator, OperatorOptions, WriteMode};

#[tokio::test(start_paused = true)]
async fn it_keeps_a_stateful_set_for_each_validator_and_never_stops_writing() {
    for mode in [WriteMode::Apply, WriteMode::Replace] {
        let sandbox = Sandbox::default();
        let _running = sandbox.start();
        let client = sandbox.client("me");
        create(&client, &fixtures::stellar_node_definition()).await;
        create(&client, &fixtures::stellar_node("default", "v1", &["v2"])).await;
        let _operator = Operator::start(
            sandbox.client("operator"),
            "default",
            OperatorOptions {
                mode,
                ..OperatorOptions::default()
            },
        );
        pass(3 * SECOND).await;
        let set = sandbox.peek("statefulsets.apps", "default", "v1").unwrap();
        assert_eq!(
            set["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/instance"],
            "v1"
        );
        assert!(is_ready(&sandbox.peek("pods", "default", "v1-0").unwrap()));
        pass(5 * SECOND).await;
        let later = sandbox.peek("statefulsets.apps", "default", "v1").unwrap();
        assert_ne!(
            later["metadata"]["resourceVersion"],
            set["metadata"]["resourceVersion"]
        );
        assert_eq!(later["metadata"]["generation"], 1);
    }
}

#[tokio::test(start_paused = true)]
async fn what_others_add_stays_under_apply_and_goes_under_replace() {
    for (mode, stays) in [(WriteMode::Apply, true), (WriteMode::Replace, false)] {
        let sandbox = Sandbox::default();
        let client = sandbox.client("me");
        create(&client, &fixtures::stellar_node_definition()).await;
        create(&client, &fixtures::stellar_node("default", "v1", &[])).await;
        let _operator = Operator::start(
            sandbox.client("operator"),
            "default",
            OperatorOptions {
                mode,
                ..OperatorOptions::default()
            },
        );
        pass(SECOND).await;
        touch_template(&client, "v1", "1").await;
        merge(
            &client,
            &format!("{SETS}/v1"),
            json!({"spec": {"replicas": 5}}),
        )
        .await
        .unwrap();
        pass(SECOND).await;
        let set = sandbox.peek("statefulsets.apps", "default", "v1").unwrap();
        assert_eq!(
            set["spec"]["template"]["metadata"]["annotations"]["touched"] == "1",
            stays
        );
        assert_eq!(set["spec"]["replicas"], 1, "what it owns comes back");
    }
}

#[tokio::test(start_paused = true)]
async fn suspension_scales_to_zero_and_deletion_goes_through_a_finalizer() {
    let sandbox = Sandbox::default();
    let _running = sandbox.start();
    let client = sandbox.client("me");
    create(&client, &fixtures::stellar_node_definition()).await;
    for name in ["v1", "v2"] {
        create(&client, &fixtures::stellar_node("default", name, &[])).await;
    }
    let _operator = Operator::start(
        sandbox.client("operator"),
        "default",
        OperatorOptions::default(),
    );
    pass(2 * SECOND).await;
    let nodes = "/apis/stellar.org/v1alpha1/namespaces/default/stellarnodes";
    merge(
        &client,
        &format!("{nodes}/v1"),
        json!({"spec": {"suspended": true}}),
    )
    .await
    .unwrap();
    merge(
        &client,
        &format!("{nodes}/v2"),
        json!({"spec": {"nodeType": "Horizon"}}),
    )
    .await
    .unwrap();
    pass(3 * SECOND).await;
    assert!(sandbox.peek_all("pods", "default").is_empty());
    assert!(sandbox.peek("statefulsets.apps", "default", "v1").is_some());
    assert!(sandbox.peek("statefulsets.apps", "default", "v2").is_none());
    let kind = kube::core::GroupVersionKind::gvk("stellar.org", "v1alpha1", "StellarNode");
    let (resource, _) = kube::discovery::pinned_kind(&client, &kind).await.unwrap();
    let api: Api<kube::core::DynamicObject> =
        Api::namespaced_with(client.clone(), "default", &resource);
    api.delete("v1", &DeleteParams::default()).await.unwrap();
    assert!(api.get_opt("v1").await.unwrap().is_some());
    pass(2 * SECOND).await;
    assert!(api.get_opt("v1").await.unwrap().is_none());
    assert!(sandbox.peek_all("statefulsets.apps", "default").is_empty());
}
