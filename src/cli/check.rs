//! `check`: whether an installation can do its work, seen from inside the cluster.
//!
//! A [`Report`] is a list of findings, each a line: a new check is a function that adds one.

use std::{
    fmt::Display,
    io::{self, Write},
    time::Duration,
};

use http::{Request, StatusCode, header};
use http_body_util::Empty;
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, WebhookClientConfig,
};
use kube::{Api, Client};
use tokio::{net::TcpStream, time::timeout};

use super::{ConnectArgs, Failed};
use crate::{api::names::STELLAR_PEERS, clock::Clock, observe::error_chain, tls};

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
const DAY: Duration = Duration::from_hours(24);

/// What to check.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// Registration of the webhook.
    #[arg(long, env = "STELLAR_PEERS_WEBHOOK_CONFIGURATION", value_name = "NAME", default_value = STELLAR_PEERS)]
    pub webhook_configuration: String,
    /// Where the webhook is reached; where not set, as the registration says.
    #[arg(long, env = "STELLAR_PEERS_WEBHOOK_ADDRESS", value_name = "HOST:PORT")]
    pub webhook_address: Option<String>,
    /// There is no webhook, as in `run`.
    #[arg(long, env = "STELLAR_PEERS_NO_WEBHOOK", conflicts_with_all = ["webhook_configuration", "webhook_address"])]
    pub no_webhook: bool,
    /// Where /readyz is, such as stellar-peers.stellar-peers.svc:8080; not looked at where not set.
    #[arg(long, env = "STELLAR_PEERS_HTTP_ADDRESS", value_name = "HOST:PORT")]
    pub http_address: Option<String>,
    /// Access to the cluster.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Checks one after the other and prints a line for each.
///
/// # Errors
/// [`Failed`] where one found a fault, or standard output is closed.
pub(super) async fn run(args: &CheckArgs) -> Result<(), Failed> {
    let client = args.connect.client().await;
    let client = client.map_err(|error| Failed::from_error(&error))?;
    let now = Clock::system().now().wall;
    let mut report = Report::default();
    report.api_server(&client).await;
    if !args.no_webhook {
        report.webhook(&client, args, now).await;
    }
    if let Some(address) = &args.http_address {
        report.readiness(address).await;
    }
    report
        .print()
        .map_err(|error| Failed(format!("standard output: {error}")))?;
    match report.findings.iter().filter(|it| !it.is_fine).count() {
        0 => Ok(()),
        faults => Err(Failed(format!(
            "{faults} of {} checks found a fault",
            report.findings.len()
        ))),
    }
}

/// One line: what was looked at, and what was seen.
#[derive(Debug)]
struct Finding {
    is_fine: bool,
    text: String,
}

#[derive(Debug, Default)]
struct Report {
    findings: Vec<Finding>,
}

impl Report {
    fn fine(&mut self, text: impl Display) {
        self.add(true, text);
    }

    fn fault(&mut self, text: impl Display) {
        self.add(false, text);
    }

    fn add(&mut self, is_fine: bool, text: impl Display) {
        let text = text.to_string();
        self.findings.push(Finding { is_fine, text });
    }

    fn print(&self) -> io::Result<()> {
        let mut out = io::stdout().lock();
        self.findings.iter().try_for_each(|finding| {
            let mark = if finding.is_fine { "ok   " } else { "FAULT" };
            writeln!(out, "{mark} {}", finding.text)
        })
    }

    async fn api_server(&mut self, client: &Client) {
        match timeout(PATIENCE, client.apiserver_version()).await {
            Ok(Ok(version)) => self.fine(format!("API server {} answers", version.git_version)),
            Ok(Err(error)) => self.fault(format!("API server: {}", error_chain(&error))),
            Err(_) => self.fault(format!("API server: no answer within {PATIENCE:?}")),
        }
    }

    /// The webhook is registered, and the API server would trust who answers there.
    async fn webhook(&mut self, client: &Client, args: &CheckArgs, now: Timestamp) {
        let name = &args.webhook_configuration;
        let registrations = Api::<MutatingWebhookConfiguration>::all(client.clone());
        let webhooks = match timeout(PATIENCE, registrations.get_opt(name)).await {
            Ok(Ok(Some(found))) => found.webhooks.unwrap_or_default(),
            Ok(Ok(None)) => {
                return self.fault(format!(
                    "registration {name}: there is none; `stellar-peers manifests` prints it"
                ));
            }
            Ok(Err(error)) => {
                return self.fault(format!("registration {name}: {}", error_chain(&error)));
            }
            Err(_) => {
                return self.fault(format!(
                    "registration {name}: no answer within {PATIENCE:?}"
                ));
            }
        };
        if webhooks.is_empty() {
            return self.fault(format!("registration {name}: it has no webhooks"));
        }
        for webhook in webhooks {
            let seen = trusted(&webhook.client_config, args.webhook_address.as_deref()).await;
            match seen {
                Ok(end) => {
                    let left = end.duration_since(now).as_secs() / DAY.as_secs().cast_signed();
                    self.fine(format!(
                        "webhook {} answers with a certificate that is trusted, for {left} days more",
                        webhook.name
                    ));
                }
                Err(why) => self.fault(format!("webhook {}: {why}", webhook.name)),
            }
        }
    }

    async fn readiness(&mut self, address: &str) {
        match timeout(PATIENCE, readyz(address)).await {
            Ok(Ok(StatusCode::OK)) => self.fine(format!("http://{address}/readyz says ready")),
            Ok(Ok(status)) => self.fault(format!("http://{address}/readyz says {status}")),
            Ok(Err(why)) => self.fault(format!("http://{address}/readyz: {why}")),
            Err(_) => self.fault(format!(
                "http://{address}/readyz: no answer within {PATIENCE:?}"
            )),
        }
    }
}

