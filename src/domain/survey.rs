//! What each node of a namespace is: a candidate with its pods, or why it is none.
//!
//! The first half of discovery, and the one that needs no time: everything here can be read off one snapshot.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use super::{
    injection,
    node::{Network, NodeName},
    peer::{Host, InvalidPort, PeerAddress, PeerPort},
    policy::AddressMode,
    quorum::{QuorumSet, UnreadableQuorumSet},
    render_wait::RenderWait,
    snapshot::{Inject, PodView, Snapshot, StatefulSetView, StellarNodeView},
};

/// Why a node is not in the list. Each node that is left out has exactly one reason: the first that holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Skipped {
    /// Not a validator.
    #[error("spec.nodeType is {0:?}, and only Validator takes part")]
    NotValidator(String),
    /// Opted out.
    #[error("peers.stellar.org/inject is disabled on it")]
    InjectDisabled,
    /// On its way out.
    #[error("it is being deleted")]
    Deleted,
    /// Switched off.
    #[error("spec.suspended is true")]
    Suspended,
    /// Looks like an operator's, but its StellarNode isn't there.
    #[error("the StatefulSet has an operator's labels, and there is no StellarNode of its name")]
    NoStellarNode,
    /// Nothing runs it.
    #[error("there is no StatefulSet of its name")]
    NoStatefulSet,
    /// A read pool is no validator.
    #[error("label stellar.org/role marks the StatefulSet as a read pool")]
    ReadPool,
    /// Scaled to nothing.
    #[error("the StatefulSet has 0 replicas")]
    NoReplicas,
    /// A port that nothing can listen on.
    #[error("the peer port {0}")]
    InvalidPort(#[from] InvalidPort),
    /// No pod yet.
    #[error("the StatefulSet has no pod")]
    NoPod,
    /// The pod is on its way out.
    #[error("the pod is being deleted")]
    PodTerminating,
    /// The pod has no address yet.
    #[error("the pod has no IP yet")]
    NoIp,
    /// stellar-core speaks IPv4 and host names.
    #[error("the pod has only IPv6 addresses, and stellar-core takes none")]
    OnlyIpv6,
    /// Not ready.
    #[error("the pod is not Ready")]
    PodNotReady,
}

impl Skipped {
    /// Whether this is a validator that is switched off, and so down for whoever counts on it.
    #[must_use]
    pub const fn is_switched_off(&self) -> bool {
        matches!(
            self,
            Self::Deleted
                | Self::Suspended
                | Self::NoStellarNode
                | Self::NoStatefulSet
                | Self::NoReplicas
        )
    }

    /// One word for Events, metrics and machines.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotValidator(_) => "NotValidator",
            Self::InjectDisabled => "InjectDisabled",
            Self::Deleted => "Deleted",
            Self::Suspended => "Suspended",
            Self::NoStellarNode => "NoStellarNode",
            Self::NoStatefulSet => "NoStatefulSet",
            Self::ReadPool => "ReadPool",
            Self::NoReplicas => "NoReplicas",
            Self::InvalidPort(_) => "InvalidPort",
            Self::NoPod => "NoPod",
            Self::PodTerminating => "PodTerminating",
            Self::NoIp => "NoIp",
            Self::OnlyIpv6 => "OnlyIpv6",
            Self::PodNotReady => "PodNotReady",
        }
    }
}

/// A pod of a candidate that is not being deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodReport {
    /// Its name.
    pub name: String,
    /// What we read of it.
    pub view: Arc<PodView>,
    /// Where stellar-core would reach it, or why nowhere.
    pub host: Result<Host, Skipped>,
    /// Running, that is, worth dialling even if it is not Ready.
    pub running: bool,
    /// Ready.
    pub ready: bool,
    /// On the StatefulSet's current revision.
    pub updated: bool,
    /// Our init container can't be started.
    pub render_wait: Option<RenderWait>,
}

/// A node that counts: not suspended, with a StatefulSet that wants at least one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its network.
    pub network: Network,
    /// Its port, or why it has none.
    pub port: Result<PeerPort, InvalidPort>,
    /// Its StatefulSet.
    pub stateful_set: Arc<StatefulSetView>,
    /// Restarts are held back by annotation on the StellarNode or the StatefulSet.
    pub paused: bool,
    /// Its pods by name, those being deleted left out.
    pub pods: Vec<PodReport>,
    /// Some pod of it is being deleted.
    pub has_terminating_pod: bool,
    /// Was a member by the record or by annotation, as this StatefulSet (by uid).
    pub was_member: bool,
    /// Was Ready once, by annotation or right now.
    pub was_ready: bool,
    /// The port that the record has.
    pub recorded_port: Option<PeerPort>,
    /// The addresses that the record has, where it is no peer now.
    pub remembered: Vec<PeerAddress>,
    /// The quorum set that its StellarNode declares.
    pub quorum_set: Option<Result<Arc<QuorumSet>, UnreadableQuorumSet>>,
    /// What went less well than asked for: a DNS address that had to be an IP.
    pub falls_back_to_ip: bool,
}

