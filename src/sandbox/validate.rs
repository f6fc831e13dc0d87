//! What the server refuses, with the field named. Only the rules that this project can run into.
//!
//! Source: `pkg/apis/*/validation/validation.go` of Kubernetes.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    error::Cause,
    kinds::Kind,
    object::{is_terminating, items, meta_str},
    selector::Selector,
};

/// The most bytes that a ConfigMap or a Secret may hold.
const DATA_BYTES_MAX: usize = 1024 * 1024;
/// The most bytes of all annotations of an object together.
const ANNOTATION_BYTES_MAX: usize = 256 * 1024;

/// Everything that is wrong with an object, given the stored one on an update.
pub(super) fn causes(kind: &Kind, old: Option<&Value>, new: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    metadata(kind, old, new, &mut causes);
    (kind.rules.validate)(old, new, &mut causes);
    causes
}

fn metadata(kind: &Kind, old: Option<&Value>, new: &Value, causes: &mut Vec<Cause>) {
    let name = &new["metadata"]["name"];
    let label_only = kind.is("", "namespaces") || kind.is("", "services");
    if !is_subdomain(
        name.as_str().unwrap_or_default(),
        if label_only { 63 } else { 253 },
        !label_only,
    ) {
        causes.push(Cause::invalid("metadata.name", name, NOT_A_SUBDOMAIN));
    }
    annotations(&new["metadata"], "metadata", causes);
    labels(&new["metadata"]["labels"], "metadata.labels", causes);
    let finalizers = |value: &Value| {
        items(&value["metadata"], "finalizers")
            .iter()
            .cloned()
            .map(|f| f.to_string())
            .collect()
    };
    if let Some(old) = old.filter(|old| is_terminating(old)) {
        let (before, after): (BTreeSet<_>, BTreeSet<_>) = (finalizers(old), finalizers(new));
        if !after.is_subset(&before) {
            let why = "no new finalizers can be added if the object is being deleted";
            causes.push(Cause::forbidden("metadata.finalizers", why));
        }
    }
}

const NOT_A_SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or \
                               '.', and must start and end with an alphanumeric character";

/// RFC 1123: labels of lower-case letters, digits and inner dashes, joined by dots where those are allowed.
pub(super) fn is_subdomain(name: &str, length_max: usize, dots: bool) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    name.len() <= length_max
        && if dots {
            name.split('.').all(label)
        } else {
            label(name)
        }
}

fn annotations(metadata: &Value, path: &str, causes: &mut Vec<Cause>) {
    let Some(annotations) = metadata["annotations"].as_object() else {
        return;
    };
    for key in annotations.keys() {
        qualified_name(key, &format!("{path}.annotations"), causes);
    }
    let bytes: usize = annotations
        .iter()
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
        .sum();
    if bytes > ANNOTATION_BYTES_MAX {
        causes.push(Cause::too_long(
            format!("{path}.annotations"),
            ANNOTATION_BYTES_MAX,
        ));
    }
}

fn labels(labels: &Value, path: &str, causes: &mut Vec<Cause>) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        qualified_name(key, path, causes);
        let text = value.as_str().unwrap_or_default();
        if !(text.is_empty() || is_label_name(text)) {
            causes.push(Cause::invalid(path, value, "a valid label must be an empty string or consist of alphanumeric \
                                       characters, '-', '_' or '.', and must start and end with an alphanumeric character"));
        }
    }
}

fn qualified_name(key: &str, path: &str, causes: &mut Vec<Cause>) {
    let (prefix, name) = key
        .split_once('/')
        .map_or((None, key), |(prefix, name)| (Some(prefix), name));
    if !is_label_name(name)
        || prefix.is_some_and(|prefix| !is_subdomain(&prefix.to_lowercase(), 253, true))
    {
        let why = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                   alphanumeric character";
        causes.push(Cause::invalid(path, &key.into(), why));
    }
}

fn is_label_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    text.len() <= 63
        && text.bytes().all(inner)
        && edge(text.bytes().next())
        && edge(text.bytes().last())
}

pub(super) fn config_map(old: Option<&Value>, new: &Value, causes: &mut Vec<Cause>) {
    data(&["data", "binaryData"], old, new, causes);
}

pub(super) fn secret(old: Option<&Value>, new: &Value, causes: &mut Vec<Cause>) {
    data(&["data"], old, new, causes);
    if old.is_some_and(|old| old["type"] != new["type"]) {
        causes.push(Cause::invalid("type", &new["type"], "field is immutable"));
    }
}

