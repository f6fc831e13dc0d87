//! Our binary as a process against the in-memory API server on a port: memory, time on a core, requests, latency.
//!
//! **How a change is timed.** The benchmark plays the kubelet: it writes a pod's status, past the network. A time begins
//! when that write is about to be made, and ends within the API server at the instant at which the list with that
//! address, or without it, is stored. In between are the watch's line to our process, its pass, and its request: both
//! over the loopback, both answered by a server that shares two cores with our process.

use std::{collections::BTreeMap, fs, time::Duration};

use futures::future::join_all;
use kube::Client;
use serde_json::json;
use stellar_peers::sandbox::{Sandbox, SandboxOptions};
use tempfile::TempDir;
use tokio::{
    sync::mpsc::{self, UnboundedReceiver},
    time::{Instant, sleep, timeout},
};

use crate::{
    figures::{Samples, fact, row_and, title},
    herd::{self, Pod, Shape, namespace_name},
    ours::{Program, Running},
    results::{Goal, Results},
    served::Served,
    validator::Validator,
};

/// The longest that anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// From one list to the next change of the same namespace: longer than changes coalesce.
const QUIET: Duration = Duration::from_millis(300);
/// Each namespace is looked at again once in this time.
const REST: Duration = Duration::from_secs(30);
/// How many pods change, each three times: it is gone, it comes with a new address, it moves.
const CHANGING: usize = 200;
/// The same where all are of one namespace, and so have to wait for each other.
const CHANGING_OF_ONE: usize = 30;
/// How many pods change at once.
const BURST: usize = 100;
/// How many writes that change nothing that we read.
const IDLE_WRITES: usize = 2_000;

/// Prints the table of one shape.
pub(crate) async fn measure(validator: &Validator, shape: Shape, results: &mut Results) {
    title(&format!(
        "{shape} validators, our binary on a served sandbox"
    ));
    let sandbox = Sandbox::new(SandboxOptions {
        requests_max: 0,
        // No watch is cut off because many objects were written at once.
        history_events_max: 4 * shape.all().max(1024),
        ..SandboxOptions::default()
    });
    for namespace in 0..shape.namespaces {
        sandbox.create_namespace(&namespace_name(namespace));
    }
    let admin = sandbox.client("admin");
    let began = Instant::now();
    let pods = herd::plant(&sandbox, validator, shape).await;
    fact("made", &format!("in {:.1?}", began.elapsed()));
    let mut stage = Stage {
        shape,
        lists: follow(&sandbox),
        served: Served::start(&sandbox).await,
        admin,
        pods,
        last: BTreeMap::new(),
    };
    let folder = TempDir::new().expect("a temporary folder");
    let program = stage.program(folder.path()).await;
    stage.install(&program, results).await;
    let running = stage.start_again(&program, results).await;
    stage.rest(&running, results).await;
    stage.changes(results).await;
    stage.burst(results).await;
    stage.idle_writes(&running, results).await;
    stage.looks(&running, results).await;
    running.end().await;
}

/// A list that was stored.
struct List {
    at: Instant,
    namespace: String,
    known_peers: String,
}

/// Hears of each list at the instant at which it is stored.
fn follow(sandbox: &Sandbox) -> UnboundedReceiver<List> {
    let (tell, lists) = mpsc::unbounded_channel();
    sandbox.witness_changes(move |change| {
        let Some(map) = change.after.filter(|_| change.resource == "configmaps") else {
            return;
        };
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        // Nobody listens any more only at the very end.
        let _ = tell.send(List {
            at: Instant::now(),
            namespace: text(&map["metadata"]["namespace"]),
            known_peers: text(&map["data"]["KNOWN_PEERS"]),
        });
    });
    lists
}

struct Stage {
    shape: Shape,
    pods: Vec<Pod>,
    admin: Client,
    served: Served,
    lists: UnboundedReceiver<List>,
    /// When a namespace was last changed.
    last: BTreeMap<String, Instant>,
}

