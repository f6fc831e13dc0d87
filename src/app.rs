//! Wiring of `run`: flags into settings, listeners, supervision, drain. The one file that knows all others.

use std::{convert::Infallible, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use clap::ArgAction;
use kube::Client;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::JoinSet,
};
use tracing::{info, warn};

use crate::{
    admission::connections::{ConnectionLimits, ConnectionStats, serve},
    api::names,
    clock::Clock,
    controller::{
        args::{DiscoveryArgs, InjectionArgs, RolloutArgs},
        overlook::Outlook,
    },
    domain::node::NodeName,
    engine::{Election, Engine, Settings, identity},
    observe::health::{self, Condition, Health},
    tls::{self, CallerAuthority, CertificateStore, Keeper, TlsArgs, TlsMode},
};

/// How often the certificate's files are looked at.
const CERTIFICATE_INTERVAL: Duration = Duration::from_secs(5);

/// The flags of the service itself.
#[derive(Clone, Debug, clap::Args)]
pub struct AppArgs {
    /// Namespaces to look after; all where not set.
    #[arg(long, env = "STELLAR_PEERS_NAMESPACES", value_delimiter = ',', value_name = "NAME,…", value_parser = parse_namespace)]
    pub namespaces: Vec<String>,
    /// Run the loop alone.
    #[arg(
        long,
        env = "STELLAR_PEERS_NO_WEBHOOK",
        conflicts_with = "no_discovery"
    )]
    pub no_webhook: bool,
    /// Run the webhook alone.
    #[arg(long, env = "STELLAR_PEERS_NO_DISCOVERY")]
    pub no_discovery: bool,
    /// Where the webhook listens (HTTPS).
    #[arg(
        long,
        env = "STELLAR_PEERS_WEBHOOK_LISTEN",
        default_value = "0.0.0.0:9443",
        value_name = "ADDRESS"
    )]
    pub webhook_listen: SocketAddr,
    /// Where the status page is, and /livez, /readyz, /metrics and /api/v1/status (plain HTTP).
    #[arg(
        long,
        env = "STELLAR_PEERS_HTTP_LISTEN",
        default_value = "0.0.0.0:8080",
        value_name = "ADDRESS"
    )]
    pub http_listen: SocketAddr,
    /// Let one replica at a time run the loop, by Lease stellar-peers in --own-namespace.
    #[arg(long, env = "STELLAR_PEERS_LEADER_ELECTION", default_value_t = true, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true")]
    pub leader_election: bool,
    /// Namespace of the Lease; where not set, that of the account in use.
    #[arg(long, env = "STELLAR_PEERS_OWN_NAMESPACE", value_name = "NAME", value_parser = parse_namespace)]
    pub own_namespace: Option<String>,
    /// Decide and tell, write nothing (no Lease either) and change nothing at admission.
    #[arg(long, env = "STELLAR_PEERS_DRY_RUN")]
    pub dry_run: bool,
    /// Where the webhook's certificate is.
    #[command(flatten)]
    pub tls: TlsArgs,
    /// What validators are given.
    #[command(flatten)]
    pub injection: InjectionArgs,
    /// How peers are found.
    #[command(flatten)]
    pub discovery: DiscoveryArgs,
    /// When validators are restarted.
    #[command(flatten)]
    pub rollout: RolloutArgs,
}

/// A namespace as a flag names it.
pub(crate) fn parse_namespace(text: &str) -> Result<String, String> {
    NodeName::new(text)
        .map(|name| name.to_string())
        .map_err(|error| error.to_string())
}

