//! The listeners' connections: TLS handshakes, limits, and the drain at the end.
//!
//! The webhook's port is reachable by every pod of the cluster and asks nobody who they are, so
//! each connection is bounded in time and all together in number. What a connection may cost:
//!
//! | what it does | how long | then |
//! |---|---|---|
//! | TLS handshake | [`handshake_timeout`] | closed |
//! | says nothing, or half a request head, after the handshake | [`header_timeout`] | closed |
//! | sends a request's body | [`body_timeout`] | 408 |
//! | waits for our handler | [`request_timeout`] | 503 |
//! | is open without a request | [`idle_timeout`] | closed, over HTTP/2 with GOAWAY |
//!
//! **At [`connections_max`]** a new connection is let in and the one that has waited for its own
//! client the longest is cut. Waiting in the accept backlog, or closing the newcomer, would let
//! anybody with a thousand silent connections lock the API server out. This way such a client
//! only cuts its own; to keep one from being the oldest it must send whole requests. A connection
//! whose request is complete and being answered is never cut for another. Where all are such, a
//! newcomer is closed at once: the handlers are short, and its client may try again.
//!
//! **At [`body_bytes_max`]** the body that has been on its way the longest is given up: 503.
//!
//! Not bounded here: the size of one body (the router's limit), and the rate of handshakes. The
//! process needs more file descriptors than `connections_max`: without a free one, newcomers wait
//! in the backlog after all.
//!
//! [`handshake_timeout`]: ConnectionLimits::handshake_timeout
//! [`header_timeout`]: ConnectionLimits::header_timeout
//! [`body_timeout`]: ConnectionLimits::body_timeout
//! [`request_timeout`]: ConnectionLimits::request_timeout
//! [`idle_timeout`]: ConnectionLimits::idle_timeout
//! [`connections_max`]: ConnectionLimits::connections_max
//! [`body_bytes_max`]: ConnectionLimits::body_bytes_max

mod activity;
mod bodies;
mod exchange;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    error::Error,
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::Router;
use futures::FutureExt as _;
use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use rustls::{AlertDescription, ServerConfig};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{self, AbortHandle, JoinError, JoinSet},
    time::{Instant, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::{debug, error, info, warn};

use self::{activity::Activity, bodies::Bodies};

/// Pause after an accept error that is not one connection's own, such as no file descriptors
/// left: the next attempt would fail at once as well.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// HTTP/2 requests at once in one connection. Go's servers, which the API server is used to, say
/// 250 (golang.org/x/net/http2 `defaultMaxStreams`).
const STREAMS_MAX: u32 = 250;
/// Bytes of an HTTP/2 request's headers. The API server sends some hundred.
const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// Bytes that HTTP/1 buffers, and with that the most that its request head may have.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Streams that a client opened and reset at once, before it is sent away (CVE-2023-44487).
const RESETS_MAX: usize = 20;
/// How often a silent HTTP/2 client is asked whether it is still there, and how long it may think.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// The least time between two log lines about callers that were refused.
const TELL_AGAIN_AFTER: Duration = Duration::from_mins(1);

/// How long and how many. The module's documentation says what happens at each limit.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionLimits {
    /// Open connections at once, those in a handshake included; at least 1.
    pub connections_max: usize,
    /// From accept to the end of the TLS handshake.
    pub handshake_timeout: Duration,
    /// From the handshake to the end of the first request's head. Later heads fall under
    /// `idle_timeout`: a half-sent one costs no more than silence.
    pub header_timeout: Duration,
    /// From a request's head to the end of its body.
    pub body_timeout: Duration,
    /// Bytes of bodies in memory at once, over all connections. Twice as many may be for a moment, where a body's
    /// pieces are put together. The largest review has 7 MiB.
    pub body_bytes_max: usize,
    /// From the end of a request's body to the head of our answer. The API server itself waits
    /// for at most 30 s, and 3 s in our registration.
    pub request_timeout: Duration,
    /// Without a request. Generous, since the API server keeps its connections and each new one
    /// costs the next admission a handshake. An answer that its client does not fetch for this
    /// long is cut as well.
    pub idle_timeout: Duration,
    /// From the call to shut down until what is still open is cut. Also how long a connection
    /// that was told to close may take to do so.
    pub drain_timeout: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            handshake_timeout: Duration::from_secs(5),
            header_timeout: Duration::from_secs(5),
            body_timeout: Duration::from_secs(10),
            body_bytes_max: 32 << 20,
            request_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_mins(3),
            drain_timeout: Duration::from_secs(20),
        }
    }
}

