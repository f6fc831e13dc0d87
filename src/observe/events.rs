//! Kubernetes Events: what a person sees in `kubectl describe`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::Instant,
};
use tracing::debug;

use super::{Happening, LostEvent, Metrics, Timeline, error_chain};
use crate::{
    api::{StatefulSetObject, StellarNodeObject, names},
    clock::Clock,
    domain::{Snapshot, node::NodeName, time::rfc3339},
};

/// Events that wait to be sent; further ones are dropped, for they only tell what logs and status tell too.
const QUEUE: usize = 4096;

/// How long the same words about the same object count as one more of the same Event.
const SERIES: Duration = Duration::from_mins(6);

/// How many different words are remembered for that. Of thousands of namespaces each has its own: then they are told anew.
const WORDS_MAX: usize = 256;

/// Sends Events from a task of its own, so that no decision waits for them.
#[derive(Clone, Debug)]
pub struct Events {
    queue: mpsc::Sender<(Event, ObjectReference)>,
    timeline: Arc<Timeline>,
    metrics: Arc<Metrics>,
    clock: Clock,
}

impl Events {
    /// The sender, and the task that has to run for anything to be sent. `instance` is the name of this pod. Whatever is
    /// told stands in `timeline` as well, sent or not.
    #[must_use = "nothing is sent before the task runs"]
    pub fn new(
        client: Client,
        instance: String,
        timeline: Arc<Timeline>,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, mut waiting) = mpsc::channel::<(Event, ObjectReference)>(QUEUE);
        let reporter = Reporter {
            controller: names::STELLAR_PEERS.to_owned(),
            instance: Some(instance),
        };
        let lost = Arc::clone(&metrics);
        let task = async move {
            // A recorder counts Events of one reason as one, and keeps the words of the first. Other words are news.
            let mut recorders: BTreeMap<Option<String>, (Recorder, Instant)> = BTreeMap::new();
            while let Some((event, about)) = waiting.recv().await {
                recorders.retain(|_, (_, used)| used.elapsed() < SERIES);
                if recorders.len() >= WORDS_MAX {
                    recorders.clear();
                }
                let recorder = || Recorder::new(client.clone(), reporter.clone());
                let (recorder, used) = recorders
                    .entry(event.note.clone())
                    .or_insert_with(|| (recorder(), Instant::now()));
                *used = Instant::now();
                if let Err(error) = recorder.publish(&event, &about).await {
                    lost.event_lost(LostEvent::NotTaken);
                    debug!(
                        error = error_chain(&error),
                        reason = event.reason,
                        "Could not send an Event"
                    );
                }
            }
        };
        let events = Self {
            queue,
            timeline,
            metrics,
            clock,
        };
        (events, task)
    }

    /// About a node: on its StellarNode, else on its StatefulSet.
    pub fn on_node(
        &self,
        namespace: &str,
        node: &NodeName,
        snapshot: &Snapshot,
        kind: EventType,
        reason: &str,
        note: &str,
    ) {
        let about = if let Some(stellar_node) = snapshot.stellar_nodes.get(node) {
            reference::<StellarNodeObject>(namespace, node.as_str(), Some(stellar_node.uid.clone()))
        } else {
            let uid = snapshot.stateful_sets.get(node).map(|set| set.uid.clone());
            reference::<StatefulSetObject>(namespace, node.as_str(), uid)
        };
        self.send(kind, reason, note, about);
    }

    /// About the list: on the ConfigMap.
    pub fn on_list(
        &self,
        namespace: &str,
        uid: Option<String>,
        kind: EventType,
        reason: &str,
        note: &str,
    ) {
        let about = reference::<k8s_openapi::api::core::v1::ConfigMap>(
            namespace,
            names::STELLAR_PEERS,
            uid,
        );
        self.send(kind, reason, note, about);
    }

    /// About the service itself: on the Service by which the API server calls it.
    pub fn on_service(
        &self,
        namespace: &str,
        name: &str,
        kind: EventType,
        reason: &str,
        note: &str,
    ) {
        let about = reference::<k8s_openapi::api::core::v1::Service>(namespace, name, None);
        self.send(kind, reason, note, about);
    }

    fn send(&self, type_: EventType, reason: &str, note: &str, about: ObjectReference) {
        let is_node = !matches!(about.kind.as_deref(), Some("ConfigMap" | "Service"));
        self.timeline.add(Happening {
            at: rfc3339(self.clock.now().wall),
            namespace: about.namespace.clone().unwrap_or_default(),
            node: about.name.clone().filter(|_| is_node),
            warning: matches!(type_, EventType::Warning),
            reason: reason.to_owned(),
            note: note.to_owned(),
        });
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(bounded(note)),
            action: "PeerDiscovery".to_owned(),
            secondary: None,
        };
        // In a dry run nobody sends them.
        if let Err(TrySendError::Full(_)) = self.queue.try_send((event, about)) {
            self.metrics.event_lost(LostEvent::QueueFull);
            debug!(reason, "Dropped an Event");
        }
    }
}

