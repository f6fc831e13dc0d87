//! One worker a namespace: passes never overlap within one, and namespaces don't wait for each other, but where very
//! many have something to do at once.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::FutureExt as _;
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinSet,
    time::Instant,
};
use tracing::{debug, info};

use super::{
    reconcile::{Context, State, reconcile},
    tell::tell_error,
    watch::Dirty,
};
use crate::domain::Moment;

/// Bursts coalesce: the first change is written at once, later ones at most this often.
const PASS_INTERVAL: Duration = Duration::from_millis(250);
/// Passes that are under way at once. After a start all namespaces want theirs at the same time, and each holds a
/// connection to the API server while it writes: many more than this would only wait there. One that gets no answer
/// holds its place for as long as a request may take.
const PASSES_MAX: usize = 32;
/// First wait after a failed pass; doubles up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(500);
/// Longest wait after a failed pass.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Runs passes for as long as this replica leads, and starts anew, with an empty memory, whenever it does again.
pub async fn run(context: Arc<Context>, dirty: Arc<Dirty>, recheck: Duration) {
    let mut leadership = context.leadership.clone();
    loop {
        leadership.wait_until(true).await;
        let namespaces = context.stores.namespaces();
        info!(namespaces = namespaces.len(), interval = ?recheck, "Starting peer discovery watcher");
        dirty.mark_anew(namespaces);
        tokio::select! {
            biased;
            // Dropping the workers in the midst of a pass is as safe as a crash: all state is in the cluster.
            () = leadership.wait_until(false) => info!("Stopped peer discovery watcher"),
            () = lead(&context, &dirty, recheck) => {}
        }
        context.board.clear();
        context.adoptions.clear();
    }
}

/// Wakes a worker, and tells it since when there is something to look at.
#[derive(Debug, Default)]
struct Waker {
    notify: Notify,
    since: Mutex<Option<Instant>>,
}

impl Waker {
    fn wake(&self, since: Instant) {
        let mut earliest = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        *earliest = earlier(*earliest, Some(since));
        drop(earliest);
        self.notify.notify_one();
    }

    /// Since when what was not looked at yet is there.
    fn take(&self) -> Option<Instant> {
        self.since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    a.into_iter().chain(b).min()
}

async fn lead(context: &Arc<Context>, dirty: &Dirty, recheck: Duration) {
    let mut wakers: BTreeMap<String, Arc<Waker>> = BTreeMap::new();
    let mut workers: JoinSet<String> = JoinSet::new();
    let room = Arc::new(Semaphore::new(PASSES_MAX));
    loop {
        let changed: Vec<(String, Instant)> = tokio::select! {
            biased;
            changed = dirty.take() => changed.into_iter().collect(),
            Some(ended) = workers.join_next() => {
                // Only a worker of an empty namespace ends. What came in meanwhile gets a new one.
                let waker = ended.ok().and_then(|namespace| wakers.remove_entry(&namespace));
                let missed = waker.and_then(|(namespace, waker)| Some((namespace, waker.take()?)));
                missed.into_iter().collect()
            }
        };
        for (namespace, since) in changed {
            let waker = wakers.entry(namespace.clone()).or_insert_with(|| {
                let waker = Arc::new(Waker::default());
                workers.spawn(work(
                    namespace,
                    Arc::clone(context),
                    Arc::clone(&waker),
                    Arc::clone(&room),
                    recheck,
                ));
                waker
            });
            waker.wake(since);
        }
    }
}

/// Passes over one namespace until there is nothing in it to look after.
async fn work(
    namespace: String,
    context: Arc<Context>,
    waker: Arc<Waker>,
    room: Arc<Semaphore>,
    recheck: Duration,
) -> String {
    let mut state = State::new(context.board.memory(&namespace));
    let mut failures = 0_u32;
    let mut last_failure = None;
    waker.notify.notified().await;
    loop {
        // Nobody closes it; if somebody did, passes would go on without a limit.
        let place = room.acquire().await.ok();
        state.passes += 1;
        state.changed_at = earlier(state.changed_at, waker.take());
        let started = Instant::now();
        // Boxed, so that what a pass and its requests need is not kept by each namespace in between.
        let result = Box::pin(reconcile(&namespace, &mut state, &context)).await;
        let took = started.elapsed();
        drop(place);
        context.metrics.reconciled(&result, took);
        let wait = match &result {
            Ok(outcome) if outcome.is_empty => break,
            Ok(outcome) => {
                if last_failure.take().is_some() {
                    context.board.set_problem(&namespace, None);
                }
                (failures, state.changed_at) = (0, None);
                let due = |moment: Moment| {
                    context
                        .clock
                        .instant(moment)
                        .saturating_duration_since(Instant::now())
                };
                outcome.look_again.map_or(recheck, due).min(recheck)
            }
            Err(error) => {
                let is_news = last_failure.replace(error.reason()) != Some(error.reason());
                tell_error(&namespace, error, is_news, &context);
                failures = failures.saturating_add(1);
                RETRY_MIN
                    .saturating_mul(2_u32.saturating_pow(failures.min(16) - 1))
                    .min(RETRY_MAX)
                    .min(recheck)
            }
        };
        // A pass that wrote nothing holds the next one up only as long as it took itself.
        let wrote = result.as_ref().map_or(true, |outcome| outcome.changed);
        let pause = if wrote {
            PASS_INTERVAL.saturating_sub(took)
        } else {
            took
        };
        let now = Instant::now();
        tokio::select! {
            biased;
            () = waker.notify.notified() => {}
            () = tokio::time::sleep_until(now + wait) => {}
        }
        // Looked at only now: at rest the pause is long over, and costs no waking of its own.
        tokio::time::sleep_until(now + pause).await;
        // What has changed meanwhile the next pass sees as well.
        let _ = waker.notify.notified().now_or_never();
    }
    context.board.forget(&namespace);
    debug!(namespace, "Nothing left to look after");
    namespace
}
