//! The real service on an in-memory cluster, in real time and with short waits.

use std::{net::SocketAddr, time::Duration};

use clap::Parser;
use stellar_peers::{
    app::{App, AppArgs},
    clock::Clock,
    sandbox::{
        RunningControllers, Sandbox, SandboxOptions, Timing, fixtures,
        operator::{Operator, OperatorOptions},
    },
};

use crate::browser::Failed;

const NAMESPACE: &str = "stellar";
const FLAGS: [&str; 11] = [
    "page",
    "--no-webhook",
    "--http-listen=127.0.0.1:0",
    "--own-namespace=stellar-peers",
    "--render-image=stellar-peers:here",
    "--settle=700ms",
    "--settle-leave=1s",
    "--min-ready=500ms",
    "--bootstrap-after=10s",
    "--stuck-after=30s",
    "--discovery-interval=30s",
];

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    app: AppArgs,
}

/// It runs until this is dropped.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    sandbox: Sandbox,
    running: Option<tokio::task::JoinHandle<()>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    _controllers: RunningControllers,
    _operator: Operator,
}

impl Service {
    pub(crate) async fn start() -> Result<Self, Failed> {
        let options = SandboxOptions {
            epoch: Clock::system().now().wall,
            timing: Timing {
                pod_ready: Duration::from_millis(400),
                pod_stop: Duration::from_millis(200),
                ..Timing::default()
            },
            ..SandboxOptions::default()
        };
        let sandbox = Sandbox::new(options);
        let controllers = sandbox.start();
        for namespace in [NAMESPACE, "stellar-peers"] {
            sandbox.create_namespace(namespace);
        }
        let admin = sandbox.client("admin");
        fixtures::create(&admin, &fixtures::stellar_node_definition())
            .await
            .map_err(|error| error.to_string())?;
        let flags = Flags::try_parse_from(FLAGS).map_err(|error| error.to_string())?;
        let app = App::build(flags.app, sandbox.client("stellar-peers"), Clock::system())
            .await
            .map_err(|error| error.to_string())?;
        let address = app.http_address().ok_or("it listens nowhere")?;
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let running = tokio::spawn(async move {
            let _ = app.run(async { drop(stopped.await) }).await;
        });
        let operator = Operator::start(
            sandbox.client("stellar-operator"),
            NAMESPACE,
            OperatorOptions::default(),
        );
        Ok(Self {
            address,
            sandbox,
            running: Some(running),
            stop: Some(stop),
            _controllers: controllers,
            _operator: operator,
        })
    }

    /// A new validator.
    pub(crate) async fn create(&self, name: &str) -> Result<(), Failed> {
        let node = fixtures::stellar_node(
            NAMESPACE,
            name,
            &["validator-1", "validator-2", "validator-3"],
        );
        let client = self.sandbox.client("user");
        let created = fixtures::create(&client, &node).await;
        created.map(drop).map_err(|error| error.to_string())
    }

    /// As SIGTERM does; says whether it ended within `patience`.
    pub(crate) async fn stop(&mut self, patience: Duration) -> bool {
        drop(self.stop.take());
        match self.running.take() {
            Some(running) => tokio::time::timeout(patience, running).await.is_ok(),
            None => true,
        }
    }
}
