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
    /// It is served at once, and answered this much later.
    DelayAnswer(Duration),
    /// It is refused with this status, without effect.
    Status(u16),
    /// The connection breaks before the request has any effect.
    LoseRequest,
    /// It takes effect, but the client sees a broken connection instead of the answer.
    LoseAnswer,
    /// It is stuck on the way: it takes effect after this time, whoever still waits, and then its connection breaks.
    Late(Duration),
    /// It is served, and takes effect once more after this time, as by a proxy that tries again.
    Repeat(Duration),
    /// A watch behaves like this. Other requests are served.
    Watch(WatchFault),
}

/// What is wrong with one watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchFault {
    /// Events arrive up to this much later.
    pub late: Duration,
    /// The connection breaks after this time.
    pub breaks_after: Option<Duration>,
    /// Each event arrives twice.
    pub repeats: bool,
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
