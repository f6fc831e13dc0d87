//! An in-memory Kubernetes API server, with a StatefulSet controller and a kubelet, beneath a real [`kube::Client`].
//!
//! It serves `demo` in real time, scenarios under tokio's paused clock, and the simulation. Everything that it does is
//! a function of the requests, their order and tokio's clock: no other clock, no randomness of its own, no `HashMap`.
//! A scenario that passes here and fails on a real server is a bug of this module.
//!
//! ```text
//! kube::Client ─► service ─► server (faults, routing, log) ─► read, watch ─────────► store
//!                                        └─► write ─► admission ─► webhook ─► write ──► store
//!                                                 ownership, patch, defaults, validate (pure)
//! controllers: store's journal ─► stateful_set, kubelet, garbage ─► store
//! ```
//!
//! # What a real server does differently
//! - Schemas of custom resources aren't read: no pruning, no validation, all their lists are atomic.
//! - `matchConditions` aren't evaluated, and neither scale nor delete reaches a webhook.
//! - The controllers' own writes (pods, statuses) pass no webhook and leave no managed fields; claims are always bound.
//! - A restart of the controllers forgets revisions, so that a partition then holds the newest template.
//! - `v1` and `events.k8s.io/v1` Events are two resources. There is no authorization. Items of a list keep their kind.
//! - Managed fields of an update also name the structs around what was written. Apply patches are JSON, not YAML.
//! - Messages about unreadable JSON are serde's, not Go's.

mod admission;
mod answer;
mod clock;
mod controllers;
mod defaults;
mod delete;
mod discovery;
mod draft;
mod error;
mod faults;
mod fields;
pub mod fixtures;
mod garbage;
mod https;
mod kinds;
mod kubelet;
mod lists;
mod names;
mod object;
pub mod operator;
mod owners;
mod ownership;
mod patch;
mod read;
mod record;
mod request;
mod selector;
mod server;
mod stateful_set;
mod store;
mod validate;
mod validate_pods;
mod watch;
mod webhook;
mod write;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    net::Ipv4Addr,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::future::BoxFuture;
use http::{Request, Response};
use jiff::Timestamp;
use kube::client::Body;
use serde_json::{Value, json};
use tower::{BoxError, Service};

pub use answer::AnswerBody;
pub use controllers::{Controllers, RunningControllers, Timing};
pub use faults::{ConnectionBroken, Fault, FaultHook, WatchFault};
pub use https::Https;
pub use kubelet::{ReadyCheck, World};
pub use record::RequestRecord;
pub use request::RequestInfo;
pub use store::{Author, Change};
pub use webhook::{ClientConfig, InProcess, NoWebhooks, WebhookTransport};

use object::Key;
use server::Inner;

/// How a sandbox is set up.
#[derive(Clone)]
pub struct SandboxOptions {
    /// The date at which its clock begins.
    pub epoch: Timestamp,
    /// How many events of each kind watches can go back; more is 410.
    pub history_events_max: usize,
    /// How many requests the log keeps; 0 for none.
    pub requests_max: usize,
    /// How long the control plane takes for things.
    pub timing: Timing,
    /// The way to webhooks.
    pub webhooks: Arc<dyn WebhookTransport>,
}

impl Default for SandboxOptions {
    /// Begins on a fixed date, keeps 1,024 events a kind and 65,536 requests, and reaches no webhook.
    fn default() -> Self {
        Self {
            epoch: Timestamp::constant(1_800_000_000, 0),
            history_events_max: 1024,
            requests_max: 65_536,
            timing: Timing::default(),
            webhooks: Arc::new(NoWebhooks),
        }
    }
}

impl fmt::Debug for SandboxOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxOptions")
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

/// An in-memory cluster. Clones share it.
#[derive(Clone)]
pub struct Sandbox {
    inner: Arc<Inner>,
}

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox")
            .field("version", &self.inner.state().store.version())
            .finish_non_exhaustive()
    }
}

impl Default for Sandbox {
    fn default() -> Self {
        Self::new(SandboxOptions::default())
    }
}

impl Sandbox {
    /// An empty cluster with the namespaces `default` and `kube-system`.
    #[must_use]
    pub fn new(options: SandboxOptions) -> Self {
        let sandbox = Self {
            inner: Arc::new(Inner::new(options)),
        };
        sandbox.create_namespace("default");
        sandbox.create_namespace("kube-system");
        sandbox
    }