/// Why the service could not run, or ended.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// A port is taken, or not ours to take.
    #[error("could not listen on {address}; choose another with {flag}")]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// The flag that says so.
        flag: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// No usable certificate.
    #[error(
        "the webhook has no usable certificate; `stellar-peers certs` makes one, --no-webhook does without"
    )]
    Certificate(#[source] tls::CertificateError),
    /// Nobody can be told from anybody by --client-ca.
    #[error(transparent)]
    Callers(#[from] tls::CallerAuthorityError),
    /// The flags of --tls-mode self do not fit together.
    #[error(transparent)]
    Lifetimes(#[from] tls::ShortAuthority),
    /// A part of the service ended, which none does by itself.
    #[error("{0} ended unexpectedly; the process ends, so that it is started anew")]
    Ended(&'static str),
}

/// The service, bound to its ports and ready to run.
#[derive(Debug)]
pub struct App {
    engine: Engine,
    stopping: watch::Sender<bool>,
    clock: Clock,
    certificates: Arc<CertificateStore>,
    renewal: Renewal,
    /// Whose certificates callers of the webhook have to show; [`None`] where anybody may call.
    callers: Option<Arc<CallerAuthority>>,
    /// Namespace and name of the Service by which the API server calls the webhook.
    service: (String, String),
    webhook: Option<TcpListener>,
    http: TcpListener,
}

/// Who fills the store of certificates.
#[derive(Debug)]
enum Renewal {
    /// Somebody else, who writes files.
    Files(PathBuf),
    /// We ourselves.
    Own(Box<Keeper>),
}

impl Renewal {
    async fn run(self, certificates: Arc<CertificateStore>, clock: Clock) -> Infallible {
        match self {
            Self::Files(folder) => {
                let wall = move || clock.now().wall;
                tls::watch_files(folder, certificates, CERTIFICATE_INTERVAL, wall).await
            }
            Self::Own(keeper) => keeper.run().await,
        }
    }
}

impl App {
    /// Loads the certificate, binds the ports and starts the watches; a bad flag fails here, before anything serves.
    ///
    /// # Errors
    /// [`AppError`].
    pub async fn build(args: AppArgs, client: Client, clock: Clock) -> Result<Self, AppError> {
        let certificates = Arc::new(CertificateStore::default());
        let settings = args.settings(client.default_namespace());
        let renewal = match args.tls.tls_mode {
            TlsMode::Files => Renewal::Files(args.tls.tls_dir.clone()),
            TlsMode::Own => {
                let (own, domain) = (
                    args.own_namespace_or(client.default_namespace()),
                    &args.discovery.cluster_domain,
                );
                let keeper = args.tls.keeper(own, domain, args.dry_run)?;
                let store = Arc::clone(&certificates);
                Renewal::Own(Box::new(Keeper::new(client.clone(), keeper, store, clock)))
            }
        };
        let own_namespace = args.own_namespace_or(client.default_namespace());
        let service = (own_namespace.to_owned(), args.tls.tls_service.clone());
        let (mut webhook, mut callers) = (None, None);
        if !args.no_webhook {
            if let Some(file) = &args.tls.client_ca {
                callers = Some(Arc::new(CallerAuthority::load(file)?));
            }
            if let Renewal::Files(folder) = &renewal {
                certificates.replace(tls::load_files(folder).map_err(AppError::Certificate)?);
            }
            webhook = Some(listen(args.webhook_listen, "--webhook-listen").await?);
        }
        let http = listen(args.http_listen, "--http-listen").await?;
        let (stopping, _) = watch::channel(false);
        let engine = Engine::start(client, settings, clock);
        if webhook.is_some() {
            engine.metrics.tell_of(Arc::clone(&certificates));
        }
        Ok(Self {
            engine,
            stopping,
            clock,
            certificates,
            renewal,
            callers,
            service,
            webhook,
            http,
        })
    }

    /// Where the webhook listens, if it does.
    #[must_use]
    pub fn webhook_address(&self) -> Option<SocketAddr> {
        self.webhook
            .as_ref()
            .and_then(|listener| listener.local_addr().ok())
    }

    /// Where health and metrics are.
    #[must_use]
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.local_addr().ok()
    }

    /// Serves until `stop` completes, then drains: listeners first, then the loop, then the lease.
    ///
    /// # Errors
    /// [`AppError::Ended`] where a part of the service ends by itself.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), AppError> {
        let (webhook, http) = (self.webhook_address(), self.http_address());
        info!(
            webhook = webhook.map(display),
            http = http.map(display),
            version = env!("CARGO_PKG_VERSION"),
            "Serving"
        );
        let Self {
            mut engine,
            stopping,
            clock,
            certificates,
            renewal,
            callers,
            service,
            webhook,
            http,
        } = self;
        let mut servers = JoinSet::new();
        let health = health(
            &engine,
            webhook.is_some().then(|| Arc::clone(&certificates)),
            stopping.subscribe(),
        );
        servers.spawn(serving(
            "the HTTP listener",
            http,
            None,
            health::router(health),
            ConnectionStats::default(),
            stopping.subscribe(),
        ));
        let mut watcher = JoinSet::new();
        if let Some(listener) = webhook {
            let config = tls::server_config(Arc::clone(&certificates), callers.clone());
            let router = engine.webhook.clone();
            servers.spawn(serving(
                "the webhook's listener",
                listener,
                Some(Arc::new(config)),
                router,
                engine.metrics.webhook_connections(),
                stopping.subscribe(),
            ));
            let tell = engine.announcer(service, "CertificateEnding");
            let wall = move || clock.now().wall;
            watcher.spawn(tls::watch_ending(Arc::clone(&certificates), wall, tell));
            watcher.spawn(renewal.run(certificates, clock));
            if let Some(callers) = callers {
                watcher.spawn(tls::watch_callers(callers, CERTIFICATE_INTERVAL));
            }
        }
        let ended = tokio::select! {
            () = stop => None,
            name = engine.ended() => Some(name),
            Some(ended) = servers.join_next() => Some(ended.unwrap_or("a listener that panicked")),
        };
        info!("Stopping");
        stopping.send_replace(true);
        while servers.join_next().await.is_some() {}
        engine.stop().await;
        ended.map_or(Ok(()), |name| Err(AppError::Ended(name)))
    }
}

async fn listen(address: SocketAddr, flag: &'static str) -> Result<TcpListener, AppError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| AppError::Listen {
            address,
            flag,
            source,
        })
}

