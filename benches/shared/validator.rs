//! One validator as an operator and a cluster make it: the objects of which admissions and passes are measured.

use serde_json::{Value, json};
use stellar_peers::sandbox::{
    Sandbox, fixtures,
    operator::{Operator, OperatorOptions},
};
use tokio::{
    runtime::Builder,
    time::{Duration, sleep},
};

/// The namespace of all objects here.
pub(crate) const NAMESPACE: &str = "stellar";
/// The name of its node.
pub(crate) const NAME: &str = "validator";

/// The objects of one validator, as the API server stores them: defaults, managed fields and status included.
#[derive(Clone, Debug)]
pub(crate) struct Validator {
    pub(crate) stellar_node: Value,
    pub(crate) stateful_set: Value,
    pub(crate) pod: Value,
}

impl Validator {
    /// For another process.
    pub(crate) fn to_json(&self) -> Value {
        json!([self.stellar_node, self.stateful_set, self.pod])
    }

    /// What another process wrote.
    pub(crate) fn from_json(text: &str) -> Self {
        let objects = serde_json::from_str(text).expect("three objects");
        let [stellar_node, stateful_set, pod]: [Value; 3] = objects;
        Self {
            stellar_node,
            stateful_set,
            pod,
        }
    }
}

/// Lets the operator's stand-in make a validator on a sandbox of its own, under a paused clock.
pub(crate) fn made_by_the_operator() -> Validator {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    let runtime = runtime.expect("a runtime for the sandbox");
    runtime.block_on(async {
        let sandbox = Sandbox::default();
        let _controllers = sandbox.start();
        sandbox.create_namespace(NAMESPACE);
        let client = sandbox.client("admin");
        let node = fixtures::stellar_node(NAMESPACE, NAME, &["validator-1", "validator-2"]);
        for object in [fixtures::stellar_node_definition(), node] {
            let created = fixtures::create(&client, &object).await;
            created.expect("the object is new");
        }
        let operator = sandbox.client("stellar-operator");
        let _operator = Operator::start(operator, NAMESPACE, OperatorOptions::default());
        // Until the pod is Ready and the operator has written a few times more.
        sleep(Duration::from_secs(10)).await;
        let stored = |resource, name: &str| sandbox.peek(resource, NAMESPACE, name);
        Validator {
            stellar_node: stored("stellarnodes.stellar.org", NAME).expect("a StellarNode"),
            stateful_set: stored("statefulsets.apps", NAME).expect("a StatefulSet"),
            pod: stored("pods", &format!("{NAME}-0")).expect("a pod"),
        }
    })
}
