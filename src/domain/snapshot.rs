//! One namespace as it was seen at one instant, in the core's own types.
//!
//! Kubernetes types stop here: each object is parsed once, when it arrives, into a small view that holds only
//! what decisions rest on. Two views that are equal lead to the same decision, so a write that changes no view
//! (a label that flips twice a second) wakes nobody.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde_json::Value;

use super::{
    injection::{self, Template},
    node::{Network, NodeName},
    notes::{self, Notes},
    peer::{InvalidPort, PeerPort},
    peer_list::Record,
    quorum::{self, QuorumSet, UnreadableQuorumSet},
    render_wait::RenderWait,
};
use crate::{
    api::{PodObject, ServiceObject, StatefulSetObject, StellarNodeObject, names},
    json::Json,
};

/// One kind's views in one namespace, by name. Shared with the store that they come from: a look costs no copy.
pub type ByName<K, V> = Arc<BTreeMap<K, Arc<V>>>;

/// One namespace at one instant.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Its name.
    pub namespace: String,
    /// StellarNodes by name.
    pub stellar_nodes: ByName<NodeName, StellarNodeView>,
    /// StatefulSets by name: all that are or may be nodes.
    pub stateful_sets: ByName<NodeName, StatefulSetView>,
    /// Pods by name.
    pub pods: ByName<String, PodView>,
    /// Services by name; empty where addresses are IPs.
    pub services: ByName<String, ServiceView>,
    /// The ConfigMap `stellar-peers`, where there is one.
    pub config_map: Option<Arc<ConfigMapView>>,
    /// Everything else was read after the ConfigMap. Stores give no such order.
    pub is_fresh: bool,
    /// The API server serves no StellarNodes: there are none, or their `CustomResourceDefinition` is missing.
    pub lacks_kind: bool,
}

impl Snapshot {
    /// Which other installation than `own` wrote the list, where one did.
    #[must_use]
    pub fn foreign_writer(&self, own: &str) -> Option<&str> {
        let record = self.config_map.as_ref()?.readable_record()?;
        Some(record.writer.as_str()).filter(|writer| *writer != own)
    }
}

/// A label or annotation that opts in or out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Inject {
    /// Nothing is said.
    #[default]
    Unset,
    /// `enabled`.
    Enabled,
    /// `disabled`; wins wherever it stands.
    Disabled,
}

impl Inject {
    pub(crate) fn of(labels: &impl Lookup, annotations: &impl Lookup) -> Self {
        match (labels.find(names::INJECT), annotations.find(names::INJECT)) {
            (Some(names::INJECT_DISABLED), _) | (_, Some(names::INJECT_DISABLED)) => Self::Disabled,
            (Some(names::INJECT_ENABLED), _) => Self::Enabled,
            _ => Self::Unset,
        }
    }

    /// The object's word and its template's: `disabled` on either wins, else `enabled` on either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Disabled, _) | (_, Self::Disabled) => Self::Disabled,
            (Self::Enabled, _) | (_, Self::Enabled) => Self::Enabled,
            _ => Self::Unset,
        }
    }
}

/// What we read of a StellarNode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StellarNodeView {
    /// Its uid.
    pub uid: String,
    /// `spec.nodeType` where it is text.
    pub node_type: String,
    /// `spec.network`.
    pub network: Option<Network>,
    /// `spec.suspended`.
    pub suspended: bool,
    /// `spec.validatorConfig.peerPort`, where it is set.
    pub peer_port: Option<Result<PeerPort, InvalidPort>>,
    /// The quorum set in `spec.validatorConfig.quorumSet`, where a validator declares one.
    pub quorum_set: Option<Result<Arc<QuorumSet>, UnreadableQuorumSet>>,
    /// Opted out by label or annotation.
    pub inject: Inject,
    /// Being deleted: no node any more.
    pub terminating: bool,
    /// Restarts are held back.
    pub paused: bool,
}

