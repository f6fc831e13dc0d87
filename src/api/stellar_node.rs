//! `StellarNode` (`stellar.org/v1alpha1`): the schema that we print, and the object as we read it.
//!
//! Two divergent copies of this kind are in use, with other spellings and fields that we don't know. So the
//! schema lets everything else pass, and [`StellarNodeObject`] takes any spec: the core decides what a value
//! means, and one odd object cannot stop the watch over all of them.

use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{CustomResource, CustomResourceExt, Resource};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A Stellar node, as far as peers are concerned.
#[derive(CustomResource, Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "stellar.org",
    version = "v1alpha1",
    kind = "StellarNode",
    plural = "stellarnodes",
    shortname = "sn",
    namespaced,
    status = "StellarNodeStatus",
    printcolumn = r#"{"name":"Type","type":"string","jsonPath":".spec.nodeType"}"#,
    printcolumn = r#"{"name":"Network","type":"string","jsonPath":".spec.network"}"#,
    printcolumn = r#"{"name":"Suspended","type":"boolean","jsonPath":".spec.suspended"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct StellarNodeSpec {
    /// Kind of node; only `Validator` takes part in peer discovery.
    pub node_type: String,
    /// Network that the node belongs to, compared without case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// A suspended node has no pods and is nobody's peer.
    #[serde(default)]
    pub suspended: bool,
    /// Settings of a validator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validator_config: Option<ValidatorConfig>,
}

/// Settings of a validator.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct ValidatorConfig {
    /// Port on which other validators reach this one; 11625 where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<i32>", range(min = 1, max = 65535))]
    pub peer_port: Option<u16>,
}

/// What the operator reports; nothing of it is read.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-preserve-unknown-fields" = true))]
pub struct StellarNodeStatus {}

/// A `StellarNode` as we read it.
#[derive(Clone, Debug, Default, Resource, Serialize, Deserialize)]
#[resource(inherit = StellarNode)]
pub struct StellarNodeObject {
    /// Standard metadata, without who manages what.
    #[serde(deserialize_with = "super::objects::lean_metadata")]
    pub metadata: ObjectMeta,
    /// Whatever stands there.
    #[serde(default)]
    pub spec: Value,
}

/// The `CustomResourceDefinition` as `stellar-peers crd` prints it.
#[must_use]
pub fn stellar_node_crd() -> CustomResourceDefinition {
    StellarNode::crd()
}
