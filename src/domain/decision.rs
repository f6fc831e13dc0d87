//! One pass over one namespace: everything that is to be done, and why.

use super::{
    Memory, Moment, Now, Policy, Snapshot,
    discovery::{Discovery, discover},
    node::NodeName,
    notes,
    peer_list::{PeerList, peer_list},
    policy::RestartOn,
    rollout::{self, Plan},
    snapshot::ConfigMapView,
    survey::{Survey, candidates, survey},
};

/// What a pass over one namespace comes to.
#[derive(Clone, Debug)]
pub struct Decision {
    /// What each node is.
    pub survey: Survey,
    /// Who is a peer.
    pub discovery: Discovery,
    /// What the ConfigMap is to say; [`None`] where there is none to be.
    pub list: Option<PeerList>,
    /// Whether that has to be written.
    pub writes_list: bool,
    /// Nodes that are Ready for the first time: name and uid of their StatefulSets.
    pub joins: Vec<(NodeName, String)>,
    /// Whom to restart, or why to wait.
    pub plan: Plan,
    /// When to look again though nothing happens.
    pub look_again: Option<Moment>,
}

impl Decision {
    /// The list has other peers than the stored one.
    #[must_use]
    pub fn changes_peers(&self, snapshot: &Snapshot) -> bool {
        let stored = snapshot.config_map.as_ref();
        let stored = stored.and_then(|stored| stored.known_peers.as_ref());
        let list = self.list.as_ref().map(|list| &list.known_peers);
        list.is_some() && list != stored
    }
}

/// Decides about one namespace. The only thing that changes is `memory`, which takes in what there is to see.
#[must_use]
pub fn decide(snapshot: &Snapshot, memory: &mut Memory, policy: &Policy, now: Now) -> Decision {
    let stored = snapshot.config_map.as_deref();
    let was_bootstrap = stored.is_some_and(ConfigMapView::is_bootstrap);
    let survey = survey(snapshot, &policy.address_mode);
    let noted = stored
        .map(|stored| stored.notes.clone())
        .unwrap_or_default();
    let record = stored.and_then(ConfigMapView::readable_record);
    let has_record = record.is_some() && !noted.record_lost;
    memory.observe(&survey, snapshot.is_fresh, has_record, policy, now.moment);
    let mut discovery = discover(&survey, was_bootstrap, memory, policy, now.moment);
    if let Some(record) = record.filter(|_| policy.restart_on == RestartOn::Joins) {
        discovery.keep_keys(record, &noted.keys);
    }
    memory.observe_memberships(&survey, &discovery, policy, now.moment);
    let look = notes::Look {
        snapshot,
        survey: &survey,
        discovery: &discovery,
        memory,
        policy,
        now: now.moment,
    };
    let notes = noted.updated(look);
    let plan = rollout::plan(rollout::Scene {
        survey: &survey,
        discovery: &discovery,
        memory,
        notes: &notes,
        snapshot,
        policy,
        now,
    });
    let list = peer_list(&survey, &discovery, stored, notes, &policy.writer);
    let joins = candidates(&survey).filter(|(_, node)| {
        node.is_ready()
            && node.stateful_set.joined_at.is_none()
            && !memory.has_joined(&node.stateful_set.uid)
    });
    Decision {
        joins: joins
            .map(|(name, node)| (name.clone(), node.stateful_set.uid.clone()))
            .collect(),
        writes_list: list
            .as_ref()
            .is_some_and(|list| stored.is_none_or(|stored| list.differs_from(stored))),
        look_again: [discovery.look_again, plan.look_again]
            .into_iter()
            .flatten()
            .min(),
        survey,
        discovery,
        list,
        plan,
    }
}