impl From<&StellarNodeObject> for StellarNodeView {
    fn from(object: &StellarNodeObject) -> Self {
        let spec = &object.spec;
        let suspended = match spec.get("suspended") {
            Some(Value::Bool(value)) => *value,
            Some(Value::String(text)) => text == "true",
            _ => false,
        };
        Self {
            uid: object.metadata.uid.clone().unwrap_or_default(),
            node_type: spec
                .get("nodeType")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            network: spec.get("network").and_then(Network::from_spec),
            suspended,
            peer_port: peer_port_of_spec(spec),
            quorum_set: quorum_set_of_spec(spec),
            inject: Inject::of(&object.metadata.labels, &object.metadata.annotations),
            terminating: object.metadata.deletion_timestamp.is_some(),
            paused: is_true(&object.metadata.annotations, names::PAUSED),
        }
    }
}

/// `validatorConfig.peerPort` of a StellarNode's spec, where it is set.
#[must_use]
pub fn peer_port_of_spec(spec: &Value) -> Option<Result<PeerPort, InvalidPort>> {
    let port = spec.get("validatorConfig")?.get("peerPort")?;
    (!port.is_null()).then(|| PeerPort::from_spec(port))
}

/// The quorum set that `validatorConfig.quorumSet` of a validator's spec declares, where it does.
fn quorum_set_of_spec(spec: &Value) -> Option<Result<Arc<QuorumSet>, UnreadableQuorumSet>> {
    if spec.get("nodeType").and_then(Value::as_str) != Some("Validator") {
        return None;
    }
    match spec.get("validatorConfig")?.get("quorumSet")? {
        Value::Null => None,
        Value::String(text) => quorum::parse(text).transpose().map(|set| set.map(Arc::new)),
        _ => Some(Err(UnreadableQuorumSet::NotText)),
    }
}

/// In which order a StatefulSet makes its pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PodManagement {
    /// One after the other; a pod that is not Ready is not replaced.
    #[default]
    OrderedReady,
    /// All at once.
    Parallel,
}

/// How pods follow a new template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateStrategy {
    /// By themselves, down to this ordinal.
    Rolling {
        /// Pods with a lower ordinal stay as they are.
        partition: i32,
    },
    /// Only when somebody deletes them.
    OnDelete,
}

impl Default for UpdateStrategy {
    fn default() -> Self {
        Self::Rolling { partition: 0 }
    }
}

/// What we read of a StatefulSet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatefulSetView {
    /// Its uid: a reused name is another node.
    pub uid: String,
    /// Counts changes of the spec.
    pub generation: i64,
    /// The generation that its controller has acted on.
    pub observed_generation: i64,
    /// Wanted pods.
    pub replicas: i32,
    /// Its governing Service.
    pub service_name: String,
    /// Pod management.
    pub pod_management: PodManagement,
    /// Update strategy.
    pub update_strategy: UpdateStrategy,
    /// Revision of the current template.
    pub update_revision: String,
    /// Being deleted.
    pub terminating: bool,
    /// Carries the labels of a validator that an operator made.
    pub operator_labelled: bool,
    /// A read pool.
    pub read_pool: bool,
    /// Opted in or out, on the object or its template.
    pub inject: Inject,
    /// Network by label, from the object, then from its template.
    pub network: Option<Network>,
    /// Annotation of the port on the object.
    pub port: Option<Result<PeerPort, InvalidPort>>,
    /// Annotation [`names::JOINED_AT`].
    pub joined_at: Option<String>,
    /// Annotation [`names::TURN`]: a restart of it was prepared and not carried out.
    pub turn: Option<String>,
    /// Restarts are held back.
    pub paused: bool,
    /// Restarts are allowed though the ledger is on an emptyDir.
    pub allow_ephemeral: bool,
    /// The pod template.
    pub template: injection::TemplateView,
}

