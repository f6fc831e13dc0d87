//! Watches: what happened after a version, then what happens, as newline-delimited JSON.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::Stream;
use serde_json::{Value, json};
use tokio::{
    sync::{Notify, futures::OwnedNotified},
    time::Instant,
};
use tower::BoxError;

use super::{
    error::ApiError,
    faults::{ConnectionBroken, WatchFault},
    object::Object,
    request::ApiRequest,
    selector::Selector,
    server::Inner,
    store::{Event, Store, TableId, watch_line},
};

/// The real server's watches without `timeoutSeconds` last between this and twice as long.
const TIMEOUT_DEFAULT: Duration = Duration::from_mins(30);
const BOOKMARK_INTERVAL: Duration = Duration::from_mins(1);
/// The annotation of the bookmark that ends a streamed list.
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

/// An open watch.
pub(super) struct Watch {
    inner: Arc<Inner>,
    table: TableId,
    view: View,
    /// Everything up to this version was sent.
    sent: u64,
    /// Lines that wait to be sent, and the end after them.
    ready: VecDeque<Bytes>,
    is_over: bool,
    changed: Arc<Notify>,
    opened_in: u64,
    ends_at: Instant,
    breaks_at: Option<Instant>,
    late: Duration,
    repeats: bool,
    bookmark_at: Option<Instant>,
}

/// What a watcher wants to see of a table.
#[derive(Debug)]
pub(super) struct View {
    pub(super) namespace: String,
    pub(super) selector: Selector,
    pub(super) metadata_only: bool,
}

impl View {
    pub(super) fn accepts(&self, object: &Object) -> bool {
        (self.namespace.is_empty() || object.meta("namespace") == self.namespace)
            && (self.selector.is_empty() || self.selector.accepts(object.value()))
    }

    /// The bytes of an object, as this client asked for them.
    pub(super) fn json(&self, object: &Object) -> Bytes {
        if self.metadata_only {
            object.partial_json().clone()
        } else {
            object.json().clone()
        }
    }

    /// An event as this watcher sees it: coming into sight is an addition, going out of sight a deletion.
    fn line(&self, event: &Event) -> Option<Bytes> {
        let seen = |object: &Option<Arc<Object>>| {
            object.as_ref().is_some_and(|object| self.accepts(object))
        };
        let (kind, object) = match (seen(&event.before), seen(&event.after)) {
            (false, false) => return None,
            (true, false) => ("DELETED", event.gone()?),
            (before, true) => (
                if before { "MODIFIED" } else { "ADDED" },
                &**event.after.as_ref()?,
            ),
        };
        Some(watch_line(kind, &self.json(object)))
    }
}

impl Watch {
    /// Opens a watch. The caller holds the store's lock, so nothing is missed in between.
    pub(super) fn open(
        inner: &Arc<Inner>,
        store: &Store,
        table: TableId,
        view: View,
        request: &ApiRequest,
        fault: WatchFault,
    ) -> Result<Self, ApiError> {
        let query = &request.query;
        let from = query.number("resourceVersion")?.unwrap_or(0);
        let now = Instant::now();
        let timeout = query
            .number("timeoutSeconds")?
            .map_or(TIMEOUT_DEFAULT, Duration::from_secs);
        let bookmarks = query.is_true("allowWatchBookmarks");
        let mut watch = Self {
            inner: Arc::clone(inner),
            table,
            sent: from,
            ready: VecDeque::new(),
            is_over: false,
            changed: store.table(table).changed(),
            opened_in: inner.epoch(),
            ends_at: now + timeout,
            breaks_at: fault.breaks_after.map(|after| now + after),
            late: fault.late,
            repeats: fault.repeats,
            bookmark_at: bookmarks.then(|| now + BOOKMARK_INTERVAL),
            view,
        };
        let streams_list = query.is_true("sendInitialEvents");
        if from == 0 || streams_list {
            let objects = store
                .table(table)
                .list(&watch.view.namespace)
                .filter(|object| watch.view.accepts(object));
            watch.ready = objects
                .map(|object| watch_line("ADDED", &watch.view.json(object)))
                .collect();
            watch.sent = store.version();
            if streams_list && bookmarks {
                watch
                    .ready
                    .push_back(bookmark(store, table, watch.sent, true));
            }
        } else if from < store.table(table).forgotten() {
            let expired = ApiError::expired(format!(
                "too old resource version: {from} ({})",
                store.table(table).forgotten()
            ));
            watch
                .ready
                .push_back(watch_line("ERROR", &expired.status().to_string().into()));
            watch.is_over = true;
        }
        Ok(watch)
    }

    /// The response's lines.
    pub(super) fn lines(self) -> impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static {
        futures::stream::unfold(self, |mut watch| async move {
            let line = watch.next().await?;
            Some((line, watch))
        })
    }

    async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        loop {
            // Made before anything is looked at: whatever happens from here on wakes them.
            let changed = Arc::clone(&self.changed).notified_owned();
            let relinked = Arc::clone(&self.inner.relinked).notified_owned();
            if self.inner.epoch() != self.opened_in {
                if self.is_over {
                    return None;
                }
                self.is_over = true;
                self.ready.clear();
                return Some(Err(ConnectionBroken.into()));
            }
            if let Some(line) = self.ready.pop_front() {
                return Some(Ok(line));
            }
            if self.is_over {
                return None;
            }
            self.read_events(false);
            if self.ready.is_empty() {
                self.wait(changed, relinked).await;
            }
        }
    }

    /// Takes over what the history holds beyond what was sent, and a bookmark after it where one is due.
    fn read_events(&mut self, bookmark_due: bool) {
        let state = self.inner.state();
        let table = state.store.table(self.table);
        if self.sent < table.lost() {
            // A watcher that is slower than the history is long is cut off, as by the real server.
            self.is_over = true;
            return;
        }
        for event in table.events_after(self.sent) {
            self.sent = event.version;
            if let Some(line) = self.view.line(event) {
                self.ready
                    .extend(std::iter::repeat_n(line, 1 + usize::from(self.repeats)));
            }
        }
        if bookmark_due {
            self.sent = state.store.version();
            self.ready
                .push_back(bookmark(&state.store, self.table, self.sent, false));
        }
    }

    /// Waits for an event, a broken connection, or the next moment at which something is due.
    async fn wait(&mut self, changed: OwnedNotified, relinked: OwnedNotified) {
        let due = [Some(self.ends_at), self.breaks_at, self.bookmark_at]
            .into_iter()
            .flatten()
            .min();
        let due = due.unwrap_or(self.ends_at);
        tokio::select! {
            biased;
            () = relinked => return,
            () = changed => {
                if !self.late.is_zero() {
                    tokio::time::sleep(self.late).await;
                }
                return;
            }
            () = tokio::time::sleep_until(due) => {}
        }
        if self.breaks_at.is_some_and(|at| at <= due) {
            self.ready.clear();
            self.opened_in = u64::MAX; // no epoch is that high: the next round breaks this watch
        } else if self.ends_at <= due {
            self.is_over = true;
        } else {
            self.bookmark_at = Some(due + BOOKMARK_INTERVAL);
            self.read_events(true);
        }
    }
}

fn bookmark(store: &Store, table: TableId, version: u64, ends_list: bool) -> Bytes {
    let kind = &store.table(table).kind;
    let mut metadata = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
    if ends_list {
        metadata["annotations"] = json!({INITIAL_EVENTS_END: "true"});
    }
    let object: Value =
        json!({"kind": kind.name, "apiVersion": kind.api_version(), "metadata": metadata});
    watch_line("BOOKMARK", &object.to_string().into())
}
