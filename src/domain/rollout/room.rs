//! How many may go at once: the plain limit, and what the declared quorum sets tolerate.

use std::collections::BTreeSet;

use super::{Held, Notice, Pace, Scene};
use crate::domain::{
    discovery::NetworkState,
    node::{Network, NodeName},
    policy::OnZeroTolerance,
    quorum::{Directory, Resolved, Tolerance, WhileDown},
    survey::{Standing, Survey},
};

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
    /// While all are down that they may name and that are not up.
    sets: WhileDown<'a>,
    started: Option<NodeName>,
}

impl<'a> Room<'a> {
    pub(super) const fn of(scene: Scene<'a>, pace: &'a Pace<'a>, sets: WhileDown<'a>) -> Self {
        Self {
            scene,
            pace,
            sets,
            started: None,
        }
    }

    /// Of a member that is up, or not known to be down for long.
    pub(super) fn step_of_one_that_is_up(&mut self, name: &NodeName) -> Step {
        let step = self.look_at_one_that_is_up(name);
        if matches!(step, Step::Go { .. }) {
            self.started = Some(name.clone());
        }
        step
    }

    fn look_at_one_that_is_up(&self, name: &NodeName) -> Step {
        let down = &self.pace.down;
        let budget = |of: &NodeName| Step::Wait(Held::Budget(of.clone()));
        if let Some(started) = &self.started {
            return budget(started);
        }
        if down.contains(&name) {
            return Step::Wait(Held::NotReady);
        }
        match down.first() {
            Some(first) if down.len() >= self.scene.policy.max_unavailable.get() => {
                return budget(first);
            }
            _ => {}
        }
        match self.sets.tolerance(name) {
            Tolerance::Tolerated => Step::Go { halts: None },
            Tolerance::Exceeded { of } => Step::Wait(Held::Quorum(of)),
            Tolerance::Zero { of } => match (self.scene.policy.on_zero_tolerance, down.first()) {
                (OnZeroTolerance::Hold, _) => Step::Wait(Held::ZeroTolerance(of)),
                // One by one all the same, whatever the limit is.
                (OnZeroTolerance::Restart, Some(first)) => budget(first),
                (OnZeroTolerance::Restart, None) => Step::Go { halts: Some(of) },
            },
        }
    }

    /// Of one that has been down for long: it takes nothing away. One after the other all the same, so that each
    /// knows the addresses of those before it.
    pub(super) fn step_of_one_that_is_down(&mut self, name: &NodeName) -> Step {
        let before = self.started.as_ref().or(self.pace.unlisted);
        if let Some(before) = before.filter(|it| *it != name) {
            return Step::Wait(Held::Behind(before.clone()));
        }
        self.started = Some(name.clone());
        Step::Go { halts: None }
    }
}

/// Whom the quorum sets of a network may name: its candidates, the validators of the namespace that are switched off,
/// and those that are gone.
pub(super) struct Named<'a> {
    candidates: &'a BTreeSet<NodeName>,
    switched_off: BTreeSet<&'a NodeName>,
    departed: BTreeSet<NodeName>,
}

impl<'a> Named<'a> {
    pub(super) fn in_sets(scene: Scene<'a>, network: &Network, state: &'a NetworkState) -> Self {
        let standings = scene.survey.iter();
        let switched_off = standings.filter(|(_, standing)| standing.is_switched_off());
        // Whoever has only opted out may run as before.
        let is_gone = |name: &NodeName| {
            let standing = scene.survey.get(name);
            standing.is_none_or(Standing::is_switched_off)
        };
        let departed = scene.notes.departed.get(network.as_str());
        let departed = departed.into_iter().flatten();
        Self {
            candidates: &state.candidates,
            switched_off: switched_off.map(|(name, _)| name).collect(),
            departed: departed
                .filter_map(|it| NodeName::new(it).ok())
                .filter(is_gone)
                .collect(),
        }
    }

    pub(super) fn directory(&self) -> Directory<'_> {
        let off = self.switched_off.iter().copied();
        Directory::new(self.candidates.iter().chain(off).chain(&self.departed))
    }

    /// Those of them that are not up. Who was never Ready is not.
    pub(super) fn down<'b>(
        &'b self,
        state: &'b NetworkState,
        pace: &'b Pace<'b>,
    ) -> BTreeSet<&'b NodeName> {
        let never_ready = self.candidates.iter();
        let never_ready = never_ready.filter(|name| !state.members().contains_key(*name));
        never_ready
            .chain(self.switched_off.iter().copied())
            .chain(&self.departed)
            .chain(pace.down.iter().copied())
            .collect()
    }
}

/// Entries of quorum sets that are nobody here: they count as up.
pub(super) fn unmapped(sets: &Resolved<'_>, survey: &Survey, state: &NetworkState) -> Vec<Notice> {
    let members = super::declared_sets(survey, state).map(|(name, _)| name);
    let notice = |name: &NodeName| {
        let entries: Vec<&str> = sets.unmapped(name).take(8).collect();
        (!entries.is_empty()).then(|| Notice {
            node: name.clone(),
            reason: "QuorumUnmapped",
            note: format!(
                "its quorum set names {}, which is nobody in this namespace: counted as up",
                entries.join(", ")
            ),
        })
    };
    members.filter_map(notice).collect()
}
