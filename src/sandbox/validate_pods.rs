//! What the server refuses in pods and StatefulSets.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    error::Cause,
    names,
    object::{items, meta_str},
    selector::Selector,
    validate::{annotations, labels},
};

pub(super) fn stateful_set(old: Option<&Value>, new: &Value, causes: &mut Vec<Cause>) {
    let spec = &new["spec"];
    let template = &spec["template"];
    let selects_nothing = spec["selector"].as_object().is_none_or(Map::is_empty);
    if selects_nothing {
        causes.push(Cause::required("spec.selector", ""));
    }
    if selects_nothing || !Selector::from_label_selector(&spec["selector"]).accepts(template) {
        let (labels, why) = (
            &template["metadata"]["labels"],
            "`selector` does not match template `labels`",
        );
        causes.push(Cause::invalid("spec.template.metadata.labels", labels, why));
    }
    if spec["replicas"]
        .as_i64()
        .is_some_and(|replicas| replicas < 0)
    {
        let why = "must be greater than or equal to 0";
        causes.push(Cause::invalid("spec.replicas", &spec["replicas"], why));
    }
    let policy = &spec["podManagementPolicy"];
    if !matches!(policy.as_str(), Some("OrderedReady" | "Parallel")) {
        let why = "must be 'OrderedReady' or 'Parallel'";
        causes.push(Cause::invalid("spec.podManagementPolicy", policy, why));
    }
    let restart = &template["spec"]["restartPolicy"];
    if restart != "Always" {
        causes.push(Cause::not_supported(
            "spec.template.spec.restartPolicy",
            restart,
            "\"Always\"",
        ));
    }
    annotations(
        &template["metadata"],
        "spec.template.metadata.annotations",
        causes,
    );
    labels(
        &template["metadata"]["labels"],
        "spec.template.labels",
        causes,
    );
    let claims = items(spec, "volumeClaimTemplates")
        .iter()
        .map(|claim| meta_str(claim, "name"));
    pod_spec(
        &template["spec"],
        "spec.template.spec",
        claims.collect(),
        causes,
    );
    if old.is_some_and(|old| !fixed_part(&old["spec"]).eq(fixed_part(spec))) {
        let why = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                   'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                   'minReadySeconds' are forbidden";
        causes.push(Cause::forbidden("spec", why));
    }
}

/// The part of a StatefulSet's spec that may never change.
fn fixed_part(spec: &Value) -> impl Iterator<Item = (&String, &Value)> {
    const MUTABLE: [&str; 7] = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    spec.as_object()
        .into_iter()
        .flatten()
        .filter(|(field, _)| !MUTABLE.contains(&field.as_str()))
}

pub(super) fn pod(old: Option<&Value>, new: &Value, causes: &mut Vec<Cause>) {
    pod_spec(&new["spec"], "spec", BTreeSet::new(), causes);
    if old.is_some_and(|old| fixed_pod_part(old) != fixed_pod_part(new)) {
        causes.push(Cause::forbidden(
            "spec",
            "pod updates may not change fields other than image and tolerations",
        ));
    }
}

/// The part of a pod's spec that may never change.
fn fixed_pod_part(pod: &Value) -> Map<String, Value> {
    let mut spec = pod["spec"].as_object().cloned().unwrap_or_default();
    for field in [
        "activeDeadlineSeconds",
        "terminationGracePeriodSeconds",
        "tolerations",
        "nodeName",
    ] {
        spec.remove(field);
    }
    for list in ["containers", "initContainers"] {
        for container in spec
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            container["image"] = Value::Null;
        }
    }
    spec
}

/// `claims`: the names of a StatefulSet's claim templates, which its containers mount like volumes.
fn pod_spec<'a>(spec: &'a Value, path: &str, claims: BTreeSet<&'a str>, causes: &mut Vec<Cause>) {
    let mut volumes = claims;
    for (index, volume) in items(spec, "volumes").iter().enumerate() {
        let path = format!("{path}.volumes[{index}]");
        named(volume, &path, &mut volumes, causes);
        if volume.as_object().is_some_and(|volume| volume.len() > 2) {
            causes.push(Cause::forbidden(
                path,
                "may not specify more than 1 volume type",
            ));
        }
    }
    if items(spec, "containers").is_empty() {
        causes.push(Cause::required(format!("{path}.containers"), ""));
    }
    let mut containers = BTreeSet::new();
    for list in ["initContainers", "containers"] {
        for (index, container) in items(spec, list).iter().enumerate() {
            let path = format!("{path}.{list}[{index}]");
            named(container, &path, &mut containers, causes);
            if container["image"].as_str().unwrap_or_default().is_empty() {
                causes.push(Cause::required(format!("{path}.image"), ""));
            }
            ports(container, &path, causes);
            mounts(container, &path, &volumes, causes);
        }
    }
}

/// An entry whose `name` must be an RFC 1123 label and unique.
fn named<'a>(entry: &'a Value, path: &str, seen: &mut BTreeSet<&'a str>, causes: &mut Vec<Cause>) {
    let path = format!("{path}.name");
    let name = entry["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        causes.push(Cause::required(path, ""));
        return;
    }
    names::label(&path, &entry["name"], causes);
    if !seen.insert(name) {
        causes.push(Cause::duplicate(path, name));
    }
}

fn ports(container: &Value, path: &str, causes: &mut Vec<Cause>) {
    let mut seen = BTreeSet::new();
    for (index, port) in items(container, "ports").iter().enumerate() {
        let path = format!("{path}.ports[{index}]");
        let number = &port["containerPort"];
        match number.as_i64().unwrap_or(0) {
            0 => causes.push(Cause::required(format!("{path}.containerPort"), "")),
            1..=65535 => {}
            _ => {
                let why = "must be between 1 and 65535, inclusive";
                causes.push(Cause::invalid(format!("{path}.containerPort"), number, why));
            }
        }
        let Some(name) = port["name"].as_str() else {
            continue;
        };
        if name.len() > 15 {
            let why = "must be no more than 15 characters";
            causes.push(Cause::invalid(format!("{path}.name"), &port["name"], why));
        } else if !names::is_label(name) || !name.bytes().any(|b| b.is_ascii_lowercase()) {
            let why = "must contain only alpha-numeric characters (a-z, 0-9), and hyphens ('-')";
            causes.push(Cause::invalid(format!("{path}.name"), &port["name"], why));
        }
        if !seen.insert(name) {
            causes.push(Cause::duplicate(format!("{path}.name"), name));
        }
    }
}

fn mounts(container: &Value, path: &str, volumes: &BTreeSet<&str>, causes: &mut Vec<Cause>) {
    let mut seen = BTreeSet::new();
    for (index, mount) in items(container, "volumeMounts").iter().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        let name = mount["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            causes.push(Cause::required(format!("{path}.name"), ""));
        } else if !volumes.contains(name) {
            causes.push(Cause::not_found(format!("{path}.name"), name));
        }
        let place = mount["mountPath"].as_str().unwrap_or_default();
        if place.is_empty() {
            causes.push(Cause::required(format!("{path}.mountPath"), ""));
        } else if !seen.insert(place) {
            causes.push(Cause::invalid(
                format!("{path}.mountPath"),
                &mount["mountPath"],
                "must be unique",
            ));
        }
    }
}