fn data(fields: &[&str], old: Option<&Value>, new: &Value, causes: &mut Vec<Cause>) {
    let mut bytes = 0;
    for field in fields {
        for (key, value) in new[field].as_object().into_iter().flatten() {
            if key.len() > 253
                || key == "."
                || key == ".."
                || !key
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
            {
                let why =
                    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'";
                causes.push(Cause::invalid(
                    format!("{field}[{key}]"),
                    &key.as_str().into(),
                    why,
                ));
            }
            bytes += value.as_str().map_or(0, str::len);
        }
    }
    if bytes > DATA_BYTES_MAX {
        causes.push(Cause::too_long("", DATA_BYTES_MAX));
    }
    let Some(old) = old.filter(|old| old["immutable"] == true) else {
        return;
    };
    for field in fields {
        if old[field] != new[field] {
            causes.push(Cause::forbidden(
                *field,
                "field is immutable when `immutable` is set",
            ));
        }
    }
    if new["immutable"] != true {
        causes.push(Cause::forbidden(
            "immutable",
            "field is immutable when `immutable` is set",
        ));
    }
}

pub(super) fn webhooks(_: Option<&Value>, new: &Value, causes: &mut Vec<Cause>) {
    for (index, webhook) in items(new, "webhooks").iter().enumerate() {
        let path = format!("webhooks[{index}]");
        let name = &webhook["name"];
        if name.as_str().unwrap_or_default().split('.').count() < 3 {
            causes.push(Cause::invalid(
                format!("{path}.name"),
                name,
                "should be a domain with at least three segments separated by dots",
            ));
        }
        if !items(webhook, "admissionReviewVersions")
            .iter()
            .any(|version| version == "v1" || version == "v1beta1")
        {
            causes.push(Cause::required(
                format!("{path}.admissionReviewVersions"),
                "must specify one of v1, v1beta1",
            ));
        }
        if !matches!(
            webhook["sideEffects"].as_str(),
            Some("None" | "NoneOnDryRun")
        ) {
            causes.push(Cause::required(
                format!("{path}.sideEffects"),
                "must specify one of None, NoneOnDryRun",
            ));
        }
        if !webhook["timeoutSeconds"]
            .as_u64()
            .is_some_and(|seconds| (1..=30).contains(&seconds))
        {
            let why = "the timeout value must be between 1 and 30 seconds";
            causes.push(Cause::invalid(
                format!("{path}.timeoutSeconds"),
                &webhook["timeoutSeconds"],
                why,
            ));
        }
        let config = &webhook["clientConfig"];
        if config["url"].is_null() == config["service"].is_null() {
            causes.push(Cause::required(
                format!("{path}.clientConfig"),
                "exactly one of url or service is required",
            ));
        }
        if config["url"]
            .as_str()
            .is_some_and(|url| !url.starts_with("https://"))
        {
            causes.push(Cause::invalid(
                format!("{path}.clientConfig.url"),
                &config["url"],
                "'https' is the only allowed URL scheme",
            ));
        }
    }
}

