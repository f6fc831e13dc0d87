//! The watches that fill the stores and tell which namespaces have changed.

#[cfg(test)]
#[cfg(feature = "sandbox")]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::Arc,
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Resource, ResourceExt,
    core::NamespaceResourceScope,
    runtime::{
        WatchStreamExt,
        utils::Backoff,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::{sync::Notify, task::JoinSet, time::Instant};
use tracing::{debug, info, warn};

use super::stores::{Store, Stores, Views};
use crate::{
    api::{PodObject, ServiceObject, StatefulSetObject, StellarNodeObject, names},
    domain::{
        node::NodeName,
        policy::AddressMode,
        snapshot::{ConfigMapView, PodView, ServiceView, StatefulSetView, StellarNodeView},
    },
    observe::{
        Metrics, error_chain,
        outage::{Loudness, Outage, Over},
    },
};

/// The one kind that need not be there.
const STELLAR_NODES: &str = "stellarnodes";

/// The kinds that are watched; Services only where addresses are DNS names.
pub const WATCHED: [&str; 5] = [
    STELLAR_NODES,
    "statefulsets",
    "pods",
    "configmaps",
    "services",
];

/// Objects in one answer to a list. A page is in memory several times over while it is read, and what it takes is never
/// given back: the library's 500 take more than ten thousand validators do.
const PAGE_SIZE: u32 = 100;

/// First wait after a watch failed; doubles up to [`RETRY_MAX`], and begins anew once one has worked.
const RETRY_MIN: Duration = Duration::from_millis(800);
/// Longest wait after a watch failed.
const RETRY_MAX: Duration = Duration::from_secs(30);

/// The waits between attempts of one watch. Without randomness, so that a simulation can be repeated: the few watches
/// of a few replicas are no herd.
#[derive(Debug)]
pub(crate) struct Retry {
    next: Duration,
    longest: Duration,
}

impl Retry {
    /// Waits that grow to this one.
    pub(crate) const fn up_to(longest: Duration) -> Self {
        Self {
            next: RETRY_MIN,
            longest,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::up_to(RETRY_MAX)
    }
}

impl Iterator for Retry {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let next = (self.next * 2).min(self.longest);
        Some(std::mem::replace(&mut self.next, next))
    }
}

impl Backoff for Retry {
    fn reset(&mut self) {
        *self = Self::up_to(self.longest);
    }
}

/// Namespaces that changed and were not looked at yet, and since when that is so.
#[derive(Debug, Default)]
pub struct Dirty {
    namespaces: std::sync::Mutex<BTreeMap<String, Instant>>,
    notify: Notify,
}

impl Dirty {
    /// This namespace is to be looked at.
    pub fn mark(&self, namespace: &str) {
        self.mark_all([namespace.to_owned()]);
    }

    /// These namespaces are to be looked at.
    pub fn mark_all(&self, namespaces: impl IntoIterator<Item = String>) {
        let now = Instant::now();
        let mut marked = self.lock();
        for namespace in namespaces {
            marked.entry(namespace).or_insert(now);
        }
        drop(marked);
        self.notify.notify_one();
    }

    /// These namespaces, and all that are marked, are to be looked at as of now: who begins to lead did not keep
    /// anybody waiting before.
    pub fn mark_anew(&self, namespaces: impl IntoIterator<Item = String>) {
        let now = Instant::now();
        self.lock().values_mut().for_each(|since| *since = now);
        self.mark_all(namespaces);
    }

    /// Waits for a change, and takes all that are there.
    pub async fn take(&self) -> BTreeMap<String, Instant> {
        loop {
            let taken = std::mem::take(&mut *self.lock());
            if !taken.is_empty() {
                return taken;
            }
            self.notify.notified().await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Instant>> {
        self.namespaces
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Starts all watches, over these namespaces or all. They go on until the set is dropped, whatever the API server
/// does; a watch that ends is an error of this program.
#[must_use]
pub fn spawn(
    client: &Client,
    namespaces: &[String],
    mode: &AddressMode,
    dirty: &Arc<Dirty>,
    metrics: &Arc<Metrics>,
    tasks: &mut JoinSet<&'static str>,
) -> Arc<Stores> {
    let scopes: Vec<Option<String>> = match namespaces {
        [] => vec![None],
        some => some.iter().cloned().map(Some).collect(),
    };
    let with_services = *mode != AddressMode::Ip;
    let kinds = if with_services { 5 } else { 4 };
    let stores = Arc::new(Stores::filled_by(kinds * scopes.len()));
    let mut watch = Watches {
        client,
        stores: &stores,
        dirty,
        metrics,
        tasks,
    };
    for scope in scopes {
        watch.spawn(
            scope.as_deref(),
            watcher::Config::default(),
            STELLAR_NODES,
            |it| &it.stellar_nodes,
            |object: &StellarNodeObject| Some((node_name(object)?, StellarNodeView::from(object))),
        );
        watch.spawn(
            scope.as_deref(),
            watcher::Config::default(),
            "statefulsets",
            |it| &it.stateful_sets,
            |object: &StatefulSetObject| Some((node_name(object)?, StatefulSetView::from(object))),
        );
        watch.spawn(
            scope.as_deref(),
            watcher::Config::default(),
            "pods",
            |it| &it.pods,
            |object: &PodObject| {
                is_of_interest(object).then(|| (object.name_any(), PodView::from(object)))
            },
        );
        let ours =
            watcher::Config::default().fields(&format!("metadata.name={}", names::STELLAR_PEERS));
        watch.spawn(
            scope.as_deref(),
            ours,
            "configmaps",
            |it| &it.config_maps,
            |object: &ConfigMap| Some(((), ConfigMapView::from(object))),
        );
        if with_services {
            watch.spawn(
                scope.as_deref(),
                watcher::Config::default(),
                "services",
                |it| &it.services,
                |object: &ServiceObject| Some((object.name_any(), ServiceView::from(object))),
            );
        }
    }
    stores
}

fn node_name(object: &impl ResourceExt) -> Option<NodeName> {
    NodeName::new(&object.name_any())
        .inspect_err(|error| warn!(%error, "Ignored an object"))
        .ok()
}

/// Pods of StatefulSets, and pods without an owner: these a new StatefulSet may be put over.
fn is_of_interest(pod: &PodObject) -> bool {
    let owners = pod.metadata.owner_references.as_deref().unwrap_or_default();
    owners.is_empty() || owners.iter().any(|owner| owner.kind == "StatefulSet")
}

struct Watches<'a> {
    client: &'a Client,
    stores: &'a Arc<Stores>,
    dirty: &'a Arc<Dirty>,
    metrics: &'a Arc<Metrics>,
    tasks: &'a mut JoinSet<&'static str>,
}

impl Watches<'_> {
    /// One watch over one kind in one scope. `read` gives an object's key and view, or nothing where it is none of
    /// our business.
    fn spawn<O, K, V>(
        &mut self,
        scope: Option<&str>,
        config: watcher::Config,
        kind: &'static str,
        store: fn(&Stores) -> &Store<K, V>,
        read: fn(&O) -> Option<(K, V)>,
    ) where
        O: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
        K: Ord + Clone + Send + Sync + 'static,
        V: PartialEq + Send + Sync + 'static,
    {
        let api = match scope {
            Some(namespace) => Api::<O>::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let (stores, dirty, scope) = (
            Arc::clone(self.stores),
            Arc::clone(self.dirty),
            scope.map(str::to_owned),
        );
        let config = config.page_size(PAGE_SIZE);
        let mut filler = Filler {
            kind,
            scope,
            stores,
            dirty,
            metrics: Arc::clone(self.metrics),
            store,
            read,
            listing: Views::default(),
            was_full: false,
            outage: Outage::default(),
        };
        self.tasks.spawn(async move {
            let mut events = watcher(api, config).backoff(Retry::default()).boxed();
            loop {
                // It may be quiet because nothing happens, or because an answer is still waited for.
                let over_at = filler.outage.over_at().filter(|_| filler.was_full);
                tokio::select! {
                    biased;
                    event = events.next() => match event {
                        Some(event) => filler.take(event),
                        None => return kind,
                    },
                    () = tokio::time::sleep_until(over_at.unwrap_or_else(Instant::now)),
                        if over_at.is_some() => filler.outage_ends("Watch fails no more"),
                }
            }
        });
    }
}

/// Carries the events of one watch into its store.
struct Filler<O, K, V> {
    kind: &'static str,
    scope: Option<String>,
    stores: Arc<Stores>,
    dirty: Arc<Dirty>,
    metrics: Arc<Metrics>,
    store: fn(&Stores) -> &Store<K, V>,
    read: fn(&O) -> Option<(K, V)>,
    listing: Views<K, V>,
    was_full: bool,
    outage: Outage,
}

impl<O: ResourceExt, K: Ord + Clone, V: PartialEq> Filler<O, K, V> {
    fn take(&mut self, event: Result<Event<O>, watcher::Error>) {
        // A list is begun anew at each attempt: that alone is no success.
        if matches!(
            &event,
            Ok(Event::InitDone | Event::Apply(_) | Event::Delete(_))
        ) {
            self.outage_ends("Watch is back");
        }
        let store = (self.store)(&self.stores);
        match event {
            Ok(Event::Init) => self.listing.clear(),
            Ok(Event::InitApply(object)) => {
                let namespace = object.namespace().unwrap_or_default();
                if let Some((name, view)) = (self.read)(&object) {
                    store.list(&mut self.listing, namespace, name, view);
                }
            }
            Ok(Event::InitDone) => {
                let listing = std::mem::take(&mut self.listing);
                let concerned = store.replace(self.scope.as_deref(), listing);
                let may_lack = self.kind == STELLAR_NODES;
                if may_lack && self.stores.set_lacks_kind(self.scope.as_deref(), false) {
                    info!(kind = self.kind, "The kind is served now");
                }
                self.full(concerned);
            }
            Ok(Event::Apply(object)) => {
                let namespace = object.namespace().unwrap_or_default();
                if let Some((name, view)) = (self.read)(&object)
                    && store.apply(&namespace, name, view)
                {
                    self.dirty.mark(&namespace);
                }
            }
            Ok(Event::Delete(object)) => {
                let namespace = object.namespace().unwrap_or_default();
                if let Some((name, _)) = (self.read)(&object)
                    && store.delete(&namespace, &name)
                {
                    self.dirty.mark(&namespace);
                }
            }
            Err(error) if !self.was_full && is_not_served(self.kind, &error) => {
                // Only before anything was ever listed: later a 404 is an error like any other, which empties nothing.
                info!(
                    kind = self.kind,
                    "The kind is not served; it counts as empty until it is"
                );
                self.stores.set_lacks_kind(self.scope.as_deref(), true);
                self.full(BTreeSet::new());
            }
            Err(error) => {
                self.metrics.watch_restarted(self.kind);
                // The store keeps what it has: an error never empties a list.
                self.tell(&error_chain(&error));
            }
        }
    }

    /// Says that the watch fails, at the beginning and once a minute. One that breaks off once is nothing unusual.
    fn tell(&mut self, error: &str) {
        let Self {
            kind,
            scope,
            outage,
            was_full,
            ..
        } = self;
        let loudness = outage.fail(Instant::now(), *was_full);
        let (scope, failures) = (scope.as_deref(), outage.failures());
        match loudness {
            Loudness::News => warn!(kind, namespace = scope, error, "Watch fails; retrying"),
            Loudness::Reminder => {
                warn!(
                    kind,
                    namespace = scope,
                    error,
                    failures,
                    "Watch still fails; retrying"
                );
            }
            Loudness::Quiet => debug!(kind, namespace = scope, error, "Watch failed; retrying"),
        }
    }

    /// Says that an outage is over, in these words, where people were told of it.
    fn outage_ends(&mut self, message: &'static str) {
        if let Some(Over { lasted, failures }) = self.outage.end(Instant::now()) {
            let namespace = self.scope.as_deref();
            info!(kind = self.kind, namespace, ?lasted, failures, "{message}");
        }
    }

    fn full(&mut self, concerned: BTreeSet<String>) {
        if !std::mem::replace(&mut self.was_full, true) {
            self.stores.filled();
            if self.stores.are_full() {
                self.dirty.mark_all(self.stores.namespaces());
            }
        }
        self.dirty.mark_all(concerned);
    }
}

/// The API server doesn't know the kind StellarNode: its `CustomResourceDefinition` is not installed (yet).
fn is_not_served(kind: &str, error: &watcher::Error) -> bool {
    kind == STELLAR_NODES
        && matches!(error,
            watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404)
}
