//! Webhooks over HTTPS, as a real API server calls them: trust in the caBundle alone, HTTP/2 where ALPN offers it,
//! connections kept.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response, Uri, Version, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig as TlsConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tower::BoxError;

use super::webhook::{ClientConfig, WebhookTransport};

/// Calls webhooks by HTTPS.
#[derive(Clone, Default)]
pub struct Https {
    /// Addresses of names that no DNS knows, such as `service.namespace.svc`.
    addresses: BTreeMap<String, SocketAddr>,
    connections: Arc<Connections>,
}

/// Kept HTTP/2 connections, by the webhook's configuration. HTTP/1.1 ones are made anew for each call.
#[derive(Default)]
struct Connections(Mutex<BTreeMap<Key, Http2>>);

/// An authority, and the bundle that it is trusted by.
type Key = (String, Vec<u8>);
type Http2 = http2::SendRequest<Full<Bytes>>;

enum Connection {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(Http2),
}

impl fmt::Debug for Https {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Https")
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

impl Https {
    /// Sends what is meant for this host to this address.
    #[must_use]
    pub fn resolving(mut self, host: &str, to: SocketAddr) -> Self {
        self.addresses.insert(host.to_owned(), to);
        self
    }

    async fn send(
        self,
        config: ClientConfig,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, BoxError> {
        let authority = request
            .uri()
            .authority()
            .ok_or("a webhook's URL needs a host")?
            .clone();
        let key = (authority.to_string(), config.ca_bundle.clone());
        if let Some(kept) = self
            .connections
            .get(&key)
            .filter(http2::SendRequest::is_ready)
        {
            // A kept connection may have died unnoticed: then a new one gets the request.
            if let Ok(response) = Connection::Http2(kept).send(request.clone()).await {
                return Ok(response);
            }
        }
        let connection = self.connect(request.uri(), &config).await?;
        if let Connection::Http2(sender) = &connection {
            self.connections.keep(key, sender.clone());
        }
        connection.send(request).await
    }

    async fn connect(&self, uri: &Uri, config: &ClientConfig) -> Result<Connection, BoxError> {
        let host = uri
            .host()
            .ok_or("a webhook's URL needs a host")?
            .trim_matches(['[', ']']);
        let port = uri.port_u16().unwrap_or(443);
        let tcp = match self.addresses.get(host) {
            Some(address) => TcpStream::connect(address).await?,
            None => TcpStream::connect((host, port)).await?,
        };
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(host.to_owned())?;
        let tls = TlsConnector::from(Arc::new(tls_config(&config.ca_bundle)?))
            .connect(name, tcp)
            .await?;
        let is_http2 = tls.get_ref().1.alpn_protocol() == Some(b"h2");
        let io = TokioIo::new(tls);
        // The connections' tasks end with the connection, and with it when its last sender is dropped.
        if is_http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            Ok(Connection::Http2(sender))
        } else {
            let (sender, connection) = http1::handshake(io).await?;
            tokio::spawn(connection);
            Ok(Connection::Http1(sender))
        }
    }
}

impl Connections {
    fn get(&self, key: &Key) -> Option<Http2> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(key)
            .cloned()
    }

    fn keep(&self, key: Key, sender: Http2) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, sender);
    }
}

impl Connection {
    async fn send(self, request: Request<Bytes>) -> Result<Response<Bytes>, BoxError> {
        let mut request = request.map(Full::new);
        let response = match self {
            Self::Http2(mut sender) => {
                *request.version_mut() = Version::HTTP_2;
                sender.send_request(request).await?
            }
            Self::Http1(mut sender) => {
                let host = request
                    .uri()
                    .authority()
                    .map(ToString::to_string)
                    .unwrap_or_default();
                request.headers_mut().insert(header::HOST, host.parse()?);
                *request.uri_mut() = request
                    .uri()
                    .path_and_query()
                    .map_or("/", |path| path.as_str())
                    .parse()?;
                sender.send_request(request).await?
            }
        };
        let (head, body) = response.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }
}

/// Trusts the bundle's certificates and nothing else.
fn tls_config(ca_bundle: &[u8]) -> Result<TlsConfig, BoxError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(ca_bundle) {
        roots.add(certificate?)?;
    }
    if roots.is_empty() {
        return Err("tls: the webhook's caBundle holds no certificate".into());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = TlsConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

impl WebhookTransport for Https {
    fn call(
        &self,
        config: &ClientConfig,
        request: Request<Bytes>,
    ) -> BoxFuture<'static, Result<Response<Bytes>, BoxError>> {
        Box::pin(self.clone().send(config.clone(), request))
    }
}
