//! Create, replace and patch: draft the new object, let webhooks change it, check it, store it.
//!
//! # Guarantees
//! An object that moved on while a webhook was asked is drafted anew, so no write is lost. A write that changes nothing
//! moves nothing.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value, json};

use super::{
    answer::Answer,
    defaults,
    error::ApiError,
    kinds::Kind,
    object::{Key, Object, as_map, is_terminating, items, map_mut, meta_str, set_meta},
    ownership::{self, Operation, Writer},
    patch::{self, Patch},
    read::scale_of,
    request::ApiRequest,
    server::{Inner, State},
    store::{Store, TableId},
    validate,
};

/// How often a write is drafted again where the object moved on meanwhile; the real server does the same.
const ATTEMPTS_MAX: usize = 5;

/// What the client wants written.
#[derive(Debug)]
pub(super) enum Intent {
    Create(Value),
    Replace(Value),
    Patch(Patch),
}

/// A write before it is stored.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) kind: Arc<Kind>,
    pub(super) old: Option<Arc<Object>>,
    pub(super) new: Value,
    pub(super) key: Key,
}

impl Inner {
    /// Serves every verb that changes something.
    pub(super) async fn write(
        &self,
        id: TableId,
        request: &ApiRequest,
        body: &Bytes,
    ) -> Result<Answer, ApiError> {
        let json = || {
            let body = serde_json::from_slice::<Map<_, _>>(body).map(Value::Object);
            body.map_err(|e| ApiError::bad_request(format!("couldn't decode the body: {e}")))
        };
        let intent = match request.info.verb {
            "create" => Intent::Create(json()?),
            "update" => Intent::Replace(json()?),
            "patch" => Intent::Patch(Patch::parse(&request.content_type, body)?),
            "delete" => return self.delete(id, request, body),
            "deletecollection" => return self.delete_collection(id, request, body),
            _ => return Err(ApiError::method_not_allowed()),
        };
        for _ in 0..ATTEMPTS_MAX {
            let mut draft = self.draft(id, request, &intent)?;
            let warnings = self.admit(request, &mut draft).await?;
            if let Some(answer) = self.commit(id, request, draft)? {
                return Ok(Answer { warnings, ..answer });
            }
        }
        let state = self.state();
        Err(ApiError::modified(
            &state.store.table(id).kind,
            &request.info.name,
        ))
    }

    /// Works out the new object from the stored one, without storing it.
    fn draft(&self, id: TableId, request: &ApiRequest, intent: &Intent) -> Result<Draft, ApiError> {
        let info = &request.info;
        let mut state = self.state();
        let kind = Arc::clone(&state.store.table(id).kind);
        let name = match intent {
            Intent::Create(body) => name_for(&mut state.store, body),
            _ => info.name.clone(),
        };
        let key = Key::new(&*info.namespace, name);
        let old = match intent {
            Intent::Create(_) => None,
            _ => state.store.table(id).get(&key).cloned(),
        };
        let is_creation = old.is_none();
        if is_creation {
            if !matches!(intent, Intent::Create(_) | Intent::Patch(Patch::Apply(_)))
                || !info.subresource.is_empty()
            {
                return Err(ApiError::not_found(&kind, &key.name));
            }
            check_namespace(&state, &kind, &key)?;
        }
        drop(state);
        let new = self.new_object(
            request,
            intent,
            &kind,
            old.as_deref().map(Object::value),
            &key,
        )?;
        Ok(Draft {
            kind,
            old,
            new,
            key,
        })
    }

