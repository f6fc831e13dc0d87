//! How webhooks are reached: in this process, or by HTTPS as a real API server does it.

use std::{fmt, future::Future, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use k8s_openapi::ByteString;
use serde_json::Value;
use tower::BoxError;

/// A webhook's `clientConfig`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// Where to: the `url`, or `https://<service>.<namespace>.svc:<port>/<path>`.
    pub url: String,
    /// The PEM certificates that the server's certificate must lead to; empty for none.
    pub ca_bundle: Vec<u8>,
}

impl ClientConfig {
    pub(super) fn parse(config: &Value) -> Self {
        let service = &config["service"];
        let text = |field: &str| service[field].as_str().unwrap_or_default();
        let url = config["url"].as_str().map_or_else(
            || {
                let port = service["port"].as_u64().unwrap_or(443);
                let path = text("path").trim_start_matches('/');
                format!(
                    "https://{}.{}.svc:{port}/{path}",
                    text("name"),
                    text("namespace")
                )
            },
            str::to_owned,
        );
        let bundle = serde_json::from_value::<ByteString>(config["caBundle"].clone());
        Self {
            url,
            ca_bundle: bundle.map(|bytes| bytes.0).unwrap_or_default(),
        }
    }
}

/// Carries an `AdmissionReview` to a webhook and brings its answer back.
pub trait WebhookTransport: Send + Sync {
    /// Sends one request. The caller ends it at the webhook's timeout.
    fn call(
        &self,
        config: &ClientConfig,
        request: Request<Bytes>,
    ) -> BoxFuture<'static, Result<Response<Bytes>, BoxError>>;
}

/// No way to any webhook: each call fails, and the webhook's `failurePolicy` decides.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoWebhooks;

impl WebhookTransport for NoWebhooks {
    fn call(
        &self,
        config: &ClientConfig,
        _: Request<Bytes>,
    ) -> BoxFuture<'static, Result<Response<Bytes>, BoxError>> {
        let url = config.url.clone();
        Box::pin(async move { Err(format!("no way to {url} out of this sandbox").into()) })
    }
}

type Handler =
    dyn Fn(Request<Bytes>) -> BoxFuture<'static, Result<Response<Bytes>, BoxError>> + Send + Sync;

/// Webhooks in this process: no sockets, so that a paused clock stays in command.
#[derive(Clone)]
pub struct InProcess(Arc<Handler>);

impl InProcess {
    /// Calls `handler` for every webhook; the request's URI tells which.
    pub fn new<H, F>(handler: H) -> Self
    where
        H: Fn(Request<Bytes>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<Response<Bytes>, BoxError>> + Send + 'static,
    {
        Self(Arc::new(move |request| Box::pin(handler(request))))
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InProcess")
    }
}

impl WebhookTransport for InProcess {
    fn call(
        &self,
        _: &ClientConfig,
        request: Request<Bytes>,
    ) -> BoxFuture<'static, Result<Response<Bytes>, BoxError>> {
        (self.0)(request)
    }
}
