//! A namespace as the API server has it now, past the stores: what a restart is decided on.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::{
    apply::LIST,
    error::{ReconcileError, request},
};
use crate::{
    api::{PodObject, StatefulSetObject, names},
    domain::{
        Snapshot,
        node::NodeName,
        snapshot::{ConfigMapView, PodView, StatefulSetView},
    },
};

/// What a restart is decided on: StatefulSets, pods and the list as the API server has them now.
#[derive(Debug)]
pub struct Fresh {
    /// StatefulSets by name.
    pub stateful_sets: BTreeMap<NodeName, StatefulSetObject>,
    /// Pods by name.
    pub pods: BTreeMap<String, PodObject>,
    /// The ConfigMap.
    pub config_map: Option<ConfigMapView>,
}

impl Fresh {
    /// The snapshot with what was read in place of what the stores had.
    #[must_use]
    pub fn over(&self, stored: Snapshot) -> Snapshot {
        let sets = self.stateful_sets.iter();
        let pods = self.pods.iter();
        Snapshot {
            stateful_sets: sets
                .map(|(name, set)| (name.clone(), Arc::new(StatefulSetView::from(set))))
                .collect(),
            pods: pods
                .map(|(name, pod)| (name.clone(), Arc::new(PodView::from(pod))))
                .collect(),
            config_map: self.config_map.clone().map(Arc::new),
            ..stored
        }
    }
}

/// Reads a namespace past the stores: the ConfigMap first. Whoever then takes a turn under its version has seen, in
/// the StatefulSets, what every earlier turn did or was about to do.
///
/// # Errors
/// [`ReconcileError`]; a part that can't be read makes the whole useless.
pub async fn read_fresh(client: &Client, namespace: &str) -> Result<Fresh, ReconcileError> {
    let all = ListParams::default();
    let list = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let list = request("get", LIST, list.get_opt(names::STELLAR_PEERS)).await?;
    let sets = Api::<StatefulSetObject>::namespaced(client.clone(), namespace);
    let sets = request("list", "StatefulSets", sets.list(&all)).await?;
    let pods = Api::<PodObject>::namespaced(client.clone(), namespace);
    let pods = request("list", "pods", pods.list(&all)).await?;
    let named = |set: StatefulSetObject| Some((NodeName::new(&set.name_any()).ok()?, set));
    Ok(Fresh {
        stateful_sets: sets.items.into_iter().filter_map(named).collect(),
        pods: pods
            .items
            .into_iter()
            .map(|pod| (pod.name_any(), pod))
            .collect(),
        config_map: list.as_ref().map(ConfigMapView::from),
    })
}
