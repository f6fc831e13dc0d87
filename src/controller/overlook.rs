//! What the status page and `/api/v1/status` show, decided anew from the stores whenever somebody asks.
//!
//! Nothing is kept for it, nothing asks the API server, and nothing that is done depends on it.

use std::sync::Arc;

use tokio::sync::watch;

use super::{adoption::Adoptions, error::accounted, lease::Leadership, stores::Stores};
use crate::{
    clock::Clock,
    domain::{
        Policy, decide,
        status::{Status, look_once, status},
        time::rfc3339,
    },
    observe::{Board, Overlook, Overview, Timeline},
};

/// All that there is to look at.
#[derive(Debug)]
pub struct Outlook {
    /// What the watches saw.
    pub stores: Arc<Stores>,
    /// What the loop knows besides.
    pub board: Arc<Board>,
    /// Who is being taken in.
    pub adoptions: Arc<Adoptions>,
    /// What happened lately.
    pub timeline: Arc<Timeline>,
    /// Whether this replica runs the loop.
    pub leadership: Leadership,
    /// The flags.
    pub policy: Policy,
    /// Decide and tell, write nothing.
    pub dry_run: bool,
    /// The clocks.
    pub clock: Clock,
    /// Name of this process.
    pub instance: String,
}

impl Outlook {
    fn namespace(&self, namespace: &str) -> Option<Status> {
        let snapshot = match accounted(self.stores.snapshot(namespace)?) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                return Some(Status {
                    namespace: namespace.to_owned(),
                    problem: Some(error.problem()),
                    ..Status::default()
                });
            }
        };
        let now = self.clock.now();
        let seen = match self.board.known(namespace) {
            Some((mut memory, problem)) => {
                let mut decision = decide(&snapshot, &mut memory, &self.policy, now);
                self.adoptions.show(namespace, &mut decision);
                let seen = status(&snapshot, &decision, &memory, &self.policy, now);
                Status { problem, ..seen }
            }
            None => look_once(&snapshot, &self.policy, now.wall),
        };
        let is_empty = seen.nodes.is_empty() && seen.list.is_none();
        (!is_empty || seen.problem.is_some()).then_some(seen)
    }
}

impl Overlook for Outlook {
    fn overview(&self) -> Overview {
        let leads = self.leadership.is_held();
        let holder = self.leadership.holder();
        let leader = Some(holder.as_str()).filter(|holder| !holder.is_empty());
        let leader = leader.or_else(|| leads.then_some(self.instance.as_str()));
        let namespaces = self.stores.namespaces().into_iter();
        Overview {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            instance: self.instance.clone(),
            at: rfc3339(self.clock.now().wall),
            leads,
            leader: leader.map(str::to_owned),
            dry_run: self.dry_run,
            ready: self.stores.are_full(),
            namespaces: namespaces
                .filter_map(|namespace| self.namespace(&namespace))
                .collect(),
            timeline: self.timeline.newest_first(),
        }
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.board.changes()
    }
}