impl From<&StatefulSetObject> for StatefulSetView {
    fn from(object: &StatefulSetObject) -> Self {
        let StatefulSetObject {
            metadata,
            spec,
            status,
        } = object;
        let template = Template::new(&spec.template);
        let (template_labels, template_annotations) = (template.labels(), template.annotations());
        let (labels, annotations) = (&metadata.labels, &metadata.annotations);
        let label = |key| labels.find(key).or_else(|| template_labels.find(key));
        let annotation = |key: &'static str| {
            annotations
                .find(key)
                .or_else(|| template_annotations.find(key))
        };
        let strategy = spec.update_strategy.as_ref();
        let partition = strategy
            .and_then(|s| s.rolling_update.as_ref()?.partition)
            .unwrap_or(0);
        let on_delete = strategy.is_some_and(|s| s.kind.as_deref() == Some("OnDelete"));
        let parallel = spec.pod_management_policy.as_deref() == Some("Parallel");
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            generation: metadata.generation.unwrap_or_default(),
            observed_generation: status.observed_generation,
            replicas: spec.replicas.unwrap_or(1),
            service_name: spec.service_name.clone().unwrap_or_default(),
            pod_management: if parallel {
                PodManagement::Parallel
            } else {
                PodManagement::OrderedReady
            },
            update_strategy: if on_delete {
                UpdateStrategy::OnDelete
            } else {
                UpdateStrategy::Rolling { partition }
            },
            update_revision: status.update_revision.clone().unwrap_or_default(),
            terminating: metadata.deletion_timestamp.is_some(),
            operator_labelled: is_operator_labelled(labels),
            read_pool: label(names::LABEL_ROLE) == Some(names::ROLE_READ_REPLICA),
            inject: Inject::of(labels, annotations)
                .or(Inject::of(&template_labels, &template_annotations)),
            network: label(names::LABEL_NETWORK).map(Network::new),
            port: annotations.find(names::PORT).map(PeerPort::from_annotation),
            joined_at: annotations.find(names::JOINED_AT).map(str::to_owned),
            turn: annotations.find(names::TURN).map(str::to_owned),
            paused: is_true(annotations, names::PAUSED),
            allow_ephemeral: annotation(names::ALLOW_EPHEMERAL) == Some("true"),
            template: template.view(annotation, metadata.name.as_deref().unwrap_or_default()),
        }
    }
}

impl StatefulSetView {
    /// Its controller has seen the present spec: what the status says is about that one.
    #[must_use]
    pub const fn is_observed(&self) -> bool {
        self.observed_generation >= self.generation
    }
}

/// Whether these are the labels that an operator puts on a validator's StatefulSet.
pub(crate) fn is_operator_labelled(labels: &impl Lookup) -> bool {
    labels.find(names::LABEL_NAME) == Some(names::NAME_STELLAR_NODE)
        && labels.find(names::LABEL_COMPONENT) == Some(names::COMPONENT_VALIDATOR)
}

/// What we read of a pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodView {
    /// Its uid.
    pub uid: String,
    /// Uid of the StatefulSet that owns it.
    pub owner: String,
    /// Label [`names::LABEL_INSTANCE`].
    pub instance: Option<String>,
    /// Label [`names::LABEL_REVISION`].
    pub revision: String,
    /// Its containers have been started.
    pub running: bool,
    /// Condition `Ready` is `True`.
    pub ready: bool,
    /// When that last changed, by the kubelet's clock: only compared with itself.
    pub ready_changed_at: Option<String>,
    /// Being deleted.
    pub terminating: bool,
    /// Its addresses.
    pub ips: Vec<IpAddr>,
    /// Our init container can't be started.
    pub render_wait: Option<RenderWait>,
}