/// What a listener's connections do, readable while it serves. Clones show the same numbers.
#[derive(Clone, Debug, Default)]
pub struct ConnectionStats(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    open: AtomicUsize,
    shed: AtomicU64,
    refused: AtomicU64,
    handshakes_failed: AtomicU64,
    certificates_rejected: AtomicU64,
    callers_unknown: AtomicU64,
    callers_refused: AtomicU64,
}

impl ConnectionStats {
    /// Connections that are open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.0.open.load(Ordering::Relaxed)
    }

    /// Waiting connections that were cut to let a new one in.
    #[must_use]
    pub fn shed(&self) -> u64 {
        self.0.shed.load(Ordering::Relaxed)
    }

    /// New connections closed at once, since all open ones were being answered.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// TLS handshakes that failed or took too long, rejected certificates and bare TCP probes
    /// included.
    #[must_use]
    pub fn handshakes_failed(&self) -> u64 {
        self.0.handshakes_failed.load(Ordering::Relaxed)
    }

    /// Handshakes that the client broke off because of our certificate. From the API server that
    /// means a wrong `caBundle`, a wrong name or an expired certificate, and it shows nowhere
    /// else under `failurePolicy: Ignore`.
    #[must_use]
    pub fn certificates_rejected(&self) -> u64 {
        self.0.certificates_rejected.load(Ordering::Relaxed)
    }

    /// Handshakes of clients without a certificate, where one is asked for.
    #[must_use]
    pub fn callers_unknown(&self) -> u64 {
        self.0.callers_unknown.load(Ordering::Relaxed)
    }

    /// Handshakes of clients with a certificate that is not taken: of another CA, expired, or not for clients.
    #[must_use]
    pub fn callers_refused(&self) -> u64 {
        self.0.callers_refused.load(Ordering::Relaxed)
    }
}

fn increment(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// How a listener ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were cut at [`ConnectionLimits::drain_timeout`].
    pub cut: usize,
}

/// Serves `app` on `listener` until `shutdown` is ready, then drains. Without `tls`, plain HTTP.
///
/// *Guarantees*: no client and no handler ends it, neither by an error nor by a panic; after it
/// returned, or was dropped, none of its connections is open. The listener is closed before the
/// drain, so that new connections go elsewhere; who has connected by then and asks at once is still
/// answered.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    app: Router,
    limits: ConnectionLimits,
    stats: ConnectionStats,
    shutdown: impl Future<Output = ()>,
) -> Drained {
    let (drain, draining) = watch::channel(false);
    let server = Arc::new(Server {
        tls: tls.map(TlsAcceptor::from),
        http: http_settings(),
        app,
        limits,
        stats,
        refusals: Seldom::default(),
        bodies: Bodies::new(limits.body_bytes_max),
        draining,
    });
    let mut connections = Connections::default();
    let mut is_accept_failing = false;
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = connections.tasks.join_next_with_id() => connections.forget(ended),
            (stream, peer) = accept(&listener, &mut is_accept_failing) => {
                connections.admit(&server, stream, peer);
            }
        }
        server.publish_open(connections.open.len());
    }
    // Who has connected by now was led here by somebody who doesn't know yet that we go.
    while let Some((stream, peer)) = accept(&listener, &mut is_accept_failing).now_or_never() {
        connections.admit(&server, stream, peer);
    }
    drop(listener);
    drain.send_replace(true);
    let drained = connections.drain(limits.drain_timeout).await;
    server.publish_open(0);
    drained
}

