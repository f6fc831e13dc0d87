//! Create, replace and patch: draft the new object, let webhooks change it, check it, store it.
//!
//! # Guarantees
//! An object that moved on while a webhook was asked is drafted anew, so no write is lost. A write that changes nothing
//! moves nothing.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::{
    answer::Answer,
    draft::{self, Intent, Target},
    error::{ApiError, Cause},
    kinds::{Kind, UpdatePolicy},
    object::{Key, Object, is_terminating, meta_str, set_meta},
    patch::Patch,
    read::scale_of,
    request::ApiRequest,
    server::{Inner, State},
    store::{Store, TableId},
    validate,
};

/// How often a write is drafted again where the object moved on meanwhile; the real server does the same.
const ATTEMPTS_MAX: usize = 5;

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
        let intent = match request.info.verb {
            "create" => Intent::Create(parse_object(body)?),
            "update" => Intent::Replace(parse_object(body)?),
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
        if old.is_none() {
            let creates = match intent {
                Intent::Create(_) | Intent::Patch(Patch::Apply(_)) => true,
                Intent::Replace(_) => kind.update_policy == UpdatePolicy::CreatesToo,
                Intent::Patch(_) => false,
            };
            if !creates || !info.subresource.is_empty() {
                return Err(ApiError::not_found(&kind, &key.name));
            }
            check_namespace(&state, &kind, &key)?;
        }
        drop(state);
        let now = self.clock.date();
        let old_value = old.as_deref().map(Object::value);
        let target = Target {
            request,
            kind: &kind,
            key: &key,
            old: old_value,
            now: &now,
        };
        let new = target.new_object(intent)?;
        Ok(Draft {
            kind,
            old,
            new,
            key,
        })
    }

    /// Checks and stores a draft; none where the object moved on since.
    fn commit(
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
        draft::keep_system_fields(&mut new, old_value, &kind, subresource);
        (kind.rules.default)(&mut new);
        draft::number_generation(&mut new, old_value, &kind);
        let causes = validate::causes(&kind, old_value, &new);
        if !causes.is_empty() {
            return Err(ApiError::invalid(&kind, &key.name, &causes));
        }
        let code = if old.is_none() { 201 } else { 200 };
        if let Some(old) = old
            .as_ref()
            .filter(|old| draft::is_unchanged(old.value(), &new))
        {
            return Ok(Some(answer(code, old, subresource)));
        }
        let is_rehearsal = is_rehearsal(request)?;
        if old.is_none() {
            check_namespace(&state, &kind, &key)?;
            set_meta(&mut new, "uid", Some(state.store.new_uid().into()));
            set_meta(
                &mut new,
                "creationTimestamp",
                Some(self.clock.date().into()),
            );
        }
        if is_rehearsal {
            return Ok(Some(answer(code, &Object::new(new), subresource)));
        }
        state.store.set_author(Some(request.author()));
        let object = state.put(id, new);
        if draft::is_finished(&kind, object.value()) {
            state.remove(id, &key);
        }
        state.store.set_author(None);
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

fn parse_object(body: &Bytes) -> Result<Value, ApiError> {
    let object = serde_json::from_slice::<Map<_, _>>(body).map(Value::Object);
    object.map_err(|error| ApiError::bad_request(format!("couldn't decode the body: {error}")))
}

fn answer(code: u16, object: &Object, subresource: &str) -> Answer {
    let body = match subresource {
        "scale" => scale_of(object.value()).to_string().into(),
        _ => object.json().clone(),
    };
    Answer {
        code,
        body,
        warnings: Vec::new(),
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

fn is_rehearsal(request: &ApiRequest) -> Result<bool, ApiError> {
    match request.query.get("dryRun") {
        "" => Ok(false),
        "All" => Ok(true),
        other => {
            let options = match request.info.verb {
                "create" => "CreateOptions",
                "update" => "UpdateOptions",
                _ => "PatchOptions",
            };
            let given = Value::from(vec![other]);
            Err(ApiError::invalid_options(
                options,
                &Cause::not_supported("dryRun", &given, "\"All\""),
            ))
        }
    }
}
