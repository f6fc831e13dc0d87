//! Sets of fields: who owns what, in the `fieldsV1` form that objects carry.
//!
//! After `structured-merge-diff`'s `fieldpath.Set`. A path element is kept as it is written: `f:name`,
//! `k:{"name":"core"}`, `v:"x"`, so that reading and writing managed fields needs no translation.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::lists::{ListKind, Lists, item_name};

/// A set of paths, as a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FieldSet {
    /// Whether the path that leads here is itself in the set.
    member: bool,
    children: BTreeMap<String, FieldSet>,
}

impl FieldSet {
    fn leaf() -> Self {
        Self {
            member: true,
            children: BTreeMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    pub(super) fn child(&self, element: &str) -> Option<&Self> {
        self.children.get(element)
    }

    pub(super) fn children(&self) -> impl Iterator<Item = (&str, &Self)> {
        self.children
            .iter()
            .map(|(element, set)| (element.as_str(), set))
    }

    pub(super) const fn is_member(&self) -> bool {
        self.member
    }

    /// Reads `fieldsV1`.
    pub(super) fn from_json(json: &Value) -> Self {
        fn node(json: &Value) -> FieldSet {
            let Some(map) = json.as_object().filter(|map| !map.is_empty()) else {
                return FieldSet::leaf();
            };
            let children = map.iter().filter(|(element, _)| *element != ".");
            FieldSet {
                member: map.contains_key("."),
                children: children
                    .map(|(element, json)| (element.clone(), node(json)))
                    .collect(),
            }
        }
        Self {
            member: false,
            ..node(json)
        }
    }

    /// Writes `fieldsV1`.
    pub(super) fn to_json(&self) -> Value {
        let mut map = Map::new();
        if self.member && !self.children.is_empty() {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        map.extend(
            self.children
                .iter()
                .map(|(element, set)| (element.clone(), set.to_json())),
        );
        Value::Object(map)
    }

    pub(super) fn union(&mut self, other: &Self) {
        self.member |= other.member;
        for (element, set) in &other.children {
            match self.children.get_mut(element) {
                Some(mine) => mine.union(set),
                None => drop(self.children.insert(element.clone(), set.clone())),
            }
        }
    }

    /// Takes the members of `other` away.
    pub(super) fn subtract(&mut self, other: &Self) {
        self.member &= !other.member;
        for (element, set) in &other.children {
            if let Some(mine) = self.children.get_mut(element) {
                mine.subtract(set);
                if mine.is_empty() {
                    self.children.remove(element);
                }
            }
        }
    }

    /// Whether there are members of both.
    pub(super) fn intersects(&self, other: &Self) -> bool {
        let meets = |(element, set): (&String, &Self)| {
            other
                .children
                .get(element)
                .is_some_and(|other| set.intersects(other))
        };
        (self.member && other.member) || self.children.iter().any(meets)
    }

    /// The members of both.
    pub(super) fn intersection(&self, other: &Self) -> Self {
        let children = self.children.iter().filter_map(|(element, set)| {
            let both = set.intersection(other.children.get(element)?);
            (!both.is_empty()).then(|| (element.clone(), both))
        });
        Self {
            member: self.member && other.member,
            children: children.collect(),
        }
    }

    /// Each member's path as error messages write it: `.spec.containers[name="core"].image`.
    pub(super) fn paths(&self) -> Vec<String> {
        fn walk(set: &FieldSet, path: &str, paths: &mut Vec<String>) {
            if set.member {
                paths.push(path.to_owned());
            }
            for (element, child) in &set.children {
                walk(child, &format!("{path}{}", readable(element)), paths);
            }
        }
        let mut paths = Vec::new();
        walk(self, "", &mut paths);
        paths
    }

    /// Keeps only the top-level fields that `keep` accepts.
    pub(super) fn retain_top(&mut self, keep: impl Fn(&str) -> bool) {
        self.children.retain(|element, _| keep(element));
    }

    /// Takes away what nobody owns: identity and what the server itself writes.
    pub(super) fn strip_system_fields(&mut self) {
        const SYSTEM: [&str; 9] = [
            "f:name",
            "f:namespace",
            "f:uid",
            "f:resourceVersion",
            "f:generation",
            "f:creationTimestamp",
            "f:deletionTimestamp",
            "f:deletionGracePeriodSeconds",
            "f:managedFields",
        ];
        self.member = false;
        self.children.remove("f:apiVersion");
        self.children.remove("f:kind");
        if let Some(metadata) = self.children.get_mut("f:metadata") {
            metadata.member = false;
            metadata
                .children
                .retain(|element, _| !SYSTEM.contains(&element.as_str()));
            if metadata.is_empty() {
                self.children.remove("f:metadata");
            }
        }
    }
}

fn readable(element: &str) -> String {
    if let Some(name) = element.strip_prefix("f:") {
        return format!(".{name}");
    }
    let Some(keys) = element
        .strip_prefix("k:")
        .and_then(|json| serde_json::from_str::<Map<String, Value>>(json).ok())
    else {
        return format!("[={}]", element.trim_start_matches("v:"));
    };
    let keys: Vec<_> = keys
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    format!("[{}]", keys.join(","))
}

/// The path element of a field.
pub(super) fn field(name: &str) -> String {
    ["f:", name].concat()
}

/// Every field that an applied configuration names.
pub(super) fn of_value(value: &Value, lists: Lists) -> FieldSet {
    of_config(value, lists, "")
}

fn of_config(value: &Value, lists: Lists, name: &str) -> FieldSet {
    let children: BTreeMap<_, _> = match value {
        Value::Object(map) if !map.is_empty() && !lists.is_atomic_map(name) => map
            .iter()
            .map(|(name, value)| (field(name), of_config(value, lists, name)))
            .filter(|(_, set)| !set.is_empty())
            .collect(),
        Value::Array(list) if lists.list(name) != ListKind::Atomic => {
            let child = |item: &Value| {
                let set = of_config(item, lists, item_name(name));
                Some((lists.list(name).element(item)?, member(set)))
            };
            list.iter().filter_map(child).collect()
        }
        _ => return FieldSet::leaf(),
    };
    FieldSet {
        member: false,
        children,
    }
}

fn member(set: FieldSet) -> FieldSet {
    FieldSet {
        member: true,
        ..set
    }
}

/// What a write changed.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// Fields that are new or have another value.
    pub(super) changed: FieldSet,
    /// Fields that are gone.
    pub(super) removed: FieldSet,
}

impl Comparison {
    /// Whether nothing was changed.
    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty()
    }
}

/// Compares two versions of an object.
pub(super) fn compare(old: &Value, new: &Value, lists: Lists) -> Comparison {
    let (changed, removed) = compare_field(Some(old), Some(new), lists, "");
    Comparison { changed, removed }
}

fn compare_field(
    old: Option<&Value>,
    new: Option<&Value>,
    lists: Lists,
    name: &str,
) -> (FieldSet, FieldSet) {
    match (old, new) {
        (Some(old), Some(new)) if old == new => Default::default(),
        (None, Some(new)) => (everything(new, lists, name), FieldSet::default()),
        (Some(old), None) => (FieldSet::default(), everything(old, lists, name)),
        (Some(Value::Object(old)), Some(Value::Object(new))) if !lists.is_atomic_map(name) => {
            let names = old
                .keys()
                .chain(new.keys().filter(|name| !old.contains_key(*name)));
            let names = names.filter(|name| old.get(*name) != new.get(*name));
            compare_children(names.map(|name| {
                let sets = compare_field(old.get(name), new.get(name), lists, name);
                (field(name), sets)
            }))
        }
        (Some(Value::Array(old)), Some(Value::Array(new)))
            if lists.list(name) != ListKind::Atomic =>
        {
            let index = |list| index(list, lists.list(name));
            let (old, new) = (index(old), index(new));
            let elements = old
                .keys()
                .chain(new.keys().filter(|element| !old.contains_key(*element)));
            compare_children(elements.map(|element| {
                let sets = compare_field(
                    old.get(element).copied(),
                    new.get(element).copied(),
                    lists,
                    item_name(name),
                );
                (element.clone(), sets)
            }))
        }
        _ => (FieldSet::leaf(), FieldSet::default()),
    }
}

fn compare_children(
    children: impl Iterator<Item = (String, (FieldSet, FieldSet))>,
) -> (FieldSet, FieldSet) {
    let (mut changed, mut removed) = (FieldSet::default(), FieldSet::default());
    for (element, (more, less)) in children {
        if !more.is_empty() {
            changed.children.insert(element.clone(), more);
        }
        if !less.is_empty() {
            removed.children.insert(element, less);
        }
    }
    (changed, removed)
}

/// The items of a list by path element.
pub(super) fn index(list: &[Value], kind: ListKind) -> BTreeMap<String, &Value> {
    list.iter()
        .filter_map(|item| Some((kind.element(item)?, item)))
        .collect()
}

/// All paths within a value, the inner ones too: what an update adds.
fn everything(value: &Value, lists: Lists, name: &str) -> FieldSet {
    let children = match value {
        Value::Object(map) if !lists.is_atomic_map(name) => map
            .iter()
            .map(|(name, value)| (field(name), everything(value, lists, name)))
            .collect(),
        Value::Array(list) => {
            let item = |item: &Value| {
                Some((
                    lists.list(name).element(item)?,
                    everything(item, lists, item_name(name)),
                ))
            };
            list.iter().filter_map(item).collect()
        }
        _ => BTreeMap::new(),
    };
    FieldSet {
        member: true,
        children,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_applied_configuration_owns_what_it_names() {
        let config = json!({"metadata": {"name": "x", "labels": {"a": "b"}}, "spec": {
            "replicas": 1,
            "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": 1}]}],
        }});
        let mut set = of_value(&config, Lists::Pod);
        set.strip_system_fields();
        let expected = json!({
            "f:metadata": {"f:labels": {"f:a": {}}},
            "f:spec": {"f:replicas": {}, "f:containers": {"k:{\"name\":\"c\"}": {
                ".": {}, "f:name": {}, "f:image": {},
                "f:ports": {"k:{\"containerPort\":1,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
            }}},
        });
        assert_eq!(set.to_json(), expected);
        assert_eq!(
            FieldSet::from_json(&expected),
            set,
            "written and read, it is the same set"
        );
    }

    #[test]
    fn a_comparison_tells_changed_from_removed() {
        let old = json!({"a": 1, "b": {"c": 1}, "volumes": [{"name": "x"}, {"name": "y"}]});
        let new = json!({"a": 2, "volumes": [{"name": "y"}, {"name": "z"}]});
        let Comparison { changed, removed } = compare(&old, &new, Lists::Pod);
        assert_eq!(
            changed.paths(),
            [".a", ".volumes[name=\"z\"]", ".volumes[name=\"z\"].name"]
        );
        assert_eq!(
            removed.paths(),
            [
                ".b",
                ".b.c",
                ".volumes[name=\"x\"]",
                ".volumes[name=\"x\"].name"
            ]
        );
    }

    #[test]
    fn subtracting_a_set_leaves_no_empty_branches() {
        let mut set = of_value(&json!({"a": {"b": 1}, "c": 1}), Lists::Meta);
        set.subtract(&of_value(&json!({"a": {"b": 2}}), Lists::Meta));
        assert_eq!(set, of_value(&json!({"c": 1}), Lists::Meta));
    }
}
