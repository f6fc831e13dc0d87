//! Who is due for a restart, and why.

use std::cell::LazyCell;

use super::{Scene, Stale, nodes_of, pace::Pace};
use crate::domain::{
    discovery::NetworkState,
    injection::Parts,
    membership::MembershipHash,
    node::NodeName,
    notes::{Restart, Restarts},
    survey::Candidate,
};

/// A validator that is due for a restart.
#[derive(Debug)]
pub(super) struct Due<'a> {
    pub(super) name: &'a NodeName,
    pub(super) node: &'a Candidate,
    pub(super) reason: Stale,
    /// The membership that its pods would be told.
    pub(super) hash: MembershipHash,
    /// It has been down for long: its restart takes nothing away from the network.
    pub(super) is_free: bool,
}

impl Due<'_> {
    /// Once for the same is enough, whatever became of it: the template is as it was before, so somebody put it back.
    /// Where it carries something else by now, a write of somebody else's renewed it since.
    pub(super) fn was_restarted_for_this(&self, restarts: &Restarts) -> bool {
        let carried = &self.node.stateful_set.template.membership;
        self.reason != Stale::Outage
            && record(restarts, self.name, self.node).is_some_and(|record| {
                let is_renewed =
                    *carried != record.carried && carried.as_deref() != Some(record.hash.as_str());
                record.reason == self.reason.reason()
                    && record.hash == self.hash.as_str()
                    && !record.past
                    && !is_renewed
            })
    }
}

/// The validators of a network that are due, in the order in which they go: first those that are down anyway, then
/// what is half done, then by name.
pub(super) fn due<'a>(scene: Scene<'a>, state: &'a NetworkState, pace: &Pace<'a>) -> Vec<Due<'a>> {
    let mut due: Vec<Due<'a>> = nodes_of(scene.survey, state)
        .filter_map(|(name, node)| {
            let hash = LazyCell::new(|| match node.member_port() {
                Some(port) => state.hash_with(name, port),
                None => state.hash().clone(),
            });
            Some(Due {
                reason: stale(scene, state, pace, name, node, &hash)?,
                is_free: pace.is_down_for_long(name),
                name,
                node,
                hash: hash.clone(),
            })
        })
        .collect();
    due.sort_by_key(|it| (!it.is_free, it.reason != Stale::Incomplete, it.name));
    due
}

/// Why a validator is due; [`None`] where it isn't. Our parts in an older form are no reason.
fn stale(
    scene: Scene<'_>,
    state: &NetworkState,
    pace: &Pace<'_>,
    name: &NodeName,
    node: &Candidate,
    hash: &LazyCell<MembershipHash, impl FnOnce() -> MembershipHash>,
) -> Option<Stale> {
    let is_member = state.members().contains_key(name);
    // Who was never Ready is no member, and is only helped where it doesn't come up.
    if !is_member && !pace.is_unready_for_long(name) {
        return None;
    }
    let template = &node.stateful_set.template;
    let reason = match (template.parts, template.membership.as_deref()) {
        (Parts::Absent, _) => Some(Stale::NotInjected),
        (Parts::Partial, _) => Some(Stale::Incomplete),
        (Parts::Whole, Some(carried)) => {
            let is_other = hash.differs_from(carried) && carried != state.key.as_str();
            is_other.then_some(Stale::Membership)
        }
        (Parts::Whole, None) => None,
    };
    let is_lost = scene.memory.is_lost(&node.network, name) && pace.is_down_for_long(name);
    let was_helped =
        || record(&scene.notes.restarts, name, node).is_some_and(|record| record.outage);
    reason.or_else(|| (is_lost && !was_helped()).then_some(Stale::Outage))
}

pub(super) fn record<'a>(
    restarts: &'a Restarts,
    name: &NodeName,
    node: &Candidate,
) -> Option<&'a Restart> {
    let record = restarts.0.get(name.as_str())?;
    record.is_of(&node.stateful_set.uid).then_some(record)
}
