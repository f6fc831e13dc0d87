//! The same script, run twice, gives the same bytes.

use super::*;
use crate::sandbox::{
    RequestRecord,
    operator::{Operator, OperatorOptions},
};

async fn script() -> (Vec<RequestRecord>, Vec<String>) {
    let sandbox = Sandbox::default();
    let _running = sandbox.start();
    let client = sandbox.client("me");
    create(&client, &fixtures::stellar_node_definition()).await;
    for index in 0..5 {
        create(
            &client,
            &fixtures::stellar_node("default", &format!("v{index}"), &[]),
        )
        .await;
    }
    let _operator = Operator::start(
        sandbox.client("operator"),
        "default",
        OperatorOptions::default(),
    );
    pass(5 * SECOND).await;
    touch_template(&client, "v2", "1").await;
    sandbox.break_watches();
    pass(5 * SECOND).await;
    let kinds = [
        "pods",
        "statefulsets.apps",
        "configmaps",
        "stellarnodes.stellar.org",
        "namespaces",
    ];
    let objects = kinds
        .iter()
        .flat_map(|kind| sandbox.peek_all(kind, ""))
        .map(|object| object.to_string())
        .collect();
    (sandbox.requests(), objects)
}

#[test]
fn two_runs_of_a_script_are_equal_to_the_byte() {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(script())
    };
    let (first, second) = (run(), run());
    assert!(first.0.len() > 100);
    assert_eq!(first, second);
}