    fn new_object(
        &self,
        request: &ApiRequest,
        intent: &Intent,
        kind: &Kind,
        old: Option<&Value>,
        key: &Key,
    ) -> Result<Value, ApiError> {
        let subresource = request.info.subresource.as_str();
        let base = match (old, subresource) {
            (Some(old), "scale") => Some(scale_of(old)),
            _ => None,
        };
        let base = base.as_ref().or(old);
        let now = self.clock.date();
        let operation = if matches!(intent, Intent::Patch(Patch::Apply(_))) {
            Operation::Apply
        } else {
            Operation::Update
        };
        let writer = Writer {
            manager: manager(request, operation)?,
            operation,
            subresource: subresource.to_owned(),
        };
        let wanted = match intent {
            Intent::Create(body) | Intent::Replace(body) => body.clone(),
            Intent::Patch(Patch::Apply(config)) if subresource != "scale" => {
                let mut config = config.clone();
                defaults::normalize(&mut config, kind.is_custom);
                identify(&mut config, kind, key)?;
                preconditions(kind, old, &config, key)?;
                project_config(&mut config, kind, subresource);
                ownership::apply(
                    base,
                    &config,
                    kind,
                    &writer,
                    request.query.is_true("force"),
                    &now,
                )?
            }
            Intent::Patch(patch) => patched(base, patch, kind)?,
        };
        let mut new = match (old, subresource) {
            (Some(old), "status") => with_status_of(old, &wanted),
            (Some(old), "scale") => with_replicas_of(old, &wanted),
            _ => wanted.clone(),
        };
        defaults::normalize(&mut new, kind.is_custom);
        if subresource.is_empty() {
            identify(&mut new, kind, key)?;
        }
        preconditions(kind, old, &wanted, key)?;
        if matches!(intent, Intent::Replace(_))
            && !kind.updates_unconditionally
            && meta_str(&wanted, "resourceVersion").is_empty()
        {
            let cause = super::error::Cause::invalid(
                "metadata.resourceVersion",
                &json!(0),
                "must be specified for an update",
            );
            return Err(ApiError::invalid(kind, &key.name, &[cause]));
        }
        if let Err(error) = (kind.rules.decode)(&new) {
            let message = format!(
                "{} in version {:?} cannot be handled as a {}: {error}",
                kind.kind, kind.version, kind.kind
            );
            let is_body = matches!(intent, Intent::Create(_) | Intent::Replace(_));
            return Err(ApiError::new(
                if is_body { 400 } else { 422 },
                if is_body { "BadRequest" } else { "Invalid" },
                message,
            ));
        }
        keep_system_fields(&mut new, old, kind, subresource);
        (kind.rules.default)(&mut new);
        if operation == Operation::Update {
            restore_managed_fields(&mut new, old);
            ownership::track_update(old, &mut new, kind, &writer, &now);
        }
        Ok(new)
    }

    /// Checks and stores a draft; none where the object moved on since.
    pub(super) fn commit(
        &self,
        id: TableId,
        request: &ApiRequest,
        draft: Draft,
    ) -> Result<Option<Answer>, ApiError> {
        let Draft {
            kind,
            old,
            mut new,
            key,
        } = draft;
        let subresource = &request.info.subresource;
        let mut state = self.state();
        let current = state.store.table(id).get(&key);
        match (&old, current) {
            (None, None) => {}
            (Some(old), Some(current)) if Arc::ptr_eq(old, current) => {}
            (None, Some(_)) if request.info.verb == "create" => {
                return Err(ApiError::already_exists(&kind, &key.name));
            }
            _ => return Ok(None),
        }
        let old_value = old.as_deref().map(Object::value);
        keep_system_fields(&mut new, old_value, &kind, subresource);
        number_generation(&mut new, old_value, &kind);
        let causes = validate::causes(&kind, old_value, &new);
        if !causes.is_empty() {
            return Err(ApiError::invalid(&kind, &key.name, &causes));
        }
        let code = if old.is_none() { 201 } else { 200 };
        if let Some(old) = old.as_ref().filter(|old| is_unchanged(old.value(), &new)) {
            return Ok(Some(answer(code, old, subresource)));
        }
        let is_rehearsal = match request.query.get("dryRun") {
            "" => false,
            "All" => true,
            other => {
                return Err(ApiError::bad_request(format!(
                    "invalid dry run option: {other}"
                )));
            }
        };
        if old.is_none() {
            check_namespace(&state, &kind, &key)?;
            let uid = if is_rehearsal {
                String::new()
            } else {
                state.store.new_uid()
            };
            set_meta(&mut new, "uid", Some(uid.into()));
            set_meta(
                &mut new,
                "creationTimestamp",
                Some(self.clock.date().into()),
            );
        }
        if is_rehearsal {
            return Ok(Some(answer(code, &Object::new(new), subresource)));
        }
        let object = state.put(id, new);
        if is_finished(&kind, object.value()) {
            state.remove(id, &key);
        }
        Ok(Some(answer(code, &object, subresource)))
    }
}

impl State {
    /// Stores an object, and whatever follows from it at once.
    pub(super) fn put(&mut self, id: TableId, value: Value) -> Arc<Object> {
        let object = self.store.put(id, value);
        if self
            .store
            .table(id)
            .kind
            .is("apiextensions.k8s.io", "customresourcedefinitions")
            && let Some(kind) = Kind::from_definition(object.value())
        {
            self.store.serve(kind);
        }
        object
    }