impl Stage {
    async fn program(&self, folder: &std::path::Path) -> Program {
        let kubeconfig = folder.join("kubeconfig");
        let server = format!("http://{}", self.served.address);
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "sandbox",
            "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": "ours"}}],
            "clusters": [{"name": "sandbox", "cluster": {"server": server}}],
            "users": [{"name": "ours", "user": {}}],
        });
        fs::write(&kubeconfig, config.to_string()).expect("a kubeconfig");
        let image = format!("--render-image={}", herd::IMAGE);
        Program::prepare(&kubeconfig, folder, &["--own-namespace=default", &image]).await
    }

    /// There is no list yet and nobody is noted down as a member.
    async fn install(&mut self, program: &Program, results: &mut Results) {
        let began = Instant::now();
        let (running, ready) = program.start().await;
        fact("installed: start to ready", &format!("{ready:.0?}"));
        let mut listed = BTreeMap::new();
        while listed.len() < self.shape.namespaces {
            let list = timeout(PATIENCE, self.lists.recv()).await;
            let list = list.expect("lists are written in time").expect("a sandbox");
            listed.entry(list.namespace).or_insert(list.at);
        }
        let last = listed.into_values().max().expect("some namespace");
        let took = last - began;
        fact("  start to the last list", &format!("{took:.0?}"));
        results.add(
            self.shape,
            "installed_start_to_last_list",
            took.as_secs_f64(),
            "s",
            Goal::None,
        );
        self.quiet().await;
        let requests = self.served.requests();
        fact("  start to quiet", &format!("{:.1?}", began.elapsed()));
        fact("  requests", &requests.words());
        let memory = running.memory();
        fact(
            "  resident memory",
            &format!(
                "{:.1} MB, at its highest {:.1} MB",
                memory.resident, memory.peak
            ),
        );
        results.add(
            self.shape,
            "installed_memory_peak",
            memory.peak,
            "MB",
            Goal::None,
        );
        running.end().await;
    }

    /// Waits until our program has asked for nothing but its Lease for a while.
    async fn quiet(&self) {
        loop {
            let before = self.served.requests().writes();
            sleep(Duration::from_millis(1500)).await;
            if self.served.requests().writes() == before {
                return;
            }
        }
    }

    /// All is as it should be: what a rollout of our program meets.
    async fn start_again(&mut self, program: &Program, results: &mut Results) -> Running {
        let before = self.served.requests();
        let began = Instant::now();
        let (running, ready) = program.start().await;
        fact("started again: start to ready", &format!("{ready:.0?}"));
        results.add(
            self.shape,
            "start_to_ready",
            ready.as_secs_f64() * 1e3,
            "ms",
            Goal::None,
        );
        running.passes(self.shape.namespaces).await;
        let passed = began.elapsed();
        fact(
            "  start to a pass over each namespace",
            &format!("{passed:.0?}"),
        );
        results.add(
            self.shape,
            "start_to_all_passed",
            passed.as_secs_f64() * 1e3,
            "ms",
            Goal::None,
        );
        sleep(Duration::from_secs(2)).await;
        fact("  requests", &(self.served.requests() - &before).words());
        let spent = running.time_on_core();
        fact("  time on a core", &format!("{spent:.0?}"));
        results.add(
            self.shape,
            "start_time_on_core",
            spent.as_secs_f64() * 1e3,
            "ms",
            Goal::None,
        );
        let memory = running.memory();
        fact(
            "  resident memory",
            &format!(
                "{:.1} MB ({:.1} MB its own data), at its highest {:.1} MB",
                memory.resident, memory.anonymous, memory.peak
            ),
        );
        let goal = Goal::AtMost(60.0);
        results.add(self.shape, "memory", memory.resident, "MB", goal);
        results.add(
            self.shape,
            "memory_anonymous",
            memory.anonymous,
            "MB",
            Goal::None,
        );
        results.add(self.shape, "memory_peak", memory.peak, "MB", Goal::None);
        running
    }

    async fn rest(&mut self, running: &Running, results: &mut Results) {
        let (requests, spent) = (self.served.requests(), running.time_on_core());
        let began = Instant::now();
        sleep(REST).await;
        let spent = running.time_on_core().saturating_sub(spent);
        let share = 100.0 * spent.as_secs_f64() / began.elapsed().as_secs_f64();
        let requests = self.served.requests() - &requests;
        fact(
            "at rest for 30 s: of a core",
            &format!("{share:.3} % ({spent:.1?})"),
        );
        fact("  requests", &requests.words());
        results.add(self.shape, "rest_core_share", share, "%", Goal::AtMost(0.2));
        results.add(
            self.shape,
            "rest_writes",
            f64::from(requests.writes()),
            "",
            Goal::AtMost(0.0),
        );
    }

    /// Pods of different namespaces change, one after the other.
    async fn changes(&mut self, results: &mut Results) {
        let chosen = self.chosen(if self.shape.namespaces == 1 {
            CHANGING_OF_ONE
        } else {
            CHANGING
        });
        let before = self.served.requests();
        let mut samples = Samples::default();
        let mut changes = 0_u32;
        for (move_to, is_ready) in [(None, false), (Some(11), true), (Some(12), true)] {
            for at in &chosen {
                samples.add(self.change(*at, move_to, is_ready).await);
                changes += 1;
            }
        }
        sleep(Duration::from_secs(1)).await;
        let requests = self.served.requests() - &before;
        // A list of five thousand is written whole: that is the API server's time more than ours.
        let goal = match self.shape.namespaces {
            1 => Goal::None,
            _ => Goal::AtMost(100.0),
        };
        self.show(
            &samples,
            "change",
            goal,
            "one pod changes → list stored",
            results,
        );
        let each = |count: u32| f64::from(count) / f64::from(changes);
        fact(
            "  requests",
            &format!("over {changes} changes: {}", requests.words()),
        );
        // An Event tells people of it, from a queue of its own.
        let events = requests.writes_of("events");
        let others = requests.writes() - events;
        for (name, count, goal) in [
            ("writes_a_change", others, Goal::AtMost(1.0)),
            ("events_a_change", events, Goal::None),
        ] {
            results.add(self.shape, name, each(count), "", goal);
        }
    }

    fn show(&self, samples: &Samples, name: &str, goal: Goal, what: &str, results: &mut Results) {
        let p99 = samples.percentile(99).as_secs_f64() * 1e3;
        row_and(what, samples, &goal.words(p99));
        for (part, percent, goal) in [
            ("p50", 50, Goal::None),
            ("p99", 99, goal),
            ("max", 100, Goal::None),
        ] {
            let value = samples.percentile(percent).as_secs_f64() * 1e3;
            results.add(self.shape, &format!("{name}_{part}"), value, "ms", goal);
        }
    }

    /// Pods spread over the namespaces, as if drawn by lot but the same each time.
    fn chosen(&self, wanted: usize) -> Vec<usize> {
        let Shape {
            namespaces,
            validators,
        } = self.shape;
        let step = |it: usize, of: usize| it * 7919 % of;
        if namespaces == 1 {
            (0..wanted.min(validators))
                .map(|it| step(it, validators))
                .collect()
        } else {
            let spread = 0..wanted.min(namespaces);
            spread
                .map(|it| step(it, namespaces) * validators + step(it, validators))
                .collect()
        }
    }

    /// Waits until changes of this namespace don't coalesce any more.
    async fn calm(&mut self, namespace: &str) {
        if let Some(last) = self.last.get(namespace) {
            tokio::time::sleep_until(*last + QUIET).await;
        }
    }

    async fn change(&mut self, at: usize, move_to: Option<u8>, is_ready: bool) -> Duration {
        let namespace = self.pods[at].namespace.clone();
        self.calm(&namespace).await;
        let pod = &mut self.pods[at];
        move_pod(pod, move_to);
        let sent = Instant::now();
        pod.write(&self.admin, is_ready).await;
        let line = pod.line();
        let stored = self.stored(&namespace, &line, is_ready).await;
        self.last.insert(namespace, stored);
        stored - sent
    }

    /// When a list of this namespace with this line, or without it, was stored.
    async fn stored(&mut self, namespace: &str, line: &str, is_listed: bool) -> Instant {
        loop {
            let list = timeout(PATIENCE, self.lists.recv()).await;
            let list = list.expect("the list follows in time").expect("a sandbox");
            if list.namespace == namespace && has_line(&list, line) == is_listed {
                return list.at;
            }
        }
    }

    /// Many pods move at once, as when a node is drained.
    async fn burst(&mut self, results: &mut Results) {
        let chosen = self.chosen(BURST);
        sleep(QUIET).await;
        let before = self.served.requests();
        for at in &chosen {
            move_pod(&mut self.pods[*at], Some(13));
        }
        let pods: Vec<Pod> = chosen.iter().map(|at| self.pods[*at].clone()).collect();
        let writes = pods.iter().map(|pod| async {
            let sent = Instant::now();
            pod.write(&self.admin, true).await;
            sent
        });
        let sent = join_all(writes).await;
        let mut open: Vec<(&Pod, Instant)> = pods.iter().zip(sent).collect();
        let mut samples = Samples::default();
        while !open.is_empty() {
            let list = timeout(PATIENCE, self.lists.recv()).await;
            let list = list.expect("the lists follow in time").expect("a sandbox");
            open.retain(|(pod, sent)| {
                let is_met = list.namespace == pod.namespace && has_line(&list, &pod.line());
                if is_met {
                    samples.add(list.at - *sent);
                }
                !is_met
            });
        }
        sleep(QUIET).await;
        let what = format!("{} pods move at once → list stored", pods.len());
        self.show(&samples, "burst", Goal::None, &what, results);
        fact("  requests", &(self.served.requests() - &before).words());
    }

    /// Writes of an operator that change nothing that we read.
    async fn idle_writes(&mut self, running: &Running, results: &mut Results) {
        sleep(Duration::from_secs(1)).await;
        let (requests, spent) = (self.served.requests(), running.time_on_core());
        for number in 0..IDLE_WRITES {
            let pod = &self.pods[number * 7919 % self.pods.len()];
            let set = pod.name.strip_suffix("-0").unwrap_or_default();
            let path = format!(
                "/apis/apps/v1/namespaces/{}/statefulsets/{set}",
                pod.namespace
            );
            let body =
                json!({"metadata": {"labels": {"stellar.org/reconcile": number.to_string()}}});
            let request = http::Request::patch(path)
                .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
                .body(body.to_string().into_bytes())
                .expect("a request");
            let written: Result<serde_json::Value, _> = self.admin.request(request).await;
            written.expect("the StatefulSet is there");
        }
        sleep(Duration::from_secs(1)).await;
        let spent = running.time_on_core().saturating_sub(spent);
        let each = spent.as_secs_f64() * 1e6 / 2_000.0;
        fact(
            "a write of others that changes nothing for us",
            &format!(
                "{each:.0} µs on a core; {}",
                (self.served.requests() - &requests).words()
            ),
        );
        results.add(
            self.shape,
            "idle_write_time_on_core",
            each,
            "us",
            Goal::None,
        );
    }

    /// What somebody who looks costs.
    async fn looks(&mut self, running: &Running, results: &mut Results) {
        for (path, name) in [
            ("/metrics", "metrics"),
            ("/api/v1/status", "status"),
            ("/", "page"),
        ] {
            let (began, spent) = (Instant::now(), running.time_on_core());
            let answer = running.get(path).await.expect("it answers");
            let took = began.elapsed();
            let spent = running.time_on_core().saturating_sub(spent).as_secs_f64() * 1e3;
            let size = answer.len() / 1000;
            fact(
                &format!("GET {path}"),
                &format!("{took:.0?}, {spent:.0} ms on a core, {size} kB"),
            );
            results.add(
                self.shape,
                &format!("get_{name}"),
                took.as_secs_f64() * 1e3,
                "ms",
                Goal::None,
            );
        }
        sleep(Duration::from_secs(1)).await;
        let memory = running.memory();
        fact(
            "resident memory after all this",
            &format!(
                "{:.1} MB, at its highest {:.1} MB",
                memory.resident, memory.peak
            ),
        );
        results.add(
            self.shape,
            "memory_after_all",
            memory.resident,
            "MB",
            Goal::None,
        );
    }
}

fn has_line(list: &List, line: &str) -> bool {
    list.known_peers.lines().any(|it| it == line)
}

/// Gives a pod an address that nobody else has: the same, in another network.
fn move_pod(pod: &mut Pod, to: Option<u8>) {
    if let Some(to) = to {
        let [_, b, c, d] = pod.address.octets();
        pod.address = [to, b, c, d].into();
    }
}
