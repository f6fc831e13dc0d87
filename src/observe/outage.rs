//! Failures that go on: said when they begin, once a minute while they last, and when they are over.

use std::time::Duration;

use tokio::time::Instant;

/// Shortest time between two lines about one outage.
const REMINDER: Duration = Duration::from_mins(1);
/// What is refused tries again well within this time. Where nothing comes and nothing fails for so long, it is taken to
/// work, without having anything to say.
const QUIET: Duration = Duration::from_secs(90);

/// How much is to be said of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loudness {
    /// It is news.
    News,
    /// It was said, and a while ago.
    Reminder,
    /// It was said just now, or is nothing unusual.
    Quiet,
}

/// An outage that is over, and of which people were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// From the first failure to the first success, or to when it was taken for one.
    pub lasted: Duration,
    /// Attempts that failed.
    pub failures: u32,
}

/// The outage of one thing that is tried again and again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outage(Option<Current>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Current {
    began: Instant,
    last: Instant,
    failures: u32,
    told: Option<Instant>,
}

impl Outage {
    /// One more attempt failed. A first failure that is `usual` says nothing: the next attempt may be well.
    pub fn fail(&mut self, now: Instant, usual: bool) -> Loudness {
        let current = self.0.get_or_insert(Current {
            began: now,
            last: now,
            failures: 0,
            told: None,
        });
        current.last = now;
        current.failures = current.failures.saturating_add(1);
        let loudness = match current.told {
            None if usual && current.failures == 1 => return Loudness::Quiet,
            None => Loudness::News,
            Some(told) if now.saturating_duration_since(told) >= REMINDER => Loudness::Reminder,
            Some(_) => return Loudness::Quiet,
        };
        current.told = Some(now);
        loudness
    }

    /// It works. Gives what is to be said of it.
    pub fn end(&mut self, now: Instant) -> Option<Over> {
        let current = self.0.take()?;
        current.told?;
        Some(Over {
            lasted: now.saturating_duration_since(current.began),
            failures: current.failures,
        })
    }

    /// When silence means that it works again; none where nothing fails.
    #[must_use]
    pub fn over_at(&self) -> Option<Instant> {
        Some(self.0?.last + QUIET)
    }

    /// How many attempts have failed.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.0.map_or(0, |current| current.failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_said_once_then_each_minute_and_when_it_is_over() {
        let (mut outage, start) = (Outage::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        let said: Vec<u64> = (0..150)
            .filter(|second| outage.fail(after(*second), false) != Loudness::Quiet)
            .collect();
        assert_eq!(said, [0, 60, 120]);
        let over = outage.end(after(160)).unwrap();
        assert_eq!((over.lasted.as_secs(), over.failures), (160, 150));
        assert_eq!(outage.end(after(161)), None, "it is over");
        assert_eq!(outage.fail(after(162), false), Loudness::News);
    }

    #[tokio::test(start_paused = true)]
    async fn a_usual_failure_is_said_only_where_the_next_attempt_fails_too() {
        let (mut outage, now) = (Outage::default(), Instant::now());
        assert_eq!(outage.fail(now, true), Loudness::Quiet);
        assert_eq!(outage.over_at(), Some(now + QUIET));
        assert_eq!(outage.end(now), None, "nobody heard of it");
        for expected in [Loudness::Quiet, Loudness::News, Loudness::Quiet] {
            assert_eq!(outage.fail(now, true), expected);
        }
    }
}