    /// Removes an object, and whatever follows from it at once.
    pub(super) fn remove(&mut self, id: TableId, key: &Key) {
        let Some(event) = self.store.remove(id, key) else {
            return;
        };
        if self
            .store
            .table(id)
            .kind
            .is("apiextensions.k8s.io", "customresourcedefinitions")
            && let Some(kind) = event
                .before
                .as_ref()
                .and_then(|gone| Kind::from_definition(gone.value()))
        {
            self.store.unserve(&kind.group, &kind.plural);
        }
    }
}

fn answer(code: u16, object: &Object, subresource: &str) -> Answer {
    let body = if subresource == "scale" {
        scale_of(object.value()).to_string().into()
    } else {
        object.json().clone()
    };
    Answer {
        code,
        body,
        warnings: Vec::new(),
    }
}

/// The field manager of a write; the client's own name stands for a user agent where it names none.
fn manager(request: &ApiRequest, operation: Operation) -> Result<String, ApiError> {
    match request.info.field_manager.as_str() {
        "" if operation == Operation::Apply => {
            let message = "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
            Err(ApiError::new(422, "Invalid", message))
        }
        "" => Ok(request.info.user.clone()),
        named => Ok(named.to_owned()),
    }
}

/// The name of an object to be created, made up where only a prefix is given.
fn name_for(store: &mut Store, body: &Value) -> String {
    let (name, prefix) = (meta_str(body, "name"), meta_str(body, "generateName"));
    if name.is_empty() && !prefix.is_empty() {
        format!("{prefix}{}", store.new_suffix())
    } else {
        name.to_owned()
    }
}

/// Creating needs a namespace that is there to stay.
fn check_namespace(state: &State, kind: &Kind, key: &Key) -> Result<(), ApiError> {
    if !kind.namespaced {
        return Ok(());
    }
    let namespaces = state.store.table(state.store.built_in("", "namespaces"));
    let namespace = namespaces.get(&Key::new("", &*key.namespace));
    let namespace =
        namespace.ok_or_else(|| ApiError::not_found(&namespaces.kind, &key.namespace))?;
    if is_terminating(namespace.value()) {
        return Err(ApiError::namespace_terminating(
            kind,
            &key.name,
            &key.namespace,
        ));
    }
    Ok(())
}

/// Fills in kind, name and namespace from the URL, and refuses others.
fn identify(object: &mut Value, kind: &Kind, key: &Key) -> Result<(), ApiError> {
    let map = as_map(object);
    for (field, expected) in [
        ("apiVersion", kind.api_version()),
        ("kind", kind.kind.to_string()),
    ] {
        let given = map.entry(field).or_insert_with(|| expected.clone().into());
        if *given != expected {
            let message = format!(
                "the {field} in the data ({given}) does not match the expected {field} ({expected})"
            );
            return Err(ApiError::bad_request(message));
        }
    }
    let name = meta_str(object, "name");
    if !name.is_empty() && name != key.name {
        let message = format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            key.name
        );
        return Err(ApiError::bad_request(message));
    }
    let namespace = meta_str(object, "namespace");
    if !namespace.is_empty() && namespace != key.namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if key.name.is_empty() {
        return Err(ApiError::invalid(
            kind,
            "",
            &[super::error::Cause::required(
                "metadata.name",
                "name or generateName is required",
            )],
        ));
    }
    set_meta(object, "name", Some(key.name.as_str().into()));
    set_meta(
        object,
        "namespace",
        kind.namespaced.then(|| key.namespace.as_str().into()),
    );
    Ok(())
}

/// A uid or a resource version that the client sends along must be the stored one.
fn preconditions(
    kind: &Kind,
    old: Option<&Value>,
    wanted: &Value,
    key: &Key,
) -> Result<(), ApiError> {
    let (uid, version) = (meta_str(wanted, "uid"), meta_str(wanted, "resourceVersion"));
    let Some(old) = old else {
        if !uid.is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
            );
            return Err(ApiError::conflict(kind, &key.name, &why));
        }
        return Ok(());
    };
    if !uid.is_empty() && uid != meta_str(old, "uid") {
        return Err(ApiError::precondition(
            kind,
            &key.name,
            "UID",
            uid,
            meta_str(old, "uid"),
        ));
    }
    if !version.is_empty() && version != "0" && version != meta_str(old, "resourceVersion") {
        return Err(ApiError::modified(kind, &key.name));
    }
    Ok(())
}

