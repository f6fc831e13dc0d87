//! How many may go at once: the plain limit, and what the declared quorum sets tolerate.

use super::{Held, Notice, Pace, Scene};
use crate::domain::{discovery::NetworkState, node::NodeName};

/// What a validator that is due gets of the room that there is.
#[derive(Debug)]
pub(super) enum Step {
    /// It may go.
    Go {
        /// The member whose quorum set is not met meanwhile, so that the network pauses.
        halts: Option<NodeName>,
    },
    /// It has to wait.
    Wait(Held),
}

/// The room in one network.
#[derive(Debug)]
pub(super) struct Room<'a> {
    scene: Scene<'a>,
    pace: &'a Pace<'a>,
    started: Option<NodeName>,
}

impl<'a> Room<'a> {
    pub(super) fn of(scene: Scene<'a>, _state: &'a NetworkState, pace: &'a Pace<'a>) -> Self {
        Self {
            scene,
            pace,
            started: None,
        }
    }

    /// Of a member that is up, or not known to be down for long.
    pub(super) fn step_of_one_that_is_up(&mut self, name: &NodeName) -> Step {
        let down = &self.pace.down;
        if let Some(started) = &self.started {
            return Step::Wait(Held::Budget(started.clone()));
        }
        if down.contains(&name) {
            return Step::Wait(Held::NotReady);
        }
        match down.first() {
            Some(first) if down.len() >= self.scene.policy.max_unavailable.get() => {
                return Step::Wait(Held::Budget((*first).clone()));
            }
            _ => {}
        }
        self.started = Some(name.clone());
        Step::Go { halts: None }
    }

    /// Of one that has been down for long: it takes nothing away. One after the other all the same, so that each
    /// knows the addresses of those before it.
    pub(super) fn step_of_one_that_is_down(&mut self, name: &NodeName) -> Step {
        let before = self.started.as_ref().or(self.pace.unlisted);
        match before.filter(|it| *it != name) {
            Some(before) => Step::Wait(Held::Behind(before.clone())),
            None => {
                self.started = Some(name.clone());
                Step::Go { halts: None }
            }
        }
    }

    /// What people should know beside the verdicts.
    pub(super) fn notices(self) -> Vec<Notice> {
        Vec::new()
    }
}
