//! Our binary as a process against a real kube-apiserver with etcd, its controllers and kwok on the same machine: fewer
//! validators, and the requests as a real server counts them.
//!
//! The benchmark plays the kubelet's readiness; a time ends when a client that watches the list is told of it. All of
//! these processes share the machine's cores with ours.

use std::{collections::BTreeMap, path::Path, time::Duration};

use futures::{StreamExt, stream};
use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace, Pod},
    rbac::v1::ClusterRole,
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
    runtime::watcher::{self, Event, watcher},
};
use serde_json::{Value, json};
use stellar_peers::{
    api::{names, stellar_node_crd},
    sandbox::fixtures::{chart_stateful_set_without_claim, create},
};
use tempfile::TempDir;
use tokio::{
    sync::mpsc::{self, UnboundedReceiver},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    figures::{Samples, fact, row_and, title},
    herd::{Shape, namespace_name},
    ours::{Program, Running},
    real::control_plane::{ControlPlane, StartError, User},
    results::{Goal, Results},
};

/// One namespace of very many beside many of few.
const SHAPES: [Shape; 2] = [
    Shape {
        namespaces: 100,
        validators: 10,
    },
    Shape {
        namespaces: 1,
        validators: 500,
    },
];
const NAME: &str = "real: 100 x 10 and 1 x 500";
/// The longest that anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(3);
const REST: Duration = Duration::from_secs(30);
/// Requests of ours at once while all is made.
const AT_ONCE: usize = 32;
/// How many pods go and come.
const CHANGING: usize = 100;
/// From one list to the next change of the same namespace: longer than changes coalesce.
const QUIET: Duration = Duration::from_millis(300);
/// The same where they do coalesce.
const HASTE: Duration = Duration::from_millis(50);

/// Prints the table of the real API server, or why there is none.
pub(crate) async fn measure(results: &mut Results) {
    title("100 namespaces of 10 and one of 500, our binary on a real API server");
    let folder = TempDir::new().expect("a temporary folder");
    match ControlPlane::start(&ControlPlane::default_bin_dir(), folder.path()).await {
        Ok(plane) => measure_on(&plane, folder.path(), results).await,
        Err(missing @ StartError::Missing { .. }) => {
            println!("  skipped; `make control-plane` builds what it needs: {missing}");
        }
        Err(error) => println!("  skipped; the control plane did not start: {error}"),
    }
}

/// A pod's namespace and name, and its line in the list.
type Place = (String, String, String);

async fn measure_on(plane: &ControlPlane, folder: &Path, results: &mut Results) {
    let admin = plane.client_for(User::Admin).await;
    allow(plane, &admin).await;
    let began = Instant::now();
    let pods = make(&admin).await;
    fact(
        "made, and all pods Ready",
        &format!("in {:.1?}", began.elapsed()),
    );
    let kubeconfig = plane.kubeconfig_for(User::StellarPeers);
    // A restart would make pods Ready at times of its own.
    let more = [
        "--own-namespace=default",
        "--adopt=never",
        "--restart-on=never",
    ];
    let program = Program::prepare(&kubeconfig, folder, &more).await;
    let (running, _) = program.start().await;
    running
        .passes(SHAPES.iter().map(|it| it.namespaces).sum())
        .await;
    quiet(plane).await;
    running.end().await;
    let (running, ready) = program.start().await;
    fact("start to ready", &format!("{ready:.0?}"));
    results.add_of(
        NAME,
        "start_to_ready",
        ready.as_secs_f64() * 1e3,
        "ms",
        Goal::None,
    );
    running
        .passes(SHAPES.iter().map(|it| it.namespaces).sum())
        .await;
    sleep(Duration::from_secs(3)).await;
    let memory = running.memory();
    fact(
        "resident memory",
        &format!(
            "{:.1} MB, at its highest {:.1} MB",
            memory.resident, memory.peak
        ),
    );
    results.add_of(NAME, "memory", memory.resident, "MB", Goal::AtMost(60.0));
    results.add_of(NAME, "memory_peak", memory.peak, "MB", Goal::None);
    rest(plane, &running, results).await;
    changes(plane, &admin, &pods, results).await;
    running.end().await;
}

async fn allow(plane: &ControlPlane, admin: &Client) {
    let kinds = Api::all(admin.clone());
    let created = kinds
        .create(&PostParams::default(), &stellar_node_crd())
        .await;
    created.expect("the kind is new");
    let role = include_str!("../../docs/rbac.yaml");
    let role: ClusterRole = serde_saphyr::from_str(role).expect("docs/rbac.yaml is a ClusterRole");
    let rules = role.rules.expect("the role has rules");
    plane.allow(User::StellarPeers, rules).await;
}

