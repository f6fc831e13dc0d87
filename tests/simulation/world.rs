//! The cluster of one run, and everybody in it.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use stellar_peers::{
    admission::registration::{Endpoint, FailurePolicy, Registration},
    sandbox::{
        RunningControllers, Sandbox, SandboxOptions, fixtures,
        operator::{Operator, OperatorOptions},
    },
};
use tokio::time::Instant;

use crate::{
    core_like,
    deeds::Undo,
    faults::Faults,
    observer::Shared,
    people::People,
    plan::{NAMESPACE, NewValidator, Plan},
    processes::Processes,
    random::Random,
    webhooks::{self, Webhooks},
};

/// The cluster, and everybody in it.
pub(crate) struct World {
    pub(crate) plan: Arc<Plan>,
    pub(crate) sandbox: Sandbox,
    _controllers: RunningControllers,
    pub(crate) observer: Shared,
    pub(crate) faults: Faults,
    pub(crate) webhooks: Webhooks,
    pub(crate) processes: Processes,
    pub(crate) operator: Option<Operator>,
    pub(crate) people: People,
    pub(crate) random: Random,
    /// Validators that were made beside those of the plan.
    pub(crate) made: Vec<NewValidator>,
    undos: Vec<(Instant, Undo)>,
}

impl World {
    /// A cluster with its first validators, and none of ours.
    pub(crate) async fn new(plan: Plan, traces: bool) -> Self {
        let mut random = plan.random.clone();
        let plan = Arc::new(plan);
        let observer = Shared::new(Arc::clone(&plan), traces);
        let webhooks = Webhooks::default();
        let sandbox = Sandbox::new(SandboxOptions {
            requests_max: 0,
            timing: plan.timing,
            webhooks: Arc::new(webhooks.transport(observer.clone())),
            ..SandboxOptions::default()
        });
        let faults = Faults::new(Arc::clone(&plan), observer.clone(), random.fork());
        let processes = Processes::new(
            Arc::clone(&plan),
            sandbox.clone(),
            observer.clone(),
            faults.clone(),
            webhooks.clone(),
            random.fork(),
        );
        let mut world = Self {
            _controllers: sandbox.start(),
            people: People(sandbox.client("people")),
            plan,
            sandbox,
            observer,
            faults,
            webhooks,
            processes,
            operator: None,
            random,
            made: Vec::new(),
            undos: Vec::new(),
        };
        world.witness();
        world.furnish().await;
        world
    }

    fn witness(&self) {
        let observer = self.observer.clone();
        self.sandbox
            .witness_changes(move |change| observer.lock().on_change(&change));
        let observer = self.observer.clone();
        self.sandbox
            .witness_requests(move |record| observer.lock().on_request(record));
        let faults = self.faults.clone();
        self.sandbox.set_faults(move |request| faults.draw(request));
        if self.plan.is_core_like {
            let observer = self.observer.clone();
            self.sandbox
                .set_ready_check(move |pod, _| core_like::is_ready(pod, &observer));
        }
    }

    async fn furnish(&mut self) {
        self.sandbox.create_namespace(NAMESPACE);
        let mut objects = vec![fixtures::stellar_node_definition()];
        if self.plan.is_reached {
            objects.push(registration());
        }
        if self.plan.is_reinvoked {
            objects.push(webhooks::other_registration());
        }
        let admin = self.sandbox.client("admin");
        for object in &objects {
            fixtures::create(&admin, object).await.expect("it is new");
        }
        self.start_operator(self.plan.operator.interval);
        let plan = Arc::clone(&self.plan);
        for validator in &plan.validators {
            self.people.create(validator).await;
        }
    }

    pub(crate) fn start_operator(&mut self, interval: Duration) {
        let options = OperatorOptions {
            interval,
            ..self.plan.operator.clone()
        };
        self.operator = Some(Operator::start(
            self.sandbox.client("operator"),
            NAMESPACE,
            options,
        ));
    }

    /// Ends something after a time between these.
    pub(crate) fn later(&mut self, least: Duration, most: Duration, undo: Undo) {
        let after = self.random.time(least, most);
        self.undos.push((Instant::now() + after, undo));
    }

    /// Ends something after a while.
    pub(crate) fn for_a_while(&mut self, undo: Undo) {
        self.later(Duration::from_secs(1), Duration::from_mins(1), undo);
    }

    /// When something that lasts ends next.
    pub(crate) fn next_undo(&self) -> Option<Instant> {
        self.undos.iter().map(|(at, _)| *at).min()
    }

    /// Ends what is due, or all.
    pub(crate) async fn undo_due(&mut self, all: bool) {
        let now = Instant::now();
        let undos = std::mem::take(&mut self.undos);
        let (due, rest) = undos.into_iter().partition(|(at, _)| all || *at <= now);
        self.undos = rest;
        let due: Vec<(Instant, Undo)> = due;
        for (_, undo) in due {
            self.undo(undo).await;
        }
    }
}

fn registration() -> Value {
    let registration = Registration {
        endpoint: Endpoint::Url("https://ours/mutate".to_owned()),
        ca_bundle: None,
        namespaces: vec![NAMESPACE.to_owned()],
        failure_policy: FailurePolicy::Ignore,
    };
    let mut object = serde_json::to_value(registration.to_object()).expect("it serializes");
    object["apiVersion"] = "admissionregistration.k8s.io/v1".into();
    object["kind"] = "MutatingWebhookConfiguration".into();
    object
}
