//! A value over time.

use std::time::Duration;

/// What a value was when. The checks ask what could be known at an earlier moment.
#[derive(Clone, Debug)]
pub(crate) struct History<T>(Vec<(Duration, T)>);

impl<T: Clone + PartialEq> History<T> {
    pub(crate) fn of(value: T) -> Self {
        Self(vec![(Duration::ZERO, value)])
    }

    /// The value from `now` on; gives back whether that is a change.
    pub(crate) fn set(&mut self, now: Duration, value: T) -> bool {
        if *self.now() == value {
            return false;
        }
        // What lasts for no time is nothing that anybody could know.
        if self.0.len() > 1 && self.0[self.0.len() - 1].0 == now {
            self.0.pop();
        }
        if *self.now() != value {
            self.0.push((now, value));
        }
        true
    }

    pub(crate) fn now(&self) -> &T {
        &self.0[self.0.len() - 1].1
    }

    /// The value at a moment, after all changes of that moment, and since when it was so.
    pub(crate) fn at(&self, moment: Duration) -> (&T, Duration) {
        let later = self.0.partition_point(|(since, _)| *since <= moment);
        let (since, value) = &self.0[later.max(1) - 1];
        (value, *since)
    }

    /// How long the value before that at a moment had lasted; none where there was none before.
    pub(crate) fn span_before(&self, moment: Duration) -> Option<Duration> {
        let later = self.0.partition_point(|(since, _)| *since <= moment).max(1);
        let before = later.checked_sub(2)?;
        Some(self.0[later - 1].0.saturating_sub(self.0[before].0))
    }

    /// Whether `holds` was true of every value from one moment to another, that before a change at `from` apart.
    pub(crate) fn always(&self, from: Duration, to: Duration, holds: impl Fn(&T) -> bool) -> bool {
        let first = self.0.partition_point(|(since, _)| *since <= from).max(1) - 1;
        let during = self.0[first..].iter().take_while(|(since, _)| *since <= to);
        holds(&self.0[first].1) && during.skip(1).all(|(_, value)| holds(value))
    }

    /// The moments of all changes.
    pub(crate) fn changes(&self) -> impl Iterator<Item = Duration> {
        self.0.iter().skip(1).map(|(since, _)| *since)
    }
}
