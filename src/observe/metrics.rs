//! Metrics in Prometheus's text form. Each name begins with `stellar_peers_`, but for those that every process has;
//! docs/metrics.md lists them.
//!
//! A counter whose labels come from a closed set begins with all of them at 0: `increase()` would miss the first step
//! of a series that appears with it.

mod labels;
mod live;
mod process;

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::{Registry, Unit},
};

pub use self::labels::{AdmissionOutcome, LostEvent};
use self::{
    labels::{AdmissionLabels, KindLabels, LostLabels, PassLabels, ReasonLabels},
    live::{Live, Sources},
    process::Process,
};
use super::Board;
use crate::{
    admission::connections::ConnectionStats,
    controller::{
        error::ReconcileError, lease::Leadership, reconcile::Outcome, stores::Stores,
        watch::WATCHED,
    },
    domain::rollout::Stale,
    tls::CertificateStore,
};

/// Around what is promised: a tenth of a second as a rule, and 250 ms more within a burst.
const DISCOVERY_SECONDS: [f64; 9] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];
const ADMISSION_SECONDS: [f64; 7] = [0.000_1, 0.000_5, 0.001, 0.005, 0.02, 0.1, 0.5];
const PASS_SECONDS: [f64; 7] = [0.000_5, 0.002, 0.01, 0.05, 0.2, 1.0, 5.0];

/// All counters of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    sources: Arc<Sources>,
    admissions: Family<AdmissionLabels, Counter>,
    admission_duration: Histogram,
    passes: Family<PassLabels, Counter>,
    pass_duration: Histogram,
    errors: Family<ReasonLabels, Counter>,
    restarts: Family<ReasonLabels, Counter>,
    discovery_latency: Histogram,
    watch_restarts: Family<KindLabels, Counter>,
    lost_events: Family<LostLabels, Counter>,
    /// `stellar_peers_list_changes_total`.
    pub list_changes: Counter,
}

impl Metrics {
    /// Registers everything. Gauges are computed from `board` and `leadership` when they are read.
    #[must_use]
    pub fn new(board: Arc<Board>, leadership: Leadership) -> Self {
        let reason = |reason| ReasonLabels { reason };
        let mut metrics = Self {
            registry: Registry::default(),
            sources: Arc::default(),
            admissions: from_zero(AdmissionOutcome::ALL.map(|outcome| AdmissionLabels { outcome })),
            admission_duration: Histogram::new(ADMISSION_SECONDS),
            passes: from_zero(PassLabels::ALL),
            pass_duration: Histogram::new(PASS_SECONDS),
            errors: from_zero(ReconcileError::REASONS.map(reason)),
            restarts: from_zero(Stale::ALL.map(|stale| reason(stale.reason()))),
            discovery_latency: Histogram::new(DISCOVERY_SECONDS),
            watch_restarts: from_zero(WATCHED.map(|kind| KindLabels { kind })),
            lost_events: from_zero(LostEvent::ALL.map(|reason| LostLabels { reason })),
            list_changes: Counter::default(),
        };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process));
        metrics.register(registry.sub_registry_with_prefix("stellar_peers"));
        let live = Live {
            board,
            leadership,
            sources: Arc::clone(&metrics.sources),
        };
        registry
            .sub_registry_with_prefix("stellar_peers")
            .register_collector(Box::new(live));
        metrics.registry = registry;
        metrics
    }

    fn register(&self, registry: &mut Registry) {
        registry.register(
            "admissions",
            "Admission reviews by outcome",
            self.admissions.clone(),
        );
        registry.register_with_unit(
            "admission_duration",
            "From the whole review to its answer",
            Unit::Seconds,
            self.admission_duration.clone(),
        );
        registry.register(
            "reconciles",
            "Passes over a namespace by outcome",
            self.passes.clone(),
        );
        registry.register_with_unit(
            "reconcile_duration",
            "From waking to the last write of a pass",
            Unit::Seconds,
            self.pass_duration.clone(),
        );
        registry.register(
            "reconcile_errors",
            "Failed passes by reason",
            self.errors.clone(),
        );
        registry.register(
            "restarts",
            "Restarts of validators that were started, by reason",
            self.restarts.clone(),
        );
        registry.register(
            "list_changes",
            "Times a peer list was written with other peers",
            self.list_changes.clone(),
        );
        registry.register_with_unit(
            "discovery_latency",
            "From the arrival of a change here to the list with other peers being written",
            Unit::Seconds,
            self.discovery_latency.clone(),
        );
        registry.register(
            "watch_restarts",
            "Times a watch broke off or could not begin, and was begun again, by kind",
            self.watch_restarts.clone(),
        );
        registry.register(
            "events_lost",
            "Kubernetes Events that were not sent, by reason",
            self.lost_events.clone(),
        );
    }

    /// Tells of this store's certificate from now on.
    pub fn tell_of(&self, certificates: Arc<CertificateStore>) {
        self.sources.certificates.get_or_init(|| certificates);
    }

    /// Tells of the sizes of these stores from now on.
    pub fn tell_of_stores(&self, stores: Arc<Stores>) {
        self.sources.stores.get_or_init(|| stores);
    }

    /// The figures of the webhook's connections, for its listener to fill.
    #[must_use]
    pub fn webhook_connections(&self) -> ConnectionStats {
        self.sources
            .connections
            .get_or_init(ConnectionStats::default)
            .clone()
    }

    /// Counts one admission.
    pub fn admitted(&self, outcome: AdmissionOutcome, took: Duration) {
        self.admissions
            .get_or_create(&AdmissionLabels { outcome })
            .inc();
        self.admission_duration.observe(took.as_secs_f64());
    }

    /// Counts one pass.
    pub fn reconciled(&self, result: &Result<Outcome, ReconcileError>, took: Duration) {
        let labels = match result {
            Ok(outcome) if outcome.changed => PassLabels::CHANGED,
            Ok(_) => PassLabels::UNCHANGED,
            Err(error) => {
                self.errors
                    .get_or_create(&ReasonLabels {
                        reason: error.reason(),
                    })
                    .inc();
                PassLabels::FAILED
            }
        };
        self.passes.get_or_create(&labels).inc();
        self.pass_duration.observe(took.as_secs_f64());
    }

    /// Counts one restart that was started.
    pub fn restarted(&self, reason: Stale) {
        self.restarts
            .get_or_create(&ReasonLabels {
                reason: reason.reason(),
            })
            .inc();
    }

    /// A list with other peers was written this long after the change had come in.
    pub fn listed(&self, latency: Duration) {
        self.discovery_latency.observe(latency.as_secs_f64());
    }

    /// Counts one watch over a kind, of [`WATCHED`], that is begun again.
    pub fn watch_restarted(&self, kind: &'static str) {
        self.watch_restarts
            .get_or_create(&KindLabels { kind })
            .inc();
    }

    /// Counts one Event that nobody will see.
    pub fn event_lost(&self, reason: LostEvent) {
        self.lost_events.get_or_create(&LostLabels { reason }).inc();
    }

    /// Everything in OpenMetrics text.
    ///
    /// # Errors
    /// [`fmt::Error`] where a metric could not be written; none of ours fails.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// A family that has all of these from the start.
fn from_zero<L: EncodeLabelSet + Clone + Eq + std::hash::Hash>(
    all: impl IntoIterator<Item = L>,
) -> Family<L, Counter> {
    let family = Family::default();
    for labels in all {
        drop(family.get_or_create(&labels));
    }
    family
}