impl From<&PodObject> for PodView {
    fn from(object: &PodObject) -> Self {
        let PodObject {
            metadata, status, ..
        } = object;
        let owner = metadata
            .owner_references
            .iter()
            .flatten()
            .find(|owner| owner.kind == "StatefulSet");
        let ips = status
            .pod_ip
            .iter()
            .map(String::as_str)
            .chain(status.pod_ips.iter().map(|ip| ip.ip.as_str()));
        let mut init_containers = status.init_container_statuses.iter();
        let render = init_containers.find(|it| it.name == names::RENDER_CONTAINER);
        let waiting = render.and_then(|it| it.state.waiting.as_ref());
        let ready = status.conditions.iter().find(|it| it.kind == "Ready");
        let mut ips: Vec<IpAddr> = ips.filter_map(|ip| ip.parse().ok()).collect();
        ips.sort_unstable();
        ips.dedup();
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            owner: owner.map(|owner| owner.uid.clone()).unwrap_or_default(),
            instance: metadata
                .labels
                .find(names::LABEL_INSTANCE)
                .map(str::to_owned),
            revision: metadata
                .labels
                .find(names::LABEL_REVISION)
                .unwrap_or_default()
                .to_owned(),
            running: status.phase.as_deref() == Some("Running"),
            ready: ready.is_some_and(|it| it.status == "True"),
            ready_changed_at: ready.and_then(|it| it.last_transition_time.clone()),
            terminating: metadata.deletion_timestamp.is_some(),
            ips,
            render_wait: waiting.and_then(|it| RenderWait::of(&it.reason)),
        }
    }
}

/// What we read of a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceView {
    /// Gives its pods names of their own.
    pub headless: bool,
    /// Gives them names before they are Ready.
    pub publishes_not_ready: bool,
}

impl From<&ServiceObject> for ServiceView {
    fn from(object: &ServiceObject) -> Self {
        Self {
            headless: object.spec.cluster_ip.as_deref() == Some("None"),
            publishes_not_ready: object.spec.publish_not_ready_addresses,
        }
    }
}

/// What we read of the ConfigMap `stellar-peers`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigMapView {
    /// Its uid.
    pub uid: String,
    /// For compare-and-swap.
    pub resource_version: String,
    /// Our labels stand as they should.
    pub labelled: bool,
    /// Immutable: it cannot be written.
    pub immutable: bool,
    /// Key [`names::KEY_KNOWN_PEERS`].
    pub known_peers: Option<String>,
    /// Key [`names::KEY_METADATA`].
    pub metadata: Option<String>,
    /// Key [`names::KEY_MEMBERS`] as it stands there.
    pub members: Option<String>,
    /// The same, read; the reason where it can't be.
    pub record: Option<Result<Record, String>>,
    /// The text of the record is, to the byte, the one that we write for it.
    pub is_as_written: bool,
    /// Our annotations as they stand there.
    pub annotations: BTreeMap<String, String>,
    /// The same, read.
    pub notes: Notes,
    /// They are, to the byte, those that we write for these notes.
    pub are_notes_as_written: bool,
    /// Restarts of the namespace are held back.
    pub paused: bool,
}

impl From<&ConfigMap> for ConfigMapView {
    fn from(object: &ConfigMap) -> Self {
        let data = |key: &str| object.data.as_ref()?.get(key).cloned();
        let ObjectMeta {
            labels,
            annotations,
            ..
        } = &object.metadata;
        let members = data(names::KEY_MEMBERS);
        let record = members
            .as_deref()
            .map(|text| Record::parse(text).map_err(|error| error.to_string()));
        let ours = annotations.iter().flatten();
        let ours = ours.filter(|(key, _)| notes::is_ours(key));
        let ours = ours
            .map(|(key, text)| (key.clone(), text.clone()))
            .collect();
        let notes = Notes::parse(&ours);
        Self {
            uid: object.metadata.uid.clone().unwrap_or_default(),
            resource_version: object.metadata.resource_version.clone().unwrap_or_default(),
            labelled: super::peer_list::labels()
                .iter()
                .all(|&(key, value)| labels.find(key) == Some(value)),
            immutable: object.immutable == Some(true),
            known_peers: data(names::KEY_KNOWN_PEERS),
            metadata: data(names::KEY_METADATA),
            is_as_written: matches!((&record, &members),
                (Some(Ok(record)), Some(text)) if record.render() == *text),
            record,
            members,
            are_notes_as_written: notes.are_written_as(&ours),
            notes,
            annotations: ours,
            paused: is_true(annotations, names::PAUSED),
        }
    }
}