/// The end of the certificate that a client with this configuration accepts.
async fn trusted(config: &WebhookClientConfig, address: Option<&str>) -> Result<Timestamp, String> {
    let (host, port) = endpoint(config).ok_or("the registration names no Service and no URL")?;
    let authority = config.ca_bundle.as_ref().map(|it| it.0.as_slice());
    let authority = authority
        .filter(|pem| !pem.is_empty())
        .ok_or("the registration has no caBundle (yet)")?;
    let asked = address.map_or_else(|| format!("{host}:{port}"), str::to_owned);
    tls::probe(&asked, &host, authority)
        .await
        .map_err(|error| error_chain(&error))
}

/// The name by which the API server calls, and the port.
fn endpoint(config: &WebhookClientConfig) -> Option<(String, u16)> {
    if let Some(service) = &config.service {
        let port = service.port.map_or(Ok(443), u16::try_from).ok()?;
        return Some((tls::service_host(&service.name, &service.namespace), port));
    }
    let url: http::Uri = config.url.as_deref()?.parse().ok()?;
    Some((url.host()?.to_owned(), url.port_u16().unwrap_or(443)))
}

async fn readyz(address: &str) -> Result<StatusCode, String> {
    let text = |error: &dyn Display| error.to_string();
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| text(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| text(&error))?;
    let request = Request::get("/readyz")
        .header(header::HOST, address)
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| text(&error))?;
    let driver = tokio::spawn(connection);
    let answer = sender.send_request(request).await;
    driver.abort();
    answer
        .map(|answer| answer.status())
        .map_err(|error| text(&error))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::{Router, routing::get};
    use k8s_openapi::{ByteString, api::admissionregistration::v1::ServiceReference};
    use tokio::net::TcpListener;

    use super::*;
    use crate::{
        admission::connections::{ConnectionLimits, ConnectionStats, serve},
        tls::{Authority, CertificateStore, ServingCertificate, ServingNames, server_config},
    };

    const NOON: Timestamp = Timestamp::constant(1_780_000_000, 0);

    fn of_service(ca_bundle: Option<&str>) -> WebhookClientConfig {
        WebhookClientConfig {
            ca_bundle: ca_bundle.map(|pem| ByteString(pem.as_bytes().to_vec())),
            service: Some(ServiceReference {
                name: "stellar-peers".to_owned(),
                namespace: "ops".to_owned(),
                ..ServiceReference::default()
            }),
            url: None,
        }
    }

    /// A webhook's listener with a certificate for Service `stellar-peers` in this namespace.
    async fn listener(namespace: &str) -> (String, String) {
        let now = Clock::system().now().wall;
        let authority = Authority::generate(DAY * 9, now).unwrap();
        let names = ServingNames {
            service: "stellar-peers".to_owned(),
            namespace: namespace.to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            dns_names: Vec::new(),
            ips: Vec::new(),
        };
        let pair = authority.issue(&names, DAY * 3, now).unwrap();
        let store = Arc::new(CertificateStore::default());
        store.replace(ServingCertificate::from_pem(&pair, "test").unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(serve(
            listener,
            Some(Arc::new(server_config(store))),
            Router::new(),
            ConnectionLimits::default(),
            ConnectionStats::default(),
            std::future::pending(),
        ));
        (address, authority.certificate_pem().to_owned())
    }

    #[tokio::test]
    async fn a_certificate_of_the_registered_ca_is_trusted_and_no_other() {
        let (address, authority) = listener("ops").await;
        let config = of_service(Some(&authority));
        let end = trusted(&config, Some(&address)).await.unwrap();
        assert!(end > NOON);

        let (elsewhere, others) = listener("elsewhere").await;
        for (address, authority) in [(&address, &others), (&elsewhere, &others)] {
            let config = of_service(Some(authority));
            let why = trusted(&config, Some(address)).await.unwrap_err();
            assert!(
                why.contains("no certificate that is trusted for stellar-peers.ops.svc"),
                "{why}"
            );
        }
    }

    #[tokio::test]
    async fn a_registration_without_a_ca_is_a_fault() {
        let why = trusted(&of_service(None), None).await.unwrap_err();
        assert!(why.contains("no caBundle"), "{why}");
        let why = trusted(&of_service(Some("")), None).await.unwrap_err();
        assert!(why.contains("no caBundle"), "{why}");
        let why = trusted(&of_service(Some("x")), None).await.unwrap_err();
        assert!(why.contains("no readable PEM"), "{why}");
    }

    #[test]
    fn the_endpoint_is_as_the_registration_says() {
        let service = of_service(None);
        let named = Some(("stellar-peers.ops.svc".to_owned(), 443));
        assert_eq!(endpoint(&service), named);
        let by_url = WebhookClientConfig {
            url: Some("https://192.0.2.1:9443/mutate".to_owned()),
            ..WebhookClientConfig::default()
        };
        assert_eq!(endpoint(&by_url), Some(("192.0.2.1".to_owned(), 9443)));
        assert_eq!(endpoint(&WebhookClientConfig::default()), None);
    }

    #[tokio::test]
    async fn readiness_is_what_the_endpoint_says() {
        let router = Router::new().route(
            "/readyz",
            get(|| async { (StatusCode::SERVICE_UNAVAILABLE, "not ready") }),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum_serve(listener, router).await });
        let mut report = Report::default();
        report.readiness(&address).await;
        let finding = &report.findings[0];
        assert!(
            !finding.is_fine && finding.text.contains("503"),
            "{finding:?}"
        );
    }

    async fn axum_serve(listener: TcpListener, router: Router) {
        serve(
            listener,
            None,
            router,
            ConnectionLimits::default(),
            ConnectionStats::default(),
            std::future::pending(),
        )
        .await;
    }
}
