//! The server's state, and the way of a request through it: faults, routing, log.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use kube::client::Body;
use tokio::{sync::Notify, task::JoinHandle};
use tower::BoxError;

use super::{
    SandboxOptions,
    answer::{self, AnswerBody},
    clock::Clock,
    discovery,
    error::ApiError,
    faults::{ConnectionBroken, Fault, FaultHook, WatchFault},
    kubelet::KubeletState,
    object::Object,
    record::{RequestLog, RequestRecord},
    request::ApiRequest,
    store::{Store, TableId},
    watch::{View, Watch},
};

/// Whether clients reach the server. A new epoch breaks what was open in the old one.
#[derive(Clone, Copy, Debug)]
struct Link {
    is_up: bool,
    epoch: u64,
}

/// What lies behind the lock.
#[derive(Debug)]
pub(super) struct State {
    pub(super) store: Store,
    pub(super) log: RequestLog,
    /// The rest of lists that clients read page by page, by continue token.
    pub(super) pages: BTreeMap<u64, Page>,
    pub(super) kubelet: KubeletState,
}

/// The objects of a list that were not sent yet, as they were when its first page was.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) version: u64,
    pub(super) rest: std::vec::IntoIter<Arc<Object>>,
}

/// The server.
pub(super) struct Inner {
    pub(super) options: SandboxOptions,
    pub(super) clock: Clock,
    state: Mutex<State>,
    faults: Mutex<Option<FaultHook>>,
    link: Mutex<Link>,
    /// Wakes all watches when the link changes: in their order, which a channel would draw by lot.
    pub(super) relinked: Arc<Notify>,
    /// Wakes the controllers.
    pub(super) work: Notify,
}

impl Inner {
    pub(super) fn new(options: SandboxOptions) -> Self {
        let state = State {
            store: Store::new(options.history_events_max),
            log: RequestLog::new(options.requests_max),
            pages: BTreeMap::new(),
            kubelet: KubeletState::default(),
        };
        Self {
            clock: Clock::starting_at(options.epoch),
            options,
            state: Mutex::new(state),
            faults: Mutex::new(None),
            link: Mutex::new(Link {
                is_up: true,
                epoch: 0,
            }),
            relinked: Arc::default(),
            work: Notify::new(),
        }
    }

    /// The state. Never held across an await.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // A panic of one test's task must not hide what happened behind poison errors of all others.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of times that all connections broke.
    pub(super) fn epoch(&self) -> u64 {
        self.link().epoch
    }

    pub(super) fn set_available(&self, is_up: bool) {
        let mut link = self.link();
        link.epoch += u64::from(link.is_up && !is_up);
        link.is_up = is_up;
        drop(link);
        self.relinked.notify_waiters();
        self.work.notify_one();
    }

    pub(super) fn break_watches(&self) {
        self.link().epoch += 1;
        self.relinked.notify_waiters();
    }

    pub(super) fn is_available(&self) -> bool {
        self.link().is_up
    }

    pub(super) fn set_faults(&self, hook: Option<FaultHook>) {
        *self.faults.lock().unwrap_or_else(PoisonError::into_inner) = hook;
    }

    fn draw_fault(&self, request: &ApiRequest) -> Fault {
        let hook = self
            .faults
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        hook.map_or(Fault::None, |hook| hook(&request.info))
    }

    /// Serves one request of a client.
    pub(super) async fn serve(
        self: Arc<Self>,
        user: Arc<str>,
        request: Request<Body>,
    ) -> Result<Response<AnswerBody>, BoxError> {
        let (head, body) = request.into_parts();
        let issued = self.clock.elapsed();
        let request = match ApiRequest::parse(&user, &head.method, &head.uri, &head.headers) {
            Ok(request) => Arc::new(ApiRequest { issued, ..request }),
            Err(refusal) => return Ok(refusal.into_response()),
        };
        let body = body.collect().await?.to_bytes();
        let outcome = self.serve_faulty(&request, body).await;
        let code = outcome
            .as_ref()
            .ok()
            .map(|response| response.status().as_u16());
        let dry_run = !request.query.get("dryRun").is_empty();
        let record = RequestRecord {
            issued,
            at: self.clock.elapsed(),
            info: request.info.clone(),
            code,
            dry_run,
            is_paged: !request.query.get("limit").is_empty(),
        };
        self.state().log.push(record);
        self.wake_controllers();
        Ok(outcome?)
    }

    /// Tells the controllers of what they have not seen.
    fn wake_controllers(&self) {
        if self.state().store.has_news() {
            self.work.notify_one();
        }
    }

