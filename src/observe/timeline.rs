//! What happened lately: the same as Events say, kept in this process for the status page.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};

/// How many are kept; the oldest goes first.
const KEPT: usize = 500;

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Happening {
    /// When, RFC 3339.
    pub at: String,
    /// In which namespace.
    pub namespace: String,
    /// To which node; absent where it is about the list.
    pub node: Option<String>,
    /// A person may have to act.
    pub warning: bool,
    /// One word, as in the Event.
    pub reason: String,
    /// In plain words, as in the Event.
    pub note: String,
}

/// The last of them, oldest first.
#[derive(Debug, Default)]
pub struct Timeline {
    happenings: Mutex<VecDeque<Happening>>,
}

impl Timeline {
    /// Adds one.
    pub fn add(&self, happening: Happening) {
        let mut happenings = self.lock();
        if happenings.len() == KEPT {
            happenings.pop_front();
        }
        happenings.push_back(happening);
    }

    /// All that are kept, newest first.
    #[must_use]
    pub fn newest_first(&self) -> Vec<Happening> {
        self.lock().iter().rev().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Happening>> {
        self.happenings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first_and_the_newest_is_told_first() {
        let timeline = Timeline::default();
        for number in 0..KEPT + 2 {
            timeline.add(Happening {
                at: String::new(),
                namespace: "stellar".to_owned(),
                node: None,
                warning: false,
                reason: "ListChanged".to_owned(),
                note: number.to_string(),
            });
        }
        let kept = timeline.newest_first();
        assert_eq!(kept.len(), KEPT);
        assert_eq!(kept[0].note, (KEPT + 1).to_string());
        assert_eq!(kept[KEPT - 1].note, "2");
    }
}
