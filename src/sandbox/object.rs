//! A stored object: its JSON value, and its bytes once somebody asked for them.

use std::{fmt, sync::OnceLock};

use bytes::Bytes;
use serde_json::{Map, Value};

/// Where an object lies within its table. A cluster-wide object has an empty namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key {
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Key {
    pub(super) fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    pub(super) fn of(value: &Value) -> Self {
        Self::new(meta_str(value, "namespace"), meta_str(value, "name"))
    }
}

/// An object as it was at one resource version. Never changed, only replaced.
pub(super) struct Object {
    value: Value,
    json: OnceLock<Bytes>,
    partial: OnceLock<Bytes>,
}

impl Object {
    pub(super) fn new(value: Value) -> Self {
        Self {
            value,
            json: OnceLock::new(),
            partial: OnceLock::new(),
        }
    }

    pub(super) fn value(&self) -> &Value {
        &self.value
    }

    /// Serialized at most once, however many watchers there are.
    pub(super) fn json(&self) -> &Bytes {
        self.json
            .get_or_init(|| Bytes::from(self.value.to_string()))
    }

    /// Its metadata alone, as a client may ask for it.
    pub(super) fn partial_json(&self) -> &Bytes {
        self.partial.get_or_init(|| {
            let metadata = &self.value["metadata"];
            Bytes::from(format!(
                "{{\"apiVersion\":\"meta.k8s.io/v1\",\"kind\":\"PartialObjectMetadata\",\"metadata\":{metadata}}}"
            ))
        })
    }

    pub(super) fn meta(&self, field: &str) -> &str {
        meta_str(&self.value, field)
    }

    pub(super) fn uid(&self) -> &str {
        self.meta("uid")
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// A text field of the metadata; empty where it is absent.
pub(super) fn meta_str<'a>(value: &'a Value, field: &str) -> &'a str {
    value["metadata"][field].as_str().unwrap_or_default()
}

/// The entry of `field`, as an object that may be written to. Anything else that stood there is replaced.
pub(super) fn map_mut<'a>(value: &'a mut Value, field: &str) -> &'a mut Map<String, Value> {
    as_map(as_map(value).entry(field).or_insert(Value::Null))
}

/// The value as an object, made into an empty one where it is none.
pub(super) fn as_map(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => map,
        _ => unreachable!("made an object just above"),
    }
}

/// Sets or removes a field of the metadata.
pub(super) fn set_meta(value: &mut Value, field: &str, to: Option<Value>) {
    let metadata = map_mut(value, "metadata");
    match to {
        Some(to) => drop(metadata.insert(field.to_owned(), to)),
        None => drop(metadata.remove(field)),
    }
}

/// The array at `field`, empty where there is none.
pub(super) fn items<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().map_or(&[], Vec::as_slice)
}

/// The owner references' uids.
pub(super) fn owner_uids(value: &Value) -> impl Iterator<Item = &str> {
    items(&value["metadata"], "ownerReferences")
        .iter()
        .filter_map(|owner| owner["uid"].as_str())
}

/// Whether a deletion was asked for and waits for finalizers or a kubelet.
pub(super) fn is_terminating(value: &Value) -> bool {
    !value["metadata"]["deletionTimestamp"].is_null()
}
