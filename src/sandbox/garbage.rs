//! The garbage collector and the namespace controller.

use serde_json::{Value, json};

use super::{
    controllers::{Task, Work},
    delete::{FOREGROUND, ORPHAN},
    draft::is_finished,
    object::{Key, Object, is_terminating, items, owner_uids, set_meta},
    store::{Event, TableId},
};

/// Plans what an event means for dependents and owners.
pub(super) fn observe(work: &mut Work<'_>, table: TableId, event: &Event) {
    let delay = work.timing.garbage;
    match (event.before.as_deref(), event.after.as_deref()) {
        (Some(gone), None) => {
            for (table, key) in work.state.store.dependents(gone.uid()) {
                work.plan(delay, Task::Collect(table, key));
            }
            // An owner may wait for its last dependent.
            let owners: Vec<_> = owner_uids(gone.value())
                .filter_map(|uid| work.state.store.whereabouts(uid))
                .collect();
            for (table, key) in owners {
                work.plan(delay, Task::Finalize(table, key));
            }
        }
        (before, Some(object)) => {
            let key = Key::of(object.value());
            if before.is_none() && owner_uids(object.value()).next().is_some() {
                work.plan(delay, Task::Collect(table, key.clone()));
            }
            if has_finalizer(object, FOREGROUND) || has_finalizer(object, ORPHAN) {
                work.plan(delay, Task::Finalize(table, key));
            }
        }
        (None, None) => {}
    }
}

fn has_finalizer(object: &Object, name: &str) -> bool {
    items(&object.value()["metadata"], "finalizers")
        .iter()
        .any(|finalizer| finalizer == name)
}

/// Deletes an object whose owners are all gone.
pub(super) fn collect(work: &mut Work<'_>, table: TableId, key: &Key) {
    let Some(object) = work.object(table, key) else {
        return;
    };
    let mut owners = owner_uids(object.value()).peekable();
    let is_orphan =
        owners.peek().is_some() && !owners.any(|uid| work.state.store.whereabouts(uid).is_some());
    if is_orphan && !is_terminating(object.value()) {
        delete(work, table, key);
    }
}

/// Deletes in the background. Somebody else may have deleted it just now, which is as good.
fn delete(work: &mut Work<'_>, table: TableId, key: &Key) {
    let _gone_already = work
        .inner
        .delete_one(work.state, table, key, &json!({}))
        .is_err();
}

/// Sees to the dependents of an object that is deleted in the foreground, or orphans them.
pub(super) fn finalize(work: &mut Work<'_>, table: TableId, key: &Key) {
    let Some(owner) = work
        .object(table, key)
        .filter(|owner| is_terminating(owner.value()))
    else {
        return;
    };
    let dependents = work.state.store.dependents(owner.uid());
    let finalizer = if has_finalizer(&owner, ORPHAN) {
        for (table, key) in &dependents {
            disown(work, *table, key, owner.uid());
        }
        ORPHAN
    } else if has_finalizer(&owner, FOREGROUND) {
        for (table, key) in &dependents {
            if work
                .object(*table, key)
                .is_some_and(|object| !is_terminating(object.value()))
            {
                delete(work, *table, key);
            }
        }
        if !work.state.store.dependents(owner.uid()).is_empty() {
            return;
        }
        FOREGROUND
    } else {
        return;
    };
    let remaining = without(items(&owner.value()["metadata"], "finalizers"), |name| {
        name == finalizer
    });
    let mut value = owner.value().clone();
    set_meta(&mut value, "finalizers", remaining);
    let kind = work.state.store.table(table).kind.clone();
    let value = work.state.put(table, value);
    if is_finished(&kind, value.value()) {
        work.state.remove(table, key);
    }
}

fn disown(work: &mut Work<'_>, table: TableId, key: &Key, owner: &str) {
    let Some(object) = work.object(table, key) else {
        return;
    };
    let remaining = without(
        items(&object.value()["metadata"], "ownerReferences"),
        |reference| reference["uid"] == owner,
    );
    work.update(table, &object, |value| {
        set_meta(value, "ownerReferences", remaining);
    });
}

/// The list without some entries; none where nothing is left.
fn without(list: &[Value], is_unwanted: impl Fn(&Value) -> bool) -> Option<Value> {
    let remaining: Vec<_> = list
        .iter()
        .filter(|entry| !is_unwanted(entry))
        .cloned()
        .collect();
    (!remaining.is_empty()).then(|| remaining.into())
}

/// Plans the emptying of a namespace that is being deleted.
pub(super) fn observe_namespace(work: &mut Work<'_>, event: &Event) {
    if let Some(namespace) = event
        .after
        .as_deref()
        .filter(|namespace| is_terminating(namespace.value()))
    {
        work.plan(
            work.timing.garbage,
            Task::EmptyNamespace(namespace.meta("name").to_owned()),
        );
    }
}

/// Deletes what a namespace holds, and then the namespace.
pub(super) fn empty_namespace(work: &mut Work<'_>, name: &str) {
    let namespaces = work.state.store.built_in("", "namespaces");
    let key = Key::new("", name);
    let Some(namespace) = work
        .object(namespaces, &key)
        .filter(|n| is_terminating(n.value()))
    else {
        return;
    };
    let tables: Vec<_> = work
        .state
        .store
        .kinds()
        .filter(|(_, kind)| kind.namespaced)
        .map(|(table, _)| table)
        .collect();
    for &table in &tables {
        let keys: Vec<_> = work
            .state
            .store
            .table(table)
            .list(name)
            .filter(|object| !is_terminating(object.value()))
            .map(|object| Key::of(object.value()))
            .collect();
        for key in keys {
            delete(work, table, &key);
        }
    }
    if tables
        .iter()
        .any(|&table| work.state.store.table(table).list(name).next().is_some())
    {
        work.plan(work.timing.probe, Task::EmptyNamespace(name.to_owned()));
        return;
    }
    work.update(namespaces, &namespace, |value| {
        drop(
            value["spec"]
                .as_object_mut()
                .and_then(|spec| spec.remove("finalizers")),
        );
    });
    work.state.remove(namespaces, &key);
}
