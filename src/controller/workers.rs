//! One worker a namespace: passes never overlap within one, and namespaces don't wait for each other.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::FutureExt;
use tokio::{sync::Notify, task::JoinSet, time::Instant};
use tracing::{debug, info};

use super::{
    reconcile::{Context, State, reconcile},
    tell::tell_error,
    watch::Dirty,
};
use crate::domain::Moment;

/// Bursts coalesce: the first change is written at once, later ones at most this often.
const PASS_INTERVAL: Duration = Duration::from_millis(250);
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
        dirty.mark_all(namespaces);
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

async fn lead(context: &Arc<Context>, dirty: &Dirty, recheck: Duration) {
    let mut wakers: BTreeMap<String, Arc<Notify>> = BTreeMap::new();
    let mut workers: JoinSet<String> = JoinSet::new();
    loop {
        let changed: Vec<String> = tokio::select! {
            biased;
            changed = dirty.take() => changed.into_iter().collect(),
            Some(ended) = workers.join_next() => {
                // Only a worker of an empty namespace ends. What came in meanwhile gets a new one.
                let waker = ended.ok().and_then(|namespace| wakers.remove_entry(&namespace));
                let missed = waker.filter(|(_, waker)| waker.notified().now_or_never().is_some());
                missed.into_iter().map(|(namespace, _)| namespace).collect()
            }
        };
        for namespace in changed {
            let waker = wakers.entry(namespace.clone()).or_insert_with(|| {
                let waker = Arc::new(Notify::new());
                workers.spawn(work(
                    namespace,
                    Arc::clone(context),
                    Arc::clone(&waker),
                    recheck,
                ));
                waker
            });
            waker.notify_one();
        }
    }
}

/// Passes over one namespace until there is nothing in it to look after.
async fn work(
    namespace: String,
    context: Arc<Context>,
    waker: Arc<Notify>,
    recheck: Duration,
) -> String {
    let mut state = State::new(context.board.memory(&namespace));
    let mut failures = 0_u32;
    let mut last_failure = None;
    waker.notified().await;
    loop {
        let started = Instant::now();
        let result = reconcile(&namespace, &mut state, &context).await;
        let took = started.elapsed();
        context.metrics.reconciled(&result, took);
        let wait = match &result {
            Ok(outcome) if outcome.is_empty => break,
            Ok(outcome) => {
                if last_failure.take().is_some() {
                    context.board.set_problem(&namespace, None);
                }
                failures = 0;
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
        let until = Instant::now() + wait;
        // A pass that wrote nothing holds the next one up only as long as it took itself.
        let wrote = result.as_ref().map_or(true, |outcome| outcome.changed);
        let pause = if wrote {
            PASS_INTERVAL.saturating_sub(took)
        } else {
            took
        };
        tokio::time::sleep(pause).await;
        tokio::select! {
            biased;
            () = waker.notified() => {}
            () = tokio::time::sleep_until(until) => {}
        }
    }
    context.board.forget(&namespace);
    debug!(namespace, "Nothing left to look after");
    namespace
}
