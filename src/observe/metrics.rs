//! Metrics in Prometheus's text form. Each name begins with `stellar_peers_`; docs/metrics.md lists them.

use std::{fmt, sync::Arc, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
    registry::{Registry, Unit},
};

use super::Board;
use crate::{
    controller::{apply::ReconcileError, reconcile::Outcome},
    domain::rollout::Stale,
};

/// How an admission ended. The whole label space: a new value is a new variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum AdmissionOutcome {
    /// Nothing to do.
    Untouched,
    /// Our parts were added or renewed.
    Injected,
    /// Our parts were put back as they were stored.
    Kept,
    /// Our parts were taken out.
    Removed,
    /// Our parts could not be added.
    NotInjected,
    /// A StellarNode got its peer port.
    PortSet,
    /// A StellarNode with an impossible port was refused.
    Refused,
    /// The review was not readable.
    Unreadable,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AdmissionLabels {
    outcome: AdmissionOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PassLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

/// All counters of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    admissions: Family<AdmissionLabels, Counter>,
    admission_duration: Histogram,
    passes: Family<PassLabels, Counter>,
    pass_duration: Histogram,
    errors: Family<ReasonLabels, Counter>,
    restarts: Family<ReasonLabels, Counter>,
    /// `stellar_peers_list_changes_total`.
    pub list_changes: Counter,
    /// `stellar_peers_leader`.
    pub leader: Gauge,
}

impl Metrics {
    /// Registers everything. Gauges about namespaces are computed from `board` when they are read.
    #[must_use]
    pub fn new(board: Arc<Board>) -> Self {
        let mut registry = Registry::with_prefix("stellar_peers");
        let metrics = Self {
            admissions: Family::default(),
            admission_duration: Histogram::new([0.000_1, 0.000_5, 0.001, 0.005, 0.02, 0.1, 0.5]),
            passes: Family::default(),
            pass_duration: Histogram::new([0.000_5, 0.002, 0.01, 0.05, 0.2, 1.0, 5.0]),
            errors: Family::default(),
            restarts: Family::default(),
            list_changes: Counter::default(),
            leader: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register(
            "admissions",
            "Admission reviews by outcome",
            metrics.admissions.clone(),
        );
        registry.register_with_unit(
            "admission_duration",
            "From the whole review to its answer",
            Unit::Seconds,
            metrics.admission_duration.clone(),
        );
        registry.register(
            "reconciles",
            "Passes over a namespace by outcome",
            metrics.passes.clone(),
        );
        registry.register_with_unit(
            "reconcile_duration",
            "From waking to the last write of a pass",
            Unit::Seconds,
            metrics.pass_duration.clone(),
        );
        registry.register(
            "reconcile_errors",
            "Failed passes by reason",
            metrics.errors.clone(),
        );
        registry.register(
            "restarts",
            "Restarts of validators that were started, by reason",
            metrics.restarts.clone(),
        );
        registry.register(
            "list_changes",
            "Times a peer list was written with other peers",
            metrics.list_changes.clone(),
        );
        registry.register(
            "leader",
            "Whether this replica runs the loop (1) or not (0)",
            metrics.leader.clone(),
        );
        registry.register_collector(Box::new(OfNamespaces(board)));
        Self {
            registry,
            ..metrics
        }
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
        let outcome = match result {
            Ok(outcome) if outcome.changed => "Changed",
            Ok(_) => "Unchanged",
            Err(error) => {
                self.errors
                    .get_or_create(&ReasonLabels {
                        reason: error.reason(),
                    })
                    .inc();
                "Failed"
            }
        };
        self.passes.get_or_create(&PassLabels { outcome }).inc();
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

/// Gauges by namespace, computed from the last decisions.
#[derive(Debug)]
struct OfNamespaces(Arc<Board>);

impl Collector for OfNamespaces {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let summaries = self.0.summaries();
        let figures: [(&str, &str, fn(&super::Summary) -> usize); 4] = [
            ("peers", "Addresses in the peer list", |it| it.peers),
            (
                "members",
                "Validators that count for the membership",
                |it| it.members,
            ),
            (
                "candidates",
                "Validators that are not suspended and have a StatefulSet",
                |it| it.candidates,
            ),
            ("stale", "Members that are due for a restart", |it| it.stale),
        ];
        for (name, help, figure) in figures {
            let name = format!("stellar_peers_{name}");
            let mut family = encoder.encode_descriptor(
                &name,
                help,
                None,
                prometheus_client::metrics::MetricType::Gauge,
            )?;
            for (namespace, summary) in &summaries {
                let value = i64::try_from(figure(summary)).unwrap_or(i64::MAX);
                let labels = [("namespace", namespace.as_str())];
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        let help = "Members that are due for a restart and wait, by reason";
        let mut family = encoder.encode_descriptor(
            "stellar_peers_held",
            help,
            None,
            prometheus_client::metrics::MetricType::Gauge,
        )?;
        for (namespace, summary) in &summaries {
            for (reason, count) in &summary.held {
                let value = i64::try_from(*count).unwrap_or(i64::MAX);
                let labels = [("namespace", namespace.as_str()), ("reason", *reason)];
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
