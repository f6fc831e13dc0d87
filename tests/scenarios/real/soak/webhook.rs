//! Failed calls of our webhook by the API server's own count: those of writers that don't tell are among them.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kube::Client;
use tokio::time::Instant;

use super::{
    interruptions::{Excuse, Interruptions},
    log::Log,
};

/// Between two looks. The API server has a lot to tell each time.
const LOOK: Duration = Duration::from_secs(10);
/// Writers under way when a replica is killed, at most.
const IN_HAND: f64 = 20.0;
/// Families of the API server, and what of them is a failed call.
const FAILED: [(&str, &str); 2] = [
    (
        "apiserver_admission_webhook_rejection_count",
        "error_type=\"calling_webhook_error\"",
    ),
    ("apiserver_admission_webhook_fail_open_count", ""),
];

/// What was counted so far.
pub(super) struct Calls {
    client: Client,
    interruptions: Arc<Interruptions>,
    log: Arc<Log>,
    seen: Mutex<Seen>,
}

struct Seen {
    /// The count when last looked, and when that was.
    last: (Instant, f64),
    by_kills: f64,
    by_outages: f64,
}

impl Calls {
    pub(super) fn new(client: Client, interruptions: &Arc<Interruptions>, log: &Arc<Log>) -> Self {
        Self {
            client,
            interruptions: Arc::clone(interruptions),
            log: Arc::clone(log),
            seen: Mutex::new(Seen {
                // What failed before the webhook was ready is part of the first count.
                last: (Instant::now(), f64::MAX),
                by_kills: 0.0,
                by_outages: 0.0,
            }),
        }
    }

    /// Looks for ever.
    pub(super) async fn watch(&self) {
        loop {
            self.look().await;
            tokio::time::sleep(LOOK).await;
        }
    }

    pub(super) async fn look(&self) {
        self.interruptions.until_back().await;
        let began = Instant::now();
        let request = http::Request::get("/metrics").body(Vec::new());
        let text = self
            .client
            .request_text(request.expect("the path is valid"))
            .await;
        let Ok(text) = text else { return };
        let count = failed(&text);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, before) = std::mem::replace(&mut seen.last, (began, count));
        // A new API server counts from nothing.
        let more = if count < before {
            count
        } else {
            count - before
        };
        if before >= f64::MAX || more <= 0.0 {
            return;
        }
        match self.interruptions.excuse(since, Instant::now()) {
            Some(Excuse::NoApiServer) => seen.by_outages += more,
            Some(Excuse::Killed) if more <= IN_HAND => seen.by_kills += more,
            _ => self.log.fault(&format!(
                "the API server counts {more} failed calls of our webhook within {:?}",
                since.elapsed()
            )),
        }
    }

    pub(super) fn told(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        format!(
            "{} by killed replicas, {} while it was away itself",
            seen.by_kills, seen.by_outages
        )
    }
}

fn failed(metrics: &str) -> f64 {
    let is_failed = |line: &&str| {
        FAILED
            .iter()
            .any(|(family, label)| line.starts_with(family) && line.contains(label))
    };
    let values = metrics
        .lines()
        .filter(is_failed)
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.sum()
}

#[test]
fn only_calls_that_failed_are_counted() {
    let metrics = "\
# TYPE apiserver_admission_webhook_rejection_count counter
apiserver_admission_webhook_rejection_count{error_type=\"no_error\",name=\"a\",rejection_code=\"400\"} 7
apiserver_admission_webhook_rejection_count{error_type=\"calling_webhook_error\",name=\"a\",rejection_code=\"0\"} 2
apiserver_admission_webhook_fail_open_count{name=\"a\",type=\"admit\"} 1
";
    assert!((failed(metrics) - 3.0).abs() < f64::EPSILON);
}