impl ConfigMapView {
    /// The readable record.
    #[must_use]
    pub fn readable_record(&self) -> Option<&Record> {
        self.record.as_ref()?.as_ref().ok()
    }

    /// The record and its text, where that is the one that we write for it.
    #[must_use]
    pub fn record_as_written(&self) -> Option<(&Record, &str)> {
        let record = self.readable_record().filter(|_| self.is_as_written)?;
        Some((record, self.members.as_deref()?))
    }

    /// The addresses that `KNOWN_PEERS` has.
    #[must_use]
    pub fn known_peers(&self) -> BTreeSet<&str> {
        self.known_peers
            .iter()
            .flat_map(|text| text.lines())
            .collect()
    }

    /// When the list was written last, as it stands in its metadata.
    #[must_use]
    pub fn discovered_at(&self) -> Option<&str> {
        let parts = self.metadata.as_deref()?.split(',');
        let mut found = parts.filter_map(|part| part.strip_prefix("discovered_at="));
        found.next().filter(|at| parse_time(at).is_some())
    }

    /// Whether the last list was published for a network that had never been Ready.
    #[must_use]
    pub fn is_bootstrap(&self) -> bool {
        self.metadata
            .as_deref()
            .is_some_and(|text| text.split(',').any(|part| part == "bootstrap=true"))
    }
}

/// Looking a label or annotation up, in typed metadata or in JSON.
pub(crate) trait Lookup {
    /// The value of `key`, where it is text.
    fn find(&self, key: &str) -> Option<&str>;
}

impl Lookup for Option<BTreeMap<String, String>> {
    fn find(&self, key: &str) -> Option<&str> {
        self.as_ref()?.get(key).map(String::as_str)
    }
}

impl Lookup for Option<&Json<'_>> {
    fn find(&self, key: &str) -> Option<&str> {
        self.as_ref()?.text(key)
    }
}

fn is_true(annotations: &impl Lookup, key: &str) -> bool {
    annotations.find(key) == Some("true")
}

/// An annotation's time, where it is one.
#[must_use]
pub fn parse_time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn view(spec: &Value) -> StellarNodeView {
        let object = json!({"metadata": {"name": "validator-1"}, "spec": spec});
        StellarNodeView::from(&serde_json::from_value::<StellarNodeObject>(object).unwrap())
    }

    fn validator(quorum_set: &Value) -> StellarNodeView {
        view(&json!({"nodeType": "Validator", "validatorConfig": {"quorumSet": quorum_set}}))
    }

    #[test]
    fn a_validators_quorum_set_is_read_where_it_declares_one() {
        let text = json!("[QUORUM_SET]\nTHRESHOLD_PERCENT = 66\nVALIDATORS = [\"$validator2\"]\n");
        assert!(matches!(validator(&text).quorum_set, Some(Ok(_))));
        assert_eq!(validator(&text), validator(&text));
        for none in [json!(null), json!(""), json!("CATCHUP_COMPLETE = true")] {
            assert_eq!(validator(&none).quorum_set, None, "{none}");
        }
        let horizon = json!({"nodeType": "Horizon", "validatorConfig": {"quorumSet": text}});
        assert_eq!(view(&horizon).quorum_set, None);
        assert_eq!(view(&json!({"nodeType": "Validator"})).quorum_set, None);
    }

    #[test]
    fn a_quorum_set_that_is_no_text_or_no_set_is_unreadable() {
        for bad in [json!(5), json!({"a": 1}), json!("[QUORUM_SET]"), json!("?")] {
            assert!(matches!(validator(&bad).quorum_set, Some(Err(_))), "{bad}");
        }
    }
}
