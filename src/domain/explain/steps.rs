//! The questions, in discovery's order.

use super::Step;
use crate::{
    api::names,
    domain::{
        Policy, Snapshot,
        node::NodeName,
        peer::Host,
        policy::AddressMode,
        snapshot::{Inject, StatefulSetView, StellarNodeView},
        status::Status,
        survey::{Candidate, PodReport, Skipped, network_of},
    },
};

/// What is known of a name.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) policy: &'a Policy,
    pub(super) name: &'a NodeName,
    pub(super) node: Option<&'a StellarNodeView>,
    pub(super) set: Option<&'a StatefulSetView>,
}

/// A question: where it stands in the order, and what is asked. Each [`Skipped`] fails exactly one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Question {
    NodeType,
    NodeTakesPart,
    NodeStays,
    Suspended,
    HasSet,
    SetTakesPart,
    SetStays,
    ReadPool,
    HasNode,
    Replicas,
    Network,
    Port,
    HasPod,
    Address,
    Ready,
}

impl Question {
    const ALL: [Self; 15] = [
        Self::NodeType,
        Self::NodeTakesPart,
        Self::NodeStays,
        Self::Suspended,
        Self::HasSet,
        Self::SetTakesPart,
        Self::SetStays,
        Self::ReadPool,
        Self::HasNode,
        Self::Replicas,
        Self::Network,
        Self::Port,
        Self::HasPod,
        Self::Address,
        Self::Ready,
    ];

    /// The one that this reason answers with no.
    fn failed_by(why: &Skipped, facts: &Facts<'_>) -> Self {
        let by_node = |of_node: fn(&StellarNodeView) -> bool| facts.node.is_some_and(of_node);
        match why {
            Skipped::NotValidator(_) => Self::NodeType,
            Skipped::InjectDisabled if by_node(|node| node.inject == Inject::Disabled) => {
                Self::NodeTakesPart
            }
            Skipped::InjectDisabled => Self::SetTakesPart,
            Skipped::Deleted if by_node(|node| node.terminating) => Self::NodeStays,
            Skipped::Deleted => Self::SetStays,
            Skipped::Suspended => Self::Suspended,
            Skipped::NoStatefulSet => Self::HasSet,
            Skipped::ReadPool => Self::ReadPool,
            Skipped::NoStellarNode => Self::HasNode,
            Skipped::NoReplicas => Self::Replicas,
            Skipped::InvalidPort(_) => Self::Port,
            Skipped::NoPod | Skipped::PodTerminating => Self::HasPod,
            Skipped::NoIp | Skipped::OnlyIpv6 => Self::Address,
            Skipped::PodNotReady => Self::Ready,
        }
    }

    /// Those about a StellarNode are not asked where there is none, but whether there has to be one.
    const fn is_asked(self, has_node: bool) -> bool {
        match self {
            Self::NodeType | Self::NodeTakesPart | Self::NodeStays | Self::Suspended => has_node,
            Self::HasNode => !has_node,
            _ => true,
        }
    }
}

/// The questions that were asked, up to the first that failed.
pub(super) fn steps(
    facts: &Facts<'_>,
    candidate: Option<&Candidate>,
    why: Option<&Skipped>,
) -> Vec<Step> {
    let failed = why.map(|why| Question::failed_by(why, facts));
    let asked = Question::ALL.into_iter();
    asked
        .filter(|question| question.is_asked(facts.node.is_some()) || failed == Some(*question))
        .take_while(|question| failed.is_none_or(|failed| *question <= failed))
        .map(|question| {
            let (claim, found, place) = facts.answer(question, candidate);
            let holds = failed != Some(question);
            Step {
                claim: claim.to_owned(),
                holds,
                found: match why {
                    Some(why) if !holds => why.to_string(),
                    _ => found,
                },
                place,
            }
        })
        .collect()
}