impl Candidate {
    /// Some pod is Ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.pods.iter().any(|pod| pod.ready)
    }

    /// The quorum set that it declares, where that can be read.
    #[must_use]
    pub fn readable_quorum_set(&self) -> Option<&QuorumSet> {
        self.quorum_set.as_ref()?.as_deref().ok()
    }

    /// The port of its line in the membership: the present one, or the last one that was good.
    #[must_use]
    pub fn member_port(&self) -> Option<PeerPort> {
        self.port.clone().ok().or(self.recorded_port)
    }

    /// Every wanted pod is there, Ready, and on the current revision that the controller has seen.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let set = &self.stateful_set;
        set.is_observed()
            && !self.has_terminating_pod
            && usize::try_from(set.replicas).is_ok_and(|replicas| self.pods.len() >= replicas)
            && self.pods.iter().all(|pod| pod.ready && pod.updated)
    }

    /// Addresses of the pods for which `wanted` holds.
    pub(crate) fn addresses(&self, wanted: impl Fn(&PodReport) -> bool) -> Vec<PeerAddress> {
        let Ok(port) = self.port else {
            return Vec::new();
        };
        let hosts = self
            .pods
            .iter()
            .filter(|pod| wanted(pod))
            .filter_map(|pod| pod.host.clone().ok());
        let mut addresses: Vec<PeerAddress> =
            hosts.map(|host| PeerAddress::new(host, port)).collect();
        addresses.sort();
        addresses.dedup();
        addresses
    }

    /// Some pod is Ready and can be reached.
    pub(crate) fn is_peer(&self) -> bool {
        self.is_reached(|pod| pod.ready)
    }

    /// Some pod runs, Ready or not, and can be reached.
    pub(crate) fn is_running(&self) -> bool {
        self.is_reached(|pod| pod.running)
    }

    fn is_reached(&self, wanted: impl Fn(&PodReport) -> bool) -> bool {
        let mut pods = self.pods.iter();
        self.port.is_ok() && pods.any(|pod| wanted(pod) && pod.host.is_ok())
    }

    /// Why none of its pods is a peer; [`None`] where one is.
    pub(crate) fn skipped(&self) -> Option<Skipped> {
        if let Err(invalid) = &self.port {
            return Some(Skipped::InvalidPort(invalid.clone()));
        }
        let of_pod = |pod: &PodReport| match &pod.host {
            Err(why) => Some(why.clone()),
            Ok(_) if !pod.ready => Some(Skipped::PodNotReady),
            Ok(_) => None,
        };
        if self.is_peer() {
            return None;
        }
        let none = if self.has_terminating_pod {
            Skipped::PodTerminating
        } else {
            Skipped::NoPod
        };
        Some(self.pods.first().and_then(of_pod).unwrap_or(none))
    }
}

/// What one name of the namespace is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It counts.
    Candidate(Box<Candidate>),
    /// It doesn't, for this reason.
    Out(Skipped),
}

impl Standing {
    /// A validator that is switched off, and so down for whoever counts on it.
    #[must_use]
    pub const fn is_switched_off(&self) -> bool {
        matches!(self, Self::Out(why) if why.is_switched_off())
    }
}

/// What each name of the namespace is.
pub type Survey = BTreeMap<NodeName, Standing>;

/// The candidates of a survey.
pub fn candidates(survey: &Survey) -> impl Iterator<Item = (&NodeName, &Candidate)> {
    survey.iter().filter_map(|(name, standing)| match standing {
        Standing::Candidate(candidate) => Some((name, &**candidate)),
        Standing::Out(_) => None,
    })
}

/// The candidate of this name, where it is one.
#[must_use]
pub fn candidate<'a>(survey: &'a Survey, name: &NodeName) -> Option<&'a Candidate> {
    match survey.get(name)? {
        Standing::Candidate(candidate) => Some(candidate),
        Standing::Out(_) => None,
    }
}

