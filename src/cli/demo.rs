//! `demo`: the whole product at work on an in-memory cluster, in real time.
//!
//! The webhook is the real one, called by HTTPS with a certificate made on the spot; the loop is the real one under a
//! real `kube::Client`. Only the API server, its controllers and the kubelets are stand-ins.

mod story;
mod timeline;

use std::{path::PathBuf, sync::Arc, time::Duration};

use clap::Parser;
use kube::Client;
use tokio::sync::Notify;

use self::timeline::Timeline;
use super::Failed;
use crate::{
    admission::registration::{Endpoint, FailurePolicy, Registration},
    app::{App, AppArgs, Signals},
    clock::Clock,
    observe::logs::LogArgs,
    sandbox::{
        Https, Sandbox, SandboxOptions, Timing, fixtures,
        operator::{Operator, OperatorOptions},
    },
    tls::{Authority, CERTIFICATE_FILE, KEY_FILE, ServingNames},
};

const NAMESPACE: &str = "stellar";
const OWN_NAMESPACE: &str = "stellar-peers";
const DAY: Duration = Duration::from_hours(24);

/// Times are shortened, so that the whole story takes seconds: the real ones are the defaults of `run`.
const FLAGS: [&str; 14] = [
    "demo",
    "--webhook-listen=127.0.0.1:0",
    "--http-listen=127.0.0.1:0",
    "--own-namespace",
    OWN_NAMESPACE,
    "--settle=700ms",
    "--settle-leave=1s",
    "--min-ready=100ms",
    "--namespaces",
    NAMESPACE,
    "--discovery-interval=30s",
    "--bootstrap-after=10s",
    "--max-unavailable=1",
    "--tls-dir",
];

/// How the demo runs.
#[derive(Clone, Debug, clap::Args)]
pub struct DemoArgs {
    /// Keep it running after the story, until Ctrl-C.
    #[arg(long, env = "STELLAR_PEERS_KEEP")]
    pub keep: bool,
    /// Logs.
    #[command(flatten)]
    pub logs: LogArgs,
}

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    app: AppArgs,
}

/// Tells the story, and ends.
///
/// # Errors
/// [`Failed`] where a step does not come to its end.
pub async fn run(args: DemoArgs) -> Result<(), Failed> {
    let quiet = LogArgs {
        log_filter: quieter(&args.logs.log_filter),
        ..args.logs.clone()
    };
    let _logs = super::init_logs(&quiet)?;
    let options = SandboxOptions {
        epoch: Clock::system().now().wall,
        webhooks: Arc::new(Https::default()),
        timing: Timing {
            pod_start: Duration::from_millis(120),
            pod_ready: Duration::from_millis(250),
            pod_stop: Duration::from_millis(150),
            ..Timing::default()
        },
        ..SandboxOptions::default()
    };
    let sandbox = Sandbox::new(options);
    let _controllers = sandbox.start();
    for namespace in [NAMESPACE, OWN_NAMESPACE] {
        sandbox.create_namespace(namespace);
    }
    let folder = TlsFolder::make()?;
    let app = start(&sandbox, &folder).await?;
    let _operator = Operator::start(
        sandbox.client("stellar-operator"),
        NAMESPACE,
        OperatorOptions::default(),
    );
    let http = app.http_address();
    let stop = Notify::new();
    let mut signals = Signals::listen().map_err(|error| Failed(error.to_string()))?;
    let timeline = Timeline::start(sandbox.client("audience"), NAMESPACE);
    let telling = async {
        story::tell(&sandbox, &timeline).await?;
        if args.keep {
            timeline.say(&format!(
                "Keeps running until Ctrl-C. Status page: http://{}/",
                http.map(|it| it.to_string()).unwrap_or_default()
            ));
            signals.next().await;
        }
        Ok::<(), Failed>(())
    };
    tokio::select! {
        result = app.run(stop.notified()) => result.map_err(|error| Failed::from_error(&error)),
        result = telling => result,
    }
}

/// The timeline tells what the service does: its own log lines only from warnings on, unless asked for.
fn quieter(filter: &str) -> String {
    if filter == "info" {
        "warn".to_owned()
    } else {
        filter.to_owned()
    }
}

/// The kind, the service, and its registration at the API server.
async fn start(sandbox: &Sandbox, folder: &TlsFolder) -> Result<App, Failed> {
    let failed = |error: kube::Error| Failed::from_error(&error);
    let admin = sandbox.client("admin");
    fixtures::create(&admin, &fixtures::stellar_node_definition())
        .await
        .map_err(failed)?;
    let flags = FLAGS
        .iter()
        .map(|flag| (*flag).to_owned())
        .chain([folder.path.display().to_string()]);
    let flags = Flags::try_parse_from(flags).map_err(|error| Failed(error.to_string()))?;
    let client: Client = sandbox.client("stellar-peers");
    let app = App::build(flags.app, client, Clock::system())
        .await
        .map_err(|error| Failed::from_error(&error))?;
    let address = app
        .webhook_address()
        .ok_or_else(|| Failed("the webhook has no address".to_owned()))?;
    let registration = Registration {
        endpoint: Endpoint::Url(format!("https://{address}/mutate")),
        ca_bundle: Some(folder.authority.clone()),
        namespaces: Vec::new(),
        failure_policy: FailurePolicy::Ignore,
    };
    let mut object = serde_json::to_value(registration.to_object())
        .map_err(|error| Failed(error.to_string()))?;
    object["apiVersion"] = "admissionregistration.k8s.io/v1".into();
    object["kind"] = "MutatingWebhookConfiguration".into();
    fixtures::create(&admin, &object).await.map_err(failed)?;
    Ok(app)
}

/// A folder with a fresh certificate for 127.0.0.1, gone when this is dropped.
struct TlsFolder {
    path: PathBuf,
    authority: String,
}

impl TlsFolder {
    fn make() -> Result<Self, Failed> {
        let now = Clock::system().now().wall;
        let failed = |error: &dyn std::error::Error| {
            Failed(format!("could not make a certificate: {error}"))
        };
        let authority = Authority::generate(DAY, now).map_err(|error| failed(&error))?;
        let names = ServingNames {
            service: "stellar-peers".to_owned(),
            namespace: OWN_NAMESPACE.to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            dns_names: Vec::new(),
            ips: vec![std::net::Ipv4Addr::LOCALHOST.into()],
        };
        let pair = authority
            .issue(&names, DAY, now)
            .map_err(|error| failed(&error))?;
        let path = std::env::temp_dir().join(format!("stellar-peers-demo-{}", std::process::id()));
        let write = |name: &str, bytes: &[u8]| std::fs::write(path.join(name), bytes);
        std::fs::create_dir_all(&path)
            .and_then(|()| write(CERTIFICATE_FILE, &pair.certificate))
            .and_then(|()| write(KEY_FILE, &pair.key))
            .map_err(|error| failed(&error))?;
        Ok(Self {
            authority: authority.certificate_pem().to_owned(),
            path,
        })
    }
}

impl Drop for TlsFolder {
    fn drop(&mut self) {
        // What can't be removed is a day's certificate for 127.0.0.1 in the folder for temporary files.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
