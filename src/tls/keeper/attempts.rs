//! When something that failed may be tried again.

use std::time::Duration;

use tracing::{debug, warn};

use super::KeepError;
use crate::{domain::Moment, observe::error_chain};

/// After somebody else wrote first.
const CONFLICT_WAIT: Duration = Duration::from_millis(100);
/// After any other failure; doubles with each.
const WAIT_MIN: Duration = Duration::from_millis(500);
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The attempts at one kind of write.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    not_before: Moment,
    wait: Duration,
    told: Option<&'static str>,
}

impl Attempts {
    pub(super) fn are_allowed(&self, now: Moment) -> bool {
        now >= self.not_before
    }

    /// The time until the next one is allowed.
    pub(super) fn wait(&self, now: Moment) -> Duration {
        self.not_before.since(now)
    }

    /// The last one ended like this; after a success the next one has to wait for `pace`.
    pub(super) fn ended(
        &mut self,
        result: &Result<(), KeepError>,
        now: Moment,
        pace: Duration,
        longest: Duration,
    ) {
        match result {
            Ok(()) => self.worked(now, pace),
            Err(error) => self.failed(error, now, longest),
        }
    }

    /// The last one worked; the next one has to wait this long.
    fn worked(&mut self, now: Moment, pace: Duration) {
        *self = Self {
            not_before: now + pace,
            ..Self::default()
        };
    }

    /// The last one failed: tells that once, and waits longer each time, but not longer than `longest`.
    pub(super) fn failed(&mut self, error: &KeepError, now: Moment, longest: Duration) {
        let text = error_chain(error);
        if error.is_conflict() {
            debug!(error = text, "Somebody else wrote first, looking again");
            self.not_before = now + CONFLICT_WAIT;
            return;
        }
        if self.told == Some(error.reason()) {
            debug!(error = text, "Could not keep certificates, retrying");
        } else {
            warn!(error = text, "Could not keep certificates, retrying");
            self.told = Some(error.reason());
        }
        self.wait = (self.wait * 2)
            .clamp(WAIT_MIN, WAIT_MAX)
            .min(longest.max(WAIT_MIN));
        self.not_before = now + self.wait;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::controller::error::ReconcileError;

    #[test]
    fn waits_grow_to_their_limit_and_end_with_a_success() {
        let error = KeepError::Request(ReconcileError::Immutable);
        let (mut attempts, start) = (Attempts::default(), Moment::default());
        let mut waits = Vec::new();
        for _ in 0..8 {
            attempts.failed(&error, start, Duration::from_secs(20));
            waits.push(attempts.wait(start).as_millis());
        }
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000]);
        attempts.worked(start, Duration::from_secs(1));
        assert!(!attempts.are_allowed(start));
        assert!(attempts.are_allowed(start + Duration::from_secs(1)));
    }
}
