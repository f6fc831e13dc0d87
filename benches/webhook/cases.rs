//! The reviews that are measured, as a real API server sends them: a recorder is registered beside our webhook and asked
//! first, while an operator writes validators ([`Validator`]).

use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    routing::post,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client};
use serde_json::{Value, json};
use stellar_peers::{
    admission::{
        connections::{ConnectionLimits, ConnectionStats, serve},
        registration::{Endpoint, FailurePolicy, Registration},
    },
    api::names,
    tls::{CertificateStore, load_files, server_config},
};
use tokio::{net::TcpListener, time::sleep};

use crate::{
    real::control_plane::{ControlPlane, User, eventually},
    writer::Validator,
};

/// The validators of the namespace; the last is the one whose CREATE is measured, the first the one whose UPDATEs are.
pub(crate) const VALIDATORS: [&str; 6] = [
    "validator-1",
    "validator-2",
    "validator-3",
    "validator-4",
    "validator-5",
    "validator-6",
];
/// The longest that anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// Until the API server knows of a registration.
const REGISTERED_AFTER: Duration = Duration::from_secs(2);
const BODY_BYTES_MAX: usize = 7 << 20;

/// A review that is sent again and again.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) body: Bytes,
    /// Whether its answer has to change the object.
    pub(crate) is_patched: bool,
}

/// What was reviewed so far.
#[derive(Clone, Debug, Default)]
struct Recorder(Arc<Mutex<Vec<Bytes>>>);

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, Vec<Bytes>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last review of a StatefulSet that is as wanted, waited for.
    async fn find(&self, what: &'static str, is_it: impl Fn(&Value) -> bool) -> Bytes {
        let of_a_set = |review: &Value| {
            review["request"]["resource"]["resource"] == "statefulsets" && is_it(review)
        };
        let found = || {
            let recorded = self.lock();
            let found = recorded.iter().rfind(|body| {
                let review = serde_json::from_slice(body);
                review.is_ok_and(|review| of_a_set(&review))
            });
            found.cloned()
        };
        eventually(what, PATIENCE, async || found().is_some()).await;
        found().expect("it was found a moment ago")
    }

    fn serve(&self, listener: TcpListener, tls: &Path) {
        let certificates = Arc::new(CertificateStore::default());
        certificates.replace(load_files(tls).expect("the benchmark made a certificate"));
        let app = Router::new()
            .route("/mutate", post(record))
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .with_state(self.clone());
        tokio::spawn(serve(
            listener,
            Some(Arc::new(server_config(certificates, None))),
            app,
            ConnectionLimits::default(),
            ConnectionStats::default(),
            std::future::pending(),
        ));
    }
}

async fn record(State(recorder): State<Recorder>, body: Bytes) -> Json<Value> {
    let review: Value = serde_json::from_slice(&body).unwrap_or_default();
    recorder.lock().push(body);
    let response = json!({"uid": review["request"]["uid"], "allowed": true});
    Json(json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response,
    }))
}

/// Lets validators come to a namespace in which our program already runs, with its webhook at `ours`, and records what
/// is reviewed. Afterwards all are members that our program knows, and nobody writes any more.
pub(crate) async fn record_on(
    plane: &ControlPlane,
    namespace: &str,
    ours: SocketAddr,
    tls: &Path,
) -> [Case; 3] {
    let admin = plane.client_for(User::Admin).await;
    let recorder = Recorder::default();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await;
    let listener = listener.expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    recorder.serve(listener, tls);
    // In the order of their names: the recorder sees what the writer sent.
    register(plane, namespace, address, tls).await;
    register(plane, namespace, ours, tls).await;
    sleep(REGISTERED_AFTER).await;
    let operator = plane.client_for(User::Operator).await;
    let mut validators = Vec::new();
    for (before, name) in VALIDATORS.iter().enumerate() {
        plane.claim(namespace, &format!("{name}-data")).await;
        validators.push(Validator::create(&operator, namespace, name).await);
        // The next one is to find it among the members.
        let members = async || members(&admin, namespace).await > before;
        eventually("the validator is a member", PATIENCE, members).await;
    }
    let [first, .., last] = VALIDATORS;
    let created = recorder.find("a CREATE", |it| is(it, last, "CREATE")).await;
    // From the second on the stored object is as the operator and we have left it, managed fields included.
    validators[0].write_on(2).await;
    let is_unchanged = |it: &Value| {
        is(it, first, "UPDATE") && is_injected(it) && spec(it, "object") == spec(it, "oldObject")
    };
    let unchanged = recorder
        .find("an UPDATE with the same template", is_unchanged)
        .await;
    validators[0].upgrade().await;
    let is_changed = |it: &Value| {
        let [new, stored] = ["object", "oldObject"].map(|which| &spec(it, which)["template"]);
        is(it, first, "UPDATE") && new != stored
    };
    let changed = recorder
        .find("an UPDATE with another template", is_changed)
        .await;
    [
        ("CREATE", created, true),
        ("UPDATE, template unchanged", unchanged, false),
        ("UPDATE, template changed", changed, true),
    ]
    .map(|(name, body, is_patched)| Case {
        name,
        body,
        is_patched,
    })
}

async fn register(plane: &ControlPlane, namespace: &str, address: SocketAddr, tls: &Path) {
    let authority = std::fs::read_to_string(tls.join("ca.crt")).expect("the benchmark made a CA");
    let url = format!("https://{address}/mutate");
    let registration = Registration {
        endpoint: Endpoint::Url(url.clone()),
        ca_bundle: Some(authority.clone()),
        namespaces: Vec::new(),
        failure_policy: FailurePolicy::Fail,
    };
    let mut produced = serde_json::to_value(registration.to_object()).expect("an object is JSON");
    for webhook in produced["webhooks"].as_array_mut().into_iter().flatten() {
        // Once a write: the recorder is not to see what ours made of it.
        webhook["reinvocationPolicy"] = json!("Never");
    }
    plane
        .register_webhook(&produced, &url, &authority, &[namespace])
        .await;
}

/// How many members our program has put on record.
async fn members(client: &Client, namespace: &str) -> usize {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let map = maps.get_opt(names::STELLAR_PEERS).await.ok().flatten();
    let data = map.and_then(|map| map.data).unwrap_or_default();
    let text = data.get(names::KEY_MEMBERS);
    let record: Value = text
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let nodes = record["nodes"].as_array().into_iter().flatten();
    nodes.filter(|node| node["member"] == true).count()
}

fn is(review: &Value, name: &str, operation: &str) -> bool {
    let request = &review["request"];
    request["name"] == name && request["operation"] == operation
}

fn spec<'a>(review: &'a Value, which: &str) -> &'a Value {
    &review["request"][which]["spec"]
}

fn is_injected(review: &Value) -> bool {
    let metadata = &spec(review, "oldObject")["template"]["metadata"];
    metadata["annotations"][names::MEMBERSHIP].is_string()
}
