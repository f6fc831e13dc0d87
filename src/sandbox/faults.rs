//! What may go wrong, decided by whoever drives the sandbox.

use std::{fmt, sync::Arc, time::Duration};

use super::request::RequestInfo;

/// What happens to one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// It is served.
    #[default]
    None,
    /// It is served this much later.
    Delay(Duration),
    /// It is refused with this status, without effect.
    Status(u16),
    /// The connection breaks before the request has any effect.
    LoseRequest,
    /// It takes effect, but the client sees a broken connection instead of the answer.
    LoseAnswer,
    /// A watch breaks after this time. Other requests are served.
    DropWatchAfter(Duration),
}

/// Draws the fault of a request. It should depend on nothing but its argument and its own seeded state, so that a run
/// can be repeated.
pub type FaultHook = Arc<dyn Fn(&RequestInfo) -> Fault + Send + Sync>;

/// The connection between a client and the server broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionBroken;

impl fmt::Display for ConnectionBroken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection to the sandbox broke")
    }
}

impl std::error::Error for ConnectionBroken {}