/// The API server takes 1 KiB, and refuses an Event with more; the rest of the text stands in the log.
const NOTE_BYTES_MAX: usize = 1024;

fn bounded(note: &str) -> String {
    const MORE: char = '…';
    if note.len() <= NOTE_BYTES_MAX {
        return note.to_owned();
    }
    let end = note.floor_char_boundary(NOTE_BYTES_MAX - MORE.len_utf8());
    format!("{}{MORE}", &note[..end])
}

fn reference<K: Resource<DynamicType = ()>>(
    namespace: &str,
    name: &str,
    uid: Option<String>,
) -> ObjectReference {
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        namespace: Some(namespace.to_owned()),
        name: Some(name.to_owned()),
        uid,
        ..ObjectReference::default()
    }
}

#[cfg(test)]
mod bounds {
    use super::*;

    #[test]
    fn no_note_has_more_bytes_than_the_api_server_takes() {
        for text in ["x", "ü", "\u{202e}", "𝄞"] {
            for length in [1, 255, 256, 341, 342, 512, 1023, 1024, 1025, 5_000] {
                let note = text.repeat(length);
                let kept = bounded(&note);
                assert!(kept.len() <= NOTE_BYTES_MAX, "{length} of {text}");
                assert_eq!(kept == note, note.len() <= NOTE_BYTES_MAX);
                assert!(kept == note || kept.len() > NOTE_BYTES_MAX - 8);
            }
        }
    }
}

#[cfg(all(test, feature = "sandbox"))]
mod tests {
    use super::*;
    use crate::{controller::lease::Leadership, observe::Board, sandbox::Sandbox};

    #[tokio::test(start_paused = true)]
    async fn the_same_words_are_counted_and_other_words_are_another_event() {
        let sandbox = Sandbox::default();
        let metrics = Metrics::new(Arc::new(Board::default()), Leadership::fixed(true));
        let (events, sending) = Events::new(
            sandbox.client("us"),
            "instance".to_owned(),
            Arc::default(),
            Arc::new(metrics),
            Clock::system(),
        );
        let sending = tokio::spawn(sending);
        let (node, snapshot) = (NodeName::new("v").unwrap(), Snapshot::default());
        for note in ["w waits", "x waits", "w waits"] {
            let kind = EventType::Normal;
            events.on_node("default", &node, &snapshot, kind, "Budget", note);
        }
        drop(events);
        sending.await.unwrap();
        let stored = sandbox.peek_all("events.events.k8s.io", "default");
        let told = stored.iter().map(|event| {
            let count = event["series"]["count"].as_i64().unwrap_or(1);
            (event["note"].as_str().unwrap(), count)
        });
        let mut told: Vec<_> = told.collect();
        told.sort_unstable();
        assert_eq!(told, [("w waits", 2), ("x waits", 1)]);
    }
}
