//! Over real sockets on port 0. Limits are short where a story waits for one, and the wait is
//! for the socket's state, with [`within`] as the outer bound.

mod crowds;
mod floods;
mod handshakes;

use axum::{
    body::Body,
    routing::{get, post},
};
use bytes::Bytes;
use futures::stream;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper::client::conn::{http1, http2};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    sync::{Semaphore, oneshot},
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client};

use super::*;
use crate::tls::{
    Authority, CertificateStore, PemPair, ServingCertificate, ServingNames, server_config,
};

const SHORT: Duration = Duration::from_millis(50);
const NOW: jiff::Timestamp = jiff::Timestamp::constant(4_000_000_000, 0);

async fn within<T>(story: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(30), story)
        .await
        .expect("the state never came")
}

/// Holds the requests to `/gated` until it is opened.
struct Gate {
    entered: Semaphore,
    open: Semaphore,
}

impl Gate {
    fn closed() -> Arc<Self> {
        let [entered, open] = [Semaphore::new(0), Semaphore::new(0)];
        Arc::new(Self { entered, open })
    }

    async fn pass(&self) -> &'static str {
        self.entered.add_permits(1);
        self.open.acquire().await.unwrap().forget();
        "released"
    }

    async fn collect(&self, body: Body) -> &'static str {
        self.entered.add_permits(1);
        body.collect().await.map_or("cut", |_| "whole")
    }

    async fn until_entered(&self, requests: u32) {
        within(self.entered.acquire_many(requests))
            .await
            .unwrap()
            .forget();
    }
}

struct Served {
    address: SocketAddr,
    gate: Arc<Gate>,
    stats: ConnectionStats,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Drained>,
}

