//! Field managers: server-side apply, and what an ordinary update does to the owners of fields.
//!
//! After `structured-merge-diff`'s `merge.Updater`.

use serde_json::{Value, json};

use super::{
    error::ApiError,
    fields::{self, Comparison, FieldSet},
    kinds::Kind,
    lists::{ListKind, Lists, item_name},
    object::items,
    owners::{Owners, Writer},
};

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

/// Books an ordinary write: what it changed belongs to its writer alone. `new` carries the stored managed fields.
pub(super) fn track_update(
    old: Option<&Value>,
    new: &mut Value,
    kind: &Kind,
    writer: &Writer,
    now: &str,
) {
    let nothing = json!({});
    let comparison = compare(old.unwrap_or(&nothing), new, kind, writer);
    if comparison.is_empty() {
        return;
    }
    let mut owners = old.map(Owners::of).unwrap_or_default();
    let mut set = owners.set_of(writer).cloned().unwrap_or_default();
    set.subtract(&comparison.removed);
    set.union(&comparison.changed);
    owners.take_from_others(writer, &comparison);
    if owners.assign(writer, set) {
        // The scale handler of the real server loses the time.
        owners.set_time(
            writer,
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
    let named = fields::of_value(config, kind.lists);
    let mut set = named.clone();
    restrict(&mut set, kind, &writer.subresource);

    let nothing = json!({});
    let live = old.unwrap_or(&nothing);
    let mut merged = live.clone();
    merge(&mut merged, config, kind.lists, "");
    let last = owners.set_of(writer).cloned();
    owners.assign(writer, set);
    if let Some(last) = last.filter(|last| owners.set_of(writer) != Some(last)) {
        // The name that every configuration has holds on to the metadata around it.
        let mut owned = named;
        owners.sets().for_each(|set| owned.union(set));
        prune(&mut merged, &last, &owned, kind.lists, "");
    }

    let comparison = compare(live, &merged, kind, writer);
    let conflicts = owners.conflicts(writer, &comparison.changed);
    if !conflicts.is_empty() && !force {
        return Err(ApiError::apply_conflict(&conflicts));
    }
    if !comparison.is_empty() {
        owners.take_from_others(writer, &comparison);
        owners.set_time(writer, now);
    }
    owners.write_to(&mut merged, kind);
    Ok(merged)
}

/// What a write changed of the fields that it can own.
fn compare(old: &Value, new: &Value, kind: &Kind, writer: &Writer) -> Comparison {
    let mut comparison = fields::compare(old, new, kind.lists);
    restrict(&mut comparison.changed, kind, &writer.subresource);
    restrict(&mut comparison.removed, kind, &writer.subresource);
    comparison
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
            let kind = lists.list(name);
            let pairs = || live.iter().zip(config);
            if live.len() == config.len() && pairs().all(|(live, config)| kind.same(live, config)) {
                let pairs = live.iter_mut().zip(config);
                pairs.for_each(|(live, config)| merge(live, config, lists, item_name(name)));
            } else {
                *live = merge_lists(live, config, lists, name);
            }
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

/// Whether two objects' metadata differ in nothing but the times of their managed fields.
pub(super) fn same_metadata(one: &Value, other: &Value) -> bool {
    let (managed, other_managed) = (items(one, "managedFields"), items(other, "managedFields"));
    let same_entry = |(one, other)| same_fields(one, other, |field| field != "time");
    managed.len() == other_managed.len()
        && same_fields(one, other, |field| field != "managedFields")
        && managed.iter().zip(other_managed).all(same_entry)
}

/// Whether two objects have the same fields, of those that count.
pub(super) fn same_fields(one: &Value, other: &Value, counts: impl Fn(&str) -> bool) -> bool {
    let fields = |object| {
        Value::as_object(object)
            .into_iter()
            .flatten()
            .filter(|(field, _)| counts(field))
    };
    fields(one).eq(fields(other))
}
