//! Watches everything that is judged, and puts it into the order in which it happened.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, Resource, ResourceExt,
    runtime::watcher::{Config, Event, watcher},
};
use serde::de::DeserializeOwned;
use stellar_peers::{
    api::{PodObject, StatefulSetObject, names},
    domain::{peer_list::Record, snapshot::StatefulSetView},
};
use tokio::{
    task::JoinSet,
    time::{Duration, Instant},
};

use super::{
    judge::{Change, ListView, Namespace},
    log::Log,
};

/// How long a change is kept before it is judged: another watch may bring an older one later.
const LAG: Duration = Duration::from_secs(3);
const TICK: Duration = Duration::from_millis(250);
/// Between an error of a watch and the next attempt.
const RETRY: Duration = Duration::from_millis(200);

/// The watches and their judge. They stop when this is dropped.
pub(super) struct Observer {
    namespaces: Arc<Mutex<BTreeMap<String, Namespace>>>,
    _tasks: JoinSet<()>,
}

type Waiting = BTreeMap<(u64, usize), (Instant, String, Change)>;

/// Changes that are not judged yet, in their order.
#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<(Waiting, usize)>,
}

impl Queue {
    fn push(&self, version: u64, namespace: &str, change: Change) {
        let mut waiting = lock(&self.waiting);
        waiting.1 += 1;
        let key = (version, waiting.1);
        waiting
            .0
            .insert(key, (Instant::now(), namespace.to_owned(), change));
    }

    /// What waited long enough, with all that is older.
    fn due(&self) -> Vec<(Instant, String, Change)> {
        let mut waiting = lock(&self.waiting);
        let is_due = |at: &Instant| at.elapsed() > LAG;
        let last = waiting.0.iter().rev().find(|(_, (at, ..))| is_due(at));
        let Some((version, _)) = last.map(|(key, _)| *key) else {
            return Vec::new();
        };
        let rest = waiting.0.split_off(&(version + 1, 0));
        std::mem::replace(&mut waiting.0, rest)
            .into_values()
            .collect()
    }
}

impl Observer {
    pub(super) fn start(client: &Client, namespaces: &[&str], log: &Arc<Log>) -> Self {
        let judged = namespaces
            .iter()
            .map(|it| ((*it).to_owned(), Namespace::default()));
        let judged: Arc<Mutex<BTreeMap<String, Namespace>>> =
            Arc::new(Mutex::new(judged.collect()));
        let queue = Arc::new(Queue::default());
        let mut tasks = JoinSet::new();
        let of_these: BTreeSet<String> = namespaces.iter().map(|it| (*it).to_owned()).collect();
        let (client, only_list) = (
            client.clone(),
            format!("metadata.name={}", names::STELLAR_PEERS),
        );
        tasks.spawn(watch::<StatefulSetObject>(
            client.clone(),
            None,
            of_these.clone(),
            Arc::clone(&queue),
            |name, set| Change::Set(name, set.map(StatefulSetView::from).map(Box::new)),
        ));
        tasks.spawn(watch::<PodObject>(
            client.clone(),
            None,
            of_these.clone(),
            Arc::clone(&queue),
            |name, pod| Change::Pod(name, pod.map(Into::into).map(Box::new)),
        ));
        tasks.spawn(watch::<ConfigMap>(
            client,
            Some(only_list),
            of_these,
            Arc::clone(&queue),
            |_, list| Change::List(list.map(view)),
        ));
        let (log, judging) = (Arc::clone(log), Arc::clone(&judged));
        tasks.spawn(async move {
            loop {
                tokio::time::sleep(TICK).await;
                for (at, namespace, change) in queue.due() {
                    let mut namespaces = lock(&judging);
                    let judged = namespaces.entry(namespace.clone()).or_default();
                    for fault in judged.see(change, at) {
                        log.fault(&format!(
                            "{namespace}, seen {:.1?} ago: {fault}",
                            at.elapsed()
                        ));
                    }
                }
            }
        });
        Self {
            namespaces: judged,
            _tasks: tasks,
        }
    }

    /// Restarts of validators by us, and changes of memberships.
    pub(super) fn figures(&self) -> (usize, usize) {
        let namespaces = lock(&self.namespaces);
        let sum = |figure: fn(&Namespace) -> usize| namespaces.values().map(figure).sum();
        (sum(|it| it.restarts), sum(|it| it.membership_changes))
    }
}

fn view(list: &ConfigMap) -> ListView {
    let text = |key| list.data.as_ref().and_then(|data| data.get(key));
    ListView {
        peers: text(names::KEY_KNOWN_PEERS).map_or(0, |text| text.lines().count()),
        record: text(names::KEY_MEMBERS).and_then(|text| Record::parse(text).ok()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn watch<K>(
    client: Client,
    fields: Option<String>,
    namespaces: BTreeSet<String>,
    queue: Arc<Queue>,
    change: impl Fn(String, Option<&K>) -> Change,
) where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let config = Config {
        field_selector: fields,
        ..Config::default()
    };
    let mut events = watcher(Api::<K>::all(client), config).boxed();
    let mut known = BTreeSet::new();
    // What a listing brings, to tell what is gone.
    let mut listed = BTreeSet::new();
    let mut newest = 0;
    while let Some(event) = events.next().await {
        let mut see = |object: &K, exists: bool| {
            let (namespace, name) = (object.namespace().unwrap_or_default(), object.name_any());
            let version = object.resource_version().and_then(|it| it.parse().ok());
            newest = version.unwrap_or(newest).max(newest);
            if namespaces.contains(&namespace) {
                let key = (namespace.clone(), name.clone());
                if exists {
                    known.insert(key)
                } else {
                    known.remove(&key)
                };
                queue.push(
                    version.unwrap_or(newest),
                    &namespace,
                    change(name, exists.then_some(object)),
                );
            }
        };
        match event {
            Ok(Event::Apply(object)) => see(&object, true),
            Ok(Event::Delete(object)) => see(&object, false),
            Ok(Event::Init) => {
                listed.clear();
                for namespace in &namespaces {
                    queue.push(newest, namespace, Change::Gap);
                }
            }
            Ok(Event::InitApply(object)) => {
                see(&object, true);
                listed.insert((object.namespace().unwrap_or_default(), object.name_any()));
            }
            Ok(Event::InitDone) => {
                for (namespace, name) in known.extract_if(.., |key| !listed.contains(key)) {
                    queue.push(newest, &namespace, change(name, None));
                }
            }
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    }
}
