//! What stands on the wire: the names that users and manifests rely on, and the objects as we read them.
//!
//! The objects are lean on purpose: they hold the few fields that the core reads, so that ten thousand
//! pods stay small and a field of an unexpected type elsewhere in an object cannot stop a watch.

pub mod names;
mod objects;
mod stellar_node;

pub use objects::{
    PodObject, PodSpec, PodStatus, ServiceObject, ServiceSpec, StatefulSetObject, StatefulSetSpec,
    StatefulSetStatus,
};
pub use stellar_node::{
    StellarNode, StellarNodeObject, StellarNodeSpec, ValidatorConfig, stellar_node_crd,
};
