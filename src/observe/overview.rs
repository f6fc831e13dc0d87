//! All that this replica knows, as `/api/v1/status` and the status page show it.

use serde::{Deserialize, Serialize};

use super::Happening;
use crate::domain::status::Status;

/// Answers what there is to see now.
pub trait Overlook: Send + Sync + std::fmt::Debug {
    /// Everything, decided anew: by whoever keeps it for others.
    fn overview(&self) -> Overview;
    /// Counts up whenever something changed. Time alone changes nothing.
    fn changes(&self) -> tokio::sync::watch::Receiver<u64>;
}

/// Everything that there is to see.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview {
    /// Of this program.
    pub version: String,
    /// Name of this process.
    pub instance: String,
    /// When this was true, RFC 3339.
    pub at: String,
    /// This replica runs the loop: what it shows is what it decided. Others show what they would decide by one look.
    pub leads: bool,
    /// Who does, by the Lease; absent where nobody is known to.
    pub leader: Option<String>,
    /// It decides and tells, and writes nothing.
    pub dry_run: bool,
    /// The caches are full: before that nothing is shown.
    pub ready: bool,
    /// The namespaces that have validators, by name.
    pub namespaces: Vec<Status>,
    /// What this process did and found, newest first. Empty where it does not lead.
    pub timeline: Vec<Happening>,
}
