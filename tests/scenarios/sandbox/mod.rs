//! The sandbox rig: our engine in this process, on an in-memory API server under a paused clock.

mod faults;

use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Body;
use bytes::Bytes;
use clap::Parser;
use http::{Request, Response};
use http_body_util::BodyExt;
use stellar_peers::{
    admission::registration::{Endpoint, FailurePolicy, Registration},
    app::AppArgs,
    clock::Clock,
    engine::Engine,
    sandbox::{InProcess, RequestRecord, RunningControllers, Sandbox, SandboxOptions, fixtures},
};
use tower::{BoxError, ServiceExt};

use crate::{
    ours::{OurRequest, Pace, Webhook},
    world::{Rig, World, kubernetes_object},
};

/// The name under which our program talks to the API server.
const USER: &str = "stellar-peers";

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    app: AppArgs,
}

/// Where the API server finds our webhook, while we run.
type Route = Arc<Mutex<Option<axum::Router>>>;

/// The sandbox, and our engine while it runs.
pub(crate) struct SandboxRig {
    pub(crate) sandbox: Sandbox,
    _controllers: RunningControllers,
    route: Route,
    ours: Vec<Replica>,
    namespace: String,
}

/// One replica of ours.
struct Replica {
    engine: Engine,
    /// As the Lease has it.
    identity: String,
}

/// Stand-ins ask a lot in an hour, and a story may look at all that was asked.
const REQUESTS_MAX: usize = 1 << 20;

/// A fresh sandbox with the kind StellarNode and a namespace for the story.
pub(crate) async fn world(_story: &str) -> World {
    let route = Route::default();
    let calls = Arc::clone(&route);
    let webhooks = InProcess::new(move |request: Request<Bytes>| {
        let router = calls.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let is_trusted = request.uri().host() == Some("ours");
        async move { call(router.filter(|_| is_trusted), request).await }
    });
    let sandbox = Sandbox::new(SandboxOptions {
        webhooks: Arc::new(webhooks),
        requests_max: REQUESTS_MAX,
        ..SandboxOptions::default()
    });
    let controllers = sandbox.start();
    let namespace = "stellar".to_owned();
    sandbox.create_namespace(&namespace);
    let admin = sandbox.client("admin");
    fixtures::create(&admin, &fixtures::stellar_node_definition())
        .await
        .expect("the kind is new");
    let rig = SandboxRig {
        sandbox,
        _controllers: controllers,
        route,
        ours: Vec::new(),
        namespace: namespace.clone(),
    };
    World::new(Rig::Sandbox(Box::new(rig)), admin, namespace, Pace::SANDBOX)
}

async fn call(
    router: Option<axum::Router>,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, BoxError> {
    let router = router.ok_or("connection refused")?;
    let answer = router.oneshot(request.map(Body::from)).await?;
    let (head, body) = answer.into_parts();
    Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
}

impl SandboxRig {
    /// Starts a replica beside those that run.
    pub(crate) fn start_ours(&mut self, flags: &[String]) {
        let own = [
            "ours",
            "--own-namespace",
            &self.namespace,
            "--namespaces",
            &self.namespace,
        ]
        .map(str::to_owned);
        let args = Flags::parse_from(own.into_iter().chain(flags.iter().cloned())).app;
        let clock = Clock::of_runtime("2027-01-15T08:00:00Z".parse().expect("a date"));
        let settings = args.settings(&self.namespace);
        let identity = settings.instance.clone();
        let engine = Engine::start(self.sandbox.client(USER), settings, clock);
        self.ours.push(Replica { engine, identity });
        self.route_to_the_first();
    }

    /// As by kill -9: nothing is finished, nothing is given up.
    pub(crate) fn kill_ours(&mut self) {
        self.ours.clear();
        self.route_to_the_first();
    }

    /// The same to the replica that has the Lease.
    pub(crate) fn kill_leader(&mut self, holder: &str) {
        self.ours.retain(|replica| replica.identity != holder);
        self.route_to_the_first();
    }

    /// As a Service does: to one that is there.
    fn route_to_the_first(&self) {
        let first = self.ours.first();
        let webhook = first.map(|replica| replica.engine.webhook.clone());
        *self.route.lock().unwrap_or_else(PoisonError::into_inner) = webhook;
    }

    pub(crate) fn is_ready(&self) -> bool {
        let mut replicas = self.ours.iter();
        !self.ours.is_empty() && replicas.all(|replica| replica.engine.stores.are_full())
    }

    pub(crate) fn replicas(&self) -> usize {
        self.ours.len()
    }

    pub(crate) async fn register(&self, how: Webhook) {
        let host = if how == Webhook::WrongCa {
            "stranger"
        } else {
            "ours"
        };
        let registration = Registration {
            endpoint: Endpoint::Url(format!("https://{host}/mutate")),
            ca_bundle: None,
            namespaces: vec![self.namespace.clone()],
            failure_policy: FailurePolicy::Ignore,
        };
        let object = kubernetes_object(&registration.to_object());
        fixtures::create(&self.sandbox.client("admin"), &object)
            .await
            .expect("it is the first registration");
    }

    pub(crate) fn requests(&self) -> Vec<OurRequest> {
        let ours = |it: &RequestRecord| &*it.info.user == USER;
        let records = self.sandbox.requests().into_iter().filter(ours);
        let request = |it: RequestRecord| OurRequest {
            is_write: it.is_write(),
            verb: it.info.verb.to_owned(),
            resource: it.info.resource,
            name: it.info.name,
            code: it.code.unwrap_or(0),
        };
        records.map(request).collect()
    }
}
