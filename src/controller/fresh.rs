//! A namespace as the API server has it now, past the stores: what a restart is decided on.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::{
    apply::LIST,
    error::{ReconcileError, request},
};
use crate::{
    api::{PodObject, StatefulSetObject, StellarNodeObject, names},
    domain::{
        Snapshot,
        node::NodeName,
        snapshot::{ByName, ConfigMapView, PodView, StatefulSetView, StellarNodeView},
    },
};

/// What a restart is decided on: StatefulSets, pods and the list as the API server has them now.
#[derive(Debug)]
pub struct Fresh {
    /// StellarNodes by name.
    pub stellar_nodes: BTreeMap<NodeName, StellarNodeObject>,
    /// StatefulSets by name.
    pub stateful_sets: BTreeMap<NodeName, StatefulSetObject>,
    /// Pods by name.
    pub pods: BTreeMap<String, PodObject>,
    /// The ConfigMap.
    pub config_map: Option<ConfigMapView>,
    /// The API server serves no StellarNodes.
    pub lacks_kind: bool,
}

impl Fresh {
    /// The snapshot with what was read in place of what the stores had.
    #[must_use]
    pub fn over(&self, stored: Snapshot) -> Snapshot {
        Snapshot {
            stellar_nodes: views(&self.stellar_nodes, StellarNodeView::from),
            stateful_sets: views(&self.stateful_sets, StatefulSetView::from),
            pods: views(&self.pods, PodView::from),
            config_map: self.config_map.clone().map(Arc::new),
            is_fresh: true,
            lacks_kind: self.lacks_kind,
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
    let list = read_list(client, namespace).await?;
    let nodes = Api::<StellarNodeObject>::namespaced(client.clone(), namespace);
    let nodes = request("list", "StellarNodes", async {
        match nodes.list(&all).await {
            Ok(nodes) => Ok(Some(nodes.items)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error),
        }
    })
    .await?;
    let sets = Api::<StatefulSetObject>::namespaced(client.clone(), namespace);
    let sets = request("list", "StatefulSets", sets.list(&all)).await?;
    let pods = Api::<PodObject>::namespaced(client.clone(), namespace);
    let pods = request("list", "pods", pods.list(&all)).await?;
    Ok(Fresh {
        lacks_kind: nodes.is_none(),
        stellar_nodes: by_name(nodes.unwrap_or_default()),
        stateful_sets: by_name(sets.items),
        pods: pods
            .items
            .into_iter()
            .map(|pod| (pod.name_any(), pod))
            .collect(),
        config_map: list,
    })
}

/// The ConfigMap as the API server has it now.
///
/// # Errors
/// [`ReconcileError`].
pub(super) async fn read_list(
    client: &Client,
    namespace: &str,
) -> Result<Option<ConfigMapView>, ReconcileError> {
    let list = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let list = request("get", LIST, list.get_opt(names::STELLAR_PEERS)).await?;
    Ok(list.as_ref().map(ConfigMapView::from))
}

fn views<'a, K: Ord + Clone, O, V>(
    objects: &'a BTreeMap<K, O>,
    view: impl Fn(&'a O) -> V,
) -> ByName<K, V> {
    let views = objects.iter();
    let views: BTreeMap<_, _> = views
        .map(|(name, object)| (name.clone(), Arc::new(view(object))))
        .collect();
    views.into()
}

fn by_name<K: ResourceExt>(objects: Vec<K>) -> BTreeMap<NodeName, K> {
    let named = |object: K| Some((NodeName::new(&object.name_any()).ok()?, object));
    objects.into_iter().filter_map(named).collect()
}
