//! What happened to the pods and the list of a namespace, watched from outside from the beginning on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::watcher::{Config, Event, watcher},
};
use serde::de::DeserializeOwned;
use stellar_peers::{
    api::{PodObject, names},
    domain::snapshot::PodView,
};
use tokio::task::JoinHandle;

/// Between an error of a watch and the next attempt.
const RETRY: Duration = Duration::from_millis(200);

/// One change of a pod.
#[derive(Clone, Debug)]
struct Change {
    node: String,
    uid: String,
    ready: bool,
    runs: bool,
    /// It is there and not on its way out.
    stays: bool,
}

#[derive(Debug, Default)]
struct Seen {
    pods: Vec<Change>,
    /// How many peers the list had, at each change of it.
    lists: Vec<usize>,
}

/// All changes so far.
#[derive(Debug)]
pub(crate) struct History {
    seen: Arc<Mutex<Seen>>,
    watching: [JoinHandle<()>; 2],
}

impl Drop for History {
    fn drop(&mut self) {
        self.watching.iter().for_each(JoinHandle::abort);
    }
}

/// A point in a history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pods: usize,
    lists: usize,
}

impl History {
    pub(crate) fn start(client: Client, namespace: &str) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (of_pods, of_lists) = (Arc::clone(&seen), Arc::clone(&seen));
        let pods = Api::<PodObject>::namespaced(client.clone(), namespace);
        let lists = Api::<ConfigMap>::namespaced(client, namespace);
        let only_list =
            Config::default().fields(&format!("metadata.name={}", names::STELLAR_PEERS));
        let watching = [
            watch(pods, Config::default(), move |pod, exists| {
                let change = Change::of(pod, exists);
                lock(&of_pods).pods.push(change);
            }),
            watch(lists, only_list, move |list, exists| {
                let text = list.data.as_ref().filter(|_| exists);
                let text = text.and_then(|data| data.get(names::KEY_KNOWN_PEERS));
                let peers = text.map_or(0, |text| text.lines().count());
                lock(&of_lists).lists.push(peers);
            }),
        ];
        Self { seen, watching }
    }

    /// The present end of it.
    pub(crate) fn mark(&self) -> Mark {
        let seen = lock(&self.seen);
        Mark {
            pods: seen.pods.len(),
            lists: seen.lists.len(),
        }
    }

    /// Whether it has come to this pod.
    pub(crate) fn has(&self, uid: &str) -> bool {
        lock(&self.seen).pods.iter().any(|it| it.uid == uid)
    }

    /// How often the node's pod was replaced since the mark.
    pub(crate) fn restarts(&self, node: &str, since: Mark) -> usize {
        let changes = self.changes();
        let uids = |changes: &[Change]| -> BTreeSet<String> {
            changes
                .iter()
                .filter(|it| it.node == node)
                .map(|it| it.uid.clone())
                .collect()
        };
        let before = uids(&changes[..since.pods]);
        let after = uids(&changes[since.pods..]);
        let new = after.difference(&before).count();
        // The first pod of a node is its start, not a restart.
        if before.is_empty() {
            new.saturating_sub(1)
        } else {
            new
        }
    }

    /// Most of these nodes that were not Ready at one time, counted from when all of them first were.
    pub(crate) fn most_down_at_once(&self, nodes: &[&str], since: Mark) -> usize {
        self.most_without(nodes, since, |change| change.ready)
    }

    /// The same for those that don't run.
    pub(crate) fn most_away_at_once(&self, nodes: &[&str], since: Mark) -> usize {
        self.most_without(nodes, since, |change| change.runs)
    }

    fn most_without(&self, nodes: &[&str], since: Mark, is_up: impl Fn(&Change) -> bool) -> usize {
        let mut up: BTreeMap<&str, bool> = nodes.iter().map(|node| (*node, false)).collect();
        let changes = self.changes();
        let (mut were_all_up, mut most) = (false, 0);
        for (index, change) in changes.iter().enumerate() {
            if let Some(up) = up.get_mut(change.node.as_str()) {
                *up = is_up(change);
            }
            let down = up.values().filter(|up| !**up).count();
            were_all_up |= down == 0;
            if were_all_up && index >= since.pods {
                most = most.max(down);
            }
        }
        most
    }

    /// How many pods of a node were not Ready when they were deleted.
    pub(crate) fn deleted_while_not_ready(&self, node: &str) -> usize {
        let changes = self.changes();
        let of_node = changes.iter().filter(|it| it.node == node);
        let mut last: BTreeMap<&str, &Change> = BTreeMap::new();
        let mut deleted = BTreeSet::new();
        for change in of_node {
            if change.stays {
                last.insert(&change.uid, change);
            } else {
                deleted.insert(&*change.uid);
            }
        }
        let was_ready = |uid: &&str| last.get(*uid).is_some_and(|change| change.ready);
        deleted.iter().filter(|uid| !was_ready(uid)).count()
    }

    /// The fewest peers that the list had since the mark, in any version of it that was seen.
    pub(crate) fn fewest_listed(&self, since: Mark) -> usize {
        let seen = lock(&self.seen);
        let from = since.lists.saturating_sub(1);
        seen.lists[from..].iter().copied().min().unwrap_or(0)
    }

    fn changes(&self) -> Vec<Change> {
        lock(&self.seen).pods.clone()
    }
}

impl Change {
    fn of(pod: &PodObject, exists: bool) -> Self {
        let view = PodView::from(pod);
        let name = pod.name_any();
        let node = name
            .rsplit_once('-')
            .map_or(name.as_str(), |(node, _)| node);
        let stays = exists && !view.terminating;
        Self {
            node: node.to_owned(),
            ready: stays && view.ready,
            runs: stays && view.running,
            uid: view.uid,
            stays,
        }
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn watch<K>(
    api: Api<K>,
    config: Config,
    mut see: impl FnMut(&K, bool) + Send + 'static,
) -> JoinHandle<()>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    tokio::spawn(async move {
        let mut events = watcher(api, config).boxed();
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::Apply(object) | Event::InitApply(object)) => see(&object, true),
                Ok(Event::Delete(object)) => see(&object, false),
                // Soon again: what passes meanwhile is never seen.
                Err(_) => tokio::time::sleep(RETRY).await,
                _ => {}
            }
        }
    })
}
