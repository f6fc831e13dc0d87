//! Virtual time: tokio's clock, counted from a date that the caller gives.
//!
//! Nothing here reads the machine's clock, so a paused runtime makes every timestamp reproducible.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// Maps tokio's clock to dates.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    epoch: Timestamp,
    start: Instant,
}

impl Clock {
    pub(super) fn starting_at(epoch: Timestamp) -> Self {
        Self {
            epoch,
            start: Instant::now(),
        }
    }

    /// Time since the sandbox was made.
    pub(super) fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The date that `after` from now will be, as Kubernetes writes a `Time`: UTC, whole seconds.
    pub(super) fn date_in(&self, after: Duration) -> String {
        seconds(self.epoch + self.elapsed() + after)
    }

    /// Now, as Kubernetes writes a `Time`.
    pub(super) fn date(&self) -> String {
        self.date_in(Duration::ZERO)
    }
}

fn seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second())
        .unwrap_or(at)
        .to_string()
}
