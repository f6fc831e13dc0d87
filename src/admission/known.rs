//! What admissions have to know of a namespace, worked out once for as long as nothing changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, PoisonError, RwLock},
};

use crate::{
    controller::stores::{Stores, Version},
    domain::{
        Memory, Moment, Policy,
        discovery::discover,
        membership::Membership,
        node::Network,
        snapshot::{ConfigMapView, Snapshot},
        survey::{survey, unaccounted},
    },
};

/// So many namespaces are kept: more than are admitted to at once.
const NAMESPACES_MAX: usize = 64;

/// One namespace at one version of the stores.
#[derive(Debug)]
pub(super) struct Known {
    /// Who is a member of each network.
    pub(super) networks: Arc<BTreeMap<Network, Membership>>,
    /// Another installation keeps the list.
    pub(super) kept_by_another: bool,
    /// Pods that run without an owner.
    orphans: BTreeSet<String>,
}

impl Known {
    /// What a snapshot comes to; nothing while validators are out of its sight.
    fn of(snapshot: &Snapshot, policy: &Policy) -> Option<Self> {
        if !unaccounted(snapshot).is_empty() {
            return None;
        }
        let survey = survey(snapshot, &policy.address_mode);
        let list = snapshot.config_map.as_deref();
        let was_bootstrap = list.is_some_and(ConfigMapView::is_bootstrap);
        let (memory, now) = (Memory::default(), Moment::default());
        let discovery = discover(&survey, was_bootstrap, &memory, policy, now);
        let networks = discovery.networks.into_iter();
        let networks = networks.map(|(network, state)| (network, state.membership));
        let orphans = snapshot.pods.iter();
        let orphans = orphans.filter(|(_, pod)| pod.owner.is_empty() && !pod.terminating);
        Some(Self {
            networks: Arc::new(networks.collect()),
            kept_by_another: snapshot.foreign_writer(&policy.writer).is_some(),
            orphans: orphans.map(|(name, _)| name.clone()).collect(),
        })
    }

    /// Whether pods with names that this StatefulSet would give run without an owner: left behind by
    /// `--cascade=orphan`.
    pub(super) fn has_orphans(&self, name: &str) -> bool {
        let is_its = |pod: &String| {
            let ordinal = pod
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('-'));
            ordinal.is_some_and(|ordinal| {
                !ordinal.is_empty() && ordinal.bytes().all(|byte| byte.is_ascii_digit())
            })
        };
        self.orphans.iter().any(is_its)
    }
}

/// The namespaces that were asked for last.
#[derive(Debug, Default)]
pub(super) struct Cache(RwLock<BTreeMap<String, Kept>>);

#[derive(Debug)]
struct Kept {
    at: Version,
    known: Option<Arc<Known>>,
}

impl Cache {
    /// One namespace now; nothing before the stores are full, or while validators are out of their sight.
    pub(super) fn get(
        &self,
        stores: &Stores,
        policy: &Policy,
        namespace: &str,
    ) -> Option<Arc<Known>> {
        // Before the snapshot: what is newer than its version is worked out again, and never the other way round.
        let version = stores.version();
        if !stores.are_full() {
            return None;
        }
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = kept.get(namespace).filter(|kept| kept.at == version) {
            return kept.known.clone();
        }
        drop(kept);
        let snapshot = stores.snapshot(namespace)?;
        let known = Known::of(&snapshot, policy).map(Arc::new);
        let mut kept = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= NAMESPACES_MAX && !kept.contains_key(namespace) {
            kept.clear();
        }
        let entry = Kept {
            at: version,
            known: known.clone(),
        };
        kept.insert(namespace.to_owned(), entry);
        known
    }
}
