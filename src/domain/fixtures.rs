//! Small clusters for the tests of the core.

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc, time::Duration};

use super::{
    Memory, Moment, Now, Policy, Snapshot, decide,
    decision::Decision,
    injection::{Parts, TemplateView},
    membership::{Members, MembershipHash},
    node::{Network, NodeName},
    notes::{Notes, Restart},
    peer::PeerPort,
    peer_list::PeerList,
    rollout::Start,
    snapshot::{ConfigMapView, PodView, StatefulSetView, StellarNodeView},
    turn::Turn,
};

pub(super) fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

/// The hash of these members, all on the default port.
pub(super) fn hash_of(names: &[&str]) -> MembershipHash {
    let member = |text: &&str| (name(text), PeerPort::DEFAULT);
    MembershipHash::of(&names.iter().map(member).collect::<Members>())
}

/// A turn of `v1`, whose StatefulSet has uid `u` and generation 3.
pub(super) fn a_turn(network: &str) -> Turn {
    Turn {
        network: network.to_owned(),
        node: "v1".to_owned(),
        uid: "u".to_owned(),
        generation: 3,
        reason: "Membership".to_owned(),
        hash: "v1:000000000000".to_owned(),
        carried: None,
        outage: false,
        token: "t".to_owned(),
    }
}

/// A namespace that a test changes as it goes.
#[derive(Clone, Debug, Default)]
pub(super) struct Cluster {
    pub(super) snapshot: Snapshot,
    pub(super) memory: Memory,
    pub(super) policy: Policy,
    clock: Duration,
    addresses: u8,
}

impl Cluster {
    pub(super) fn new() -> Self {
        let snapshot = Snapshot {
            namespace: "stellar".to_owned(),
            ..Snapshot::default()
        };
        Self {
            snapshot,
            ..Self::default()
        }
    }

    /// Validators with a StatefulSet of one replica and a Ready pod, on network `testnet`.
    pub(super) fn with_ready(names: &[&str]) -> Self {
        let mut cluster = Self::new();
        for name in names {
            cluster.add(name);
        }
        cluster
    }

    /// The same, settled: the list is written, and everybody was started with the present membership.
    pub(super) fn settled(names: &[&str]) -> Self {
        let mut cluster = Self::with_ready(names);
        let hash = hash_of(names);
        for name in names {
            cluster.inject(name, &hash);
        }
        cluster.pass();
        cluster.after(Duration::from_hours(1));
        cluster
    }

    pub(super) fn add(&mut self, text: &str) {
        let node = StellarNodeView {
            node_type: "Validator".to_owned(),
            network: Some(Network::new("testnet")),
            ..StellarNodeView::default()
        };
        Arc::make_mut(&mut self.snapshot.stellar_nodes).insert(name(text), Arc::new(node));
        let set = StatefulSetView {
            uid: format!("set-{text}"),
            generation: 1,
            observed_generation: 1,
            replicas: 1,
            update_revision: "r1".to_owned(),
            operator_labelled: true,
            ..StatefulSetView::default()
        };
        Arc::make_mut(&mut self.snapshot.stateful_sets).insert(name(text), Arc::new(set));
        self.start_pod(text);
    }

    /// A fresh pod on the current revision, Ready at an address that nobody had.
    pub(super) fn start_pod(&mut self, text: &str) {
        self.addresses += 1;
        let set = &self.snapshot.stateful_sets[&name(text)];
        let pod = PodView {
            uid: format!("pod-{}", self.addresses),
            owner: set.uid.clone(),
            instance: Some(text.to_owned()),
            revision: set.update_revision.clone(),
            running: true,
            ready: true,
            ready_changed_at: None,
            terminating: false,
            ips: vec![Ipv4Addr::new(10, 0, 0, self.addresses).into()],
            render_wait: None,
        };
        Arc::make_mut(&mut self.snapshot.pods).insert(format!("{text}-0"), Arc::new(pod));
    }

    pub(super) fn node(&mut self, text: &str, change: impl FnOnce(&mut StellarNodeView)) {
        change(Arc::make_mut(
            Arc::make_mut(&mut self.snapshot.stellar_nodes)
                .get_mut(&name(text))
                .unwrap(),
        ));
    }

    /// Declares a quorum set.
    pub(super) fn declare(&mut self, text: &str, quorum_set: &str) {
        let parsed = crate::domain::quorum::parse(quorum_set).map(|set| set.map(Arc::new));
        self.node(text, |node| node.quorum_set = parsed.transpose());
    }

