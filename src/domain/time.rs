//! Time as the core sees it: given, never read.

use std::{
    ops::{Add, Sub},
    time::Duration,
};

use jiff::Timestamp;

/// A point on our monotonic clock: how long this process had run.
///
/// Durations of the contract count on this clock, so that a step of the wall clock starts nothing early.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub Duration);

impl Moment {
    /// Time from `earlier` to here; zero where `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(rhs))
    }
}

impl Sub for Moment {
    type Output = Duration;

    fn sub(self, rhs: Self) -> Duration {
        self.since(rhs)
    }
}

/// Both clocks at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For durations.
    pub moment: Moment,
    /// For what is written down.
    pub wall: Timestamp,
}

/// RFC 3339 in UTC with whole seconds, as all our annotations and the list's metadata have it.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