pub(super) fn stateful_set(old: Option<&Value>, new: &Value, causes: &mut Vec<Cause>) {
    let spec = &new["spec"];
    let template = &spec["template"];
    if spec["selector"].is_null() {
        causes.push(Cause::required("spec.selector", ""));
    } else if !Selector::from_label_selector(&spec["selector"]).accepts(template) {
        let labels = &template["metadata"]["labels"];
        causes.push(Cause::invalid(
            "spec.template.metadata.labels",
            labels,
            "`selector` does not match template `labels`",
        ));
    }
    if spec["replicas"]
        .as_i64()
        .is_some_and(|replicas| replicas < 0)
    {
        causes.push(Cause::invalid(
            "spec.replicas",
            &spec["replicas"],
            "must be greater than or equal to 0",
        ));
    }
    if !matches!(
        spec["podManagementPolicy"].as_str(),
        Some("OrderedReady" | "Parallel")
    ) {
        causes.push(Cause::invalid(
            "spec.podManagementPolicy",
            &spec["podManagementPolicy"],
            "must be 'OrderedReady' or 'Parallel'",
        ));
    }
    if template["spec"]["restartPolicy"] != "Always" {
        causes.push(Cause::invalid(
            "spec.template.spec.restartPolicy",
            &template["spec"]["restartPolicy"],
            "supported values: \"Always\"",
        ));
    }
    annotations(&template["metadata"], "spec.template.metadata", causes);
    labels(
        &template["metadata"]["labels"],
        "spec.template.labels",
        causes,
    );
    let claims = items(spec, "volumeClaimTemplates")
        .iter()
        .map(|claim| meta_str(claim, "name"))
        .collect();
    pod_spec(&template["spec"], "spec.template.spec", claims, causes);
    if old.is_some_and(|old| fixed_part(&old["spec"]) != fixed_part(spec)) {
        causes.push(Cause::forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
             'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        ));
    }
}

/// The part of a StatefulSet's spec that may never change.
fn fixed_part(spec: &Value) -> Vec<(&String, &Value)> {
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
        .collect()
}

pub(super) fn pod(old: Option<&Value>, new: &Value, causes: &mut Vec<Cause>) {
    pod_spec(&new["spec"], "spec", BTreeSet::new(), causes);
    let Some(old) = old else { return };
    let fixed = |pod: &Value| {
        let mut spec: Map<_, _> = pod["spec"].as_object().cloned().unwrap_or_default();
        for field in [
            "activeDeadlineSeconds",
            "terminationGracePeriodSeconds",
            "tolerations",
            "nodeName",
            "schedulingGates",
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
    };
    if fixed(old) != fixed(new) {
        causes.push(Cause::forbidden(
            "spec",
            "pod updates may not change fields other than image and tolerations",
        ));
    }
}

/// `claims`: the names of a StatefulSet's claim templates, which its containers mount like volumes.
fn pod_spec<'a>(spec: &'a Value, path: &str, claims: BTreeSet<&'a str>, causes: &mut Vec<Cause>) {
    let mut volumes = claims;
    for (index, volume) in items(spec, "volumes").iter().enumerate() {
        let path = format!("{path}.volumes[{index}].name");
        named(volume, &path, &mut volumes, causes);
        if volume.as_object().is_some_and(|volume| volume.len() > 2) {
            causes.push(Cause::forbidden(
                path,
                "may not specify more than 1 volume type",
            ));
        }
    }
    let mut names = BTreeSet::new();
    for list in ["initContainers", "containers"] {
        for (index, container) in items(spec, list).iter().enumerate() {
            let path = format!("{path}.{list}[{index}]");
            named(container, &format!("{path}.name"), &mut names, causes);
            if container["image"].as_str().unwrap_or_default().is_empty() {
                causes.push(Cause::required(format!("{path}.image"), ""));
            }
            ports(container, &path, causes);
            mounts(container, &path, &volumes, causes);
        }
    }
    if items(spec, "containers").is_empty() {
        causes.push(Cause::required(format!("{path}.containers"), ""));
    }
}

/// An entry whose `name` must be an RFC 1123 label and unique.
fn named<'a>(entry: &'a Value, path: &str, seen: &mut BTreeSet<&'a str>, causes: &mut Vec<Cause>) {
    let name = entry["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        causes.push(Cause::required(path, ""));
    } else if !is_subdomain(name, 63, false) {
        causes.push(Cause::invalid(
            path,
            &entry["name"],
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-'",
        ));
    } else if !seen.insert(name) {
        causes.push(Cause::duplicate(path, name));
    }
}

fn ports(container: &Value, path: &str, causes: &mut Vec<Cause>) {
    let mut names = BTreeSet::new();
    for (index, port) in items(container, "ports").iter().enumerate() {
        let path = format!("{path}.ports[{index}]");
        if !port["containerPort"]
            .as_i64()
            .is_some_and(|number| (1..=65535).contains(&number))
        {
            causes.push(Cause::invalid(
                format!("{path}.containerPort"),
                &port["containerPort"],
                "must be between 1 and 65535, inclusive",
            ));
        }
        let Some(name) = port["name"].as_str() else {
            continue;
        };
        if name.len() > 15
            || !is_subdomain(name, 15, false)
            || !name.bytes().any(|b| b.is_ascii_lowercase())
        {
            causes.push(Cause::invalid(
                format!("{path}.name"),
                &port["name"],
                "must be no more than 15 characters of a-z, 0-9 and '-'",
            ));
        }
        if !names.insert(name) {
            causes.push(Cause::duplicate(format!("{path}.name"), name));
        }
    }
}

fn mounts(container: &Value, path: &str, volumes: &BTreeSet<&str>, causes: &mut Vec<Cause>) {
    let mut paths = BTreeSet::new();
    for (index, mount) in items(container, "volumeMounts").iter().enumerate() {
        let path = format!("{path}.volumeMounts[{index}]");
        let name = mount["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            causes.push(Cause::required(format!("{path}.name"), ""));
        } else if !volumes.contains(name) {
            causes.push(Cause::not_found(format!("{path}.name"), name));
        }
        let mount_path = mount["mountPath"].as_str().unwrap_or_default();
        if mount_path.is_empty() {
            causes.push(Cause::required(format!("{path}.mountPath"), ""));
        } else if !paths.insert(mount_path) {
            causes.push(Cause::invalid(
                format!("{path}.mountPath"),
                &mount["mountPath"],
                "must be unique",
            ));
        }
    }
}
