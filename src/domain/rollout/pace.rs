//! What holds a whole network back, who of it is down, and since when.

use std::{cell::LazyCell, collections::BTreeSet, time::Duration};

use super::{Held, Scene, due::record, nodes_of};
use crate::domain::{
    Moment,
    discovery::{Listing, NetworkState},
    node::{Network, NodeName},
    snapshot::{ConfigMapView, parse_time},
    survey::Candidate,
};

/// A network at this instant.
#[derive(Debug)]
pub(super) struct Pace<'a> {
    /// Nobody has been Ready for `bootstrap_after`: there is nothing left that a restart could halt.
    pub(super) is_outage: bool,
    /// Nobody is Ready just now.
    pub(super) is_nobody_ready: bool,
    /// Members that are not Ready, mid-rollout, or Ready for too short a time.
    pub(super) down: BTreeSet<&'a NodeName>,
    /// Who was restarted a while ago and has not come so far that others can find it.
    pub(super) unlisted: Option<&'a NodeName>,
    record_lost: bool,
    settling: bool,
    unseen: Option<&'a NodeName>,
    stuck: Option<&'a NodeName>,
    unready_for_long: BTreeSet<&'a NodeName>,
    restarted_lately: BTreeSet<&'a NodeName>,
    /// When somebody may become due.
    until_due: Option<Moment>,
    /// When somebody that is due may go.
    until_go: Option<Moment>,
}

impl<'a> Pace<'a> {
    pub(super) fn of(scene: Scene<'a>, network: &Network, state: &'a NetworkState) -> Self {
        let Scene { memory, policy, .. } = scene;
        let now = scene.now.moment;
        let (mut due, mut go) = (Timer::new(now), Timer::new(now));
        // A network in which nobody was ever Ready has no record to lose, and can't get Ready by waiting.
        let record_lost = memory
            .record_lost_until(policy)
            .is_some_and(|until| !state.bootstrap && go.waits_for(until));
        let settling = memory
            .change(network)
            .is_none_or(|change| go.waits_for(change.since + change.settle(policy)));
        let nobody_ready = memory.nobody_ready_since(network);
        let mut pace = Self {
            is_outage: nobody_ready.is_some_and(|since| due.is_help_due(scene, since)),
            is_nobody_ready: nobody_ready.is_some(),
            down: BTreeSet::new(),
            unlisted: None,
            record_lost,
            settling,
            unseen: memory.unseen(network),
            stuck: None,
            unready_for_long: BTreeSet::new(),
            restarted_lately: BTreeSet::new(),
            until_due: None,
            until_go: None,
        };
        let known = LazyCell::new(|| {
            let stored = scene.stored();
            stored.map(ConfigMapView::known_peers).unwrap_or_default()
        });
        for (name, node) in nodes_of(scene.survey, state) {
            let is_member = state.members().contains_key(name);
            if is_member && !is_up(scene, &mut go, name, node) {
                pace.down.insert(name);
            }
            pace.look_at(scene, &mut due, &known, name, node, is_member);
        }
        (pace.until_due, pace.until_go) = (due.first, go.first);
        pace
    }

    fn look_at(
        &mut self,
        scene: Scene<'a>,
        timer: &mut Timer,
        known: &LazyCell<BTreeSet<&'a str>, impl FnOnce() -> BTreeSet<&'a str>>,
        name: &'a NodeName,
        node: &Candidate,
        is_member: bool,
    ) {
        let Scene {
            memory,
            policy,
            notes,
            ..
        } = scene;
        let unready = memory.unready_since(name);
        if unready.is_some_and(|since| timer.is_help_due(scene, since)) {
            self.unready_for_long.insert(name);
        }
        if node.is_settled() {
            return;
        }
        let Some(age) = restart_age(scene, name, node) else {
            return;
        };
        let is_late = !timer.waits_for(timer.now + policy.stuck_after.saturating_sub(age));
        if !is_late {
            self.restarted_lately.insert(name);
            if !node.is_ready() && !is_listed(scene, known, name, node) {
                self.unlisted = self.unlisted.or(Some(name));
            }
        } else if is_member && !record(&notes.restarts, name, node).is_some_and(|it| it.came_up) {
            self.stuck = self.stuck.or(Some(name));
        }
    }

