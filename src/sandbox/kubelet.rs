//! The scheduler and the kubelet of the one node: pods get an address, become Ready, and go.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    controllers::{Task, Work},
    object::{Key, Object, is_terminating, items},
    store::{Event, Store},
};

/// The node on which all pods run, unless they name one.
const NODE: &str = "sandbox-node";
/// `never` keeps a pod from being Ready, for as long as it stands there.
const READY: &str = "rig.test/ready";
/// Milliseconds from running to Ready.
const READY_DELAY: &str = "rig.test/ready-delay-ms";

/// One pod: a name that comes back has another uid.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PodId {
    key: Key,
    uid: String,
}

/// Decides whether a running pod is Ready, from the pod and the rest of the world.
pub type ReadyCheck = Arc<dyn Fn(&Value, &World<'_>) -> bool + Send + Sync>;

/// What a readiness check may look at.
#[derive(Debug)]
pub struct World<'a> {
    store: &'a Store,
}

impl World<'_> {
    /// An object; `resource` is `pods`, `configmaps`, `statefulsets.apps` and so on.
    #[must_use]
    pub fn object(&self, resource: &str, namespace: &str, name: &str) -> Option<&Value> {
        let table = self.store.table(self.store.find_qualified(resource)?);
        table
            .get(&Key::new(namespace, name))
            .map(|object| object.value())
    }

    /// All objects of a namespace, in the order of their names.
    #[must_use]
    pub fn objects(&self, resource: &str, namespace: &str) -> Vec<&Value> {
        let Some(table) = self.store.find_qualified(resource) else {
            return Vec::new();
        };
        self.store
            .table(table)
            .list(namespace)
            .map(|object| object.value())
            .collect()
    }
}

/// What the kubelet knows beyond the objects.
#[derive(Default)]
pub(super) struct KubeletState {
    addresses: u32,
    /// The address that a pod of this name gets next.
    pinned: BTreeMap<Key, Ipv4Addr>,
    /// Pods that are not Ready, whatever else holds.
    held: BTreeSet<Key>,
    check: Option<ReadyCheck>,
    /// Pods whose readiness somebody changed.
    look_again: BTreeSet<Key>,
}

impl fmt::Debug for KubeletState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubeletState")
            .field("addresses", &self.addresses)
            .field("held", &self.held)
            .finish_non_exhaustive()
    }
}

impl KubeletState {
    pub(super) fn hold(&mut self, key: Key) {
        self.held.insert(key.clone());
        self.look_again.insert(key);
    }

    pub(super) fn hold_next(&mut self, key: Key) {
        self.held.insert(key);
    }

    pub(super) fn release(&mut self, key: Key) {
        self.held.remove(&key);
        self.look_again.insert(key);
    }

    pub(super) fn pin_address(&mut self, key: Key, address: Ipv4Addr) {
        self.pinned.insert(key, address);
    }

    pub(super) fn set_check(&mut self, check: Option<ReadyCheck>) {
        self.check = check;
    }

    /// The next address of 10.244.0.0/16; one comes again only after all others did.
    fn address_for(&mut self, key: &Key) -> Ipv4Addr {
        if let Some(pinned) = self.pinned.remove(key) {
            return pinned;
        }
        self.addresses = self.addresses % 65_000 + 1;
        let [_, _, high, low] = self.addresses.to_be_bytes();
        Ipv4Addr::new(10, 244, high, low)
    }
}

/// Plans what an event asks of the kubelet.
pub(super) fn observe(work: &mut Work<'_>, event: &Event) {
    let Some(pod) = event.after.as_deref() else {
        return;
    };
    let id = PodId {
        key: Key::of(pod.value()),
        uid: pod.uid().to_owned(),
    };
    if is_terminating(pod.value()) {
        let grace = pod.value()["metadata"]["deletionGracePeriodSeconds"]
            .as_u64()
            .unwrap_or(0);
        let delay = work.timing.pod_stop.min(Duration::from_secs(grace));
        work.plan(delay, Task::RemovePod(id));
    } else if event.before.is_none() {
        let delay = work.timing.pod_start;
        let is_running = !pod.value()["status"]["podIP"].is_null();
        work.plan(
            delay,
            if is_running {
                Task::ProbePod(id)
            } else {
                Task::StartPod(id)
            },
        );
    } else if event.before.as_deref().is_some_and(|before| {
        let annotations = |pod: &Object| pod.value()["metadata"]["annotations"][READY].clone();
        annotations(before) != annotations(pod)
    }) {
        work.state.kubelet.look_again.insert(id.key);
    }
}

