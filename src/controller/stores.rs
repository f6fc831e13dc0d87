//! The stores: one namespace's objects as the watches saw them last, in the core's small views.
//!
//! # Guarantees
//! - A store tells whether a write changed anything that a decision can rest on; only then somebody is woken.
//! - [`Stores::snapshot`] gives nothing before every store is full: no decision is ever made on half a view.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use super::watch::WATCHED;
use crate::domain::{
    Snapshot,
    node::NodeName,
    snapshot::{ByName, ConfigMapView, PodView, ServiceView, StatefulSetView, StellarNodeView},
};

/// Views by namespace and name. Namespaces are found by hash: each look asks several times, and of a thousand names
/// that begin alike a tree compares dozens.
pub type Views<K, V> = HashMap<String, ByName<K, V>>;

/// One kind's views.
#[derive(Debug)]
pub struct Store<K, V> {
    views: RwLock<Views<K, V>>,
    /// Counts whoever could have changed something.
    writes: AtomicU64,
}

impl<K, V> Default for Store<K, V> {
    fn default() -> Self {
        Self {
            views: RwLock::default(),
            writes: AtomicU64::default(),
        }
    }
}

impl<K: Ord + Clone, V: PartialEq> Store<K, V> {
    /// Takes a view in; tells whether it differs from the one before.
    pub fn apply(&self, namespace: &str, name: K, view: V) -> bool {
        let mut views = self.write();
        // Most writes change nothing that we read: look before the namespace's name is copied.
        if let Some(views) = views.get_mut(namespace) {
            if views.get(&name).is_some_and(|before| **before == view) {
                return false;
            }
            // Whoever looks just now keeps what was there: it is copied once, for the store.
            Arc::make_mut(views).insert(name, Arc::new(view));
        } else {
            let first = BTreeMap::from([(name, Arc::new(view))]);
            views.insert(namespace.to_owned(), Arc::new(first));
        }
        self.written();
        true
    }

    /// Takes over what a request past the watches brought, unless the watch has brought something since `before`, which
    /// was here when the request was sent: that may be newer, and is never told again.
    pub fn take_over(&self, namespace: &str, name: K, before: Option<&Arc<V>>, view: Option<V>) {
        let mut views = self.write();
        let present = views.get(namespace).and_then(|views| views.get(&name));
        let is_unchanged = match (present, before) {
            (Some(present), Some(before)) => Arc::ptr_eq(present, before),
            (None, None) => true,
            _ => false,
        };
        if !is_unchanged {
            return;
        }
        let of_namespace = Arc::make_mut(views.entry(namespace.to_owned()).or_default());
        match view {
            Some(view) => drop(of_namespace.insert(name, Arc::new(view))),
            None => drop(of_namespace.remove(&name)),
        }
        if of_namespace.is_empty() {
            views.remove(namespace);
        }
        self.written();
    }

    /// Forgets a view; tells whether there was one.
    pub fn delete(&self, namespace: &str, name: &K) -> bool {
        let mut views = self.write();
        let Some(of_namespace) = views.get_mut(namespace) else {
            return false;
        };
        if !of_namespace.contains_key(name) {
            return false;
        }
        let of_namespace = Arc::make_mut(of_namespace);
        of_namespace.remove(name);
        if of_namespace.is_empty() {
            views.remove(namespace);
        }
        self.written();
        true
    }

    /// Notes a view of a listing that is not complete yet. What is here already and equal is shared, so that a listing
    /// anew takes no second room.
    pub fn list(&self, listing: &mut Views<K, V>, namespace: String, name: K, view: V) {
        let before = self.get(&namespace, &name);
        let view = before
            .filter(|before| **before == view)
            .unwrap_or_else(|| Arc::new(view));
        Arc::make_mut(listing.entry(namespace).or_default()).insert(name, view);
    }

    /// Puts a complete listing in place of everything in `scope` (one namespace, or all); tells what namespaces
    /// that concerns.
    pub fn replace(&self, scope: Option<&str>, listing: Views<K, V>) -> BTreeSet<String> {
        let mut concerned: BTreeSet<String> = listing.keys().cloned().collect();
        let mut views = self.write();
        match scope {
            Some(namespace) => {
                views.remove(namespace);
                concerned.insert(namespace.to_owned());
                views.extend(listing);
            }
            None => concerned.extend(std::mem::replace(&mut *views, listing).into_keys()),
        }
        self.written();
        concerned
    }

    /// Called while the lock is held: who reads the views afterwards sees at least this write.
    fn written(&self) {
        self.writes.fetch_add(1, Ordering::AcqRel);
    }

    fn writes(&self) -> u64 {
        self.writes.load(Ordering::Acquire)
    }

