//! What our program asked of an API server, by what it costs there.

use std::ops::Sub;

use crate::figures::fact;

/// Requests by kind. Those about the Lease are left out: leadership is paid for by time, not by change. So are
/// watches, of which there is one a kind, and reads of single objects.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Traffic {
    lists: u32,
    list_writes: u32,
    event_writes: u32,
    other_writes: u32,
}

impl Traffic {
    /// Counts requests, each given as verb, resource and whether it means to write.
    pub(crate) fn of<'a>(requests: impl Iterator<Item = (&'a str, &'a str, bool)>) -> Self {
        let mut traffic = Self::default();
        for (verb, resource, is_write) in requests {
            let count = match (resource, is_write) {
                ("leases", _) => continue,
                ("configmaps", true) => &mut traffic.list_writes,
                ("events", true) => &mut traffic.event_writes,
                (_, true) => &mut traffic.other_writes,
                (_, false) if verb == "list" => &mut traffic.lists,
                (_, false) => continue,
            };
            *count += 1;
        }
        traffic
    }

    /// Prints what `changes` changes took.
    pub(crate) fn show_per_change(self, changes: u32) {
        let each = |count| f64::from(count) / f64::from(changes);
        let text = format!(
            "{:.2} of the list, {:.2} Events, {:.2} others (goal: 1 of the list); {} list calls (goal: 0)",
            each(self.list_writes),
            each(self.event_writes),
            each(self.other_writes),
            self.lists
        );
        fact(&format!("writes a change, over {changes}"), &text);
    }

    /// Prints what rest took.
    pub(crate) fn show_at_rest(self, how_long: &str) {
        let writes = self.list_writes + self.event_writes + self.other_writes;
        let text = format!("{} list calls, {writes} writes (goal: 0 and 0)", self.lists);
        fact(&format!("at rest for {how_long}"), &text);
    }
}

/// What came after an earlier count.
impl Sub for Traffic {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            lists: self.lists - earlier.lists,
            list_writes: self.list_writes - earlier.list_writes,
            event_writes: self.event_writes - earlier.event_writes,
            other_writes: self.other_writes - earlier.other_writes,
        }
    }
}
