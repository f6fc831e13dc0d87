//! Our program as a scenario starts it: flags, and how long things may take then.

use std::time::Duration;

/// How the API server finds our webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Webhook {
    /// Registered, with the right CA.
    Registered,
    /// Registered with another CA: every call fails.
    WrongCa,
    /// Not registered.
    Unregistered,
}

/// Nobody pulls it: no rig runs containers.
const IMAGE: &str = "--render-image=stellar-peers:here";

/// The times by which our program and a story go: the defaults on the sandbox, whose clock costs nothing, and short
/// ones on a real API server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) settle: Duration,
    pub(crate) settle_leave: Duration,
    pub(crate) min_ready: Duration,
    pub(crate) bootstrap_after: Duration,
    pub(crate) stuck_after: Duration,
    /// Between two rounds of the operator's stand-in.
    pub(crate) operator: Duration,
    /// Between two looks of a story, or of the stand-ins for stellar-core.
    pub(crate) poll: Duration,
    /// How long a story waits for what must come.
    pub(crate) patience: Duration,
    /// How long a story looks on to see that nothing happens.
    pub(crate) quiet: Duration,
    /// How long a story looks on to see that nothing is written.
    pub(crate) at_rest: Duration,
    /// How long the API server is away.
    pub(crate) outage: Duration,
}

impl Pace {
    pub(crate) const SANDBOX: Self = Self {
        settle: Duration::from_secs(30),
        settle_leave: Duration::from_mins(5),
        min_ready: Duration::from_mins(1),
        bootstrap_after: Duration::from_mins(1),
        stuck_after: Duration::from_mins(15),
        operator: Duration::from_secs(3),
        poll: Duration::from_secs(1),
        patience: Duration::from_mins(40),
        quiet: Duration::from_mins(3),
        at_rest: Duration::from_mins(3),
        outage: Duration::from_secs(20),
    };

    pub(crate) const REAL: Self = Self {
        settle: Duration::from_secs(2),
        settle_leave: Duration::from_secs(4),
        min_ready: Duration::from_secs(1),
        bootstrap_after: Duration::from_secs(10),
        stuck_after: Duration::from_secs(15),
        operator: Duration::from_millis(500),
        poll: Duration::from_millis(200),
        patience: Duration::from_mins(3),
        quiet: Duration::from_secs(20),
        at_rest: Duration::from_mins(1),
        outage: Duration::from_secs(20),
    };

    pub(crate) fn flags(&self) -> Vec<String> {
        let times = [
            ("settle", self.settle),
            ("settle-leave", self.settle_leave),
            ("min-ready", self.min_ready),
            ("bootstrap-after", self.bootstrap_after),
            ("stuck-after", self.stuck_after),
        ];
        let times = times.map(|(flag, time)| format!("--{flag}={}ms", time.as_millis()));
        times.into_iter().chain([IMAGE.to_owned()]).collect()
    }
}

/// One request of our program.
#[derive(Clone, Debug)]
pub(crate) struct OurRequest {
    pub(crate) verb: String,
    pub(crate) resource: String,
    /// Empty where the request names no object.
    pub(crate) name: String,
    /// Whether it meant to change something.
    pub(crate) is_write: bool,
    /// HTTP status of the answer; 0 where there was none.
    pub(crate) code: u16,
}

/// One Event of our program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct OurEvent {
    /// The kind and the name of what it is about.
    pub(crate) kind: String,
    pub(crate) about: String,
    pub(crate) reason: String,
    pub(crate) note: String,
    /// How often it was told.
    pub(crate) count: i32,
}
