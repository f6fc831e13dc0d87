//! From a pod's readiness to the list: the same series on every API server.
//!
//! **How the times are taken.** The benchmark plays the kubelet: it writes the pod's condition itself, through the API.
//! A time begins when that request is about to be sent, and ends when a client that watches the ConfigMap is told of a
//! list that has the pod's address (or has it no more). So the API server's own work on the status, on the list and on
//! both watches is part of it: the figure is an upper bound of "Ready in the API to list written". The API's own times
//! (`lastTransitionTime`, managed fields) are whole seconds and too coarse. How long the API server took for the
//! status alone is shown beside it.
//!
//! The contract (R11) has the first change acted on at once, and later ones at most every 250 ms: so single changes are
//! [`QUIET`] apart, and what comes together is a series of its own, in which most wait for their turn.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::sleep;

use crate::{
    cluster::{Cluster, Validator},
    figures::{Samples, row, row_and},
    traffic::Traffic,
};

/// From one list to the next change: longer than changes coalesce.
const QUIET: Duration = Duration::from_millis(270);
/// How often each pod goes and comes by itself.
const ROUNDS: u32 = 2;
/// How many pods change together in a burst, and how often.
const BURST: usize = 10;
const BURSTS: usize = 5;
/// For what is under way when the last list was seen, such as Events.
const AFTERMATH: Duration = Duration::from_secs(1);

/// Pods become Ready for the first time, one by one, and in bursts. `sent` counts our program's requests so far.
pub(crate) async fn measure(cluster: &Cluster, sent: impl Fn() -> Traffic) {
    // Our program has just started: let it be done with that.
    sleep(AFTERMATH).await;
    let (joined, _) = change(cluster, &cluster.validators, true).await;
    sleep(AFTERMATH).await;
    let before = sent();
    let changes = one_by_one(cluster).await;
    sleep(AFTERMATH).await;
    let traffic = sent() - before;
    let (gone, come) = bursts(cluster).await;
    sleep(AFTERMATH).await;
    let is_met = changes.come.percentile(99) < Duration::from_millis(100);
    let verdict = if is_met { "met" } else { "missed" };
    row_and(
        "one pod Ready → listed",
        &changes.come,
        &format!("goal p99 < 100 ms: {verdict}"),
    );
    row("one pod not Ready → not listed", &changes.gone);
    row(
        "  of these, the API server's answer to the status",
        &changes.answered,
    );
    row(&format!("{BURST} pods Ready at once → each listed"), &come);
    row(
        &format!("{BURST} pods not Ready at once → each not listed"),
        &gone,
    );
    row(
        "all pods Ready at once for the first time → each listed",
        &joined,
    );
    traffic.show_per_change(changes.count);
}

/// What single changes took.
#[derive(Default)]
struct Single {
    come: Samples,
    gone: Samples,
    answered: Samples,
    count: u32,
}

async fn one_by_one(cluster: &Cluster) -> Single {
    let mut single = Single::default();
    for _ in 0..ROUNDS {
        for pod in cluster.validators.chunks(1) {
            let (gone, answered) = change(cluster, pod, false).await;
            single.gone.extend(gone);
            single.answered.extend(answered);
            let (come, answered) = change(cluster, pod, true).await;
            single.come.extend(come);
            single.answered.extend(answered);
            single.count += 2;
        }
    }
    single
}

/// Bursts of pods that go, and of the same pods that come.
async fn bursts(cluster: &Cluster) -> (Samples, Samples) {
    let (mut gone, mut come) = (Samples::default(), Samples::default());
    for pods in cluster.validators.chunks(BURST).take(BURSTS) {
        gone.extend(change(cluster, pods, false).await.0);
        come.extend(change(cluster, pods, true).await.0);
    }
    (gone, come)
}

/// Changes pods together, and waits until the list says so and all is quiet. Gives the times from each write to the
/// list, and to the API server's answer.
async fn change(cluster: &Cluster, pods: &[Validator], is_ready: bool) -> (Samples, Samples) {
    let (mut listed, mut answered) = (Samples::default(), Samples::default());
    let writes = cluster.set_ready(pods, is_ready).await;
    let seen = pods.iter().zip(&writes);
    let seen = seen.map(|(pod, write)| cluster.seen(&pod.line, is_ready, write.sent));
    for (seen, write) in join_all(seen).await.into_iter().zip(writes) {
        listed.add(seen - write.sent);
        answered.add(write.answered - write.sent);
    }
    sleep(QUIET).await;
    (listed, answered)
}
