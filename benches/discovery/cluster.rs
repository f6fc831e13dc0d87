//! One namespace of validators on whichever API server, its pods' readiness, and the list as a client sees it.

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt, future::join_all};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
    runtime::watcher::{self, Event, watcher},
};
use serde_json::{Value, json};
use stellar_peers::{
    api::names,
    sandbox::fixtures::{chart_stateful_set, create},
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// Validators in the namespace.
pub(crate) const VALIDATORS: usize = 50;
/// The longest that anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A validator's pod. It runs all the time, at the same address.
#[derive(Clone, Debug)]
pub(crate) struct Validator {
    pod: String,
    /// Its line in the list.
    pub(crate) line: String,
}

/// One write of a pod's readiness.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// The request is about to be sent.
    pub(crate) sent: Instant,
    /// The API server has said that it is done.
    pub(crate) answered: Instant,
}

/// The namespace.
pub(crate) struct Cluster {
    pub(crate) validators: Vec<Validator>,
    pods: Api<Pod>,
    lists: watch::Receiver<Vec<List>>,
    _watching: JoinSet<()>,
}

/// What the ConfigMap said from an instant on.
struct List {
    seen: Instant,
    lines: BTreeSet<String>,
}

impl Cluster {
    /// Makes the validators and waits until all their pods run. None is Ready, nor will be by itself.
    pub(crate) async fn create(client: &Client, namespace: &str) -> Self {
        for number in 0..VALIDATORS {
            let set = stateful_set(namespace, &format!("validator-{number}"));
            create(client, &set).await.expect("a new StatefulSet");
        }
        let pods = Api::namespaced(client.clone(), namespace);
        let running = timeout(PATIENCE, running(&pods)).await;
        let (history, lists) = watch::channel(Vec::new());
        let mut watching = JoinSet::new();
        watching.spawn(follow(Api::namespaced(client.clone(), namespace), history));
        Self {
            validators: running.expect("the pods run in time"),
            pods,
            lists,
            _watching: watching,
        }
    }

    /// Makes these pods Ready, or not Ready, all at once. The writes are in the order of the pods.
    pub(crate) async fn set_ready(&self, pods: &[Validator], is_ready: bool) -> Vec<Written> {
        join_all(pods.iter().map(|pod| self.write(pod, is_ready))).await
    }

    async fn write(&self, validator: &Validator, is_ready: bool) -> Written {
        let status = if is_ready { "True" } else { "False" };
        let conditions =
            ["Ready", "ContainersReady"].map(|kind| json!({"type": kind, "status": status}));
        let patch = Patch::Strategic(json!({"status": {"conditions": conditions}}));
        let params = PatchParams::default();
        let sent = Instant::now();
        let written = self.pods.patch_status(&validator.pod, &params, &patch);
        written.await.expect("the pod is there");
        let answered = Instant::now();
        Written { sent, answered }
    }

    /// Waits for the first list after `since` that has this line, or has it no more, and tells when it was seen.
    pub(crate) async fn seen(&self, line: &str, is_listed: bool, since: Instant) -> Instant {
        let answers = |list: &&List| list.seen >= since && list.lines.contains(line) == is_listed;
        let mut lists = self.lists.clone();
        let waiting = lists.wait_for(|history| history.iter().any(|list| answers(&list)));
        let history = timeout(PATIENCE, waiting).await;
        let history = history
            .unwrap_or_else(|_| panic!("the list did not follow {line} in {PATIENCE:?}"))
            .expect("the list is watched as long as the cluster is there");
        let first = history.iter().find(answers);
        first.expect("one was found a moment ago").seen
    }
}

/// A plain StatefulSet that opted in. Who makes its pods Ready is this benchmark, long before the kubelet's time.
fn stateful_set(namespace: &str, name: &str) -> Value {
    let mut set = chart_stateful_set(namespace, name);
    // The first is kwok's annotation, the second the sandbox's.
    let far = json!({"rig.test/ready-delay": "24h", "rig.test/ready-delay-ms": "86400000"});
    set["spec"]["template"]["metadata"]["annotations"] = far;
    set
}

/// Waits until all pods run, and gives them in the order of their names.
async fn running(pods: &Api<Pod>) -> Vec<Validator> {
    loop {
        let found = pods.list(&ListParams::default()).await;
        let found = found.expect("pods can be listed");
        let running: Vec<Validator> = found.iter().filter_map(validator).collect();
        if running.len() == VALIDATORS {
            return running;
        }
        sleep(Duration::from_millis(100)).await;
    }
}

/// The validator of a pod that has an address.
fn validator(pod: &Pod) -> Option<Validator> {
    let address = pod.status.as_ref()?.pod_ip.as_ref()?;
    Some(Validator {
        pod: pod.name_any(),
        line: format!("{address}:{}", names::DEFAULT_PEER_PORT),
    })
}

/// Writes down each list with the time at which it was seen.
async fn follow(api: Api<ConfigMap>, history: watch::Sender<Vec<List>>) {
    let ours = format!("metadata.name={}", names::STELLAR_PEERS);
    let events = watcher(api, watcher::Config::default().fields(&ours));
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        let seen = Instant::now();
        if let Event::Apply(map) | Event::InitApply(map) = event.expect("the list can be watched") {
            let mut data = map.data.unwrap_or_default();
            let text = data.remove(names::KEY_KNOWN_PEERS).unwrap_or_default();
            let lines = text.lines().map(str::to_owned).collect();
            history.send_modify(|history| history.push(List { seen, lines }));
        }
    }
}