/// The next connection. Errors are logged once for as long as they last, and never returned:
/// whatever is wrong now, the API server will call again.
async fn accept(listener: &TcpListener, is_failing: &mut bool) -> (TcpStream, SocketAddr) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    loop {
        match listener.accept().await {
            Ok(accepted) => {
                if std::mem::take(is_failing) {
                    info!("Accepting connections again");
                }
                return accepted;
            }
            // One client gave up before we came to it.
            Err(error)
                if matches!(
                    error.kind(),
                    ConnectionAborted | ConnectionRefused | ConnectionReset
                ) => {}
            Err(error) => {
                if !std::mem::replace(is_failing, true) {
                    warn!(%error, "Could not accept connections, trying on");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// The open connections of one listener. Dropping it cuts them.
#[derive(Debug, Default)]
struct Connections {
    tasks: JoinSet<()>,
    /// Those that count towards the limit: of `tasks`, all that were not shed.
    open: HashMap<task::Id, Open>,
}

#[derive(Debug)]
struct Open {
    activity: Arc<Activity>,
    task: AbortHandle,
}

impl Connections {
    /// Starts serving `stream`, or closes it where there is no room and none can be made.
    fn admit(&mut self, server: &Arc<Server>, stream: TcpStream, peer: SocketAddr) {
        if self.open.len() >= server.limits.connections_max {
            let Some(longest_waiting) = self.longest_waiting() else {
                increment(&server.stats.0.refused);
                debug!(%peer, "Refused a connection, all others are being answered");
                return;
            };
            if let Some(shed) = self.open.remove(&longest_waiting) {
                shed.task.abort();
                increment(&server.stats.0.shed);
            }
        }
        let activity = Arc::new(Activity::new());
        let serving = Arc::clone(server).serve_client(stream, peer, Arc::clone(&activity));
        let task = self.tasks.spawn(serving);
        self.open.insert(task.id(), Open { activity, task });
    }

    fn longest_waiting(&self) -> Option<task::Id> {
        let waiting = self
            .open
            .iter()
            .filter_map(|(id, open)| Some((open.activity.waiting_since()?, *id)));
        waiting.min().map(|(_, id)| id)
    }

    fn forget(&mut self, ended: Result<(task::Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                if error.is_panic() {
                    error!(%error, "A request panicked, its connection is closed");
                }
                error.id()
            }
        };
        self.open.remove(&id);
    }

    async fn drain(mut self, drain_timeout: Duration) -> Drained {
        let all_ended = async {
            while let Some(ended) = self.tasks.join_next_with_id().await {
                self.forget(ended);
            }
        };
        // Whether in time or not, `open` has what is left.
        let _ = timeout(drain_timeout, all_ended).await;
        let cut = self.open.len();
        self.tasks.shutdown().await;
        Drained { cut }
    }
}

/// What all connections of a listener share.
struct Server {
    tls: Option<TlsAcceptor>,
    http: auto::Builder<TokioExecutor>,
    app: Router,
    limits: ConnectionLimits,
    stats: ConnectionStats,
    refusals: Seldom,
    bodies: Arc<Bodies>,
    draining: watch::Receiver<bool>,
}

impl Server {
    fn publish_open(&self, open: usize) {
        self.stats.0.open.store(open, Ordering::Relaxed);
    }

    /// One connection, from accept to close.
    async fn serve_client(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        activity: Arc<Activity>,
    ) {
        // Answers are single small writes: waiting for more only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%peer, %error, "Could not set TCP_NODELAY");
        }
        match &self.tls {
            None => self.speak_http(stream, peer, activity).await,
            Some(tls) => match self.shake_hands(tls, stream).await {
                Ok(stream) => self.speak_http(stream, peer, activity).await,
                Err(error) => self.tell_of_handshake(&error, peer),
            },
        }
    }

    fn tell_of_handshake(&self, error: &io::Error, peer: SocketAddr) {
        let stats = &self.stats.0;
        increment(&stats.handshakes_failed);
        debug!(%peer, %error, "TLS handshake failed");
        let refused = match tls_error(error) {
            Some(rustls::Error::NoCertificatesPresented) => &stats.callers_unknown,
            Some(rustls::Error::InvalidCertificate(_)) => &stats.callers_refused,
            Some(error) if is_rejected_certificate(error) => {
                increment(&stats.certificates_rejected);
                return;
            }
            _ => return,
        };
        increment(refused);
        // Who is refused may be the API server, and under `failurePolicy: Ignore` nobody else says so. It may be
        // anybody as well, who must not fill the log.
        if self.refusals.is_due() {
            warn!(
                %peer, why = %error, without_certificate = self.stats.callers_unknown(),
                with_another = self.stats.callers_refused(),
                "Refused a caller by --client-ca, more of them are only counted for a minute"
            );
        }
    }

    async fn shake_hands(
        &self,
        tls: &TlsAcceptor,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        let handshake = tls.accept(stream);
        timeout(self.limits.handshake_timeout, handshake).await?
    }

    /// HTTP/1 or HTTP/2, as the client's first bytes say, until it leaves, is idle for too long,
    /// or the drain begins.
    async fn speak_http(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        peer: SocketAddr,
        activity: Arc<Activity>,
    ) {
        activity.expect_request();
        let service = service_fn(|request| {
            let (app, share) = (self.app.clone(), self.bodies.begin());
            exchange::answer(app, request, activity.begin(), share, self.limits)
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        // Told to close, it still answers the requests that crossed our goodbye on their way.
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = activity.silent_for_too_long(&self.limits) => {
                connection.as_mut().graceful_shutdown();
                let ended = timeout(self.limits.drain_timeout, connection).await;
                ended.unwrap_or_else(|late| Err(late.into()))
            }
            // Here `Connections::drain` keeps the time, for all together. Who has come to ask is answered first: no
            // goodbye reaches it before it has sent its request, which would be lost.
            () = async { self.drain_begins().await; activity.first_request().await } => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(%peer, error = &*error as &dyn Error, "Connection failed");
        }
    }

    async fn drain_begins(&self) {
        // An error means that `serve` itself was dropped: that is an end as well.
        let _ = self.draining.clone().wait_for(|begun| *begun).await;
    }
}

/// Whether the client ended the handshake because it does not accept our certificate. Go's
/// clients, the API server among them, say `bad_certificate` for all reasons; others are more
/// exact, down to `decrypt_error` for another CA of the same name.
fn is_rejected_certificate(error: &rustls::Error) -> bool {
    use AlertDescription::{
        BadCertificate, CertificateExpired, CertificateUnknown, DecryptError, UnknownCA,
        UnsupportedCertificate,
    };
    matches!(
        error,
        rustls::Error::AlertReceived(
            BadCertificate
                | CertificateExpired
                | CertificateUnknown
                | DecryptError
                | UnknownCA
                | UnsupportedCertificate
        )
    )
}

/// What the TLS library said, where it was it that failed.
fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Says something again only after a while.
#[derive(Debug, Default)]
struct Seldom(Mutex<Option<Instant>>);

impl Seldom {
    /// Whether it is time, which it then isn't again for [`TELL_AGAIN_AFTER`].
    fn is_due(&self) -> bool {
        // Each change is complete at once, so a panic elsewhere leaves nothing half done.
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let is_due = last.is_none_or(|last| now - last >= TELL_AGAIN_AFTER);
        if is_due {
            *last = Some(now);
        }
        is_due
    }
}

fn http_settings() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    // hyper's own header timeout also runs between the requests of a connection, where it would
    // close the API server's idle ones within seconds, and does not run before the first byte.
    // `Activity` keeps both times instead.
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(BUFFER_BYTES_MAX);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    http
}
