//! How lists and maps merge: which lists are maps by key, which are sets, and which are one value.
//!
//! The real server reads this from its schema; here a field's name decides, which is unambiguous for the kinds
//! that the sandbox serves.

use serde_json::Value;

/// The lists of a kind, by family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lists {
    /// Only the metadata's lists merge: custom resources, whose schema isn't read, and kinds without nested lists.
    Meta,
    /// A pod or something with a pod template.
    Pod,
    /// A Service, whose ports have other keys.
    Service,
    /// A webhook configuration.
    Webhooks,
}

/// How a list of objects or scalars behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListKind {
    /// One value, owned and replaced as a whole.
    Atomic,
    /// Scalars, each owned by itself.
    Set,
    /// Objects that are identified by these fields.
    Map(&'static [&'static str]),
}

/// What [`item_name`] calls an owner reference.
const OWNER_REFERENCE: &str = "ownerReference";

/// The name by which the items of a list are known, where that makes a difference.
pub(super) fn item_name(list: &str) -> &'static str {
    if list == "ownerReferences" {
        OWNER_REFERENCE
    } else {
        ""
    }
}

impl Lists {
    /// How the list in `field` behaves.
    pub(super) fn list(self, field: &str) -> ListKind {
        use ListKind::{Atomic, Map, Set};
        match (self, field) {
            (_, "ownerReferences") => Map(&["uid"]),
            (_, "finalizers") => Set,
            (
                Self::Pod,
                "containers"
                | "initContainers"
                | "ephemeralContainers"
                | "volumes"
                | "env"
                | "imagePullSecrets"
                | "schedulingGates"
                | "resourceClaims",
            )
            | (Self::Webhooks, "webhooks" | "matchConditions") => Map(&["name"]),
            (Self::Pod, "ports") => Map(&["containerPort", "protocol"]),
            (Self::Service, "ports") => Map(&["port", "protocol"]),
            (Self::Pod, "volumeMounts") => Map(&["mountPath"]),
            (Self::Pod, "volumeDevices") => Map(&["devicePath"]),
            (Self::Pod, "hostAliases" | "podIPs" | "hostIPs") => Map(&["ip"]),
            (Self::Pod, "topologySpreadConstraints") => Map(&["topologyKey", "whenUnsatisfiable"]),
            (Self::Pod | Self::Service, "conditions") => Map(&["type"]),
            _ => Atomic,
        }
    }

    /// Whether the object in `field` is one value: selectors and references.
    pub(super) fn is_atomic_map(self, field: &str) -> bool {
        const REFERENCES: [&str; 8] = [
            "selector",
            "labelSelector",
            "fieldRef",
            "resourceFieldRef",
            "configMapKeyRef",
            "secretKeyRef",
            "nodeSelectorTerms",
            "dataSource",
        ];
        match self {
            _ if field == OWNER_REFERENCE => true,
            Self::Meta => false,
            Self::Pod | Self::Service => REFERENCES.contains(&field),
            Self::Webhooks => matches!(field, "namespaceSelector" | "objectSelector"),
        }
    }
}

impl ListKind {
    /// An item's path element as managed fields write it, `k:{"name":"core"}` or `v:"x"`; none in an atomic list.
    pub(super) fn element(self, item: &Value) -> Option<String> {
        match self {
            Self::Atomic => None,
            Self::Set => Some(format!("v:{item}")),
            Self::Map(keys) => {
                // The keys of each kind stand in the order of the alphabet, as in JSON written by Go.
                let keys = keys
                    .iter()
                    .filter_map(|key| Some(format!("{key:?}:{}", value_of(item, key)?)));
                Some(format!("k:{{{}}}", keys.collect::<Vec<_>>().join(",")))
            }
        }
    }

    /// Whether two items are one, in a list of this kind.
    pub(super) fn same(self, one: &Value, other: &Value) -> bool {
        match self {
            Self::Atomic => false,
            Self::Set => one == other,
            Self::Map(keys) => keys
                .iter()
                .all(|key| value_of(one, key) == value_of(other, key)),
        }
    }
}

/// An item's key field; the one that has a default in the schema has it here.
fn value_of(item: &Value, key: &str) -> Option<Value> {
    let default = || (key == "protocol").then(|| Value::from("TCP"));
    item.get(key).cloned().or_else(default)
}