    /// Makes a namespace, unless it is there.
    pub fn create_namespace(&self, name: &str) {
        let mut state = self.inner.state();
        let table = state.store.built_in("", "namespaces");
        if state.store.table(table).get(&Key::new("", name)).is_some() {
            return;
        }
        let mut namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": name, "uid": state.store.new_uid(), "creationTimestamp": self.inner.clock.date()},
        });
        defaults::namespace(&mut namespace);
        state.put(table, namespace);
    }

    /// A client that acts as this user, with `default` as its namespace.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as every [`kube::Client`].
    #[must_use]
    pub fn client(&self, user: &str) -> kube::Client {
        kube::Client::new(self.service(user), "default")
    }

    /// What is beneath [`Sandbox::client`].
    #[must_use]
    pub fn service(&self, user: &str) -> SandboxService {
        SandboxService {
            inner: Arc::clone(&self.inner),
            user: user.into(),
        }
    }

    /// Starts the controllers and the kubelet as a task of this runtime.
    #[must_use = "the controllers stop when this is dropped"]
    pub fn start(&self) -> RunningControllers {
        RunningControllers::spawn(self.controllers())
    }

    /// The controllers and the kubelet, to be stepped by the caller. A sandbox has one set of them at a time.
    #[must_use]
    pub fn controllers(&self) -> Controllers {
        Controllers::new(Arc::clone(&self.inner))
    }

    /// Keeps pods of this name from being Ready, or makes a Ready one `NotReady`, until it is released.
    pub fn hold_ready(&self, namespace: &str, pod: &str) {
        self.inner.state().kubelet.hold(Key::new(namespace, pod));
        self.inner.work.notify_one();
    }

    /// Keeps the next pods of this name from being Ready until it is released. One that is Ready stays so, where no
    /// [ready check](Self::set_ready_check) has it looked at again.
    pub fn hold_next_ready(&self, namespace: &str, pod: &str) {
        self.inner
            .state()
            .kubelet
            .hold_next(Key::new(namespace, pod));
    }

    /// Gives a held pod its readiness back.
    pub fn release_ready(&self, namespace: &str, pod: &str) {
        self.inner.state().kubelet.release(Key::new(namespace, pod));
        self.inner.work.notify_one();
    }

    /// Gives the next pod of this name this address.
    pub fn pin_address(&self, namespace: &str, pod: &str, address: Ipv4Addr) {
        self.inner
            .state()
            .kubelet
            .pin_address(Key::new(namespace, pod), address);
    }

    /// Lets `check` decide, each [`Timing::probe`], whether a running pod is Ready, beside holds and annotations.
    /// Set it before pods start: it is from their first probe on that they are looked at again.
    pub fn set_ready_check(
        &self,
        check: impl Fn(&Value, &World<'_>) -> bool + Send + Sync + 'static,
    ) {
        self.inner.state().kubelet.set_check(Some(Arc::new(check)));
    }

    /// The requests so far, oldest first, in the order in which they were answered.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.inner.state().log.all()
    }

    /// The requests so far, which are then forgotten.
    #[must_use]
    pub fn take_requests(&self) -> Vec<RequestRecord> {
        self.inner.state().log.take()
    }

    /// Tells `witness` of each write to the store while it is made. It must not call the sandbox.
    pub fn witness_changes(&self, witness: impl FnMut(Change<'_>) + Send + 'static) {
        self.inner.state().store.set_witness(Box::new(witness));
    }

    /// Tells `witness` of each request when it is answered. It must not call the sandbox.
    pub fn witness_requests(&self, witness: impl FnMut(&RequestRecord) + Send + 'static) {
        self.inner.state().log.set_witness(Box::new(witness));
    }

    /// Cuts the server off, or brings it back. While it is cut off every watch breaks and every request fails.
    pub fn set_available(&self, is_available: bool) {
        self.inner.set_available(is_available);
    }

    /// Breaks all open watches.
    pub fn break_watches(&self) {
        self.inner.break_watches();
    }

    /// Asks `hook` about every request from now on.
    pub fn set_faults(&self, hook: impl Fn(&RequestInfo) -> Fault + Send + Sync + 'static) {
        self.inner.set_faults(Some(Arc::new(hook)));
    }

    /// No faults from now on.
    pub fn clear_faults(&self) {
        self.inner.set_faults(None);
    }

    /// Forgets the history: a watch that starts from an older version gets 410.
    pub fn compact(&self) {
        self.inner.state().store.compact();
    }

    /// The newest resource version.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.inner.state().store.version()
    }

    /// The time since the sandbox was made, on tokio's clock.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.inner.clock.elapsed()
    }

    /// Looks at an object past all requests, faults and logs. `resource` is `pods`, `statefulsets.apps` and so on; the
    /// namespace of a cluster-wide object is empty.
    #[must_use]
    pub fn peek(&self, resource: &str, namespace: &str, name: &str) -> Option<Value> {
        let state = self.inner.state();
        let table = state.store.find_qualified(resource)?;
        state
            .store
            .table(table)
            .get(&Key::new(namespace, name))
            .map(|object| object.value().clone())
    }

    /// Puts an object into the store as it is, past all requests and checks: its status, its uid and who manages what
    /// of it included. Nothing where nobody serves the resource.
    pub fn plant(&self, resource: &str, object: Value) {
        let mut state = self.inner.state();
        if let Some(table) = state.store.find_qualified(resource) {
            drop(state.put(table, object));
        }
    }

    /// Looks at all objects of a namespace, or of all for an empty one, in the order of their names.
    #[must_use]
    pub fn peek_all(&self, resource: &str, namespace: &str) -> Vec<Value> {
        let state = self.inner.state();
        let Some(table) = state.store.find_qualified(resource) else {
            return Vec::new();
        };
        state
            .store
            .table(table)
            .list(namespace)
            .map(|object| object.value().clone())
            .collect()
    }
}

/// The server as a tower service, for one user.
#[derive(Clone)]
pub struct SandboxService {
    inner: Arc<Inner>,
    user: Arc<str>,
}

impl fmt::Debug for SandboxService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxService")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Service<Request<Body>> for SandboxService {
    type Response = Response<AnswerBody>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (inner, user) = (Arc::clone(&self.inner), Arc::clone(&self.user));
        Box::pin(inner.serve(user, request))
    }
}
