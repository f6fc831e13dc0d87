//! Sees every write and every request while it happens: keeps the truth, the trace and the figures, and has each write
//! checked.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use stellar_peers::sandbox::{Change, RequestRecord};
use tokio::{sync::Notify, time::Instant};

use crate::{
    checks::{self, Violation, restarts::Restarts},
    figures::Figures,
    plan::Plan,
    quorum::QuorumSet,
    truth::Truth,
};

/// What ours are called as users begins with this; each process has a name of its own.
pub(crate) const OURS: &str = "ours-";

/// When a process last read a namespace past its stores.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    pub(crate) sets: Vec<Duration>,
    pub(crate) pods: Vec<Duration>,
}

impl Reads {
    /// The last full reading that a request from `issued` can rest on, StatefulSets and pods.
    pub(crate) fn before(&self, issued: Duration) -> Option<(Duration, Duration)> {
        let last = |reads: &[Duration]| reads.iter().rfind(|at| **at <= issued).copied();
        Some((last(&self.sets)?, last(&self.pods)?))
    }
}

/// All that is seen.
#[derive(Debug)]
pub(crate) struct Observer {
    start: Instant,
    pub(crate) plan: Arc<Plan>,
    pub(crate) truth: Truth,
    pub(crate) restarts: Restarts,
    pub(crate) reads: BTreeMap<String, Reads>,
    pub(crate) figures: Figures,
    /// When our webhook was last asked in vain.
    pub(crate) missed: Option<Duration>,
    /// When somebody last took away what we know of our restarts, and cannot know any more.
    pub(crate) record_lost: Option<Duration>,
    /// When somebody last took away whom the list has named.
    pub(crate) members_lost: Option<Duration>,
    /// Until when two of ours believed that they lead, each with a view of its own; none where that never was.
    pub(crate) two_led_until: Option<Duration>,
    /// Times at which all pods were lost at once.
    pub(crate) outages: usize,
    /// What each validator's quorum set was declared to be.
    pub(crate) quorum_sets: BTreeMap<String, QuorumSet>,
    /// When one of ours last wrote.
    pub(crate) last_write: Duration,
    pub(crate) violation: Option<Violation>,
    pub(crate) alarm: Arc<Notify>,
    trace: Option<String>,
}

/// The observer, which the sandbox's witnesses and the run share. Never held while the sandbox is called.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Mutex<Observer>>);

impl Shared {
    pub(crate) fn new(plan: Arc<Plan>, traces: bool) -> Self {
        let declared = plan.validators.iter();
        let quorum_sets = declared
            .filter_map(|it| Some((it.name.clone(), it.quorum.clone()?)))
            .collect();
        let observer = Observer {
            start: Instant::now(),
            plan,
            truth: Truth::default(),
            restarts: Restarts::default(),
            reads: BTreeMap::new(),
            figures: Figures::default(),
            missed: None,
            record_lost: None,
            members_lost: None,
            two_led_until: None,
            outages: 0,
            quorum_sets,
            last_write: Duration::ZERO,
            violation: None,
            alarm: Arc::new(Notify::new()),
            trace: traces.then(String::new),
        };
        Self(Arc::new(Mutex::new(observer)))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Observer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer {
    /// Whether all that was known at this time was known to one leader.
    pub(crate) fn had_one_leader(&self, at: Duration) -> bool {
        let is_over = |until: Duration| until.saturating_add(self.plan.lag()) < at;
        self.two_led_until.is_none_or(is_over)
    }

    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Writes a line of the trace.
    pub(crate) fn tell(&mut self, who: &str, what: impl std::fmt::Display) {
        let now = self.now();
        if let Some(trace) = &mut self.trace {
            for line in crate::logs::take().lines() {
                let _ = writeln!(trace, "{:>9.3}  log       {line}", now.as_secs_f64());
            }
            let _ = writeln!(trace, "{:>9.3}  {who:<9} {what}", now.as_secs_f64());
        }
    }

    pub(crate) fn take_trace(&mut self) -> String {
        self.trace.take().unwrap_or_default()
    }

    /// Notes the first violation, and has the run stop.
    pub(crate) fn fail(&mut self, violation: Violation) {
        self.tell("CHECK", format_args!("{violation}"));
        self.violation.get_or_insert(violation);
        self.alarm.notify_one();
    }

    /// A write to the store.
    pub(crate) fn on_change(&mut self, change: &Change<'_>) {
        let now = self.now();
        if matches!(change.resource, "events" | "leases") {
            return;
        }
        let is_ours = change
            .author
            .is_some_and(|author| author.user.starts_with(OURS));
        if is_ours {
            self.last_write = now;
        }
        for violation in checks::of_change(self, change, now) {
            self.fail(violation);
        }
        if self.trace.is_some() {
            self.tell_change(change);
        }
        self.truth.apply(change, now);
    }

    /// An answer to a request.
    pub(crate) fn on_request(&mut self, record: &RequestRecord) {
        let Some(_) = record.info.user.strip_prefix(OURS) else {
            return;
        };
        self.figures.requests += 1;
        let now = record.at;
        let is_read = record.info.verb == "list" && record.code == Some(200) && !record.is_paged;
        if is_read {
            let reads = self.reads.entry(record.info.user.clone()).or_default();
            match record.info.resource.as_str() {
                "statefulsets" => reads.sets.push(now),
                "pods" => reads.pods.push(now),
                _ => {}
            }
        }
        let is_quiet = matches!(record.info.resource.as_str(), "events" | "leases");
        if self.trace.is_some() && (record.is_write() || record.code != Some(200)) && !is_quiet {
            let info = &record.info;
            let outcome = record
                .code
                .map_or("broken".to_owned(), |code| code.to_string());
            self.tell(
                &info.user,
                format_args!(
                    "{} {} {}: {outcome}, sent at {:.3}",
                    info.verb,
                    info.resource,
                    info.name,
                    record.issued.as_secs_f64()
                ),
            );
        }
    }

    fn tell_change(&mut self, change: &Change<'_>) {
        if let Some(line) = crate::trace::line(change, &self.truth) {
            let who = change
                .author
                .map_or("cluster", |author| author.user.as_str())
                .to_owned();
            self.tell(&who, line);
        }
    }
}
