//! Pods that are Ready as stellar-core is: only while they are connected.

use serde_json::Value;

use crate::{
    observer::Shared,
    truth::{Truth, Validator, pod_of},
};

/// Whether a running pod is connected, over however many others, to at least half of the others of its network that
/// run.
///
/// A pod dials whom the list named when it started, if our volume is in its template; links work both ways.
pub(crate) fn is_ready(pod: &Value, observer: &Shared) -> bool {
    let observer = observer.lock();
    let truth = &observer.truth;
    let name = pod["metadata"]["name"]
        .as_str()
        .and_then(|pod| pod.rsplit_once('-'));
    let Some((name, own)) = name.and_then(|(name, _)| truth.validators.get_key_value(name)) else {
        return false;
    };
    let others: Vec<_> = truth
        .of(own.network.now())
        .filter(|(other, _)| *other != name)
        .collect();
    if !others.iter().any(|(_, it)| it.is_candidate()) {
        return true;
    }
    let runs = |it: &&(&String, &Validator)| it.1.address.now().is_some();
    let mut apart: Vec<_> = others.iter().filter(runs).copied().collect();
    let running = apart.len();
    let mut reached = vec![(name, own)];
    while let Some(from) = reached.pop() {
        let (linked, rest) = apart
            .into_iter()
            .partition(|to| is_linked(truth, from, *to));
        apart = rest;
        reached.extend::<Vec<_>>(linked);
    }
    let connected = running - apart.len();
    connected > 0 && 2 * connected >= running
}

fn is_linked(truth: &Truth, one: (&String, &Validator), other: (&String, &Validator)) -> bool {
    let dials = |from: &str, to: &Validator| {
        let pod = truth.pods.get(&pod_of(from));
        let ip = to
            .address
            .now()
            .as_deref()
            .and_then(|address| address.split(':').next());
        let mut dialled = pod.into_iter().flat_map(|pod| pod.dials.lines());
        ip.is_some() && dialled.any(|address| address.split(':').next() == ip)
    };
    dials(one.0, other.1) || dials(other.0, one.1)
}