/// Makes all validators, and their pods Ready once kwok runs them.
async fn make(admin: &Client) -> Vec<Place> {
    let mut sets = Vec::new();
    let mut number = 0;
    for Shape {
        namespaces,
        validators,
    } in SHAPES
    {
        for _ in 0..namespaces {
            let name = namespace_name(number);
            number += 1;
            let namespace: Namespace =
                serde_json::from_value(json!({"metadata": {"name": name}})).expect("a namespace");
            let made = Api::all(admin.clone())
                .create(&PostParams::default(), &namespace)
                .await;
            made.expect("the namespace is new");
            sets.extend((0..validators).map(|it| stateful_set(&name, &format!("validator-{it}"))));
        }
    }
    let all = sets.len();
    let made = stream::iter(&sets)
        .map(|set| create(admin, set))
        .buffer_unordered(AT_ONCE);
    made.for_each(|made| async { drop(made.expect("a new StatefulSet")) })
        .await;
    let pods = timeout(PATIENCE, running(admin, all)).await;
    let pods = pods.expect("the pods run in time");
    let ready = stream::iter(&pods).map(|(namespace, name, _)| write(admin, namespace, name, true));
    ready.buffer_unordered(AT_ONCE).collect::<()>().await;
    pods
}

/// Opted in; its pod passes the scheduler by, and kwok makes it Ready long after this benchmark has.
fn stateful_set(namespace: &str, name: &str) -> Value {
    let mut set = chart_stateful_set_without_claim(namespace, name);
    let template = &mut set["spec"]["template"];
    template["spec"]["nodeName"] = json!("node-0");
    template["metadata"]["annotations"] = json!({"rig.test/ready-delay": "24h"});
    set
}

async fn running(admin: &Client, all: usize) -> Vec<Place> {
    let pods = Api::<Pod>::all(admin.clone());
    loop {
        let found = pods
            .list(&ListParams::default())
            .await
            .expect("pods can be listed");
        let found: Vec<_> = found.iter().filter_map(place).collect();
        if found.len() == all {
            return found;
        }
        sleep(Duration::from_millis(500)).await;
    }
}

fn place(pod: &Pod) -> Option<Place> {
    let status = pod.status.as_ref()?;
    let address = status.pod_ip.as_ref()?;
    let line = format!("{address}:{}", names::DEFAULT_PEER_PORT);
    Some((pod.namespace()?, pod.name_any(), line))
}

/// What our program has asked for: by verb and resource, the Lease left out.
fn requests(plane: &ControlPlane) -> BTreeMap<String, usize> {
    let ours = User::StellarPeers.to_string();
    let mut requests = BTreeMap::new();
    for entry in plane.audit() {
        if entry.user == ours && entry.resource != "leases" {
            *requests
                .entry(format!("{} {}", entry.verb, entry.resource))
                .or_default() += 1;
        }
    }
    requests
}

/// What was asked for since: how many writes but for Events, how many Events, and all of it in words.
fn since(before: &BTreeMap<String, usize>, now: &BTreeMap<String, usize>) -> (f64, f64, String) {
    let more = now
        .iter()
        .map(|(what, count)| (what, count - before.get(what).unwrap_or(&0)));
    let more: Vec<_> = more.filter(|it| it.1 > 0).collect();
    let is_event = |what: &str| what.ends_with(" events");
    let is_read = |what: &str| {
        ["get ", "list ", "watch "]
            .iter()
            .any(|it| what.starts_with(it))
    };
    let sum = |counts: &dyn Fn(&str) -> bool| {
        let counted = more.iter().filter(|it| counts(it.0));
        f64::from(u32::try_from(counted.map(|it| it.1).sum::<usize>()).unwrap_or(u32::MAX))
    };
    let writes = sum(&|what| !is_read(what) && !is_event(what));
    let words: Vec<_> = more
        .iter()
        .map(|(what, count)| format!("{what} {count}"))
        .collect();
    let words = if words.is_empty() {
        "none".to_owned()
    } else {
        words.join(", ")
    };
    (writes, sum(&is_event), words)
}

/// Waits until our program has written nothing for a while: all have joined, and people were told.
async fn quiet(plane: &ControlPlane) {
    loop {
        let before = requests(plane);
        sleep(Duration::from_secs(4)).await;
        let (writes, events, _) = since(&before, &requests(plane));
        if writes + events < 1.0 {
            return;
        }
    }
}

async fn rest(plane: &ControlPlane, running: &Running, results: &mut Results) {
    let (before, spent, began) = (requests(plane), running.time_on_core(), Instant::now());
    sleep(REST).await;
    let spent = running.time_on_core().saturating_sub(spent);
    let share = 100.0 * spent.as_secs_f64() / began.elapsed().as_secs_f64();
    let (writes, events, words) = since(&before, &requests(plane));
    fact("at rest for 30 s: of a core", &format!("{share:.3} %"));
    fact("  requests but for the Lease", &words);
    results.add_of(NAME, "rest_core_share", share, "%", Goal::AtMost(0.2));
    results.add_of(NAME, "rest_writes", writes + events, "", Goal::AtMost(0.0));
}