async fn serving(
    name: &'static str,
    listener: TcpListener,
    config: Option<Arc<rustls::ServerConfig>>,
    router: axum::Router,
    stats: ConnectionStats,
    mut stopping: watch::Receiver<bool>,
) -> &'static str {
    let stop = async move {
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    let drained = serve(
        listener,
        config,
        router,
        ConnectionLimits::default(),
        stats,
        stop,
    )
    .await;
    if drained.cut > 0 {
        warn!(
            name,
            connections = drained.cut,
            "Cut connections that did not end in time"
        );
    }
    name
}

fn health(
    engine: &Engine,
    certificates: Option<Arc<CertificateStore>>,
    stopping: watch::Receiver<bool>,
) -> Arc<Health> {
    let stores = Arc::clone(&engine.stores);
    let mut conditions = vec![Condition {
        name: "stores are filling",
        holds: Box::new(move || stores.are_full()),
    }];
    if let Some(certificates) = certificates {
        conditions.push(Condition {
            name: "no certificate",
            holds: Box::new(move || certificates.has_certificate()),
        });
    }
    Arc::new(Health {
        conditions,
        metrics: Arc::clone(&engine.metrics),
        outlook: Arc::<Outlook>::clone(&engine.outlook),
        stopping,
    })
}

impl AppArgs {
    /// Where what is ours alone is kept.
    fn own_namespace_or<'a>(&'a self, account_namespace: &'a str) -> &'a str {
        self.own_namespace.as_deref().unwrap_or(account_namespace)
    }

    /// The flags as the engine takes them. `account_namespace` is that of the account in use.
    #[must_use]
    pub fn settings(&self, account_namespace: &str) -> Settings {
        let own_namespace = self.own_namespace_or(account_namespace);
        let identity = identity();
        let writer = format!("{own_namespace}/{}", names::STELLAR_PEERS);
        let election = Election {
            namespace: own_namespace.to_owned(),
            identity: identity.clone(),
        };
        Settings {
            namespaces: self.namespaces.clone(),
            policy: self
                .rollout
                .policy(&self.discovery, &self.injection, writer),
            dry_run: self.dry_run,
            recheck: self.discovery.discovery_interval,
            runs_loop: !self.no_discovery,
            instance: identity,
            election: self.leader_election.then_some(election),
        }
    }
}

/// SIGTERM and SIGINT.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the two signals over from the system's defaults.
    ///
    /// # Errors
    /// [`io::Error`] where the system refuses.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for either.
    pub async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
