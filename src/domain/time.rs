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

/// A duration as people read it: its two largest units, `4m`, `2h 5m`, `6d 3h`; whole seconds below a minute.
#[must_use]
pub fn plain(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let mut left = seconds;
    let mut parts = Vec::new();
    for (length, unit) in units {
        let count = left / length;
        left %= length;
        // The second unit says something only next to the first.
        if count > 0 || !parts.is_empty() {
            parts.push((count, unit));
        }
    }
    let shown = parts.into_iter().take(2).filter(|(count, _)| *count > 0);
    let shown: Vec<String> = shown
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if shown.is_empty() {
        "0s".to_owned()
    } else {
        shown.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_told_in_its_two_largest_units() {
        let told = [0, 6, 60, 75, 3_600, 3_605, 7_500, 86_400, 529_200];
        let told = told.map(|seconds| plain(Duration::from_secs(seconds)));
        let wanted = [
            "0s", "6s", "1m", "1m 15s", "1h", "1h", "2h 5m", "1d", "6d 3h",
        ];
        assert_eq!(told, wanted);
    }
}
