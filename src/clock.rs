//! The only place that reads a clock.

use std::sync::atomic::{AtomicI64, Ordering};

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
    /// Seconds by which somebody has set the wall clock.
    step: Option<&'static AtomicI64>,
}

impl Clock {
    /// The machine's clocks.
    #[must_use]
    pub fn system() -> Self {
        Self {
            start: Instant::now(),
            wall: None,
            step: None,
        }
    }

    /// The runtime's clock, which a test may pause; the wall clock reads `wall` now.
    #[must_use]
    pub fn of_runtime(wall: Timestamp) -> Self {
        Self {
            start: Instant::now(),
            wall: Some(wall),
            step: None,
        }
    }

    /// The same with a wall clock that goes wrong by as many seconds as `step` says.
    #[must_use]
    pub fn stepping(self, step: &'static AtomicI64) -> Self {
        Self {
            step: Some(step),
            ..self
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
        let step = self.step.map_or(0, |step| step.load(Ordering::Relaxed));
        let wall = wall
            .checked_add(SignedDuration::from_secs(step))
            .unwrap_or(wall);
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
