//! The load: a client that speaks TLS 1.3 and HTTP/2 as the API server does, and asks in three ways.
//!
//! Its TLS offers what Go's client offers first, but for the post-quantum exchange, so that all servers do the same
//! work: AES-128-GCM and X25519. `TCP_NODELAY` is set, and hyper's windows (2 MiB a stream, 5 MiB a connection) are larger
//! than all that is under way at once.

use std::{fs, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header::CONTENT_TYPE};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    client::Resumption,
    crypto::aws_lc_rs::{self, cipher_suite::TLS13_AES_128_GCM_SHA256, kx_group::X25519},
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    version::TLS13,
};
use tokio::{
    net::TcpStream,
    task::{JoinHandle, JoinSet, yield_now},
    time::{Instant, sleep},
};
use tokio_rustls::TlsConnector;

use crate::figures::Samples;

/// A server that doesn't listen by then never will.
const CONNECT_DEADLINE: Duration = Duration::from_secs(30);
const CONNECT_PAUSE: Duration = Duration::from_millis(10);

/// Opens connections.
#[derive(Clone)]
pub(crate) struct Client(TlsConnector);

impl Client {
    /// One that trusts the CA of this folder; with `resumes` it takes up former sessions.
    pub(crate) fn new(tls: &Path, resumes: bool) -> Self {
        let pem = fs::read(tls.join("ca.crt")).expect("the benchmark made a CA");
        let mut roots = RootCertStore::empty();
        let authority = CertificateDer::from_pem_slice(&pem).expect("the CA is PEM");
        roots.add(authority).expect("the CA is one");
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites = vec![TLS13_AES_128_GCM_SHA256];
        provider.kx_groups = vec![X25519];
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&TLS13])
            .expect("the suite is of TLS 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        if !resumes {
            config.resumption = Resumption::disabled();
        }
        Self(TlsConnector::from(Arc::new(config)))
    }

    /// Connects as soon as the server listens.
    pub(crate) async fn connect_in_time(&self, address: SocketAddr) -> Connection {
        let began = Instant::now();
        while let Err(error) = TcpStream::connect(address).await {
            let is_early = began.elapsed() < CONNECT_DEADLINE;
            assert!(is_early, "nobody listens on {address}: {error}");
            sleep(CONNECT_PAUSE).await;
        }
        self.connect(address).await
    }

    /// A new connection, ready for requests.
    pub(crate) async fn connect(&self, address: SocketAddr) -> Connection {
        let stream = TcpStream::connect(address).await;
        let stream = stream.expect("the server listens");
        stream.set_nodelay(true).expect("a socket of ours");
        let name = ServerName::IpAddress(address.ip().into());
        let stream = self.0.connect(name, stream).await;
        let stream = stream.expect("the server's certificate is of our CA");
        let session = stream.get_ref().1;
        assert_eq!(session.alpn_protocol(), Some(b"h2".as_slice()));
        let resumed = session.handshake_kind() == Some(HandshakeKind::Resumed);
        let connected = handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, driver) = connected.expect("the server speaks HTTP/2");
        let driver = tokio::spawn(async {
            // An error of the connection shows in the requests.
            let _ = driver.await;
        });
        let asking = Asking {
            sender,
            uri: format!("https://{address}/mutate?timeout=3s")
                .parse()
                .expect("an address makes a URI"),
        };
        Connection {
            asking,
            driver,
            resumed,
        }
    }
}

/// An open connection.
pub(crate) struct Connection {
    pub(crate) asking: Asking,
    driver: JoinHandle<()>,
    /// Whether a former session was taken up.
    pub(crate) resumed: bool,
}

impl Connection {
    async fn close(self) {
        drop(self.asking);
        let _ = self.driver.await;
    }
}

/// Sends requests on a connection. Clones use the same one.
#[derive(Clone)]
pub(crate) struct Asking {
    sender: SendRequest<Full<Bytes>>,
    uri: Uri,
}

impl Asking {
    /// One review and its answer.
    ///
    /// # Panics
    /// Where the server fails: then no figure means anything.
    pub(crate) async fn ask(&mut self, body: Bytes) -> Bytes {
        let request = Request::post(self.uri.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body));
        let request = request.expect("a URI and a header are valid");
        let sent = self.sender.send_request(request).await;
        let response = sent.expect("the server answers");
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await;
        body.expect("the answer is whole").to_bytes()
    }
}

/// As many requests as are answered in a time, `streams` of them at once on each connection. A stream asks anew as soon as
/// it is answered.
pub(crate) async fn closed_loop(
    connections: &[Connection],
    streams: usize,
    body: &Bytes,
    how_long: Duration,
) -> u64 {
    let until = Instant::now() + how_long;
    let mut tasks = JoinSet::new();
    for connection in connections {
        for _ in 0..streams {
            let (mut asking, body) = (connection.asking.clone(), body.clone());
            tasks.spawn(async move {
                let mut answered = 0_u64;
                while Instant::now() < until {
                    asking.ask(body.clone()).await;
                    answered += 1;
                }
                answered
            });
        }
    }
    tasks.join_all().await.into_iter().sum()
}

/// What requests at a fixed rate took.
#[derive(Clone, Debug, Default)]
pub(crate) struct OpenLoop {
    /// From when a request was to be sent until it was answered, so that a server that stalls pays for all that had to
    /// wait.
    pub(crate) latencies: Samples,
    /// How much later than it was to be sent the load sent it: the rig's own fault.
    pub(crate) late: Samples,
}

/// Requests at a fixed rate, whether earlier ones are answered or not.
pub(crate) async fn open_loop(
    connections: &[Connection],
    body: &Bytes,
    rate: u32,
    how_long: Duration,
) -> OpenLoop {
    let period = Duration::from_secs(1) / rate;
    let mut measured = OpenLoop::default();
    let mut tasks = JoinSet::new();
    let mut due = Instant::now() + period;
    let end = due + how_long;
    for connection in connections.iter().cycle() {
        if due >= end {
            break;
        }
        // Not by a timer: tokio's are a millisecond coarse, and a core that sleeps wakes late. A turn of this loop lets
        // all that is ready run, and asks the system for more.
        while Instant::now() < due {
            yield_now().await;
        }
        measured.late.add(due.elapsed());
        let (mut asking, body) = (connection.asking.clone(), body.clone());
        tasks.spawn(async move {
            asking.ask(body).await;
            due.elapsed()
        });
        due += period;
    }
    for took in tasks.join_all().await {
        measured.latencies.add(took);
    }
    measured
}

/// Connections in a time, each with its handshake, one review, and its end, `at_once` of them side by side. Tells how
/// many there were, and how many of them took up a session.
pub(crate) async fn reconnect(
    client: &Client,
    address: SocketAddr,
    at_once: usize,
    body: &Bytes,
    how_long: Duration,
) -> (u64, u64) {
    let until = Instant::now() + how_long;
    let mut tasks = JoinSet::new();
    for _ in 0..at_once {
        let (client, body) = (client.clone(), body.clone());
        tasks.spawn(async move {
            let (mut made, mut resumed) = (0, 0);
            while Instant::now() < until {
                let mut connection = client.connect(address).await;
                connection.asking.ask(body.clone()).await;
                made += 1;
                resumed += u64::from(connection.resumed);
                connection.close().await;
            }
            (made, resumed)
        });
    }
    let all = tasks.join_all().await;
    all.into_iter()
        .fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}
