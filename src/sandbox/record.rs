//! The log of requests, so that a test can say "no list and no write at rest".

use std::{collections::VecDeque, fmt, time::Duration};

use super::request::RequestInfo;

/// One request and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// When it arrived.
    pub issued: Duration,
    /// When it was answered, on the virtual clock, since the sandbox was made.
    pub at: Duration,
    /// What it asked for.
    pub info: RequestInfo,
    /// The status of the answer; none where the connection broke.
    pub code: Option<u16>,
    /// Whether it was only a rehearsal.
    pub dry_run: bool,
    /// Whether it asked for one page of a list, as those do that begin a watch.
    pub is_paged: bool,
}

impl RequestRecord {
    /// Whether the request meant to change something.
    #[must_use]
    pub fn is_write(&self) -> bool {
        !self.dry_run && !matches!(self.info.verb, "get" | "list" | "watch")
    }
}

/// The newest requests, at most as many as was asked for.
pub(super) struct RequestLog {
    records: VecDeque<RequestRecord>,
    records_max: usize,
    witness: Option<RequestWitness>,
}

/// Is told of each request when it is answered.
pub(super) type RequestWitness = Box<dyn FnMut(&RequestRecord) + Send>;

impl fmt::Debug for RequestLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.records.fmt(f)
    }
}

impl RequestLog {
    pub(super) const fn new(records_max: usize) -> Self {
        Self {
            records: VecDeque::new(),
            records_max,
            witness: None,
        }
    }

    pub(super) fn set_witness(&mut self, witness: RequestWitness) {
        self.witness = Some(witness);
    }

    pub(super) fn push(&mut self, record: RequestRecord) {
        if let Some(witness) = &mut self.witness {
            witness(&record);
        }
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