/// The part of an applied configuration that this (sub)resource takes.
fn project_config(config: &mut Value, kind: &Kind, subresource: &str) {
    let map = as_map(config);
    if subresource == "status" {
        map.retain(|field, _| {
            matches!(
                field.as_str(),
                "apiVersion" | "kind" | "metadata" | "status"
            )
        });
    } else if kind.has_status {
        map.remove("status");
    }
    let metadata = map_mut(config, "metadata");
    for field in [
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "managedFields",
    ] {
        metadata.remove(field);
    }
}

fn patched(base: Option<&Value>, patch: &Patch, kind: &Kind) -> Result<Value, ApiError> {
    let mut object = base.cloned().unwrap_or_else(|| json!({}));
    match patch {
        Patch::Json(operations) => patch::json(&mut object, operations)?,
        Patch::Merge(patch) => json_patch::merge(&mut object, patch),
        Patch::Strategic(_) if kind.is_custom => return Err(ApiError::unsupported_media_type()),
        Patch::Strategic(patch) => patch::strategic(&mut object, patch, kind.lists)?,
        Patch::Apply(_) => {
            return Err(ApiError::bad_request(
                "the sandbox knows no apply to a scale",
            ));
        }
    }
    Ok(object)
}

/// A write to `status` changes nothing else.
fn with_status_of(old: &Value, wanted: &Value) -> Value {
    let mut new = old.clone();
    new["status"] = wanted["status"].clone();
    if !wanted["metadata"]["managedFields"].is_null() {
        set_meta(
            &mut new,
            "managedFields",
            Some(wanted["metadata"]["managedFields"].clone()),
        );
    }
    new
}

/// A write to `scale` changes only the replicas.
fn with_replicas_of(old: &Value, scale: &Value) -> Value {
    let mut new = old.clone();
    new["spec"]["replicas"] = scale["spec"]["replicas"].clone();
    new
}

/// What no client may write: the server's own metadata, and the status of a kind that has it as a subresource.
fn keep_system_fields(new: &mut Value, old: Option<&Value>, kind: &Kind, subresource: &str) {
    for field in [
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        let stored = old
            .map(|old| &old["metadata"][field])
            .filter(|value| !value.is_null());
        set_meta(new, field, stored.cloned());
    }
    if kind.has_status && subresource != "status" {
        let stored = old
            .map(|old| &old["status"])
            .filter(|status| !status.is_null());
        match stored {
            Some(status) => new["status"] = status.clone(),
            // A definition's status and the defaults of other kinds are filled in by their rules.
            None => drop(as_map(new).remove("status")),
        }
        if old.is_none() {
            (kind.rules.default)(new);
        }
    }
}

fn restore_managed_fields(new: &mut Value, old: Option<&Value>) {
    let stored = old
        .map(|old| &old["metadata"]["managedFields"])
        .filter(|fields| !fields.is_null());
    set_meta(new, "managedFields", stored.cloned());
}

/// Counts changes of everything but metadata and status.
fn number_generation(new: &mut Value, old: Option<&Value>, kind: &Kind) {
    if !kind.counts_generation {
        return;
    }
    let Some(old) = old else {
        set_meta(new, "generation", Some(1.into()));
        return;
    };
    let spec = |value: &Value| -> Vec<(String, Value)> {
        let fields = value.as_object().into_iter().flatten();
        fields
            .filter(|(field, _)| !matches!(field.as_str(), "metadata" | "status"))
            .map(|(f, v)| (f.clone(), v.clone()))
            .collect()
    };
    if spec(old) != spec(new) {
        let generation = old["metadata"]["generation"].as_u64().unwrap_or(0);
        set_meta(new, "generation", Some((generation + 1).into()));
    }
}

/// Whether a write would change nothing but the times of managed fields.
fn is_unchanged(old: &Value, new: &Value) -> bool {
    let without_metadata = |value: &Value, other: &Value| {
        value
            .as_object()
            .into_iter()
            .flatten()
            .all(|(field, entry)| field == "metadata" || other.get(field) == Some(entry))
    };
    without_metadata(old, new)
        && without_metadata(new, old)
        && ownership::without_times(&old["metadata"]) == ownership::without_times(&new["metadata"])
}

/// Whether a deletion that waited for finalizers is now complete.
pub(super) fn is_finished(kind: &Kind, object: &Value) -> bool {
    let metadata = &object["metadata"];
    let waits_for_kubelet =
        kind.is("", "pods") && metadata["deletionGracePeriodSeconds"].as_u64().unwrap_or(0) > 0;
    let waits_for_contents =
        kind.is("", "namespaces") && !items(&object["spec"], "finalizers").is_empty();
    is_terminating(object)
        && items(metadata, "finalizers").is_empty()
        && !waits_for_kubelet
        && !waits_for_contents
}