    async fn serve_faulty(
        self: &Arc<Self>,
        request: &Arc<ApiRequest>,
        body: Bytes,
    ) -> Result<Response<AnswerBody>, ConnectionBroken> {
        if !self.is_available() {
            return Err(ConnectionBroken);
        }
        let mut of_watch = WatchFault::default();
        let fault = self.draw_fault(request);
        match fault {
            Fault::None | Fault::LoseAnswer | Fault::DelayAnswer(_) => {}
            Fault::Delay(delay) => tokio::time::sleep(delay).await,
            Fault::Status(code) => return Ok(ApiError::with_code(code).into_response()),
            Fault::LoseRequest => return Err(ConnectionBroken),
            Fault::Late(delay) => {
                // Whether the client waits for this or not, the task goes on.
                let _ended = self.spawn_late(request, body, delay).await;
                return Err(ConnectionBroken);
            }
            Fault::Repeat(delay) => drop(self.spawn_late(request, body.clone(), delay)),
            Fault::Watch(fault) => of_watch = fault,
        }
        // It may have gone away during the delay.
        if !self.is_available() {
            return Err(ConnectionBroken);
        }
        let response = self
            .route(request, body, of_watch)
            .await
            .unwrap_or_else(ApiError::into_response);
        if let Fault::DelayAnswer(delay) = fault {
            self.wake_controllers();
            tokio::time::sleep(delay).await;
        }
        if fault == Fault::LoseAnswer || !self.is_available() {
            Err(ConnectionBroken)
        } else {
            Ok(response)
        }
    }

    /// Serves a request later, whoever waits for it.
    fn spawn_late(
        self: &Arc<Self>,
        request: &Arc<ApiRequest>,
        body: Bytes,
        delay: Duration,
    ) -> JoinHandle<()> {
        let (inner, request) = (Arc::clone(self), Arc::clone(request));
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            drop(inner.route(&request, body, WatchFault::default()).await);
            inner.wake_controllers();
        })
    }

    async fn route(
        self: &Arc<Self>,
        request: &ApiRequest,
        body: Bytes,
        of_watch: WatchFault,
    ) -> Result<Response<AnswerBody>, ApiError> {
        let info = &request.info;
        if info.resource.is_empty() {
            return discovery::answer(&self.state().store, &request.path)
                .map(|body| answer::Answer::json(&body).into_response());
        }
        if info.group == "authorization.k8s.io" && info.verb == "create" {
            return discovery::allow_access(&body).map(|body| {
                answer::Answer {
                    code: 201,
                    ..answer::Answer::json(&body)
                }
                .into_response()
            });
        }
        let table = self.find_table(request)?;
        match info.verb {
            "watch" => {
                let view = view(request)?;
                let state = self.state();
                let watch = Watch::open(self, &state.store, table, view, request, of_watch)?;
                Ok(answer::stream(watch.lines()))
            }
            "list" => self.list(table, request).map(answer::Answer::into_response),
            "get" => self.get(table, request).map(answer::Answer::into_response),
            _ => self
                .write(table, request, &body)
                .await
                .map(answer::Answer::into_response),
        }
    }

    fn find_table(&self, request: &ApiRequest) -> Result<TableId, ApiError> {
        let info = &request.info;
        let state = self.state();
        let Some(table) = state.store.find(&info.group, &info.version, &info.resource) else {
            let group_exists = state
                .store
                .kinds()
                .any(|(_, kind)| kind.group == info.group && kind.version == info.version);
            return Err(if group_exists {
                ApiError::resource_not_found()
            } else {
                ApiError::page_not_found()
            });
        };
        let kind = &state.store.table(table).kind;
        let known_subresource =
            info.subresource.is_empty() || kind.subresources.contains(&&*info.subresource);
        let wrong_scope = !kind.namespaced && !info.namespace.is_empty();
        if wrong_scope || !known_subresource {
            return Err(ApiError::resource_not_found());
        }
        if kind.namespaced
            && info.namespace.is_empty()
            && !matches!(info.verb, "list" | "watch" | "deletecollection")
        {
            return Err(ApiError::method_not_allowed());
        }
        Ok(table)
    }
}

/// What a get, a list or a watch wants to see.
pub(super) fn view(request: &ApiRequest) -> Result<View, ApiError> {
    let query = &request.query;
    let mut selector =
        super::selector::Selector::parse(query.get("labelSelector"), query.get("fieldSelector"))?;
    if !request.info.name.is_empty() {
        selector = selector.and_name(&request.info.name);
    }
    Ok(View {
        namespace: request.info.namespace.clone(),
        selector,
        metadata_only: request.metadata_only,
    })
}
