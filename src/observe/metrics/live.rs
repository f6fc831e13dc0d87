//! What is computed when it is read, and so cannot drift from the truth.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};

use crate::{
    admission::connections::ConnectionStats,
    controller::{lease::Leadership, stores::Stores},
    observe::{Board, Summary},
    tls::CertificateStore,
};

/// What is there to tell of, once it is there.
#[derive(Debug, Default)]
pub(super) struct Sources {
    /// The store whose certificate the webhook serves.
    pub(super) certificates: OnceLock<Arc<CertificateStore>>,
    /// The webhook's connections.
    pub(super) connections: OnceLock<ConnectionStats>,
    /// What the watches fill.
    pub(super) stores: OnceLock<Arc<Stores>>,
}

#[derive(Debug)]
pub(super) struct Live {
    pub(super) board: Arc<Board>,
    pub(super) leadership: Leadership,
    pub(super) sources: Arc<Sources>,
}

/// Name, help, and where the figure is in a summary.
type Figure = (&'static str, &'static str, fn(&Summary) -> usize);

/// The same for what is counted by reason.
type Reasons = (
    &'static str,
    &'static str,
    fn(&Summary) -> &BTreeMap<&'static str, usize>,
);

const FIGURES: [Figure; 5] = [
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
    (
        "list_behind",
        "Whether a list that was decided on is not written yet (1) or is as it should be (0)",
        |it| usize::from(it.is_behind),
    ),
];

impl Collector for Live {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        self.encode_namespaces(&mut encoder)?;
        self.encode_certificate(&mut encoder)?;
        self.encode_connections(&mut encoder)?;
        let sizes = self.sources.stores.get().map(|stores| stores.sizes());
        let sizes = sizes.iter().flatten();
        samples(
            &mut encoder,
            "store_objects",
            "Objects that the watches hold in memory, by kind",
            MetricType::Gauge,
            sizes.map(|(kind, size)| (vec![("kind", *kind)], as_count(*size))),
        )?;
        // Whoever reads this does so in a task of the runtime that it is about.
        let runtime = tokio::runtime::Handle::try_current().ok();
        samples(
            &mut encoder,
            "tasks",
            "Tasks that have begun and not ended",
            MetricType::Gauge,
            runtime.map(|it| (vec![], as_count(it.metrics().num_alive_tasks()))),
        )?;
        samples(
            &mut encoder,
            "build_info",
            "What runs here; the value is 1",
            MetricType::Gauge,
            [(vec![("version", env!("CARGO_PKG_VERSION"))], 1)],
        )?;
        samples(
            &mut encoder,
            "leader",
            "Whether this replica runs the loop (1) or not (0)",
            MetricType::Gauge,
            [(vec![], u64::from(self.leadership.is_held()))],
        )
    }
}

impl Live {
    fn encode_namespaces(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let summaries = self.board.summaries();
        for (name, help, figure) in FIGURES {
            let of_namespaces = summaries.iter().map(|(namespace, summary)| {
                let labels = vec![("namespace", namespace.as_str())];
                (labels, as_count(figure(summary)))
            });
            samples(encoder, name, help, MetricType::Gauge, of_namespaces)?;
        }
        let by_reason: [Reasons; 2] = [
            (
                "held",
                "Members that are due for a restart and wait, by reason",
                |it| &it.held,
            ),
            (
                "notices",
                "Validators of which a person should know something, by reason",
                |it| &it.notices,
            ),
        ];
        for (name, help, counts) in by_reason {
            let all = summaries.iter().flat_map(|(namespace, summary)| {
                counts(summary).iter().map(move |(reason, count)| {
                    let labels = vec![("namespace", namespace.as_str()), ("reason", *reason)];
                    (labels, as_count(*count))
                })
            });
            samples(encoder, name, help, MetricType::Gauge, all)?;
        }
        Ok(())
    }

