//! The in-memory API server behind a port, so that our program talks to it as a process of its own.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    ops::Sub,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures::FutureExt;
use http::{Request, Response};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use kube::client::Body;
use stellar_peers::sandbox::{Sandbox, SandboxService};
use tokio::{net::TcpListener, task::JoinSet};
use tower::{BoxError, Service};

/// The name under which our program talks to the API server.
const USER: &str = "stellar-peers";

/// A sandbox that answers on a port of the loopback, by plain HTTP. It ends when this is dropped.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    requests: Arc<Mutex<Requests>>,
    _serving: JoinSet<()>,
}

impl Served {
    /// Opens a port for what our program asks.
    pub(crate) async fn start(sandbox: &Sandbox) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port on the loopback");
        let address = listener.local_addr().expect("a bound address");
        let requests = Arc::<Mutex<Requests>>::default();
        let counted = Arc::clone(&requests);
        sandbox.witness_requests(move |it| {
            if it.info.user == USER {
                let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
                counted.add(it.info.verb, &it.info.resource);
            }
        });
        let mut serving = JoinSet::new();
        serving.spawn(accept(listener, sandbox.service(USER)));
        Self {
            address,
            requests,
            _serving: serving,
        }
    }

    /// What our program has asked for so far.
    pub(crate) fn requests(&self) -> Requests {
        let requests = self.requests.lock();
        requests.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn accept(listener: TcpListener, service: SandboxService) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("the port stays open");
        stream
            .set_nodelay(true)
            .expect("a connection sends at once");
        let service = service.clone();
        let serve =
            service_fn(move |request: Request<Incoming>| answer(service.clone(), request).boxed());
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), serve);
        // A connection that breaks is our program's to notice.
        connections.spawn(async move { drop(connection.await) });
    }
}

async fn answer(
    mut service: SandboxService,
    request: Request<Incoming>,
) -> io::Result<Response<UnsyncBoxBody<Bytes, io::Error>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?;
    let request = Request::from_parts(head, Body::from(body.to_bytes().to_vec()));
    let response = service.call(request).await.map_err(io_error)?;
    Ok(response.map(|body| body.map_err(io_error).boxed_unsync()))
}

fn io_error(error: BoxError) -> io::Error {
    io::Error::other(error)
}

/// Requests by verb and resource.
#[derive(Clone, Debug, Default)]
pub(crate) struct Requests(BTreeMap<(&'static str, String), u32>);

impl Requests {
    fn add(&mut self, verb: &'static str, resource: &str) {
        *self.0.entry((verb, resource.to_owned())).or_default() += 1;
    }

    /// Those that mean to change something; the Lease's renewals apart.
    pub(crate) fn writes(&self) -> u32 {
        self.sum(|verb, resource| !matches!(verb, "get" | "list" | "watch") && resource != "leases")
    }

    /// Writes of this kind.
    pub(crate) fn writes_of(&self, kind: &str) -> u32 {
        self.sum(|verb, resource| !matches!(verb, "get" | "list" | "watch") && resource == kind)
    }

    fn sum(&self, counts: impl Fn(&str, &str) -> bool) -> u32 {
        let counted = self.0.iter();
        let counted = counted.filter(|((verb, resource), _)| counts(verb, resource));
        counted.map(|(_, count)| count).sum()
    }

    /// All of them, for people.
    pub(crate) fn words(&self) -> String {
        let all = self.0.iter().filter(|(_, count)| **count > 0);
        let all: Vec<_> = all
            .map(|((verb, resource), count)| format!("{verb} {resource} {count}"))
            .collect();
        if all.is_empty() {
            "none".to_owned()
        } else {
            all.join(", ")
        }
    }
}

/// What came after an earlier count.
impl Sub<&Self> for Requests {
    type Output = Self;

    fn sub(mut self, earlier: &Self) -> Self {
        for (what, count) in &mut self.0 {
            *count -= earlier.0.get(what).copied().unwrap_or_default();
        }
        self
    }
}