    fn of(&self, namespace: &str) -> ByName<K, V> {
        self.read().get(namespace).cloned().unwrap_or_default()
    }

    /// One view.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &K) -> Option<Arc<V>> {
        self.read().get(namespace)?.get(name).cloned()
    }

    fn size(&self) -> usize {
        self.read().values().map(|views| views.len()).sum()
    }

    fn namespaces(&self) -> BTreeSet<String> {
        self.read().keys().cloned().collect()
    }

    // A panic while a lock is held can leave no half-written view: each change is one map operation.
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Views<K, V>> {
        self.views
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Views<K, V>> {
        self.views
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// All stores of this process; the webhook and the loop read the same ones.
#[derive(Debug, Default)]
pub struct Stores {
    /// StellarNodes.
    pub stellar_nodes: Store<NodeName, StellarNodeView>,
    /// StatefulSets.
    pub stateful_sets: Store<NodeName, StatefulSetView>,
    /// Pods that a StatefulSet owns, or that nobody owns.
    pub pods: Store<String, PodView>,
    /// Services; filled only where addresses are DNS names.
    pub services: Store<String, ServiceView>,
    /// The ConfigMaps `stellar-peers`.
    pub config_maps: Store<(), ConfigMapView>,
    /// The scopes (one namespace, or all) in which the API server serves no StellarNodes.
    lacking: RwLock<BTreeSet<Option<String>>>,
    /// Counts changes of `lacking`.
    lackings: AtomicU64,
    filling: AtomicUsize,
}

/// A state of all stores. Where two are equal, so is what is in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version([u64; 6]);

impl Stores {
    /// Stores that are full once `watches` watches have listed everything once.
    #[must_use]
    pub fn filled_by(watches: usize) -> Self {
        Self {
            filling: AtomicUsize::new(watches),
            ..Self::default()
        }
    }

    /// One more watch has listed everything for the first time.
    pub fn filled(&self) {
        self.filling.fetch_sub(1, Ordering::AcqRel);
    }

    /// Every watch has listed everything at least once.
    #[must_use]
    pub fn are_full(&self) -> bool {
        self.filling.load(Ordering::Acquire) == 0
    }

    /// The state as it is. What is read after this is as new as it, or newer.
    #[must_use]
    pub fn version(&self) -> Version {
        Version([
            self.stellar_nodes.writes(),
            self.stateful_sets.writes(),
            self.pods.writes(),
            self.services.writes(),
            self.config_maps.writes(),
            self.lackings.load(Ordering::Acquire),
        ])
    }

    /// One namespace now; nothing while some store is not full yet.
    #[must_use]
    pub fn snapshot(&self, namespace: &str) -> Option<Snapshot> {
        self.are_full().then(|| Snapshot {
            namespace: namespace.to_owned(),
            stellar_nodes: self.stellar_nodes.of(namespace),
            stateful_sets: self.stateful_sets.of(namespace),
            pods: self.pods.of(namespace),
            services: self.services.of(namespace),
            config_map: self.config_map(namespace),
            is_fresh: false,
            lacks_kind: self.lacks_kind(namespace),
        })
    }

    /// Notes down whether the API server serves StellarNodes in this scope; tells whether that is new.
    pub fn set_lacks_kind(&self, scope: Option<&str>, lacks: bool) -> bool {
        let mut lacking = self
            .lacking
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let scope = scope.map(str::to_owned);
        let is_new = if lacks {
            lacking.insert(scope)
        } else {
            lacking.remove(&scope)
        };
        if is_new {
            self.lackings.fetch_add(1, Ordering::AcqRel);
        }
        is_new
    }

    fn lacks_kind(&self, namespace: &str) -> bool {
        let lacking = self
            .lacking
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        lacking.contains(&None) || lacking.contains(&Some(namespace.to_owned()))
    }

    /// How many objects of each kind there are.
    #[must_use]
    pub fn sizes(&self) -> [(&'static str, usize); WATCHED.len()] {
        let sizes = [
            self.stellar_nodes.size(),
            self.stateful_sets.size(),
            self.pods.size(),
            self.config_maps.size(),
            self.services.size(),
        ];
        std::array::from_fn(|i| (WATCHED[i], sizes[i]))
    }

    /// The list of a namespace.
    #[must_use]
    pub fn config_map(&self, namespace: &str) -> Option<Arc<ConfigMapView>> {
        self.config_maps.get(namespace, &())
    }

    /// Namespaces in which a node or a list may be.
    #[must_use]
    pub fn namespaces(&self) -> BTreeSet<String> {
        let mut namespaces = self.stellar_nodes.namespaces();
        namespaces.extend(self.stateful_sets.namespaces());
        namespaces.extend(self.config_maps.namespaces());
        namespaces
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_changes_no_view_wakes_nobody() {
        let store = Store::<String, u8>::default();
        assert!(store.apply("ns", "a".to_owned(), 1));
        assert!(!store.apply("ns", "a".to_owned(), 1));
        assert!(store.apply("ns", "a".to_owned(), 2));
        assert!(store.delete("ns", &"a".to_owned()));
        assert!(!store.delete("ns", &"a".to_owned()));
    }

    #[test]
    fn a_late_answer_never_takes_the_place_of_what_the_watch_has_brought_since() {
        let store = Store::<&str, u8>::default();
        store.apply("one", "a", 1);
        let before = store.get("one", &"a");
        store.take_over("one", "a", before.as_ref(), Some(2));
        assert_eq!(store.get("one", &"a").as_deref(), Some(&2));
        store.take_over("one", "a", before.as_ref(), Some(3));
        store.take_over("one", "a", None, None);
        assert_eq!(store.get("one", &"a").as_deref(), Some(&2));
        let before = store.get("one", &"a");
        store.take_over("one", "a", before.as_ref(), None);
        assert_eq!(store.namespaces(), BTreeSet::new());
    }

    #[test]
    fn a_listing_of_one_namespace_leaves_the_others_as_they_are() {
        let store = Store::<String, u8>::default();
        store.apply("one", "a".to_owned(), 1);
        store.apply("two", "b".to_owned(), 1);
        let mut listing = Views::default();
        store.list(&mut listing, "one".to_owned(), "c".to_owned(), 1);
        let concerned = store.replace(Some("one"), listing);
        assert_eq!(concerned, BTreeSet::from(["one".to_owned()]));
        assert_eq!(store.of("one").keys().collect::<Vec<_>>(), ["c"]);
        assert_eq!(store.of("two").len(), 1);
        assert_eq!(store.replace(None, Views::default()).len(), 2);
    }

    #[test]
    fn a_listing_anew_keeps_what_is_equal() {
        let store = Store::<&str, u8>::default();
        store.apply("one", "a", 1);
        store.apply("one", "b", 1);
        let before = store.of("one");
        let mut listing = Views::default();
        store.list(&mut listing, "one".to_owned(), "a", 1);
        store.list(&mut listing, "one".to_owned(), "b", 2);
        store.replace(None, listing);
        let after = store.of("one");
        assert!(Arc::ptr_eq(&before["a"], &after["a"]));
        assert_eq!(*after["b"], 2);
    }

    #[test]
    fn what_was_looked_at_stays_as_it_was_while_the_store_changes() {
        let store = Store::<&str, u8>::default();
        for name in ["a", "b"] {
            store.apply("one", name, 1);
        }
        let seen = store.of("one");
        store.apply("one", "a", 2);
        store.take_over("one", "c", None, Some(1));
        store.delete("one", &"b");
        let views = |views: &ByName<&'static str, u8>| {
            views
                .iter()
                .map(|(name, view)| (*name, **view))
                .collect::<Vec<_>>()
        };
        assert_eq!(views(&seen), [("a", 1), ("b", 1)]);
        assert_eq!(views(&store.of("one")), [("a", 2), ("c", 1)]);
    }

    #[test]
    fn whatever_changes_the_stores_changes_their_version_and_nothing_else_does() {
        let stores = Stores::default();
        let name = || NodeName::new("a").unwrap();
        let view = |uid: &str| StatefulSetView {
            uid: uid.to_owned(),
            ..StatefulSetView::default()
        };
        let sets = &stores.stateful_sets;
        let changes: [&dyn Fn(); 6] = [
            &|| {
                sets.apply("ns", name(), view("1"));
            },
            &|| {
                sets.apply("ns", name(), view("2"));
            },
            &|| {
                sets.take_over(
                    "ns",
                    name(),
                    sets.get("ns", &name()).as_ref(),
                    Some(view("3")),
                );
            },
            &|| {
                sets.delete("ns", &name());
            },
            &|| {
                let mut listing = Views::default();
                sets.list(&mut listing, "ns".to_owned(), name(), view("1"));
                sets.replace(None, listing);
            },
            &|| {
                stores.set_lacks_kind(None, true);
            },
        ];
        for change in changes {
            let before = stores.version();
            change();
            assert_ne!(stores.version(), before);
        }
        let before = stores.version();
        sets.apply("ns", name(), view("1"));
        sets.delete("other", &name());
        stores.set_lacks_kind(None, true);
        assert!(stores.snapshot("ns").is_some());
        assert_eq!(stores.version(), before);
    }

    #[test]
    fn there_is_no_snapshot_before_every_store_is_full() {
        let stores = Stores::filled_by(2);
        stores.filled();
        assert!(stores.snapshot("ns").is_none());
        stores.filled();
        assert!(stores.snapshot("ns").is_some());
    }
}
