//! Webhooks over real sockets and TLS, in real time.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http::{Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use k8s_openapi::ByteString;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{
    admission::{patched, registration},
    *,
};
use crate::sandbox::{Https, SandboxOptions};

/// A webhook server that speaks the protocols of `alpn` and labels what it is asked about.
struct Server {
    address: SocketAddr,
    ca_bundle: Vec<u8>,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn start(names: &[&str], alpn: &[&str]) -> Self {
        let ca_key = KeyPair::generate().unwrap();
        let mut ca = CertificateParams::new(Vec::new()).unwrap();
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca_certificate = ca.self_signed(&ca_key).unwrap();
        let issuer = Issuer::new(ca, ca_key);
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let certificate = CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = alpn
            .iter()
            .map(|protocol| protocol.as_bytes().to_vec())
            .collect();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else {
                        return;
                    };
                    let server = auto::Builder::new(TokioExecutor::new());
                    let _broken = server
                        .serve_connection(TokioIo::new(tls), service_fn(answer))
                        .await;
                });
            }
        });
        Self {
            address,
            ca_bundle: ca_certificate.pem().into_bytes(),
            connections,
        }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn answer(request: http::Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let protocol = if request.version() == Version::HTTP_2 {
        "h2"
    } else {
        "h1"
    };
    let body = request.into_body().collect().await?.to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    let mut response =
        patched(&json!([{"op": "add", "path": "/metadata/labels", "value": {"over": protocol}}]));
    response["uid"] = review["request"]["uid"].clone();
    let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    Ok(Response::new(Full::from(review.to_string())))
}

fn sandbox(https: Https) -> Sandbox {
    let webhooks = Arc::new(https);
    Sandbox::new(SandboxOptions {
        webhooks,
        ..SandboxOptions::default()
    })
}

fn bundle(pem: &[u8]) -> Value {
    serde_json::to_value(ByteString(pem.to_vec())).unwrap()
}

#[tokio::test]
async fn a_webhook_is_called_by_https_over_one_kept_connection() {
    let server = Server::start(&["127.0.0.1"], &["h2", "http/1.1"]).await;
    let client = sandbox(Https::default()).client("me");
    let url = format!("https://{}/mutate", server.address);
    let ca_bundle = bundle(&server.ca_bundle);
    create(
        &client,
        &registration("w", &url, |w| w["clientConfig"]["caBundle"] = ca_bundle),
    )
    .await;
    for name in ["a", "b", "c"] {
        let made = create(&client, &stateful_set(name)).await;
        assert_eq!(made["metadata"]["labels"]["over"], "h2");
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_service_is_resolved_and_http_1_is_spoken_where_nothing_better_is_offered() {
    let server = Server::start(&["peers.system.svc"], &[]).await;
    let client =
        sandbox(Https::default().resolving("peers.system.svc", server.address)).client("me");
    let config = json!({
        "service": {"name": "peers", "namespace": "system", "path": "/mutate"}, "caBundle": bundle(&server.ca_bundle),
    });
    create(
        &client,
        &registration("w", "", |w| w["clientConfig"] = config),
    )
    .await;
    let made = create(&client, &stateful_set("a")).await;
    assert_eq!(made["metadata"]["labels"]["over"], "h1");
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_trusted() {
    let (server, other) = (
        Server::start(&["127.0.0.1"], &["h2"]).await,
        Server::start(&["127.0.0.1"], &["h2"]).await,
    );
    let client = sandbox(Https::default()).client("me");
    let url = format!("https://{}/mutate", server.address);
    let ca_bundle = bundle(&other.ca_bundle);
    create(
        &client,
        &registration("w", &url, |w| {
            w["clientConfig"]["caBundle"] = ca_bundle;
            w["failurePolicy"] = "Fail".into();
        }),
    )
    .await;
    let status = refused(fixtures::create(&client, &stateful_set("a")).await);
    assert!(
        status.message.contains("invalid peer certificate"),
        "{}",
        status.message
    );
}
