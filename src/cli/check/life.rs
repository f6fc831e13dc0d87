//! How much of a certificate's life is left.

use std::fmt;

use jiff::Timestamp;

use crate::tls::Validity;

const DAY_SECONDS: i64 = 24 * 3600;
/// Whoever renews has done so at a third; below this nobody has.
const SHORT_PERCENT: i64 = 25;
/// Time that a person needs, where a life is long enough for it.
const SHORT_DAYS: i64 = 7;

/// A certificate's life at an instant, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Life {
    whole: i64,
    left: i64,
    has_begun: bool,
}

impl Life {
    /// What is left of it now.
    pub(super) fn of(validity: Validity, now: Timestamp) -> Self {
        let seconds =
            |from: Timestamp, to: Timestamp| to.as_second().saturating_sub(from.as_second());
        Self {
            whole: seconds(validity.not_before, validity.not_after),
            left: seconds(now, validity.not_after),
            has_begun: validity.not_before <= now,
        }
    }

    /// Clients accept it.
    pub(super) const fn is_valid(self) -> bool {
        self.has_begun && self.left >= 0
    }

    const fn percent(self) -> i64 {
        if self.whole <= 0 {
            return 0;
        }
        let percent = self.left.saturating_mul(100) / self.whole;
        if percent < 0 { 0 } else { percent }
    }

    /// It should have been renewed by now.
    pub(super) const fn is_short(self) -> bool {
        let days = self.left / DAY_SECONDS;
        self.percent() < SHORT_PERCENT
            || (days < SHORT_DAYS && self.whole >= 2 * SHORT_DAYS * DAY_SECONDS)
    }
}

/// `71 %, 63 days`.
impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.percent();
        match (self.left / DAY_SECONDS, self.left / 3600) {
            (0, hours) => write!(f, "{percent} % of its life ({hours} h)"),
            (1, _) => write!(f, "{percent} % of its life (1 day)"),
            (days, _) => write!(f, "{percent} % of its life ({days} days)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    const NOON: Timestamp = Timestamp::constant(1_780_000_000, 0);

    fn life(days_before: i64, days_left: i64) -> Life {
        let days = |count| SignedDuration::from_hours(24 * count);
        let validity = Validity {
            not_before: NOON - days(days_before),
            not_after: NOON + days(days_left),
        };
        Life::of(validity, NOON)
    }

    #[test]
    fn a_life_is_short_at_a_quarter_or_a_week() {
        for (before, left, is_short) in [
            (29, 71, false),
            (76, 24, true),
            (60, 30, false),
            // A certificate of three days is renewed often, and that is no reason to warn.
            (1, 2, false),
            (14, 6, true),
            (100, -1, true),
        ] {
            assert_eq!(life(before, left).is_short(), is_short, "{before}, {left}");
        }
    }

    #[test]
    fn it_is_told_in_percent_and_days() {
        assert_eq!(life(29, 71).to_string(), "71 % of its life (71 days)");
        let never = Validity {
            not_before: Timestamp::MIN,
            not_after: Timestamp::MAX,
        };
        assert!(Life::of(never, NOON).is_valid() && !Life::of(never, NOON).is_short());
        assert!(!life(-1, 5).is_valid());
    }
}