    pub(super) fn set(&mut self, text: &str, change: impl FnOnce(&mut StatefulSetView)) {
        change(Arc::make_mut(
            Arc::make_mut(&mut self.snapshot.stateful_sets)
                .get_mut(&name(text))
                .unwrap(),
        ));
    }

    pub(super) fn pod(&mut self, text: &str, change: impl FnOnce(&mut PodView)) {
        change(Arc::make_mut(
            Arc::make_mut(&mut self.snapshot.pods)
                .get_mut(&format!("{text}-0"))
                .unwrap(),
        ));
    }

    /// Our parts, whole, with this membership.
    pub(super) fn inject(&mut self, text: &str, hash: &MembershipHash) {
        let template = TemplateView {
            membership: Some(hash.to_string()),
            port: Some(Ok(PeerPort::DEFAULT)),
            parts: Parts::Whole,
            ..TemplateView::default()
        };
        self.set(text, |set| {
            set.template = TemplateView {
                restarted_at: set.template.restarted_at.clone(),
                ..template
            }
        });
    }

    /// What the shell and Kubernetes do about a restart: the template changes, and a new pod is Ready.
    pub(super) fn restart(&mut self, text: &str, hash: &MembershipHash) {
        self.inject(text, hash);
        let at = super::time::rfc3339(self.now().wall);
        self.set(text, |set| {
            set.generation += 1;
            set.observed_generation += 1;
            set.update_revision = format!("r{}", set.generation);
            set.template.restarted_at = Some(at);
        });
        self.start_pod(text);
    }

    /// Changes what is noted on the stored ConfigMap.
    pub(super) fn note(&mut self, change: impl FnOnce(&mut Notes)) {
        let map = Arc::make_mut(self.snapshot.config_map.as_mut().unwrap());
        change(&mut map.notes);
        map.annotations = map.notes.render(&BTreeMap::new());
    }

    /// Notes a restart down as carried out.
    pub(super) fn note_restart(&mut self, start: &Start) {
        let restart = Restart::of(&Turn::of(start, "t"));
        self.note(|notes| {
            notes.restarts.0.insert(start.node.to_string(), restart);
        });
    }

    pub(super) fn remove(&mut self, text: &str) {
        Arc::make_mut(&mut self.snapshot.stellar_nodes).remove(&name(text));
        Arc::make_mut(&mut self.snapshot.stateful_sets).remove(&name(text));
        Arc::make_mut(&mut self.snapshot.pods).remove(&format!("{text}-0"));
    }

    pub(super) fn now(&self) -> Now {
        let wall = jiff::Timestamp::constant(1_800_000_000, 0);
        Now {
            moment: Moment(self.clock),
            wall: wall + self.clock,
        }
    }

    pub(super) fn decide(&mut self) -> Decision {
        let now = self.now();
        decide(&self.snapshot, &mut self.memory, &self.policy, now)
    }

    /// One pass with the writes that the shell would make to the record.
    pub(super) fn pass(&mut self) -> Decision {
        let decision = self.decide();
        if decision.writes_list
            && let Some(list) = &decision.list
        {
            self.snapshot.config_map = Some(Arc::new(stored(list, self.now())));
        }
        let at = super::time::rfc3339(self.now().wall);
        for (node, uid) in &decision.joins {
            self.set(node.as_str(), |set| set.joined_at = Some(at.clone()));
            self.memory.joined(uid);
        }
        decision
    }

    /// Time passes, and then a pass.
    pub(super) fn after(&mut self, duration: Duration) -> Decision {
        self.clock += duration;
        self.pass()
    }
}

/// The ConfigMap as it is after this list was written.
pub(super) fn stored(list: &PeerList, now: Now) -> ConfigMapView {
    let mut labels = BTreeMap::new();
    for (key, value) in super::peer_list::labels() {
        labels.insert(key.to_owned(), value.to_owned());
    }
    let data = [
        (crate::api::names::KEY_KNOWN_PEERS, list.known_peers.clone()),
        (crate::api::names::KEY_METADATA, list.metadata(now.wall)),
        (crate::api::names::KEY_MEMBERS, list.members.clone()),
    ];
    let object = k8s_openapi::api::core::v1::ConfigMap {
        data: Some(data.map(|(key, value)| (key.to_owned(), value)).into()),
        metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
            labels: Some(labels),
            annotations: Some(list.notes.render(&BTreeMap::new())),
            ..Default::default()
        },
        ..Default::default()
    };
    ConfigMapView::from(&object)
}
