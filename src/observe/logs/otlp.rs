//! Spans of passes and admissions, sent to a collector by OTLP over plain HTTP (protobuf).
//!
//! A collector that is away costs spans and nothing else: they wait in a queue of the library, which drops the newest
//! when it is full.

use std::{sync::OnceLock, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{Layer as _, filter::Targets};

use super::Lines;

/// The variable that every program with OpenTelemetry reads.
const COMMON_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// Where a collector takes spans, after its address.
const PATH: &str = "/v1/traces";
/// An admission has a span only where somebody wants to be told of each.
const ADMISSION: &str = concat!(env!("CARGO_CRATE_NAME"), "::admission");
/// A collector that takes longer is as good as away.
const TIMEOUT: Duration = Duration::from_secs(10);
/// An answer says that the spans were taken, in a few bytes.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The address that was asked for, by our flag or by everybody's variable.
pub(super) fn endpoint(flag: Option<&str>) -> Option<String> {
    let common = || std::env::var(COMMON_ENDPOINT).ok();
    let address = flag.map(str::to_owned).or_else(common)?;
    (!address.is_empty()).then_some(address)
}

/// What sends spans.
#[derive(Debug)]
pub(super) struct Traces(SdkTracerProvider);

impl Traces {
    /// Spans of ours go to this collector. To be called inside a runtime, on which the requests then run.
    pub(super) fn to(endpoint: &str) -> Result<(Self, Lines), ExporterBuildError> {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Sender::on(Handle::current()))
            .with_endpoint(format!("{}{PATH}", endpoint.trim_end_matches('/')))
            .with_timeout(TIMEOUT)
            .build()?;
        let resource = Resource::builder()
            .with_service_name(env!("CARGO_PKG_NAME"))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource)
            .with_batch_exporter(exporter)
            .build();
        // The libraries' own spans would tell of the sending itself.
        let ours = Targets::new()
            .with_target(env!("CARGO_CRATE_NAME"), LevelFilter::INFO)
            .with_target(ADMISSION, LevelFilter::DEBUG);
        let layer = tracing_opentelemetry::layer()
            .with_threads(false)
            .with_tracer(provider.tracer(env!("CARGO_PKG_NAME")))
            .with_filter(ours);
        Ok((Self(provider), layer.boxed()))
    }

    /// Sends what waits, for as long as one request may take.
    pub(super) async fn flush(self) {
        // It blocks, and its requests need the runtime.
        let ended = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(TIMEOUT));
        if !matches!(ended.await, Ok(Ok(()))) {
            tracing::warn!("Could not send the last spans");
        }
    }
}

/// Sends requests on our runtime, whatever thread asks for it.
#[derive(Debug)]
struct Sender {
    runtime: Handle,
    client: OnceLock<Client<HttpConnector, Full<Bytes>>>,
}

impl Sender {
    const fn on(runtime: Handle) -> Self {
        Self {
            runtime,
            client: OnceLock::new(),
        }
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self
            .client
            .get_or_init(|| Client::builder(TokioExecutor::new()).build_http());
        let sending = client.clone();
        let answer = async move {
            let answer = sending.request(request.map(Full::new)).await?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await?;
            Ok::<_, HttpError>(Response::from_parts(head, body.to_bytes()))
        };
        // Whoever polls this is no thread of a runtime, and has no timer.
        let sending = async { tokio::time::timeout(TIMEOUT, answer).await? };
        self.runtime.spawn(sending).await?
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        sync::{Arc, Mutex},
    };

    use axum::{Router, extract::State, routing::post};
    use serde_json::json;
    use tokio::net::TcpListener;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::{
        admission::{
            connections::{ConnectionLimits, ConnectionStats, serve},
            review::Admitter,
        },
        controller::stores::Stores,
        domain::Policy,
    };

    type Received = Arc<Mutex<Vec<u8>>>;

    async fn take(State(received): State<Received>, body: Bytes) {
        received.lock().unwrap().extend_from_slice(&body);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_span_of_an_admission_reaches_the_collector() {
        let received = Received::default();
        let collector = Router::new()
            .route(PATH, post(take))
            .with_state(Arc::clone(&received));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (limits, stats) = (ConnectionLimits::default(), ConnectionStats::default());
        let stop = std::future::pending();
        let serving = tokio::spawn(serve(listener, None, collector, limits, stats, stop));

        let (traces, layer) = Traces::to(&format!("http://{address}/")).unwrap();
        let stores = Arc::new(Stores::filled_by(0));
        let admitter = Admitter::new(BTreeSet::new(), stores, Policy::default(), false);
        let review = |uid: &str, port: u16| {
            let request = json!({
                "uid": uid, "operation": "CREATE", "namespace": "stellar", "name": "v1",
                "kind": {"kind": "StellarNode"}, "resource": {"group": "stellar.org", "resource": "stellarnodes"},
                "object": {"spec": {"nodeType": "Validator", "validatorConfig": {"peerPort": port}}},
            });
            json!({"request": request}).to_string()
        };
        let subscriber = tracing_subscriber::registry().with(vec![layer]);
        tracing::subscriber::with_default(subscriber, || {
            for (uid, port) in [("uid-of-the-review", 0), ("uid-of-a-quiet-one", 11625)] {
                admitter.answer(review(uid, port).as_bytes()).unwrap();
            }
        });
        traces.flush().await;
        serving.abort();

        let bytes = received.lock().unwrap().clone();
        let text = String::from_utf8_lossy(&bytes);
        let sent = [
            "stellar-peers",
            "admit",
            "uid-of-the-review",
            "StellarNode",
            "Refused a StellarNode",
            "uid-of-a-quiet-one",
        ];
        for word in sent {
            assert!(text.contains(word), "{word} is not in {text:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_no_address_is_told_at_once() {
        assert!(Traces::to("http://a b").is_err());
    }

    #[test]
    fn our_flag_wins_and_an_empty_one_sends_nothing() {
        assert_eq!(endpoint(Some("http://c:4318")).unwrap(), "http://c:4318");
        assert_eq!(endpoint(Some("")), None);
    }
}
