//! The four patch formats.

use json_patch::{PatchOperation, jsonptr::Pointer};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    error::ApiError,
    lists::{ListKind, Lists},
    object::as_map,
};

/// A parsed patch body.
#[derive(Clone, Debug)]
pub(super) enum Patch {
    /// RFC 6902.
    Json(json_patch::Patch),
    /// RFC 7386.
    Merge(Value),
    /// Merges lists by their keys; `null` and `$patch: delete` remove.
    Strategic(Value),
    /// Server-side apply.
    Apply(Value),
}

impl Patch {
    pub(super) fn parse(content_type: &str, body: &[u8]) -> Result<Self, ApiError> {
        Ok(match content_type {
            "application/json-patch+json" => {
                let operations: Vec<Value> = decode(body)?;
                let patch = serde_json::from_value(Value::Array(operations));
                Self::Json(patch.map_err(|_| ApiError::patch_refused())?)
            }
            "application/merge-patch+json" => Self::Merge(Value::Object(decode(body)?)),
            "application/strategic-merge-patch+json" => {
                Self::Strategic(Value::Object(decode(body)?))
            }
            "application/apply-patch+yaml" => Self::Apply(Value::Object(decode(body)?)),
            _ => return Err(ApiError::unsupported_media_type()),
        })
    }
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let decoded = serde_json::from_slice(body);
    decoded.map_err(|error| ApiError::bad_request(format!("error decoding patch: {error}")))
}

/// Applies a JSON patch. Any failure is the same bare 422, as from the real server.
pub(super) fn json(object: &mut Value, patch: &json_patch::Patch) -> Result<(), ApiError> {
    // One at a time, so that a `test … null` sees what the operations before it did.
    for operation in &patch.0 {
        if let PatchOperation::Test(test) = operation
            && test.value.is_null()
            && is_absent_entry(object, &test.path)
        {
            continue;
        }
        json_patch::patch_unsafe(object, std::slice::from_ref(operation))
            .map_err(|_| ApiError::patch_refused())?;
    }
    Ok(())
}

/// Whether the parent is there and is a map, and the entry is not: the server then lets a test for null pass.
fn is_absent_entry(object: &Value, path: &Pointer) -> bool {
    let Some((parent, last)) = path.split_back() else {
        return false;
    };
    let parent = parent.resolve(object).ok().and_then(Value::as_object);
    parent.is_some_and(|map| !map.contains_key(last.decoded().as_ref()))
}

/// Applies a strategic merge patch.
///
/// # Errors
/// 400 on directives other than `$patch: delete` and `$patch: replace`, and on `$deleteFromPrimitiveList`.
/// `$setElementOrder` is ignored: order is not what this project patches.
pub(super) fn strategic(object: &mut Value, patch: &Value, lists: Lists) -> Result<(), ApiError> {
    for (field, value) in patch.as_object().into_iter().flatten() {
        if field.starts_with("$setElementOrder/") || field == "$patch" {
            continue;
        }
        if field.starts_with('$') {
            return Err(ApiError::bad_request(format!(
                "the sandbox knows no strategic directive {field}"
            )));
        }
        let map = as_map(object);
        match (map.get_mut(field), value) {
            (_, Value::Null) => drop(map.remove(field)),
            (Some(_), Value::Object(patch))
                if patch.get("$patch").is_some_and(|d| d == "replace") =>
            {
                map.insert(field.clone(), Value::Object(without_directive(patch)));
            }
            (Some(entry @ Value::Object(_)), Value::Object(_)) => strategic(entry, value, lists)?,
            (Some(Value::Array(live)), Value::Array(patch))
                if lists.list(field) != ListKind::Atomic =>
            {
                strategic_list(live, patch, lists, field)?;
            }
            _ => {
                let mut fresh = value.clone();
                if value.is_object() {
                    fresh = Value::Object(Map::new());
                    strategic(&mut fresh, value, lists)?;
                }
                map.insert(field.clone(), fresh);
            }
        }
    }
    Ok(())
}

fn strategic_list(
    live: &mut Vec<Value>,
    patch: &[Value],
    lists: Lists,
    name: &str,
) -> Result<(), ApiError> {
    let kind = lists.list(name);
    for item in patch {
        let element = kind.element(item);
        let found = live.iter().position(|entry| kind.element(entry) == element);
        let directive = item["$patch"].as_str();
        match (found, directive) {
            (Some(index), Some("delete")) => drop(live.remove(index)),
            (Some(index), _) if item.is_object() => strategic(&mut live[index], item, lists)?,
            (None, None) => live.push(item.clone()),
            _ => {}
        }
    }
    Ok(())
}

fn without_directive(patch: &Map<String, Value>) -> Map<String, Value> {
    patch
        .iter()
        .filter(|(field, _)| *field != "$patch")
        .map(|(field, value)| (field.clone(), value.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn patched(object: &Value, patch: &Value) -> Result<Value, ApiError> {
        let mut object = object.clone();
        let patch = serde_json::from_value(patch.clone()).unwrap();
        json(&mut object, &patch).map(|()| object)
    }

    #[test]
    fn a_test_for_null_passes_only_where_the_parent_is_there() {
        let object = json!({"metadata": {"annotations": {"b": "c"}}});
        let test = |path: &str| {
            patched(
                &object,
                &json!([{"op": "test", "path": path, "value": null}]),
            )
        };
        assert!(test("/metadata/annotations/a").is_ok());
        assert_eq!(test("/metadata/annotations/b").unwrap_err().code, 422);
        assert_eq!(test("/metadata/labels/a").unwrap_err().code, 422);
    }

    #[test]
    fn a_strategic_merge_patch_finds_list_items_by_their_key() {
        let mut object =
            json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b"}], "x": 1}});
        let patch = json!({"spec": {"containers": [{"name": "a", "image": "2"}, {"name": "b", "$patch": "delete"}], "x": null}});
        strategic(&mut object, &patch, Lists::Pod).unwrap();
        assert_eq!(
            object,
            json!({"spec": {"containers": [{"name": "a", "image": "2"}]}})
        );
    }
}
