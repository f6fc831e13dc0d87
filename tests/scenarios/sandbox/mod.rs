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
    ours::{Pace, Webhook},
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
    ours: Option<Engine>,
    namespace: String,
}

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
        ours: None,
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
        let engine = Engine::start(self.sandbox.client(USER), settings, clock);
        *self.route.lock().unwrap_or_else(PoisonError::into_inner) = Some(engine.webhook.clone());
        self.ours = Some(engine);
    }

    /// As by kill -9: nothing is finished, nothing is given up.
    pub(crate) fn kill_ours(&mut self) {
        *self.route.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.ours = None;
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ours
            .as_ref()
            .is_some_and(|engine| engine.stores.are_full())
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

    pub(crate) fn requests(&self) -> Vec<(String, String, bool)> {
        let ours = |it: &RequestRecord| &*it.info.user == USER;
        let records = self.sandbox.requests().into_iter().filter(ours);
        records
            .map(|it| {
                (
                    it.info.verb.to_owned(),
                    it.info.resource.clone(),
                    it.is_write(),
                )
            })
            .collect()
    }
}
