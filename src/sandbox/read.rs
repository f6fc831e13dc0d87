//! Get and list.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    answer::Answer,
    error::ApiError,
    object::{Key, Object},
    request::ApiRequest,
    server::{Inner, Page, State, view},
    store::TableId,
    watch::View,
};

/// Lists that are being read page by page; older ones expire.
const PAGES_MAX: usize = 64;

impl Inner {
    pub(super) fn get(&self, table: TableId, request: &ApiRequest) -> Result<Answer, ApiError> {
        let info = &request.info;
        let state = self.state();
        let table = state.store.table(table);
        let object = table.get(&Key::new(&*info.namespace, &*info.name));
        let object = object.ok_or_else(|| ApiError::not_found(&table.kind, &info.name))?;
        if info.subresource == "scale" {
            return Ok(Answer::json(&scale_of(object.value())));
        }
        Ok(Answer::ok(view(request)?.json(object)))
    }

    pub(super) fn list(&self, id: TableId, request: &ApiRequest) -> Result<Answer, ApiError> {
        let view = view(request)?;
        let query = &request.query;
        let mut state = self.state();
        let state = &mut *state;
        let table = state.store.table(id);
        let mut page = match query.get("continue") {
            "" => {
                let objects: Vec<_> = table
                    .list(&view.namespace)
                    .filter(|object| view.accepts(object))
                    .cloned()
                    .collect();
                Page {
                    version: state.store.version(),
                    rest: objects.into_iter(),
                }
            }
            token => take_page(state, token)?,
        };
        let wanted = query.number("resourceVersion")?.unwrap_or(0);
        if query.get("resourceVersionMatch") == "Exact" && wanted != page.version {
            return Err(ApiError::expired(
                "The resourceVersion for the provided list is too old.",
            ));
        }
        // As the real server does, the limit is ignored for resourceVersion=0.
        let limit = if query.get("resourceVersion") == "0" {
            None
        } else {
            query.number("limit")?
        };
        let limit = limit
            .filter(|limit| *limit > 0)
            .and_then(|limit| usize::try_from(limit).ok())
            .unwrap_or(usize::MAX);
        let items: Vec<_> = page.rest.by_ref().take(limit).collect();
        let kind = Arc::clone(&state.store.table(id).kind);
        let mut metadata = json!({"resourceVersion": page.version.to_string()});
        if page.rest.len() > 0 {
            metadata["remainingItemCount"] = page.rest.len().into();
            metadata["continue"] = keep_page(state, page).to_string().into();
        }
        let (list_kind, api_version) = if view.metadata_only {
            (
                "PartialObjectMetadataList".to_owned(),
                "meta.k8s.io/v1".to_owned(),
            )
        } else {
            (format!("{}List", kind.name), kind.api_version())
        };
        Ok(Answer::ok(list_json(
            &list_kind,
            &api_version,
            &metadata,
            &items,
            &view,
        )))
    }
}

fn take_page(state: &State, token: &str) -> Result<Page, ApiError> {
    let expired = || {
        ApiError::expired(
            "The provided continue parameter is too old to display a consistent list result.",
        )
    };
    let token: u64 = token
        .parse()
        .map_err(|_| ApiError::bad_request("continue key is not valid"))?;
    // It stays: a client that lost the answer asks again.
    state.pages.get(&token).cloned().ok_or_else(expired)
}

fn keep_page(state: &mut State, page: Page) -> u64 {
    let token = state
        .pages
        .last_key_value()
        .map_or(1, |(token, _)| token + 1);
    state.pages.insert(token, page);
    if state.pages.len() > PAGES_MAX {
        state.pages.pop_first();
    }
    token
}

/// Puts the list together from bytes that the objects mostly have already.
fn list_json(
    kind: &str,
    api_version: &str,
    metadata: &Value,
    items: &[Arc<Object>],
    view: &View,
) -> Bytes {
    let mut json = format!(
        r#"{{"kind":"{kind}","apiVersion":"{api_version}","metadata":{metadata},"items":["#
    )
    .into_bytes();
    for (index, object) in items.iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        json.extend_from_slice(&view.json(object));
    }
    json.extend_from_slice(b"]}");
    json.into()
}

/// The `autoscaling/v1` Scale of a StatefulSet.
pub(super) fn scale_of(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let selector: Vec<_> = object["spec"]["selector"]["matchLabels"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    // A zero is left out, as by Go's `omitempty`.
    let replicas = &object["spec"]["replicas"];
    let spec = if *replicas == 0 {
        json!({})
    } else {
        json!({"replicas": replicas})
    };
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"], "creationTimestamp": metadata["creationTimestamp"],
        },
        "spec": spec,
        "status": {"replicas": object["status"]["replicas"], "selector": selector.join(",")},
    })
}