/// What each StellarNode, and each StatefulSet that is or looks like a node, is.
#[must_use]
pub fn survey(snapshot: &Snapshot, mode: &AddressMode) -> Survey {
    let pods = PodsByOwner::of(snapshot);
    let mut survey = Survey::new();
    for (name, node) in &*snapshot.stellar_nodes {
        let set = snapshot.stateful_sets.get(name);
        let standing = match out_of_stellar_node(node).or_else(|| out_of_set(set, Some(node))) {
            Some(reason) => Standing::Out(reason),
            None => stand(snapshot, mode, name, Some(node), set, &pods),
        };
        survey.insert(name.clone(), standing);
    }
    for (name, set) in &*snapshot.stateful_sets {
        let is_node = set.operator_labelled || set.inject == Inject::Enabled;
        if !is_node || survey.contains_key(name) {
            continue;
        }
        let standing = match out_of_set(Some(set), None) {
            Some(reason) => Standing::Out(reason),
            None => stand(snapshot, mode, name, None, Some(set), &pods),
        };
        survey.insert(name.clone(), standing);
    }
    forget_addresses_of_others(&mut survey);
    survey
}

/// Validators of an operator that were members, and whose StellarNodes can't be seen because the kind isn't served. A
/// kind that is gone for good takes its objects with it, and these their StatefulSets: so as long as these run, nobody
/// knows whether they are validators still, and nothing may be decided.
#[must_use]
pub fn unaccounted(snapshot: &Snapshot) -> Vec<&NodeName> {
    if !snapshot.lacks_kind {
        return Vec::new();
    }
    let list = snapshot.config_map.as_ref();
    let record = list.and_then(|map| map.readable_record());
    let is_recorded = |name: &NodeName, set: &StatefulSetView| {
        let node = record.and_then(|record| record.node(name));
        set.joined_at.is_some() || node.is_some_and(|node| node.uid == set.uid)
    };
    // Whoever is left out whatever its StellarNode says is no question.
    let is_open = |set| out_of_set(Some(set), None) == Some(Skipped::NoStellarNode);
    let sets = snapshot.stateful_sets.iter();
    sets.filter(|(name, set)| is_open(set) && set.replicas > 0 && is_recorded(name, set))
        .map(|(name, _)| name)
        .collect()
}

/// An address goes from one pod to the next: what a node once had and another has now is not its own any more.
fn forget_addresses_of_others(survey: &mut Survey) {
    if candidates(survey).all(|(_, node)| node.remembered.is_empty()) {
        return;
    }
    let mut owners: BTreeMap<PeerAddress, NodeName> = BTreeMap::new();
    for (name, node) in candidates(survey) {
        let present = node.addresses(|_| true).into_iter();
        owners.extend(present.map(|address| (address, name.clone())));
    }
    for (name, standing) in survey {
        if let Standing::Candidate(node) = standing {
            let is_own = |address: &PeerAddress| owners.get(address).is_none_or(|it| it == name);
            node.remembered.retain(is_own);
        }
    }
}

type NamedPod<'a> = (&'a String, &'a Arc<PodView>);

/// The pods of a namespace, sorted by their owner's uid and then by name.
struct PodsByOwner<'a>(Vec<NamedPod<'a>>);

impl<'a> PodsByOwner<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let mut pods: Vec<_> = snapshot.pods.iter().collect();
        pods.sort_by(|(_, a), (_, b)| a.owner.cmp(&b.owner));
        Self(pods)
    }

    fn owned_by(&self, uid: &str) -> &[NamedPod<'a>] {
        let start = self.0.partition_point(|(_, pod)| pod.owner.as_str() < uid);
        let rest = &self.0[start..];
        &rest[..rest.partition_point(|(_, pod)| pod.owner == uid)]
    }
}

fn out_of_stellar_node(node: &StellarNodeView) -> Option<Skipped> {
    if node.node_type != "Validator" {
        Some(Skipped::NotValidator(
            node.node_type.chars().take(80).collect(),
        ))
    } else if node.inject == Inject::Disabled {
        Some(Skipped::InjectDisabled)
    } else if node.terminating {
        Some(Skipped::Deleted)
    } else if node.suspended {
        Some(Skipped::Suspended)
    } else {
        None
    }
}

fn out_of_set(
    set: Option<&Arc<StatefulSetView>>,
    node: Option<&Arc<StellarNodeView>>,
) -> Option<Skipped> {
    let Some(set) = set else {
        return Some(Skipped::NoStatefulSet);
    };
    if set.inject == Inject::Disabled {
        Some(Skipped::InjectDisabled)
    } else if set.terminating {
        Some(Skipped::Deleted)
    } else if set.read_pool {
        Some(Skipped::ReadPool)
    } else if node.is_none() && set.operator_labelled {
        Some(Skipped::NoStellarNode)
    } else if set.replicas <= 0 {
        Some(Skipped::NoReplicas)
    } else {
        None
    }
}