fn find(work: &Work<'_>, pod: &PodId) -> Option<Arc<Object>> {
    let pods = work.state.store.built_in("", "pods");
    work.object(pods, &pod.key)
        .filter(|object| object.uid() == pod.uid)
}

/// Puts a pod on the node, gives it an address and starts its containers.
pub(super) fn start(work: &mut Work<'_>, id: &PodId) {
    let Some(pod) = find(work, id).filter(|pod| !is_terminating(pod.value())) else {
        return;
    };
    let address = work.state.kubelet.address_for(&id.key).to_string();
    let now = work.clock.date();
    let delay = pod.value()["metadata"]["annotations"][READY_DELAY]
        .as_str()
        .and_then(|text| text.parse().ok());
    let pods = work.state.store.built_in("", "pods");
    work.update(pods, &pod, |value| {
        if value["spec"]["nodeName"].is_null() {
            value["spec"]["nodeName"] = NODE.into();
        }
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "lastTransitionTime": now});
        let containers = items(&value["spec"], "containers").iter().map(|container| {
            json!({
                "name": container["name"], "image": container["image"], "imageID": "", "ready": false, "started": false,
                "restartCount": 0, "state": {"running": {"startedAt": now}},
            })
        });
        value["status"] = json!({
            "phase": "Running", "hostIP": "127.0.0.1", "podIP": address, "podIPs": [{"ip": address}], "startTime": now,
            "qosClass": "BestEffort", "containerStatuses": containers.collect::<Vec<_>>(),
            "conditions": [
                condition("PodScheduled", "True"), condition("Initialized", "True"),
                condition("ContainersReady", "False"), condition("Ready", "False"),
            ],
        });
    });
    work.plan(
        delay.map_or(work.timing.pod_ready, Duration::from_millis),
        Task::ProbePod(id.clone()),
    );
}

/// Looks whether a pod is Ready, and says so in its status.
pub(super) fn probe(work: &mut Work<'_>, id: &PodId) {
    let Some(pod) = find(work, id).filter(|pod| !is_terminating(pod.value())) else {
        return;
    };
    let kubelet = &work.state.kubelet;
    let is_ready = !kubelet.held.contains(&id.key)
        && pod.value()["metadata"]["annotations"][READY] != "never"
        && kubelet.check.as_ref().is_none_or(|check| {
            check(
                pod.value(),
                &World {
                    store: &work.state.store,
                },
            )
        });
    let (now, pods) = (work.clock.date(), work.state.store.built_in("", "pods"));
    if !has_started(pod.value()) || is_said_ready(pod.value()) != is_ready {
        work.update(pods, &pod, |value| set_ready(value, is_ready, &now));
    }
    if work.state.kubelet.check.is_some() {
        work.plan(work.timing.probe, Task::ProbePod(id.clone()));
    }
}

fn has_started(pod: &Value) -> bool {
    let mut containers = items(&pod["status"], "containerStatuses").iter();
    containers.all(|container| container["started"] == true)
}

fn is_said_ready(pod: &Value) -> bool {
    let mut conditions = items(&pod["status"], "conditions").iter();
    conditions.any(|it| it["type"] == "Ready" && it["status"] == "True")
}

fn set_ready(pod: &mut Value, is_ready: bool, now: &str) {
    let status = if is_ready { "True" } else { "False" };
    for condition in pod["status"]["conditions"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        if matches!(
            condition["type"].as_str(),
            Some("Ready" | "ContainersReady")
        ) && condition["status"] != status
        {
            condition["status"] = status.into();
            condition["lastTransitionTime"] = now.into();
        }
    }
    for container in pod["status"]["containerStatuses"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        container["ready"] = is_ready.into();
        container["started"] = true.into();
    }
}

/// Probes the pods whose readiness somebody changed, if their first probe is over.
pub(super) fn look_again(work: &mut Work<'_>) {
    let pods = work.state.store.built_in("", "pods");
    while let Some(key) = work.state.kubelet.look_again.pop_first() {
        let Some(pod) = work.object(pods, &key) else {
            continue;
        };
        if pod.value()["status"]["containerStatuses"][0]["started"] == true {
            probe(
                work,
                &PodId {
                    key,
                    uid: pod.uid().to_owned(),
                },
            );
        }
    }
}

/// Ends a pod whose grace is over.
pub(super) fn remove(work: &mut Work<'_>, id: &PodId) {
    let Some(pod) = find(work, id) else { return };
    if items(&pod.value()["metadata"], "finalizers").is_empty() {
        let pods = work.state.store.built_in("", "pods");
        work.state.remove(pods, &id.key);
    }
}
