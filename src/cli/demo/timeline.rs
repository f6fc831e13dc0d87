//! What happens in the cluster, told line by line: watched from outside, as kubectl would.

use std::{
    collections::BTreeMap,
    fmt::Display,
    io::Write,
    sync::{Arc, Mutex, PoisonError},
};

use anstyle::{AnsiColor, Style};
use futures::{StreamExt, stream::select_all};
use k8s_openapi::api::{core::v1::ConfigMap, events::v1::Event as KubeEvent};
use kube::{
    Api, Client, ResourceExt,
    runtime::{
        WatchStreamExt,
        watcher::{Config, watcher},
    },
};
use tokio::{task::JoinHandle, time::Instant};

use crate::{
    api::{PodObject, StatefulSetObject, names},
    domain::snapshot::{PodView, StatefulSetView},
};

const DIM: Style = Style::new().dimmed();
const HEADING: Style = Style::new().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const CHANGE: Style = AnsiColor::Cyan.on_default();
const CAUTION: Style = AnsiColor::Yellow.on_default();

/// What was seen, for the summary.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pods: BTreeMap<String, (String, bool)>,
    memberships: BTreeMap<String, String>,
    list: Option<String>,
    /// Restarts that we started, by validator.
    pub(super) restarts: BTreeMap<String, usize>,
    /// Most validators that were not Ready at once during a rollout.
    pub(super) most_down: usize,
    /// Times the list changed.
    pub(super) list_changes: usize,
}

/// Prints what is seen from its start on.
#[derive(Debug)]
pub(super) struct Timeline {
    start: Instant,
    seen: Arc<Mutex<Seen>>,
    watching: JoinHandle<()>,
}

impl Drop for Timeline {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

enum Sight {
    Pod(Box<PodObject>, bool),
    Set(Box<StatefulSetObject>),
    List(Box<ConfigMap>),
    Event(Box<KubeEvent>),
}

impl Timeline {
    pub(super) fn start(client: Client, namespace: &str) -> Self {
        let (start, seen) = (Instant::now(), Arc::new(Mutex::new(Seen::default())));
        let pods = watcher(
            Api::<PodObject>::namespaced(client.clone(), namespace),
            Config::default(),
        );
        let sets = watcher(
            Api::<StatefulSetObject>::namespaced(client.clone(), namespace),
            Config::default(),
        );
        let lists = watcher(
            Api::<ConfigMap>::namespaced(client.clone(), namespace),
            Config::default(),
        );
        let events = watcher(
            Api::<KubeEvent>::namespaced(client, namespace),
            Config::default(),
        );
        let mut sights = select_all([
            pods.default_backoff()
                .filter_map(async |event| {
                    use kube::runtime::watcher::Event::{Apply, Delete, InitApply};
                    match event.ok()? {
                        Apply(pod) | InitApply(pod) => Some(Sight::Pod(Box::new(pod), true)),
                        Delete(pod) => Some(Sight::Pod(Box::new(pod), false)),
                        _ => None,
                    }
                })
                .boxed(),
            sets.default_backoff()
                .applied_objects()
                .filter_map(async |it| it.ok().map(Box::new).map(Sight::Set))
                .boxed(),
            lists
                .default_backoff()
                .applied_objects()
                .filter_map(async |it| it.ok().map(Box::new).map(Sight::List))
                .boxed(),
            events
                .default_backoff()
                .applied_objects()
                .filter_map(async |it| it.ok().map(Box::new).map(Sight::Event))
                .boxed(),
        ]);
        let shared = Arc::clone(&seen);
        let watching = tokio::spawn(async move {
            while let Some(sight) = sights.next().await {
                let mut seen = shared.lock().unwrap_or_else(PoisonError::into_inner);
                match sight {
                    Sight::Pod(pod, exists) => seen.pod(start, &pod, exists),
                    Sight::Set(set) => seen.set(start, &set),
                    Sight::List(map) => seen.list(start, &map),
                    Sight::Event(event) => Seen::event(start, &event),
                }
            }
        });
        Self {
            start,
            seen,
            watching,
        }
    }