async fn serving(limits: ConnectionLimits, tls: Option<Arc<ServerConfig>>) -> Served {
    let gate = Gate::closed();
    let behind_gate = Arc::clone(&gate);
    let behind_head = Arc::clone(&gate);
    let behind_body = Arc::clone(&gate);
    let app = Router::new()
        .route("/now", get(async || "now"))
        .route("/length", post(async |body: Bytes| body.len().to_string()))
        .route(
            "/gated",
            post(async move |body: Body| behind_head.collect(body).await),
        )
        .route("/gated", get(async move || behind_gate.pass().await))
        .route(
            "/held",
            post(async move |_: Bytes| behind_body.pass().await),
        )
        .route(
            "/panic",
            get(async || -> () { panic!("as the story wants") }),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stats = ConnectionStats::default();
    let (stop, stopped) = oneshot::channel();
    let shutdown = async {
        let _ = stopped.await;
    };
    let ended = tokio::spawn(serve(listener, tls, app, limits, stats.clone(), shutdown));
    Served {
        address,
        gate,
        stats,
        stop,
        ended,
    }
}

impl Served {
    async fn tcp(&self) -> TcpStream {
        within(TcpStream::connect(self.address)).await.unwrap()
    }

    async fn http1(&self) -> Client {
        Client::http1(self.tcp().await).await
    }

    async fn http2(&self) -> Client {
        Client::http2(self.tcp().await).await
    }

    async fn drain(self) -> Drained {
        self.stop.send(()).unwrap();
        within(self.ended).await.unwrap()
    }
}

type Answer = hyper::Result<(StatusCode, String)>;

enum Sender {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
}

/// One connection.
struct Client {
    sender: Sender,
    driver: JoinHandle<()>,
}

impl Client {
    async fn http1(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (sender, driver) = http1::handshake(TokioIo::new(io)).await.unwrap();
        let driver = tokio::spawn(async { driver.await.unwrap_or_default() });
        let sender = Sender::Http1(sender);
        Self { sender, driver }
    }

    async fn http2(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let io = TokioIo::new(io);
        let (sender, driver) = http2::handshake(TokioExecutor::new(), io).await.unwrap();
        let driver = tokio::spawn(async { driver.await.unwrap_or_default() });
        let sender = Sender::Http2(sender);
        Self { sender, driver }
    }

    async fn send(&mut self, request: Request<Body>) -> Answer {
        let response = match &mut self.sender {
            Sender::Http1(sender) => within(sender.send_request(request)).await?,
            Sender::Http2(sender) => within(sender.send_request(request)).await?,
        };
        let status = response.status();
        let body = within(response.into_body().collect()).await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }

    async fn get(&mut self, path: &str) -> Answer {
        let uri = match self.sender {
            Sender::Http1(_) => path.to_owned(),
            Sender::Http2(_) => format!("http://localhost{path}"),
        };
        let request = Request::get(uri).header("host", "localhost");
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// Sends in the background, for requests that wait at the gate.
    fn get_later(mut self, path: &'static str) -> JoinHandle<Answer> {
        tokio::spawn(async move { self.get(path).await })
    }

    async fn until_closed(self) {
        within(self.driver).await.unwrap();
    }
}

fn ok(body: &str) -> (StatusCode, String) {
    (StatusCode::OK, body.to_owned())
}

/// A request whose head is complete and whose body never is.
fn endless_post() -> Request<Body> {
    let body = Body::from_stream(stream::pending::<io::Result<Bytes>>());
    let uri = "http://localhost/length";
    let request = Request::post(uri).header("host", "localhost");
    request.body(body).unwrap()
}

/// Everything that the server says until it closes.
async fn read_to_end(mut stream: TcpStream) -> String {
    let mut said = Vec::new();
    // A reset is a close as well.
    let _ = within(stream.read_to_end(&mut said)).await;
    String::from_utf8_lossy(&said).into_owned()
}

struct Pki {
    authority: Authority,
    store: Arc<CertificateStore>,
}

impl Pki {
    fn new() -> Self {
        let pki = Self {
            authority: Authority::generate(Duration::from_hours(1), NOW).unwrap(),
            store: Arc::default(),
        };
        pki.store.replace(pki.issue());
        pki
    }

    fn issue(&self) -> ServingCertificate {
        let names = ServingNames {
            service: "localhost".into(),
            namespace: "peers".into(),
            cluster_domain: "cluster.local".into(),
            dns_names: Vec::new(),
            ips: Vec::new(),
        };
        let hour = Duration::from_hours(1);
        let pair = self.authority.issue(&names, hour, NOW).unwrap();
        ServingCertificate::from_pem(&pair, "a test").unwrap()
    }

    fn config(&self) -> Arc<ServerConfig> {
        Arc::new(server_config(Arc::clone(&self.store), None))
    }

    /// A handshake of a client that trusts this CA alone and offers `protocols`.
    async fn connect(
        &self,
        served: &Served,
        protocols: &[&str],
    ) -> io::Result<client::TlsStream<TcpStream>> {
        self.connect_as(served, protocols, None).await
    }

    /// The same, with a certificate to show.
    async fn connect_as(
        &self,
        served: &Served,
        protocols: &[&str],
        shows: Option<&PemPair>,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let root = self.authority.certificate_pem().as_bytes();
        roots
            .add(CertificateDer::from_pem_slice(root).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_details(provider, Arc::new(AtNow))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match shows {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let chain = CertificateDer::pem_slice_iter(&pair.certificate);
                let key = PrivateKeyDer::from_pem_slice(&pair.key).unwrap();
                builder
                    .with_client_auth_cert(chain.map(Result::unwrap).collect(), key)
                    .unwrap()
            }
        };
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        within(connector.connect(name, served.tcp().await)).await
    }
}

/// The clock of the clients: tests do not depend on the day.
#[derive(Debug)]
struct AtNow;

impl rustls::time_provider::TimeProvider for AtNow {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = NOW.as_second().try_into().unwrap();
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

#[tokio::test]
async fn http2_and_http1_are_served_over_tls() {
    let pki = Pki::new();
    let served = serving(ConnectionLimits::default(), pki.config().into()).await;

    let stream = pki.connect(&served, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let mut http2 = Client::http2(stream).await;
    assert_eq!(http2.get("/now").await.unwrap(), ok("now"));

    let stream = pki.connect(&served, &["http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut http1 = Client::http1(stream).await;
    assert_eq!(http1.get("/now").await.unwrap(), ok("now"));

    let mut no_alpn = Client::http1(pki.connect(&served, &[]).await.unwrap()).await;
    assert_eq!(no_alpn.get("/now").await.unwrap(), ok("now"));
    assert_eq!(served.stats.open(), 3);
}

#[tokio::test]
async fn without_tls_both_versions_are_served_in_plain_text() {
    let served = serving(ConnectionLimits::default(), None).await;
    assert_eq!(served.http1().await.get("/now").await.unwrap(), ok("now"));
    assert_eq!(served.http2().await.get("/now").await.unwrap(), ok("now"));
}

#[tokio::test]
async fn a_large_body_arrives_whole() {
    let served = serving(ConnectionLimits::default(), None).await;
    let body = vec![b'x'; 2 * 1024 * 1024 - 1];
    let length = ok(&body.len().to_string());
    for mut client in [served.http1().await, served.http2().await] {
        let request = Request::post("http://localhost/length").header("host", "localhost");
        let request = request.body(Body::from(body.clone())).unwrap();
        assert_eq!(client.send(request).await.unwrap(), length);
    }
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_only() {
    let (before, after) = (Pki::new(), Pki::new());
    let served = serving(ConnectionLimits::default(), before.config().into()).await;
    let mut old = Client::http2(before.connect(&served, &["h2"]).await.unwrap()).await;
    assert_eq!(old.get("/now").await.unwrap(), ok("now"));

    before.store.replace(after.issue());

    let mut new = Client::http2(after.connect(&served, &["h2"]).await.unwrap()).await;
    assert_eq!(new.get("/now").await.unwrap(), ok("now"));
    assert!(before.connect(&served, &["h2"]).await.is_err());
    assert_eq!(old.get("/now").await.unwrap(), ok("now"));
}

#[tokio::test]
async fn a_client_that_rejects_our_certificate_is_counted() {
    let served = serving(ConnectionLimits::default(), Pki::new().config().into()).await;
    assert!(Pki::new().connect(&served, &["h2"]).await.is_err());
    within(async {
        while served.stats.certificates_rejected() != 1 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(served.stats.handshakes_failed(), 1);
}

#[tokio::test]
async fn without_a_certificate_handshakes_fail() {
    let pki = Pki::new();
    let empty = server_config(Arc::default(), None);
    let served = serving(ConnectionLimits::default(), Some(Arc::new(empty))).await;
    assert!(pki.connect(&served, &["h2"]).await.is_err());
}

#[tokio::test]
async fn a_handshake_that_stalls_is_closed() {
    let limits = ConnectionLimits {
        handshake_timeout: SHORT,
        ..Default::default()
    };
    let served = serving(limits, Pki::new().config().into()).await;
    let mut silent = served.tcp().await;
    // The start of a ClientHello.
    silent.write_all(b"\x16\x03\x01").await.unwrap();
    assert_eq!(read_to_end(silent).await, "");
    assert_eq!(served.stats.handshakes_failed(), 1);
}

#[tokio::test]
async fn a_request_head_that_does_not_come_is_not_waited_for() {
    let limits = ConnectionLimits {
        header_timeout: SHORT,
        drain_timeout: SHORT,
        ..Default::default()
    };
    let served = serving(limits, None).await;
    for start in ["", "GET /now HTTP/1.1\r\nHost: loc", "PRI * HTTP/2.0\r\n"] {
        let mut slow = served.tcp().await;
        slow.write_all(start.as_bytes()).await.unwrap();
        assert_eq!(read_to_end(slow).await, "", "after {start:?}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_gets_408() {
    let limits = ConnectionLimits {
        body_timeout: SHORT,
        ..Default::default()
    };
    let served = serving(limits, None).await;

    let mut http2 = served.http2().await;
    let (status, _) = http2.send(endless_post()).await.unwrap();
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT);
    assert_eq!(
        http2.get("/now").await.unwrap(),
        ok("now"),
        "other streams live"
    );

    let mut http1 = served.tcp().await;
    let head = "POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nslow";
    http1.write_all(head.as_bytes()).await.unwrap();
    let answer = read_to_end(http1).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

#[tokio::test]
async fn a_handler_that_hangs_gets_503() {
    let limits = ConnectionLimits {
        request_timeout: SHORT,
        ..Default::default()
    };
    let served = serving(limits, None).await;
    let mut client = served.http2().await;
    let (status, _) = client.get("/gated").await.unwrap();
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(client.get("/now").await.unwrap(), ok("now"));
}

#[tokio::test]
async fn a_panic_costs_no_more_than_its_connection() {
    let served = serving(ConnectionLimits::default(), None).await;
    let mut other = served.http1().await;
    assert_eq!(other.get("/now").await.unwrap(), ok("now"));
    assert!(served.http1().await.get("/panic").await.is_err());
    assert!(served.http2().await.get("/panic").await.is_err());
    assert_eq!(other.get("/now").await.unwrap(), ok("now"));
    assert_eq!(served.http1().await.get("/now").await.unwrap(), ok("now"));
}

#[tokio::test]
async fn a_newcomer_takes_the_place_of_the_longest_silent_connection() {
    let limits = ConnectionLimits {
        connections_max: 2,
        ..Default::default()
    };
    let served = serving(limits, None).await;
    let (mut first, mut second) = (served.http1().await, served.http2().await);
    for client in [&mut first, &mut second] {
        assert_eq!(client.get("/now").await.unwrap(), ok("now"));
    }
    let mut newcomer = served.http1().await;
    assert_eq!(newcomer.get("/now").await.unwrap(), ok("now"));
    first.until_closed().await;
    assert_eq!(second.get("/now").await.unwrap(), ok("now"));
    assert_eq!((served.stats.shed(), served.stats.open()), (1, 2));
}

#[tokio::test]
async fn a_hundred_silent_clients_do_not_lock_out_another() {
    let limits = ConnectionLimits {
        connections_max: 8,
        ..Default::default()
    };
    let pki = Pki::new();
    let served = serving(limits, pki.config().into()).await;
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(served.tcp().await);
    }
    let mut client = Client::http2(pki.connect(&served, &["h2"]).await.unwrap()).await;
    assert_eq!(client.get("/now").await.unwrap(), ok("now"));
    assert_eq!(served.stats.refused(), 0);
}

#[tokio::test]
async fn who_holds_back_a_body_is_cut_for_a_newcomer_and_who_is_answered_is_not() {
    let limits = ConnectionLimits {
        connections_max: 2,
        ..Default::default()
    };
    let served = serving(limits, None).await;
    let answered = served.http1().await.get_later("/gated");
    served.gate.until_entered(1).await;
    let mut holding_back = served.tcp().await;
    let head = "POST /gated HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nslow";
    holding_back.write_all(head.as_bytes()).await.unwrap();
    served.gate.until_entered(1).await;

    let mut newcomer = served.http1().await;
    assert_eq!(newcomer.get("/now").await.unwrap(), ok("now"));
    assert_eq!(read_to_end(holding_back).await, "");
    served.gate.open.add_permits(1);
    assert_eq!(within(answered).await.unwrap().unwrap(), ok("released"));
}

#[tokio::test]
async fn where_all_are_being_answered_a_newcomer_is_refused_until_one_is_done() {
    let limits = ConnectionLimits {
        connections_max: 2,
        ..Default::default()
    };
    let served = serving(limits, None).await;
    let first = served.http1().await.get_later("/gated");
    let second = served.http2().await.get_later("/gated");
    served.gate.until_entered(2).await;

    assert_eq!(read_to_end(served.tcp().await).await, "");
    assert_eq!((served.stats.refused(), served.stats.shed()), (1, 0));

    served.gate.open.add_permits(2);
    for client in [first, second] {
        assert_eq!(within(client).await.unwrap().unwrap(), ok("released"));
    }
    assert_eq!(served.http1().await.get("/now").await.unwrap(), ok("now"));
}

#[tokio::test]
async fn silence_ends_a_connection_and_a_running_request_does_not() {
    let limits = ConnectionLimits {
        idle_timeout: SHORT,
        ..Default::default()
    };
    let served = serving(limits, None).await;
    let running = served.http2().await.get_later("/gated");
    served.gate.until_entered(1).await;
    // Two idle times pass, one after the other.
    for _ in 0..2 {
        for mut client in [served.http1().await, served.http2().await] {
            assert_eq!(client.get("/now").await.unwrap(), ok("now"));
            client.until_closed().await;
        }
    }
    served.gate.open.add_permits(1);
    assert_eq!(within(running).await.unwrap().unwrap(), ok("released"));
}

#[tokio::test]
async fn a_drain_finishes_what_runs_closes_what_is_silent_and_takes_nothing_new() {
    let served = serving(ConnectionLimits::default(), None).await;
    let (gate, address) = (Arc::clone(&served.gate), served.address);
    let running = [
        served.http1().await.get_later("/gated"),
        served.http2().await.get_later("/gated"),
    ];
    gate.until_entered(2).await;
    let mut silent = served.http2().await;
    assert_eq!(silent.get("/now").await.unwrap(), ok("now"));

    let drained = tokio::spawn(served.drain());
    silent.until_closed().await;
    assert!(TcpStream::connect(address).await.is_err());
    gate.open.add_permits(2);
    for client in running {
        assert_eq!(within(client).await.unwrap().unwrap(), ok("released"));
    }
    assert_eq!(within(drained).await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn a_drain_answers_who_had_connected_and_not_asked_yet() {
    let served = serving(ConnectionLimits::default(), None).await;
    let address = served.address;
    let (one, other) = (served.tcp().await, served.tcp().await);
    let drained = tokio::spawn(served.drain());
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let mut one = Client::http1(one).await;
    assert_eq!(one.get("/now").await.unwrap(), ok("now"));
    let mut other = Client::http2(other).await;
    assert_eq!(other.get("/now").await.unwrap(), ok("now"));
    one.until_closed().await;
    other.until_closed().await;
    assert_eq!(within(drained).await.unwrap(), Drained { cut: 0 });
}

#[tokio::test]
async fn a_drain_waits_for_a_silent_handshake_no_longer_than_for_any() {
    let limits = ConnectionLimits {
        handshake_timeout: SHORT,
        ..Default::default()
    };
    let served = serving(limits, Pki::new().config().into()).await;
    let in_handshake = served.tcp().await;
    assert_eq!(served.drain().await, Drained { cut: 0 });
    assert_eq!(read_to_end(in_handshake).await, "");
}

#[tokio::test]
async fn a_drain_cuts_what_is_not_done_in_time() {
    let limits = ConnectionLimits {
        drain_timeout: SHORT,
        ..Default::default()
    };
    let served = serving(limits, None).await;
    let running = served.http1().await.get_later("/gated");
    served.gate.until_entered(1).await;
    assert_eq!(served.drain().await, Drained { cut: 1 });
    assert!(within(running).await.unwrap().is_err());
}
