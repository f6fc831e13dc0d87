//! The limit server: what this machine can do with our stack of TLS, HTTP/2 and connection limits when a review costs
//! nothing. It takes the body's bytes and answers the same text each time, without a look at them.
//!
//! It is this benchmark's binary as a process of its own, and serves by the same function as our program does.

use std::{convert::Infallible, future, net::SocketAddr, path::Path, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::DefaultBodyLimit,
    http::{HeaderName, header::CONTENT_TYPE},
    routing::post,
};
use stellar_peers::{
    admission::connections::{ConnectionLimits, ConnectionStats, serve},
    tls::{CertificateStore, load_files, server_config},
};
use tokio::{net::TcpListener, runtime::Builder};

/// The first argument by which this process is the limit server; then its address and the folder of its certificate.
pub(crate) const ARGUMENT: &str = "limit-server";

const ALLOWED: &str = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"705ab4f5-6393-11e8-b7cc-42010a800002","allowed":true}}"#;
/// As our program's.
const BODY_BYTES_MAX: usize = 7 << 20;

/// Serves until it is killed.
pub(crate) fn run(mut arguments: impl Iterator<Item = String>) {
    let mut next = || arguments.next().expect("an address and a folder");
    let address: SocketAddr = next().parse().expect("an address");
    let pair = load_files(Path::new(&next())).expect("the benchmark made a certificate");
    let certificates = Arc::new(CertificateStore::default());
    certificates.replace(pair);
    let app = Router::new()
        .route("/mutate", post(answer))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX));
    // As `#[tokio::main]` has it, which our program uses.
    let runtime = Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime for the limit server");
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await;
        let _ = serve(
            listener.expect("the address was free"),
            Some(Arc::new(server_config(certificates, None))),
            app,
            ConnectionLimits::default(),
            ConnectionStats::default(),
            async {
                let never: Infallible = future::pending().await;
                match never {}
            },
        )
        .await;
    });
}

async fn answer(_body: Bytes) -> ([(HeaderName, &'static str); 1], &'static str) {
    ([(CONTENT_TYPE, "application/json")], ALLOWED)
}
