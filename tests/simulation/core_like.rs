//! Pods that are Ready as stellar-core is: only while they are connected.

use serde_json::Value;

use crate::{
    observer::Shared,
    truth::{Running, Truth, Validator, pod_of},
};

/// Whether a running pod is connected to at least half of the others of its network that run.
///
/// It dials whom the list named when it started, if our volume is in its template; links work both ways.
pub(crate) fn is_ready(pod: &Value, observer: &Shared) -> bool {
    let observer = observer.lock();
    let truth = &observer.truth;
    let Some((name, _)) = pod["metadata"]["name"]
        .as_str()
        .and_then(|pod| pod.rsplit_once('-'))
    else {
        return false;
    };
    let Some(own) = truth.validators.get(name) else {
        return false;
    };
    let others: Vec<_> = truth
        .of(own.network.now())
        .filter(|(other, _)| *other != name)
        .collect();
    if !others.iter().any(|(_, it)| it.is_candidate()) {
        return true;
    }
    let running: Vec<_> = others
        .iter()
        .filter(|(_, it)| it.address.now().is_some())
        .collect();
    let linked = running
        .iter()
        .filter(|(other, it)| is_linked(truth, (name, own), (other, it)))
        .count();
    linked > 0 && 2 * linked >= running.len()
}

fn is_linked(truth: &Truth, one: (&str, &Validator), other: (&str, &Validator)) -> bool {
    let dials = |from: &str, to: &Validator| {
        let pod: Option<&Running> = truth.pods.get(&pod_of(from));
        let address = to.address.now().as_deref();
        pod.is_some_and(|pod| pod.dials.lines().any(|dialled| Some(dialled) == address))
    };
    dials(one.0, other.1) || dials(other.0, one.1)
}
