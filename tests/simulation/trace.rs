//! What a line of the trace says about a write.

use serde_json::Value;
use stellar_peers::{api::names, sandbox::Change};

use crate::{
    truth::Truth,
    view::{ListView, NodeView, PodView, SetView},
};

/// The line; none for a write that nobody need know of.
pub(crate) fn line(change: &Change<'_>, truth: &Truth) -> Option<String> {
    let object = change.after.or(change.before)?;
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    match (change.resource, change.after) {
        ("pods" | "statefulsets" | "stellarnodes", None) => {
            Some(format!("{} {name} is gone", change.resource))
        }
        ("pods", Some(pod)) => {
            let pod = PodView::of(pod);
            let state = match (pod.is_terminating, pod.is_ready, &pod.ip) {
                (true, ..) => "ends",
                (_, true, _) => "is Ready",
                (_, false, Some(_)) => "runs",
                (_, _, None) => "is made",
            };
            let ip = pod.ip.unwrap_or_default();
            Some(format!("pod {name} {state} {ip} {}", pod.revision))
        }
        ("statefulsets", Some(set)) => stateful_set(name, set, change.before),
        ("stellarnodes", Some(node)) => {
            let node = NodeView::of(node);
            Some(format!(
                "StellarNode {name} {} port {} takes part {}",
                node.network, node.port, node.takes_part
            ))
        }
        ("configmaps", after) if name == names::STELLAR_PEERS => {
            let Some(after) = after else {
                return Some("the list is gone".to_owned());
            };
            let peers = ListView::of(after).known_peers.replace('\n', " ");
            let members = after["data"][names::KEY_MEMBERS]
                .as_str()
                .unwrap_or_default();
            let is_same = truth
                .list
                .as_ref()
                .is_some_and(|list| list.known_peers == ListView::of(after).known_peers);
            let sign = if is_same { "=" } else { "!" };
            Some(format!(
                "list{sign} {peers}| {members} {}",
                annotations(after)
            ))
        }
        _ => None,
    }
}

fn stateful_set(name: &str, set: &Value, before: Option<&Value>) -> Option<String> {
    let view = SetView::of(set);
    if let Some(before) = before {
        let old = SetView::of(before);
        let is_same = (old.generation, old.observed, &old.revision)
            == (view.generation, view.observed, &view.revision)
            && annotations(before) == annotations(set);
        if is_same {
            return None;
        }
    }
    Some(format!(
        "StatefulSet {name} generation {}/{} {} parts {:?} membership {} restarted {} {}",
        view.observed,
        view.generation,
        view.revision,
        view.parts,
        view.membership.unwrap_or_default(),
        view.restarted_at.unwrap_or_default(),
        annotations(set)
    ))
}

/// Our annotations on an object itself.
fn annotations(object: &Value) -> String {
    let annotations = object["metadata"]["annotations"].as_object();
    let ours = annotations
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| {
            Some(format!(
                "{}={}",
                key.strip_prefix("peers.stellar.org/")?,
                value.as_str()?
            ))
        });
    ours.collect::<Vec<_>>().join(" ")
}