impl Facts<'_> {
    fn stellar_node(&self, field: &str) -> String {
        format!("StellarNode {}, {field}", self.name)
    }

    fn stateful_set(&self, field: &str) -> String {
        format!("StatefulSet {}, {field}", self.name)
    }

    /// What is claimed, what was found, and where.
    fn answer(
        &self,
        question: Question,
        candidate: Option<&Candidate>,
    ) -> (&'static str, String, String) {
        const OPT_OUT: &str = "label or annotation peers.stellar.org/inject";
        let not_out = || "not disabled".to_owned();
        match question {
            Question::NodeType => {
                let kind = self.node.map(|node| node.node_type.clone());
                let place = self.stellar_node("spec.nodeType");
                ("it is a validator", kind.unwrap_or_default(), place)
            }
            Question::NodeTakesPart => (
                "its StellarNode takes part",
                not_out(),
                self.stellar_node(OPT_OUT),
            ),
            Question::NodeStays => (
                "its StellarNode stays",
                "not being deleted".to_owned(),
                self.stellar_node("metadata.deletionTimestamp"),
            ),
            Question::Suspended => (
                "it is not suspended",
                "not true".to_owned(),
                self.stellar_node("spec.suspended"),
            ),
            Question::HasSet => (
                "it has a StatefulSet",
                "there is one of its name".to_owned(),
                self.stateful_set("metadata.name"),
            ),
            Question::SetTakesPart => (
                "its StatefulSet takes part",
                self.how_it_is_in(),
                self.stateful_set(&format!("{OPT_OUT}, there or on the pod template")),
            ),
            Question::SetStays => (
                "its StatefulSet stays",
                "not being deleted".to_owned(),
                self.stateful_set("metadata.deletionTimestamp"),
            ),
            Question::ReadPool => (
                "it is no read pool",
                "no read pool".to_owned(),
                self.stateful_set("label stellar.org/role"),
            ),
            Question::HasNode => (
                "it needs no StellarNode, or has one",
                "opted in by itself".to_owned(),
                self.stateful_set("labels"),
            ),
            Question::Replicas => {
                let replicas = self.set.map_or(0, |set| set.replicas);
                (
                    "it is to run",
                    format!("{replicas} wanted"),
                    self.stateful_set("spec.replicas"),
                )
            }
            Question::Network => self.network(),
            Question::Port => self.port(candidate),
            Question::HasPod => self.has_pod(candidate),
            Question::Address => self.address(candidate),
            Question::Ready => (
                "a pod is Ready",
                pods(candidate, |pod| {
                    let since = pod.view.ready_changed_at.as_deref();
                    let since = since.map(|at| format!(" since {at}")).unwrap_or_default();
                    let not = if pod.ready { "" } else { "not " };
                    format!("{} {not}Ready{since}", pod.name)
                }),
                "pod, condition Ready".to_owned(),
            ),
        }
    }

    fn how_it_is_in(&self) -> String {
        let opted_in = self.set.is_some_and(|set| set.inject == Inject::Enabled);
        if opted_in { "enabled" } else { "not disabled" }.to_owned()
    }

    fn network(&self) -> (&'static str, String, String) {
        let declared = self.node.and_then(|node| node.network.as_ref());
        let place = if declared.is_some() {
            self.stellar_node("spec.network")
        } else {
            self.stateful_set("label stellar-network, there or on the pod template")
        };
        let network = network_of(self.node, self.set);
        let found = match network.as_str() {
            "" => "none is named: one of its own, of all that name none".to_owned(),
            name => name.to_owned(),
        };
        ("it is of a network", found, place)
    }

    fn port(&self, candidate: Option<&Candidate>) -> (&'static str, String, String) {
        let port = candidate.map(|node| node.port.as_ref());
        let found = match port {
            Some(Ok(port)) => port.get().to_string(),
            Some(Err(invalid)) => invalid.to_string(),
            None => String::new(),
        };
        let template = self.set.map(|set| &set.template);
        let place = if self.node.is_some_and(|node| node.peer_port.is_some()) {
            self.stellar_node("spec.validatorConfig.peerPort")
        } else if self.set.is_some_and(|set| set.port.is_some()) {
            self.stateful_set("annotation peers.stellar.org/port")
        } else if template.is_some_and(|template| template.port.is_some()) {
            self.stateful_set("pod template, annotation peers.stellar.org/port")
        } else if template.is_some_and(|template| template.named_port.is_some()) {
            let names = names::PEER_PORT_NAMES.join(" or ");
            self.stateful_set(&format!("container port named {names}"))
        } else {
            "nothing says, so stellar-core's own".to_owned()
        };
        ("it has a peer port", found, place)
    }

    fn has_pod(&self, candidate: Option<&Candidate>) -> (&'static str, String, String) {
        let place = match self.node {
            Some(_) => format!(
                "pods that the StatefulSet owns, with label {}={}",
                names::LABEL_INSTANCE,
                self.name
            ),
            None => "pods that the StatefulSet owns".to_owned(),
        };
        let found = pods(candidate, |pod| pod.name.clone());
        ("it has a pod", found, place)
    }

    fn address(&self, candidate: Option<&Candidate>) -> (&'static str, String, String) {
        let place = match (&self.policy.address_mode, candidate) {
            (AddressMode::Dns { .. }, Some(node)) if node.falls_back_to_ip => format!(
                "pod, status.podIP: Service {} is not headless, or publishes no addresses that are not Ready",
                node.stateful_set.service_name
            ),
            (AddressMode::Dns { .. }, _) => "the pod's name under its Service".to_owned(),
            (AddressMode::Ip, _) => "pod, status.podIP".to_owned(),
        };
        let found = pods(candidate, |pod| {
            let host = pod
                .host
                .as_ref()
                .map_or_else(|_| "none".to_owned(), Host::to_string);
            format!("{} at {host}", pod.name)
        });
        ("the pod can be reached", found, place)
    }

    /// It is in no survey: neither a StellarNode nor a StatefulSet that takes part.
    pub(super) fn nobody(&self) -> (Step, String) {
        let (found, text) = if self.set.is_some() {
            (
                "neither enabled nor an operator's labels",
                "there is a StatefulSet of this name, and nothing says that it is a validator",
            )
        } else {
            (
                "no StellarNode and no StatefulSet of this name",
                "there is neither a StellarNode nor a StatefulSet of this name in this namespace",
            )
        };
        let place =
            self.stateful_set("label peers.stellar.org/inject, there or on the pod template");
        let step = Step {
            claim: "it is a node".to_owned(),
            holds: false,
            found: found.to_owned(),
            place,
        };
        (step, text.to_owned())
    }

    /// How it becomes one, or who there is.
    pub(super) fn how_to_opt_in(&self, status: &Status) -> String {
        if self.set.is_some() {
            let (namespace, name) = (&self.snapshot.namespace, self.name);
            return format!(
                "kubectl label statefulset -n {namespace} {name} peers.stellar.org/inject=enabled, if it runs \
                 stellar-core"
            );
        }
        let known: Vec<&str> = status
            .nodes
            .iter()
            .map(|node| node.name.as_str())
            .take(10)
            .collect();
        if known.is_empty() {
            "there are no nodes in this namespace; name another with -n".to_owned()
        } else {
            format!("the nodes of this namespace are {}", known.join(", "))
        }
    }
}

/// Something of each pod, in words.
fn pods(candidate: Option<&Candidate>, words: impl Fn(&PodReport) -> String) -> String {
    let pods = candidate
        .map(|node| node.pods.as_slice())
        .unwrap_or_default();
    let words: Vec<String> = pods.iter().map(words).collect();
    words.join(", ")
}
