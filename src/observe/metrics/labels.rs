//! The label sets. Each value is from a closed set.

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};

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

impl AdmissionOutcome {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::Untouched,
        Self::Injected,
        Self::Kept,
        Self::Removed,
        Self::NotInjected,
        Self::PortSet,
        Self::Refused,
        Self::Unreadable,
    ];
}

/// Why nobody will see an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum LostEvent {
    /// Too many wait to be sent.
    QueueFull,
    /// The API server did not take it.
    NotTaken,
}

impl LostEvent {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::QueueFull, Self::NotTaken];
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct AdmissionLabels {
    pub(super) outcome: AdmissionOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct PassLabels {
    outcome: &'static str,
}

impl PassLabels {
    pub(super) const CHANGED: Self = Self { outcome: "Changed" };
    pub(super) const UNCHANGED: Self = Self {
        outcome: "Unchanged",
    };
    pub(super) const FAILED: Self = Self { outcome: "Failed" };
    pub(super) const ALL: [Self; 3] = [Self::CHANGED, Self::UNCHANGED, Self::FAILED];
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ReasonLabels {
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct KindLabels {
    pub(super) kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct LostLabels {
    pub(super) reason: LostEvent,
}