fn stand(
    snapshot: &Snapshot,
    mode: &AddressMode,
    name: &NodeName,
    node: Option<&Arc<StellarNodeView>>,
    set: Option<&Arc<StatefulSetView>>,
    pods: &PodsByOwner<'_>,
) -> Standing {
    let Some(set) = set else {
        return Standing::Out(Skipped::NoStatefulSet);
    };
    let owned = pods.owned_by(&set.uid).iter();
    // An operator's pods carry the node's name as well; a plain StatefulSet's need nothing but their owner.
    let is_its = |pod: &PodView| node.is_none() || pod.instance.as_deref() == Some(name.as_str());
    let its = owned.filter(|(_, pod)| is_its(pod));
    let has_terminating_pod = its.clone().any(|(_, pod)| pod.terminating);
    let names = pod_names(snapshot, mode, set);
    let report = |(pod_name, pod): &NamedPod<'_>| PodReport {
        name: (*pod_name).clone(),
        view: Arc::clone(pod),
        host: host(pod_name, pod, names.as_deref()),
        running: pod.running,
        ready: pod.ready,
        updated: pod.revision == set.update_revision,
        render_wait: pod.render_wait,
    };
    let living = its.filter(|(_, pod)| !pod.terminating);
    let reports: Vec<PodReport> = living.map(report).collect();
    let record = snapshot
        .config_map
        .as_ref()
        .and_then(|map| map.readable_record());
    let recorded = record
        .and_then(|record| record.node(name))
        .filter(|node| node.uid == set.uid);
    let is_ready = reports.iter().any(|pod| pod.ready);
    let mut candidate = Box::new(Candidate {
        network: network_of(node.map(|node| &**node), Some(set)),
        port: port(node, set),
        paused: set.paused || node.is_some_and(|node| node.paused),
        pods: reports,
        has_terminating_pod,
        was_member: set.joined_at.is_some() || recorded.is_some_and(|node| node.member),
        was_ready: set.joined_at.is_some() || is_ready,
        recorded_port: recorded.map(|node| node.port),
        remembered: Vec::new(),
        quorum_set: node.and_then(|node| node.quorum_set.clone()),
        falls_back_to_ip: names.is_none() && *mode != AddressMode::Ip,
        stateful_set: Arc::clone(set),
    });
    // Of a peer nobody asks for them.
    if let Some(recorded) = recorded.filter(|_| !candidate.is_peer()) {
        candidate.remembered.clone_from(&recorded.addresses);
    }
    Standing::Candidate(candidate)
}

/// The network of a node: what its StellarNode says, else the StatefulSet's label.
pub(super) fn network_of(node: Option<&StellarNodeView>, set: Option<&StatefulSetView>) -> Network {
    let declared = node.and_then(|node| node.network.clone());
    declared
        .or_else(|| set.and_then(|set| set.network.clone()))
        .unwrap_or_default()
}

fn port(
    node: Option<&Arc<StellarNodeView>>,
    set: &StatefulSetView,
) -> Result<PeerPort, InvalidPort> {
    injection::effective_port(
        node.and_then(|node| node.peer_port.as_ref()),
        set.port.as_ref(),
        set.template.port.as_ref(),
        set.template.named_port.as_ref(),
    )
}

/// What follows a pod's name in its DNS name, where its Service gives it one before it is Ready.
fn pod_names(snapshot: &Snapshot, mode: &AddressMode, set: &StatefulSetView) -> Option<String> {
    let AddressMode::Dns { cluster_domain } = mode else {
        return None;
    };
    let service = snapshot.services.get(&set.service_name)?;
    let serves = service.headless && service.publishes_not_ready;
    serves.then(|| {
        format!(
            "{}.{}.svc.{cluster_domain}",
            set.service_name, snapshot.namespace
        )
    })
}

fn host(name: &str, pod: &PodView, names: Option<&str>) -> Result<Host, Skipped> {
    let v4 = pod.ips.iter().find_map(|ip| match ip {
        IpAddr::V4(ip) => Some(*ip),
        IpAddr::V6(_) => None,
    });
    match (v4, names) {
        (Some(ip), None) => Ok(Host::Ip(ip)),
        (Some(ip), Some(names)) => {
            Ok(Host::new(&format!("{name}.{names}")).unwrap_or(Host::Ip(ip)))
        }
        (None, _) if pod.ips.is_empty() => Err(Skipped::NoIp),
        (None, _) => Err(Skipped::OnlyIpv6),
    }
}
