//! Whom a connection waits for, and since when.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::ConnectionLimits;

/// The state of one connection, shared by its task, its requests and the accept loop.
///
/// It tells two things apart. A connection is *silent* while no request is under way: that ends
/// at the idle timeout. It *waits* for its client also while a request's body is still coming:
/// then it may be cut where room is needed, since a client can prolong that at will.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    /// A request began.
    begun: Notify,
}

#[derive(Debug)]
struct State {
    /// Requests whose head is here and whose answer is not.
    requests: usize,
    /// Of these, the ones whose body is here too: the client can only wait for us.
    complete: usize,
    has_requested: bool,
    /// The last time that anything of the above changed.
    since: Instant,
}

impl Activity {
    pub(super) fn new() -> Self {
        let state = State {
            requests: 0,
            complete: 0,
            has_requested: false,
            since: Instant::now(),
        };
        Self {
            state: Mutex::new(state),
            begun: Notify::new(),
        }
    }

    /// The handshake is over: the time for the first request starts.
    pub(super) fn expect_request(&self) {
        self.state().since = Instant::now();
    }

    /// A request's head is here.
    pub(super) fn begin(self: &Arc<Self>) -> Request {
        let mut state = self.state();
        state.requests += 1;
        state.has_requested = true;
        state.since = Instant::now();
        self.begun.notify_waiters();
        Request {
            connection: Arc::clone(self),
            is_complete: false,
        }
    }

    /// Ready once the head of a first request has come.
    pub(super) async fn first_request(&self) {
        let begun = self.begun.notified();
        if !self.state().has_requested {
            begun.await;
        }
    }

    /// Since when the connection waits for its client, or `None` where the client waits for us.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        let state = self.state();
        (state.complete == 0).then_some(state.since)
    }

    /// Ready once no request has been under way for the header timeout (before the first one)
    /// or the idle timeout (after it).
    pub(super) async fn silent_for_too_long(&self, limits: &ConnectionLimits) {
        loop {
            let now = Instant::now();
            let deadline = {
                let state = self.state();
                let patience = if state.has_requested {
                    limits.idle_timeout
                } else {
                    limits.header_timeout
                };
                let silent_since = if state.requests == 0 {
                    state.since
                } else {
                    now
                };
                silent_since + patience
            };
            if deadline <= now {
                return;
            }
            // The first request may turn the header timeout into a shorter idle timeout.
            sleep_until(deadline.min(now + limits.idle_timeout)).await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is complete at once, so a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request under way; dropping it ends it, by whatever path.
#[derive(Debug)]
pub(super) struct Request {
    connection: Arc<Activity>,
    is_complete: bool,
}

impl Request {
    /// The body is here to its end: from now on the client waits for us.
    pub(super) fn complete(&mut self) {
        if !self.is_complete {
            self.is_complete = true;
            self.connection.state().complete += 1;
        }
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let mut state = self.connection.state();
        state.requests -= 1;
        state.complete -= usize::from(self.is_complete);
        state.since = Instant::now();
    }
}