    /// What keeps everybody of the network waiting.
    pub(super) fn holds(&self, name: &NodeName) -> Option<Held> {
        let stuck = self.stuck.filter(|it| *it != name && !self.is_outage);
        if self.record_lost {
            Some(Held::RecordLost)
        } else if let Some(unseen) = self.unseen {
            Some(Held::Budget(unseen.clone()))
        } else if let Some(stuck) = stuck {
            Some(Held::Stuck(stuck.clone()))
        } else {
            self.settling.then_some(Held::Settling)
        }
    }

    /// It has had no Ready pod for `bootstrap_after`.
    pub(super) fn is_unready_for_long(&self, name: &NodeName) -> bool {
        self.unready_for_long.contains(name)
    }

    /// The same, and no restart of ours is about to change that.
    pub(super) fn is_down_for_long(&self, name: &NodeName) -> bool {
        self.is_unready_for_long(name) && !self.restarted_lately.contains(name)
    }

    /// When time alone may change a verdict, or bring one about.
    pub(super) fn look_again(&self, is_anybody_due: bool) -> Option<Moment> {
        let until_go = self.until_go.filter(|_| is_anybody_due);
        self.until_due.into_iter().chain(until_go).min()
    }
}

/// Tells what has yet to pass, and keeps the first of it.
struct Timer {
    now: Moment,
    first: Option<Moment>,
}

impl Timer {
    const fn new(now: Moment) -> Self {
        Self { now, first: None }
    }

    fn waits_for(&mut self, until: Moment) -> bool {
        let waits = self.now < until;
        if waits {
            self.first = Some(self.first.map_or(until, |first| first.min(until)));
        }
        waits
    }

    /// Whether what has been wrong since then has been so for long enough to be helped; never where help is off.
    fn is_help_due(&mut self, scene: Scene<'_>, since: Moment) -> bool {
        let after = scene.policy.bootstrap_after;
        !after.is_zero() && !self.waits_for(since + after)
    }
}

/// Ready with all its pods on the current revision, and for long enough.
fn is_up(scene: Scene<'_>, timer: &mut Timer, name: &NodeName, node: &Candidate) -> bool {
    let since = scene
        .memory
        .settled_since(name)
        .filter(|_| node.is_settled());
    since.is_some_and(|since| !timer.waits_for(since + scene.policy.min_ready))
}

/// How long ago we restarted this validator, if we did. A time in the future counts from first sight.
fn restart_age(scene: Scene<'_>, name: &NodeName, node: &Candidate) -> Option<Duration> {
    let Scene { memory, now, .. } = scene;
    let restarted_at = node.stateful_set.template.restarted_at.as_deref()?;
    let passed = now.wall.duration_since(parse_time(restarted_at)?);
    let first_sight = || memory.rollout_since(name).or(memory.unready_since(name));
    let since_first_sight =
        || first_sight().map_or(Duration::ZERO, |since| now.moment.since(since));
    Some(Duration::try_from(passed).unwrap_or_else(|_| since_first_sight()))
}

/// Its new pod runs, and the stored list has the address, if it is to have it.
fn is_listed(scene: Scene<'_>, known: &BTreeSet<&str>, name: &NodeName, node: &Candidate) -> bool {
    let set = &node.stateful_set;
    let runs = set.is_observed() && node.pods.iter().any(|pod| pod.updated && pod.running);
    let listing = scene.discovery.listings.get(name);
    let wanted = listing.map(Listing::addresses).unwrap_or_default();
    runs && wanted
        .iter()
        .all(|address| known.contains(address.to_string().as_str()))
}
