//! StatefulSets, pods and Services with only the fields that the core reads.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::StatefulSet,
        core::v1::{Pod, Service},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time},
};
use kube::Resource;
use serde::{Deserialize, Deserializer, Serialize};

use crate::json::{self, Json};

/// The metadata that somebody reads. Who manages which field is half of many objects, and is skipped unread.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LeanMetadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
}

/// Reads metadata without who manages what.
pub(super) fn lean_metadata<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<ObjectMeta, D::Error> {
    let lean = LeanMetadata::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: lean.name,
        namespace: lean.namespace,
        uid: lean.uid,
        resource_version: lean.resource_version,
        generation: lean.generation,
        creation_timestamp: lean.creation_timestamp,
        deletion_timestamp: lean.deletion_timestamp,
        labels: lean.labels,
        annotations: lean.annotations,
        owner_references: lean.owner_references,
        ..ObjectMeta::default()
    })
}

/// A StatefulSet.
#[derive(Clone, Debug, Default, Resource, Serialize, Deserialize)]
#[resource(inherit = StatefulSet)]
pub struct StatefulSetObject {
    /// Standard metadata, without who manages what.
    #[serde(deserialize_with = "lean_metadata")]
    pub metadata: ObjectMeta,
    /// What was asked for.
    #[serde(default)]
    pub spec: StatefulSetSpec,
    /// What the StatefulSet controller reports.
    #[serde(default)]
    pub status: StatefulSetStatus,
}

/// The part of a StatefulSet's spec that we read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatefulSetSpec {
    /// Wanted pods; 1 where absent.
    pub replicas: Option<i32>,
    /// The governing Service.
    pub service_name: Option<String>,
    /// `OrderedReady` (also where absent) or `Parallel`.
    pub pod_management_policy: Option<String>,
    /// How pods follow the template.
    pub update_strategy: Option<UpdateStrategy>,
    /// The pod template, untyped: [`crate::domain::injection`] reads it.
    #[serde(default, deserialize_with = "json::owned")]
    pub template: Json<'static>,
}

/// How a StatefulSet's pods follow its template.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateStrategy {
    /// `RollingUpdate` (also where absent) or `OnDelete`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Details of `RollingUpdate`.
    pub rolling_update: Option<RollingUpdate>,
}

/// Details of a rolling update.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RollingUpdate {
    /// Pods with a lower ordinal stay on the old revision.
    pub partition: Option<i32>,
}

/// The part of a StatefulSet's status that we read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatefulSetStatus {
    /// Generation that the controller has acted on.
    #[serde(default)]
    pub observed_generation: i64,
    /// Revision of the current template.
    pub update_revision: Option<String>,
}

/// A pod.
#[derive(Clone, Debug, Default, Resource, Serialize, Deserialize)]
#[resource(inherit = Pod)]
pub struct PodObject {
    /// Standard metadata, without who manages what.
    #[serde(deserialize_with = "lean_metadata")]
    pub metadata: ObjectMeta,
    /// What was asked for; nothing of it is read.
    #[serde(default)]
    pub spec: PodSpec,
    /// What the kubelet reports.
    #[serde(default)]
    pub status: PodStatus,
}

/// The part of a pod's spec that we read: nothing.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PodSpec {}

/// The part of a pod's status that we read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodStatus {
    /// `Pending`, `Running`, `Succeeded`, `Failed` or `Unknown`.
    pub phase: Option<String>,
    /// The pod's first address.
    #[serde(rename = "podIP")]
    pub pod_ip: Option<String>,
    /// All addresses of the pod, one a family.
    #[serde(rename = "podIPs", default)]
    pub pod_ips: Vec<PodIp>,
    /// Conditions; only `Ready` is read.
    #[serde(default)]
    pub conditions: Vec<PodCondition>,
    /// Init containers; only ours is read.
    #[serde(default)]
    pub init_container_statuses: Vec<ContainerStatus>,
}

/// What the kubelet reports of one container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ContainerStatus {
    /// Name of the container.
    #[serde(default)]
    pub name: String,
    /// What it does.
    #[serde(default)]
    pub state: ContainerState,
}

/// What a container does; one of these is set.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ContainerState {
    /// It has not started.
    pub waiting: Option<ContainerWaiting>,
}

/// Why a container has not started.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ContainerWaiting {
    /// One word.
    #[serde(default)]
    pub reason: String,
}

/// One address of a pod.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PodIp {
    /// IPv4 or IPv6.
    #[serde(default)]
    pub ip: String,
}

/// One condition of a pod.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodCondition {
    /// Name of the condition.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    #[serde(default)]
    pub status: String,
    /// When the status last changed.
    pub last_transition_time: Option<String>,
}

/// A Service; read only where addresses are DNS names.
#[derive(Clone, Debug, Default, Resource, Serialize, Deserialize)]
#[resource(inherit = Service)]
pub struct ServiceObject {
    /// Standard metadata, without who manages what.
    #[serde(deserialize_with = "lean_metadata")]
    pub metadata: ObjectMeta,
    /// What was asked for.
    #[serde(default)]
    pub spec: ServiceSpec,
}

/// The part of a Service's spec that we read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSpec {
    /// `None` (the word) for a headless Service.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Option<String>,
    /// Whether pods that are not Ready have DNS names.
    #[serde(default)]
    pub publish_not_ready_addresses: bool,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn who_manages_which_field_is_not_read() {
        let pod = json!({"metadata": {
            "name": "a-0", "labels": {"app": "a"}, "managedFields": [{"manager": "kubelet", "fieldsV1": {"f:status": {}}}],
        }});
        let pod: PodObject = serde_json::from_value(pod).unwrap();
        assert_eq!(pod.metadata.name.as_deref(), Some("a-0"));
        assert_eq!(pod.metadata.labels.unwrap()["app"], "a");
        assert_eq!(pod.metadata.managed_fields, None);
    }
}
