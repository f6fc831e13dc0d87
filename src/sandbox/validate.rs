//! What the server refuses, with the field named. Only the rules that this project can run into.
//!
//! Source: `pkg/apis/*/validation/validation.go` of Kubernetes.

use serde_json::Value;

use super::{
    error::Cause,
    kinds::Kind,
    names,
    object::{is_terminating, items},
};

/// The most bytes that a ConfigMap or a Secret may hold.
const DATA_BYTES_MAX: usize = 1024 * 1024;
/// The most bytes of all annotations of an object together.
const ANNOTATION_BYTES_MAX: usize = 256 * 1024;

/// Everything that is wrong with an object, given the stored one on an update.
pub(super) fn causes(kind: &Kind, old: Option<&Value>, new: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = &new["metadata"]["name"];
    if kind.is("", "namespaces") || kind.is("", "services") {
        names::label("metadata.name", name, &mut causes);
    } else {
        names::subdomain("metadata.name", name, &mut causes);
    }
    annotations(&new["metadata"], "metadata.annotations", &mut causes);
    labels(&new["metadata"]["labels"], "metadata.labels", &mut causes);
    if let Some(old) = old.filter(|old| is_terminating(old)) {
        finalizers(&old["metadata"], &new["metadata"], &mut causes);
    }
    (kind.rules.validate)(old, new, &mut causes);
    causes
}

/// Nothing may hold up a deletion that was not there when it began.
fn finalizers(old: &Value, new: &Value, causes: &mut Vec<Cause>) {
    let known = items(old, "finalizers");
    let fresh: Vec<_> = items(new, "finalizers")
        .iter()
        .filter(|name| !known.contains(name))
        .collect();
    if let Some(first) = fresh.first() {
        let why =
            "no new finalizers can be added if the object is being deleted, found new finalizers";
        causes.push(Cause::forbidden(
            "metadata.finalizers",
            &format!("{why} []string{{{first}}}"),
        ));
    }
}

pub(super) fn annotations(metadata: &Value, path: &str, causes: &mut Vec<Cause>) {
    let Some(annotations) = metadata["annotations"].as_object() else {
        return;
    };
    for key in annotations.keys() {
        names::qualified(path, key, causes);
    }
    let bytes = annotations
        .iter()
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len));
    if bytes.sum::<usize>() > ANNOTATION_BYTES_MAX {
        causes.push(Cause::too_long(path, ANNOTATION_BYTES_MAX));
    }
}

pub(super) fn labels(labels: &Value, path: &str, causes: &mut Vec<Cause>) {
    for (key, value) in labels.as_object().into_iter().flatten() {
        names::qualified(path, key, causes);
        names::label_value(path, value, causes);
    }
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
            names::data_key(&format!("{field}[{key}]"), key, causes);
            bytes += value.as_str().map_or(0, str::len);
        }
    }
    if bytes > DATA_BYTES_MAX {
        causes.push(Cause::too_long("", DATA_BYTES_MAX));
    }
    let Some(old) = old.filter(|old| old["immutable"] == true) else {
        return;
    };
    let why = "field is immutable when `immutable` is set";
    if new["immutable"] != true {
        causes.push(Cause::forbidden("immutable", why));
    }
    for field in fields {
        if old[field] != new[field] {
            causes.push(Cause::forbidden(*field, why));
        }
    }
}

pub(super) fn webhooks(_: Option<&Value>, new: &Value, causes: &mut Vec<Cause>) {
    for (index, settings) in items(new, "webhooks").iter().enumerate() {
        webhook(settings, &format!("webhooks[{index}]"), causes);
    }
}

fn webhook(webhook: &Value, path: &str, causes: &mut Vec<Cause>) {
    let name = &webhook["name"];
    if name.as_str().unwrap_or_default().split('.').count() < 3 {
        let why = "should be a domain with at least three segments separated by dots";
        causes.push(Cause::invalid(format!("{path}.name"), name, why));
    }
    let versions = items(webhook, "admissionReviewVersions");
    if !versions
        .iter()
        .any(|version| version == "v1" || version == "v1beta1")
    {
        let why = "must specify one of v1, v1beta1";
        causes.push(Cause::required(
            format!("{path}.admissionReviewVersions"),
            why,
        ));
    }
    if !matches!(
        webhook["sideEffects"].as_str(),
        Some("None" | "NoneOnDryRun")
    ) {
        let why = "must specify one of None, NoneOnDryRun";
        causes.push(Cause::required(format!("{path}.sideEffects"), why));
    }
    let timeout = &webhook["timeoutSeconds"];
    if !timeout
        .as_u64()
        .is_some_and(|seconds| (1..=30).contains(&seconds))
    {
        let why = "the timeout value must be between 1 and 30 seconds";
        causes.push(Cause::invalid(
            format!("{path}.timeoutSeconds"),
            timeout,
            why,
        ));
    }
    let config = &webhook["clientConfig"];
    if config["url"].is_null() == config["service"].is_null() {
        let why = "exactly one of url or service is required";
        causes.push(Cause::required(format!("{path}.clientConfig"), why));
    }
    if config["url"]
        .as_str()
        .is_some_and(|url| !url.starts_with("https://"))
    {
        let why = "'https' is the only allowed URL scheme; desired format: https://host[/path]";
        causes.push(Cause::invalid(
            format!("{path}.clientConfig.url"),
            &config["url"],
            why,
        ));
    }
}
