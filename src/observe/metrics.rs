//! Metrics in Prometheus's text form. Each name begins with `stellar_peers_`; docs/metrics.md lists them.

use std::{
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeLabelValue, EncodeMetric, text::encode},
    metrics::{
        MetricType, counter::Counter, family::Family, gauge::ConstGauge, histogram::Histogram,
    },
    registry::{Registry, Unit},
};

use super::{Board, Summary};
use crate::{
    controller::{error::ReconcileError, lease::Leadership, reconcile::Outcome},
    domain::rollout::Stale,
    tls::CertificateStore,
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

/// The store whose certificate the webhook serves, once there is one.
type Served = Arc<OnceLock<Arc<CertificateStore>>>;

/// All counters of this process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    certificates: Served,
    admissions: Family<AdmissionLabels, Counter>,
    admission_duration: Histogram,
    passes: Family<PassLabels, Counter>,
    pass_duration: Histogram,
    errors: Family<ReasonLabels, Counter>,
    restarts: Family<ReasonLabels, Counter>,
    /// `stellar_peers_list_changes_total`.
    pub list_changes: Counter,
}

impl Metrics {
    /// Registers everything. Gauges are computed from `board` and `leadership` when they are read.
    #[must_use]
    pub fn new(board: Arc<Board>, leadership: Leadership) -> Self {
        let mut registry = Registry::with_prefix("stellar_peers");
        let metrics = Self {
            admissions: Family::default(),
            admission_duration: Histogram::new([0.000_1, 0.000_5, 0.001, 0.005, 0.02, 0.1, 0.5]),
            passes: Family::default(),
            pass_duration: Histogram::new([0.000_5, 0.002, 0.01, 0.05, 0.2, 1.0, 5.0]),
            errors: Family::default(),
            restarts: Family::default(),
            list_changes: Counter::default(),
            certificates: Served::default(),
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
        registry.register_collector(Box::new(Live {
            board,
            leadership,
            certificates: Arc::clone(&metrics.certificates),
        }));
        Self {
            registry,
            ..metrics
        }
    }

    /// Tells of this store's certificate from now on.
    pub fn tell_of(&self, certificates: Arc<CertificateStore>) {
        self.certificates.get_or_init(|| certificates);
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

/// Name, help, and where the figure is in a summary.
type Figure = (&'static str, &'static str, fn(&Summary) -> usize);

/// What is computed when it is read, and so cannot drift from the truth.
#[derive(Debug)]
struct Live {
    board: Arc<Board>,
    leadership: Leadership,
    certificates: Served,
}

impl Collector for Live {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let summaries = self.board.summaries();
        let figures: [Figure; 4] = [
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
            let samples = summaries.iter().map(|(namespace, summary)| {
                (vec![("namespace", namespace.as_str())], figure(summary))
            });
            gauges(&mut encoder, name, help, samples)?;
        }
        let held = summaries.iter().flat_map(|(namespace, summary)| {
            let labels = move |reason| vec![("namespace", namespace.as_str()), ("reason", reason)];
            summary
                .held
                .iter()
                .map(move |(reason, count)| (labels(*reason), *count))
        });
        gauges(
            &mut encoder,
            "held",
            "Members that are due for a restart and wait, by reason",
            held,
        )?;
        let (name, help) = (
            "certificate_expiry_timestamp",
            "When the webhook's certificate ends",
        );
        let unit = Some(&Unit::Seconds);
        let ends = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        let served = self.certificates.get().and_then(|store| store.current());
        if let Some(certificate) = served {
            ConstGauge::new(certificate.not_after().as_second()).encode(ends)?;
        }
        let leads = ConstGauge::new(i64::from(self.leadership.is_held()));
        let help = "Whether this replica runs the loop (1) or not (0)";
        leads.encode(encoder.encode_descriptor("leader", help, None, MetricType::Gauge)?)
    }
}

fn gauges<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (Vec<(&'a str, &'a str)>, usize)>,
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (labels, value) in samples {
        let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        gauge.encode(family.encode_family(&labels.as_slice())?)?;
    }
    Ok(())
}
