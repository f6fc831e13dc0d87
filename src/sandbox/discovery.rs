//! What is not about objects: versions, groups, resources, health, and access reviews.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{error::ApiError, kinds::Kind, store::Store};

/// Answers a path that names no resource.
pub(super) fn answer(store: &Store, path: &str) -> Result<Value, ApiError> {
    let steps: Vec<&str> = path.split('/').filter(|step| !step.is_empty()).collect();
    Ok(match steps.as_slice() {
        ["version"] => version(),
        ["healthz" | "livez" | "readyz"] => "ok".into(),
        ["api"] => {
            json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
        }
        ["apis"] => groups(store),
        ["api", "v1"] => resources(store, "", "v1")?,
        ["apis", group] => group_named(store, group).ok_or_else(ApiError::page_not_found)?,
        ["apis", group, version] => resources(store, group, version)?,
        _ => return Err(ApiError::page_not_found()),
    })
}

fn version() -> Value {
    json!({
        "major": "1", "minor": "35", "gitVersion": "v1.35.4-sandbox", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "", "platform": "linux/amd64",
    })
}

fn groups(store: &Store) -> Value {
    let mut names: Vec<_> = store
        .kinds()
        .map(|(_, kind)| kind.group.to_string())
        .filter(|group| !group.is_empty())
        .collect();
    names.sort();
    names.dedup();
    let groups: Vec<_> = names
        .iter()
        .filter_map(|name| group_named(store, name))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

fn group_named(store: &Store, name: &str) -> Option<Value> {
    let (_, kind) = store
        .kinds()
        .find(|(_, kind)| kind.group == name && !name.is_empty())?;
    let version = json!({"groupVersion": kind.api_version(), "version": kind.version});
    Some(json!({
        "kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": [version], "preferredVersion": version,
    }))
}

fn resources(store: &Store, group: &str, version: &str) -> Result<Value, ApiError> {
    let kinds: Vec<_> = store
        .kinds()
        .filter(|(_, kind)| kind.group == group && kind.version == version)
        .collect();
    let Some((_, first)) = kinds.first() else {
        return Err(ApiError::page_not_found());
    };
    let resources: Vec<_> = kinds.iter().flat_map(|(_, kind)| resource(kind)).collect();
    Ok(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": first.api_version(), "resources": resources,
    }))
}

fn resource(kind: &Kind) -> Vec<Value> {
    let entry = |name: String, verbs: &[&str]| {
        json!({
            "name": name, "singularName": kind.name.to_lowercase(), "namespaced": kind.namespaced,
            "kind": kind.name, "verbs": verbs,
        })
    };
    let verbs = [
        "create",
        "delete",
        "deletecollection",
        "get",
        "list",
        "patch",
        "update",
        "watch",
    ];
    let mut entries = vec![entry(kind.plural.to_string(), &verbs)];
    for subresource in kind.subresources {
        let name = format!("{}/{subresource}", kind.plural);
        entries.push(entry(name, &["get", "patch", "update"]));
    }
    entries
}

/// The sandbox has no authorization: everybody may do everything, and reviews say so.
pub(super) fn allow_access(body: &Bytes) -> Result<Value, ApiError> {
    let mut review: Value = serde_json::from_slice(body)
        .map_err(|e| ApiError::bad_request(format!("couldn't decode the review: {e}")))?;
    review["status"] = json!({"allowed": true, "reason": "the sandbox allows everything"});
    Ok(review)
}
