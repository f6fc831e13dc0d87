//! Field managers: server-side apply, and what an ordinary update does to the owners of fields.
//!
//! After `structured-merge-diff`'s `merge.Updater`.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    error::ApiError,
    fields::{self, Comparison, FieldSet},
    kinds::Kind,
    lists::{ListKind, Lists, item_name},
    object::set_meta,
};

/// Who wrote, and how: one entry of `metadata.managedFields`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Writer {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) subresource: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

impl Operation {
    const fn name(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// The owners of an object's fields, and when each last wrote.
#[derive(Clone, Debug, Default)]
struct Owners(BTreeMap<Writer, (FieldSet, String)>);

impl Owners {
    fn of(object: &Value) -> Self {
        let text =
            |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        let entries = object["metadata"]["managedFields"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|entry| {
                let operation = if entry["operation"] == "Apply" {
                    Operation::Apply
                } else {
                    Operation::Update
                };
                let writer = Writer {
                    manager: text(entry, "manager"),
                    operation,
                    subresource: text(entry, "subresource"),
                };
                (
                    writer,
                    (FieldSet::from_json(&entry["fieldsV1"]), text(entry, "time")),
                )
            });
        Self(entries.collect())
    }

    /// Writes the entries in the real server's order: what was applied first, then by time.
    fn write_to(self, object: &mut Value, kind: &Kind) {
        let mut entries: Vec<_> = self
            .0
            .into_iter()
            .filter(|(_, (set, _))| !set.is_empty())
            .collect();
        entries.sort_by(|(one, (_, earlier)), (other, (_, later))| {
            let order = one
                .operation
                .cmp(&other.operation)
                .then_with(|| earlier.cmp(later));
            order.then_with(|| one.cmp(other))
        });
        let entries: Vec<_> = entries
            .into_iter()
            .map(|(writer, (set, time))| {
                let mut entry = json!({
                    "manager": writer.manager, "operation": writer.operation.name(), "apiVersion": kind.api_version(),
                    "fieldsType": "FieldsV1", "fieldsV1": set.to_json(),
                });
                for (field, value) in [("time", time), ("subresource", writer.subresource)] {
                    if !value.is_empty() {
                        entry[field] = value.into();
                    }
                }
                entry
            })
            .collect();
        set_meta(
            object,
            "managedFields",
            (!entries.is_empty()).then(|| entries.into()),
        );
    }

    fn set_of(&self, writer: &Writer) -> FieldSet {
        self.0
            .get(writer)
            .map(|(set, _)| set.clone())
            .unwrap_or_default()
    }

    /// Gives a writer its set; the time moves only when the set does.
    fn assign(&mut self, writer: &Writer, set: FieldSet, now: &str) {
        match self.0.get_mut(writer) {
            Some((owned, _)) if *owned == set => {}
            _ => drop(self.0.insert(writer.clone(), (set, now.to_owned()))),
        }
    }

    /// The time of an apply: it moves only when the object does.
    fn set_time(&mut self, writer: &Writer, time: &str) {
        if let Some((_, last)) = self.0.get_mut(writer) {
            time.clone_into(last);
        }
    }

    fn time_of(&self, writer: &Writer) -> String {
        self.0
            .get(writer)
            .map(|(_, time)| time.clone())
            .unwrap_or_default()
    }

    /// What others than `writer` own of the changed fields.
    fn conflicts(&self, writer: &Writer, changed: &FieldSet) -> Vec<(&str, Vec<String>)> {
        let others = self.0.iter().filter(|(other, _)| *other != writer);
        others
            .map(|(other, (set, _))| (other.manager.as_str(), set.intersection(changed).paths()))
            .filter(|(_, paths)| !paths.is_empty())
            .collect()
    }

    fn take_from_others(&mut self, writer: &Writer, what: &FieldSet) {
        for (_, (set, _)) in self.0.iter_mut().filter(|(other, _)| *other != writer) {
            set.subtract(what);
        }
    }

    fn union(&self) -> FieldSet {
        let mut all = FieldSet::default();
        self.0.values().for_each(|(set, _)| all.union(set));
        all
    }
}

/// Keeps only what a write to this (sub)resource can own.
fn restrict(set: &mut FieldSet, kind: &Kind, subresource: &str) {
    set.strip_system_fields();
    match subresource {
        "status" if kind.is_custom => set.retain_top(|element| element == "f:status"),
        "status" => set.retain_top(|element| matches!(element, "f:status" | "f:metadata")),
        "scale" => set.retain_top(|element| element == "f:spec"),
        _ if kind.has_status() => set.retain_top(|element| element != "f:status"),
        _ => {}
    }
}

/// Books an ordinary write: what it changed belongs to its writer alone.
pub(super) fn track_update(
    old: Option<&Value>,
    new: &mut Value,
    kind: &Kind,
    writer: &Writer,
    now: &str,
) {
    let empty = json!({});
    let mut owners = old.map(Owners::of).unwrap_or_default();
    set_meta(new, "managedFields", None);
    let Comparison {
        mut changed,
        mut removed,
    } = fields::compare(old.unwrap_or(&empty), new, kind.lists);
    restrict(&mut changed, kind, &writer.subresource);
    restrict(&mut removed, kind, &writer.subresource);
    if !changed.is_empty() || !removed.is_empty() {
        let mut set = owners.set_of(writer);
        set.subtract(&removed);
        set.union(&changed);
        owners.take_from_others(writer, &removed);
        owners.take_from_others(writer, &changed);
        // The scale handler of the real server loses the time.
        owners.assign(
            writer,
            set,
            if writer.subresource == "scale" {
                ""
            } else {
                now
            },
        );
    }
    owners.write_to(new, kind);
}

/// Merges an applied configuration into the stored object, or into nothing.
///
/// # Errors
/// 409 where it changes fields of other managers and `force` is false.
pub(super) fn apply(
    old: Option<&Value>,
    config: &Value,
    kind: &Kind,
    writer: &Writer,
    force: bool,
    now: &str,
) -> Result<Value, ApiError> {
    let mut owners = old.map(Owners::of).unwrap_or_default();
    let mut config = config.clone();
    set_meta(&mut config, "managedFields", None);
    let mut live = old.cloned().unwrap_or_else(|| json!({}));
    set_meta(&mut live, "managedFields", None);

    let last = owners.set_of(writer);
    let mut set = fields::of_value(&config, kind.lists);
    restrict(&mut set, kind, &writer.subresource);
    let last_time = owners.time_of(writer);
    owners.assign(writer, set, &last_time);

    let mut merged = live.clone();
    merge(&mut merged, &config, kind.lists, "");
    prune(&mut merged, &last, &owners.union(), kind.lists, "");

    let Comparison {
        mut changed,
        mut removed,
    } = fields::compare(&live, &merged, kind.lists);
    restrict(&mut changed, kind, &writer.subresource);
    restrict(&mut removed, kind, &writer.subresource);
    let conflicts = owners.conflicts(writer, &changed);
    if !conflicts.is_empty() && !force {
        return Err(ApiError::apply_conflict(&conflicts));
    }
    owners.take_from_others(writer, &changed);
    owners.take_from_others(writer, &removed);
    if merged != live {
        owners.set_time(writer, now);
    }
    owners.write_to(&mut merged, kind);
    Ok(merged)
}

/// Merges `config` into `live`: maps by field, lists by their kind.
pub(super) fn merge(live: &mut Value, config: &Value, lists: Lists, name: &str) {
    match (live, config) {
        (Value::Object(live), Value::Object(config)) if !lists.is_atomic_map(name) => {
            for (name, value) in config {
                match live.get_mut(name) {
                    Some(entry) => merge(entry, value, lists, name),
                    None => drop(live.insert(name.clone(), value.clone())),
                }
            }
        }
        (Value::Array(live), Value::Array(config)) if lists.list(name) != ListKind::Atomic => {
            *live = merge_lists(live, config, lists, name);
        }
        (live, config) => live.clone_from(config),
    }
}

/// The configuration's order rules; items that it doesn't name keep their place among the others.
fn merge_lists(live: &[Value], config: &[Value], lists: Lists, name: &str) -> Vec<Value> {
    let kind = lists.list(name);
    let (by_key, wanted) = (fields::index(live, kind), fields::index(config, kind));
    let mut merged = Vec::with_capacity(live.len().max(config.len()));
    let (mut live, mut config) = (live.iter().peekable(), config.iter().peekable());
    loop {
        // What nobody names comes before the next named item that stood behind it.
        if let Some(item) = live.next_if(|item| {
            kind.element(item)
                .is_none_or(|element| !wanted.contains_key(&element))
        }) {
            merged.push(item.clone());
        } else if let Some(item) = config.next() {
            let element = kind.element(item);
            live.next_if(|next| kind.element(next) == element);
            let mut value = element
                .and_then(|element| by_key.get(&element))
                .map_or(Value::Null, |&value| value.clone());
            merge(&mut value, item, lists, item_name(name));
            merged.push(value);
        } else if live.next().is_none() {
            return merged;
        }
    }
}

/// Removes what the manager owned until now and nobody owns any more.
///
/// A field of a struct goes as a whole, with whatever unowned things it holds; so does an item of a list.
fn prune(value: &mut Value, last: &FieldSet, owned: &FieldSet, lists: Lists, name: &str) {
    for (element, dropped) in last.children() {
        // A field of a struct is owned with anything in it; an item of a list only by itself.
        let is_struct_field = element.starts_with("f:");
        let still = owned
            .child(element)
            .filter(|set| is_struct_field || set.is_member());
        if still.is_none() && (dropped.is_member() || is_struct_field) {
            remove(value, element, lists, name);
            continue;
        }
        let none = FieldSet::default();
        if let Some((child, name)) = child_mut(value, element, lists, name) {
            prune(child, dropped, still.unwrap_or(&none), lists, &name);
        }
    }
}

fn position(list: &[Value], element: &str, kind: ListKind) -> Option<usize> {
    list.iter()
        .position(|item| kind.element(item).as_deref() == Some(element))
}

fn remove(value: &mut Value, element: &str, lists: Lists, name: &str) {
    match (value, element.strip_prefix("f:")) {
        (Value::Object(map), Some(field)) => drop(map.remove(field)),
        (Value::Array(list), None) => {
            if let Some(index) = position(list, element, lists.list(name)) {
                list.remove(index);
            }
        }
        _ => {}
    }
}

fn child_mut<'a>(
    value: &'a mut Value,
    element: &str,
    lists: Lists,
    name: &str,
) -> Option<(&'a mut Value, String)> {
    match (value, element.strip_prefix("f:")) {
        (Value::Object(map), Some(field)) => Some((map.get_mut(field)?, field.to_owned())),
        (Value::Array(list), None) => {
            let index = position(list, element, lists.list(name))?;
            Some((list.get_mut(index)?, String::new()))
        }
        _ => None,
    }
}

/// Metadata without the times of its managed fields: what decides whether a write changed anything.
pub(super) fn without_times(metadata: &Value) -> Value {
    let mut metadata = metadata.clone();
    for entry in metadata
        .get_mut("managedFields")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        entry["time"] = Value::Null;
    }
    metadata
}
