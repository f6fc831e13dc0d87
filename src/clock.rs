//! The only place that reads a clock.

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::domain::{Moment, Now};

/// Both clocks of this process.
///
/// The wall clock is either the machine's or, where the runtime's clock is paused (simulation, tests), one that
/// goes along with that.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    wall: Option<Timestamp>,
}

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub fn system() -> Self {
        Self {
            start: Instant::now(),
            wall: None,
        }
    }

    /// The runtime's clock, which a test may pause; the wall clock reads `wall` now.
    #[must_use]
    pub fn of_runtime(wall: Timestamp) -> Self {
        Self {
            start: Instant::now(),
            wall: Some(wall),
        }
    }

    /// Both clocks at this instant.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the wall clock"
    )]
    pub fn now(&self) -> Now {
        let elapsed = self.start.elapsed();
        let wall = match self.wall {
            None => Timestamp::now(),
            Some(wall) => SignedDuration::try_from(elapsed)
                .ok()
                .and_then(|elapsed| wall.checked_add(elapsed).ok())
                .unwrap_or(wall),
        };
        Now {
            moment: Moment(elapsed),
            wall,
        }
    }

    /// The runtime's instant of a moment on this clock.
    #[must_use]
    pub fn instant(&self, moment: Moment) -> Instant {
        self.start + moment.0
    }
}
