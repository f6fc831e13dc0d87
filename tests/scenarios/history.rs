//! What happened to the pods of a namespace, watched from outside from the beginning on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use futures::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{Config, Event, watcher},
    },
};
use stellar_peers::{api::PodObject, domain::snapshot::PodView};
use tokio::task::JoinHandle;

/// One change of a pod.
#[derive(Clone, Debug)]
struct Change {
    node: String,
    uid: String,
    ready: bool,
    exists: bool,
}

/// All changes so far.
#[derive(Debug)]
pub(crate) struct History {
    changes: Arc<Mutex<Vec<Change>>>,
    watching: JoinHandle<()>,
}

impl Drop for History {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// A point in a history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark(usize);

impl History {
    pub(crate) fn start(client: Client, namespace: &str) -> Self {
        let changes = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&changes);
        let pods = Api::<PodObject>::namespaced(client, namespace);
        let watching = tokio::spawn(async move {
            let mut events = watcher(pods, Config::default()).default_backoff().boxed();
            while let Some(event) = events.next().await {
                let (pod, exists) = match event {
                    Ok(Event::Apply(pod) | Event::InitApply(pod)) => (pod, true),
                    Ok(Event::Delete(pod)) => (pod, false),
                    _ => continue,
                };
                let view = PodView::from(&pod);
                let name = pod.name_any();
                let node = name
                    .rsplit_once('-')
                    .map_or(name.as_str(), |(node, _)| node)
                    .to_owned();
                let ready = exists && view.ready && !view.terminating;
                let change = Change {
                    node,
                    uid: view.uid,
                    ready,
                    exists,
                };
                seen.lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(change);
            }
        });
        Self { changes, watching }
    }

    /// The present end of it.
    pub(crate) fn mark(&self) -> Mark {
        Mark(self.changes().len())
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
        let before = uids(&changes[..since.0]);
        let after = uids(&changes[since.0..]);
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
        let mut ready: BTreeMap<&str, bool> = nodes.iter().map(|node| (*node, false)).collect();
        let changes = self.changes();
        let (mut were_all_ready, mut most) = (false, 0);
        for (index, change) in changes.iter().enumerate() {
            if let Some(ready) = ready.get_mut(change.node.as_str()) {
                *ready = change.ready && change.exists;
            }
            let down = ready.values().filter(|ready| !**ready).count();
            were_all_ready |= down == 0;
            if were_all_ready && index >= since.0 {
                most = most.max(down);
            }
        }
        most
    }

    fn changes(&self) -> Vec<Change> {
        self.changes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