    fn encode_certificate(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let store = self.sources.certificates.get();
        let (name, help) = (
            "certificate_expiry_timestamp",
            "When the webhook's certificate ends",
        );
        let unit = Some(&Unit::Seconds);
        let ends = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        if let Some(certificate) = store.and_then(|store| store.current()) {
            ConstGauge::new(certificate.not_after().as_second()).encode(ends)?;
        }
        samples(
            encoder,
            "certificate_loads",
            "Times a certificate was taken into use, the first included",
            MetricType::Counter,
            store.map(|store| (vec![], store.loads())),
        )
    }

    fn encode_connections(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let stats = self.sources.connections.get();
        samples(
            encoder,
            "webhook_connections",
            "Open connections to the webhook",
            MetricType::Gauge,
            stats.map(|it| (vec![], as_count(it.open()))),
        )?;
        let cut = |it: &ConnectionStats| [("Shed", it.shed()), ("Refused", it.refused())];
        samples(
            encoder,
            "webhook_connections_cut",
            "Connections to the webhook that were closed for want of room, by reason",
            MetricType::Counter,
            with_reason(stats.map(cut)),
        )?;
        let failed = |it: &ConnectionStats| {
            let (rejected, unknown) = (it.certificates_rejected(), it.callers_unknown());
            let refused = it.callers_refused();
            let known = rejected + unknown + refused;
            [
                ("CertificateRejected", rejected),
                ("NoClientCertificate", unknown),
                ("ClientCertificateRefused", refused),
                ("Other", it.handshakes_failed().saturating_sub(known)),
            ]
        };
        samples(
            encoder,
            "webhook_handshake_failures",
            "TLS handshakes with the webhook that failed, by reason",
            MetricType::Counter,
            with_reason(stats.map(failed)),
        )
    }
}

type Labels<'a> = Vec<(&'a str, &'a str)>;

fn with_reason<const N: usize>(
    counts: Option<[(&'static str, u64); N]>,
) -> impl Iterator<Item = (Labels<'static>, u64)> {
    let counts = counts.into_iter().flatten();
    counts.map(|(reason, count)| (vec![("reason", reason)], count))
}

fn as_count(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}

/// One family of gauges or counters. Its name and help are printed also where nothing is counted.
fn samples<'a>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    kind: MetricType,
    samples: impl IntoIterator<Item = (Labels<'a>, u64)>,
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in samples {
        let labels = labels.as_slice();
        let sample = family.encode_family(&labels)?;
        match kind {
            MetricType::Counter => ConstCounter::new(value).encode(sample)?,
            _ => ConstGauge::new(value).encode(sample)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use prometheus_client::{encoding::text::encode, registry::Registry};

    use super::*;

    /// One namespace of this name, whatever it is.
    #[derive(Debug)]
    struct Named(String);

    impl Collector for Named {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
            let labels = vec![("namespace", self.0.as_str())];
            samples(
                &mut encoder,
                "peers",
                "Peers",
                MetricType::Gauge,
                [(labels, 1)],
            )
        }
    }

    fn encoded(name: &str) -> String {
        let (mut registry, mut text) = (Registry::default(), String::new());
        registry.register_collector(Box::new(Named(name.to_owned())));
        encode(&mut text, &registry).unwrap();
        text
    }

    proptest::proptest! {
        #[test]
        fn no_name_adds_a_line_a_label_or_a_sample(name in "(\\PC|[\"\\\\\n\r{}=,\\x00-\\x1f]){0,40}") {
            let (text, plain) = (encoded(&name), encoded("plain"));
            proptest::prop_assert_eq!(text.matches('\n').count(), plain.matches('\n').count(), "{:?}", text);
            // Between the quotes each quote and each backslash is escaped, and so is a line's end.
            let line = text.lines().find(|line| line.starts_with("peers{")).unwrap();
            let value = line.strip_prefix("peers{namespace=\"").unwrap().strip_suffix("\"} 1").unwrap();
            let mut read = String::new();
            let mut chars = value.chars();
            while let Some(char) = chars.next() {
                proptest::prop_assert_ne!(char, '"');
                read.push(match char {
                    '\\' => match chars.next().unwrap() {
                        'n' => '\n',
                        other => other,
                    },
                    other => other,
                });
            }
            proptest::prop_assert_eq!(read, name);
        }
    }
}
