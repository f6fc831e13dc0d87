//! Deployments and pods with only the fields that tell how this program runs: a whole pod's spec would be a tenth of
//! the binary.

use k8s_openapi::{
    api::{apps::v1::Deployment, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;
use serde::{Deserialize, Serialize};

/// A Deployment.
#[derive(Clone, Debug, Default, Resource, Serialize, Deserialize)]
#[resource(inherit = Deployment)]
pub(super) struct DeploymentObject {
    /// Standard metadata.
    pub(super) metadata: ObjectMeta,
    /// What was asked for.
    #[serde(default)]
    pub(super) spec: DeploymentSpec,
}

/// The part of a Deployment's spec that we read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct DeploymentSpec {
    /// Of its pods.
    #[serde(default)]
    pub(super) template: PodTemplate,
}

/// How pods are made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct PodTemplate {
    /// Standard metadata.
    #[serde(default)]
    pub(super) metadata: ObjectMeta,
    /// Their spec.
    #[serde(default)]
    pub(super) spec: PodSpec,
}

/// A pod.
#[derive(Clone, Debug, Default, Resource, Serialize, Deserialize)]
#[resource(inherit = Pod)]
pub(super) struct PodObject {
    /// Standard metadata.
    pub(super) metadata: ObjectMeta,
    /// What was asked for.
    #[serde(default)]
    pub(super) spec: PodSpec,
}

/// The part of a pod's spec that we read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PodSpec {
    /// Its account; `default` where absent.
    pub(super) service_account_name: Option<String>,
    /// Its containers.
    #[serde(default)]
    pub(super) containers: Vec<Container>,
}

/// The part of a container that we read.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Container {
    /// Its name.
    #[serde(default)]
    pub(super) name: String,
    /// Its image.
    pub(super) image: Option<String>,
    /// What is started in place of the image's entrypoint.
    pub(super) command: Option<Vec<String>>,
    /// The arguments.
    pub(super) args: Option<Vec<String>>,
    /// Its environment.
    pub(super) env: Option<Vec<EnvVar>>,
}

/// One variable.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct EnvVar {
    /// Its name.
    pub(super) name: String,
    /// Its value, where it stands here.
    pub(super) value: Option<String>,
}