/// A list as a client sees it.
type List = (Instant, String, String);

/// Changes pods, and waits for the lists that follow.
struct Changes<'a> {
    admin: &'a Client,
    lists: UnboundedReceiver<List>,
    /// When a namespace's list was last seen to change.
    last: BTreeMap<String, Instant>,
}

impl Changes<'_> {
    /// One pod goes or comes, this long after the last change of its namespace.
    async fn change(
        &mut self,
        (namespace, name, line): &Place,
        is_ready: bool,
        pause: Duration,
    ) -> Duration {
        if let Some(last) = self.last.get(namespace) {
            sleep_until(*last + pause).await;
        }
        let sent = Instant::now();
        write(self.admin, namespace, name, is_ready).await;
        loop {
            let list = timeout(PATIENCE, self.lists.recv()).await;
            let (seen, of, text) = list
                .expect("the list follows in time")
                .expect("it is watched");
            if of == *namespace && seen > sent && text.lines().any(|it| it == line) == is_ready {
                self.last.insert(of, seen);
                return seen - sent;
            }
        }
    }
}

/// Pods go and come, one after the other.
async fn changes(plane: &ControlPlane, admin: &Client, pods: &[Place], results: &mut Results) {
    let (lists, _watching) = follow(admin.clone());
    let mut stage = Changes {
        admin,
        lists,
        last: BTreeMap::new(),
    };
    sleep(Duration::from_secs(2)).await;
    let before = requests(plane);
    let (mut samples, mut of_most) = (Samples::default(), Samples::default());
    let most = namespace_name(SHAPES[0].namespaces);
    for is_ready in [false, true] {
        for at in 0..CHANGING {
            let place = &pods[at * 97 % pods.len()];
            let took = stage.change(place, is_ready, QUIET).await;
            samples.add(took);
            if place.0 == most {
                of_most.add(took);
            }
        }
    }
    sleep(Duration::from_secs(1)).await;
    let (writes, events, words) = since(&before, &requests(plane));
    let p99 = samples.percentile(99).as_secs_f64() * 1e3;
    row_and(
        "one pod changes → list seen",
        &samples,
        &Goal::AtMost(100.0).words(p99),
    );
    row_and("  of these in the namespace of 500", &of_most, "");
    fact(&format!("  requests over {} changes", 2 * CHANGING), &words);
    let mut hasty = Samples::default();
    let some = pods.iter().filter(|(namespace, ..)| *namespace == most);
    for place in some.take(CHANGING / 5) {
        for is_ready in [false, true] {
            hasty.add(stage.change(place, is_ready, HASTE).await);
        }
    }
    row_and(
        "the same 50 ms after its namespace's last list → list seen",
        &hasty,
        "changes of a namespace are written every 250 ms at most",
    );
    for (name, percent) in [("change_p50", 50), ("change_p99", 99), ("change_max", 100)] {
        let goal = if percent == 99 {
            Goal::AtMost(100.0)
        } else {
            Goal::None
        };
        let value = samples.percentile(percent).as_secs_f64() * 1e3;
        results.add_of(NAME, name, value, "ms", goal);
    }
    let changes = f64::from(u32::try_from(2 * CHANGING).expect("a few hundred"));
    results.add_of(
        NAME,
        "writes_a_change",
        writes / changes,
        "",
        Goal::AtMost(1.0),
    );
    results.add_of(NAME, "events_a_change", events / changes, "", Goal::None);
}

async fn write(admin: &Client, namespace: &str, name: &str, is_ready: bool) {
    let status = if is_ready { "True" } else { "False" };
    let conditions =
        ["Ready", "ContainersReady"].map(|kind| json!({"type": kind, "status": status}));
    let patch = Patch::Strategic(json!({"status": {"conditions": conditions}}));
    let pods = Api::<Pod>::namespaced(admin.clone(), namespace);
    let written = pods
        .patch_status(name, &PatchParams::default(), &patch)
        .await;
    written.expect("the pod is there");
}

fn follow(admin: Client) -> (UnboundedReceiver<List>, JoinSet<()>) {
    let (tell, lists) = mpsc::unbounded_channel();
    let mut watching = JoinSet::new();
    watching.spawn(async move {
        let ours = watcher::Config::default().fields("metadata.name=stellar-peers");
        let events = watcher(Api::<ConfigMap>::all(admin), ours);
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            let seen = Instant::now();
            if let Event::Apply(mut map) = event.expect("lists can be watched") {
                let text = map
                    .data
                    .as_mut()
                    .and_then(|data| data.remove(names::KEY_KNOWN_PEERS));
                let namespace = map.namespace().unwrap_or_default();
                // Nobody listens any more only at the very end.
                let _ = tell.send((seen, namespace, text.unwrap_or_default()));
            }
        }
    });
    (lists, watching)
}