    /// A step of the story: the n-th of these, from 1.
    pub(super) fn chapter(&self, number: usize, of: &[&str]) {
        let title = number.checked_sub(1).and_then(|index| of.get(index));
        let title = title.copied().unwrap_or_default();
        self.heading(&format!("{number} of {}: {title}", of.len()));
    }

    /// What stands out.
    pub(super) fn heading(&self, text: &str) {
        print("");
        line(self.start, HEADING, "", text);
    }

    /// A remark.
    pub(super) fn say(&self, text: &str) {
        line(self.start, Style::new(), "", text);
    }

    /// A text as it is.
    pub(super) fn show(text: &str) {
        for text in text.lines() {
            print(format!("           {text}"));
        }
    }

    /// What was seen so far.
    pub(super) fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn pod(&mut self, start: Instant, object: &PodObject, exists: bool) {
        let (name, pod) = (object.name_any(), PodView::from(object));
        let address = pod.ips.first().map(ToString::to_string).unwrap_or_default();
        let ready = exists && pod.ready && !pod.terminating;
        let was = self.pods.get(&name).cloned();
        if ready
            && was
                .as_ref()
                .is_none_or(|(was, was_ready)| !was_ready || *was != address)
        {
            line(start, GOOD, "pod", format!("{name} is Ready at {address}"));
        } else if !ready && was.as_ref().is_some_and(|(_, was_ready)| *was_ready) {
            line(start, CAUTION, "pod", format!("{name} goes down"));
        }
        self.pods.insert(name, (address, ready));
        let down = self.pods.values().filter(|(_, ready)| !ready).count();
        if self.restarts.values().sum::<usize>() > 0 {
            self.most_down = self.most_down.max(down);
        }
        if !exists {
            self.pods.remove(&object.name_any());
        }
    }

    fn set(&mut self, start: Instant, object: &StatefulSetObject) {
        let (name, set) = (object.name_any(), StatefulSetView::from(object));
        let Some(membership) = set.template.membership else {
            return;
        };
        match self.memberships.insert(name.clone(), membership.clone()) {
            None => line(
                start,
                CHANGE,
                "webhook",
                format!("{name} gets the list and port, knows membership {membership}"),
            ),
            Some(was) if was != membership => {
                *self.restarts.entry(name.clone()).or_default() += 1;
                line(
                    start,
                    CHANGE,
                    "restart",
                    format!("{name}: {was} is outdated, restarts for {membership}"),
                );
            }
            Some(_) => {}
        }
    }

    fn list(&mut self, start: Instant, object: &ConfigMap) {
        if object.name_any() != names::STELLAR_PEERS {
            return;
        }
        let list = object
            .data
            .as_ref()
            .and_then(|data| data.get(names::KEY_KNOWN_PEERS))
            .cloned()
            .unwrap_or_default();
        if self.list.as_ref() != Some(&list) {
            self.list_changes += 1;
            line(
                start,
                CHANGE,
                "list",
                format!(
                    "KNOWN_PEERS = {}",
                    list.split_whitespace().collect::<Vec<_>>().join(" ")
                ),
            );
            self.list = Some(list);
        }
    }

    fn event(start: Instant, event: &KubeEvent) {
        let (reason, note) = (
            event.reason.as_deref().unwrap_or_default(),
            event.note.as_deref().unwrap_or_default(),
        );
        let about = event
            .regarding
            .as_ref()
            .and_then(|it| it.name.as_deref())
            .unwrap_or_default();
        // The list and the restarts are told already.
        if !["ListChanged", "RestartStarted"].contains(&reason) {
            line(start, DIM, "event", format!("{about}: {reason}: {note}"));
        }
    }
}

fn line(start: Instant, style: Style, what: &str, text: impl Display) {
    let at = start.elapsed().as_secs_f64();
    print(format!(
        "{DIM}{at:6.2} s{DIM:#}  {style}{what:8}{style:#} {style}{text}{style:#}"
    ));
}

/// Where nobody reads any more, there is nobody to tell.
fn print(text: impl Display) {
    let _ = writeln!(anstream::stdout(), "{text}");
}
