//! The log of requests, so that a test can say "no list and no write at rest".

use std::{collections::VecDeque, time::Duration};

use super::request::RequestInfo;

/// One request and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// When it was answered, on the virtual clock, since the sandbox was made.
    pub at: Duration,
    /// What it asked for.
    pub info: RequestInfo,
    /// The status of the answer; none where the connection broke.
    pub code: Option<u16>,
    /// Whether it was only a rehearsal.
    pub dry_run: bool,
}

impl RequestRecord {
    /// Whether the request meant to change something.
    #[must_use]
    pub fn is_write(&self) -> bool {
        !self.dry_run && !matches!(self.info.verb, "get" | "list" | "watch")
    }
}

/// The newest requests, at most as many as was asked for.
#[derive(Debug)]
pub(super) struct RequestLog {
    records: VecDeque<RequestRecord>,
    records_max: usize,
}

impl RequestLog {
    pub(super) const fn new(records_max: usize) -> Self {
        Self {
            records: VecDeque::new(),
            records_max,
        }
    }

    pub(super) fn push(&mut self, record: RequestRecord) {
        if self.records.len() >= self.records_max {
            self.records.pop_front();
        }
        if self.records_max > 0 {
            self.records.push_back(record);
        }
    }

    pub(super) fn all(&self) -> Vec<RequestRecord> {
        self.records.iter().cloned().collect()
    }

    pub(super) fn take(&mut self) -> Vec<RequestRecord> {
        self.records.drain(..).collect()
    }
}
