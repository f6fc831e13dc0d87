//! The new object that a write asks for, worked out from the stored one. Pure: nothing is stored here.

use serde_json::{Value, json};

use super::{
    defaults,
    error::{ApiError, Cause},
    kinds::{Kind, UpdatePolicy},
    object::{Key, as_map, items, map_mut, meta_str, set_meta},
    owners::{Operation, Writer},
    ownership,
    patch::{self, Patch},
    read::scale_of,
    request::ApiRequest,
};

/// What the client wants written.
#[derive(Debug)]
pub(super) enum Intent {
    Create(Value),
    Replace(Value),
    Patch(Patch),
}

/// A write, and what it meets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) request: &'a ApiRequest,
    pub(super) kind: &'a Kind,
    pub(super) key: &'a Key,
    pub(super) old: Option<&'a Value>,
    /// The date that field managers get.
    pub(super) now: &'a str,
}

/// The metadata that only the server writes.
const SYSTEM_FIELDS: [&str; 6] = [
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
];

impl Target<'_> {
    fn subresource(&self) -> &str {
        &self.request.info.subresource
    }

    /// The new object: merged, pruned, defaulted, and its fields' owners booked.
    pub(super) fn new_object(&self, intent: &Intent) -> Result<Value, ApiError> {
        if let Intent::Patch(Patch::Apply(config)) = intent {
            return self.applied(config);
        }
        let wanted = self.wanted(intent)?;
        self.check_versions(intent, &wanted)?;
        let mut new = match (self.old, self.subresource()) {
            (Some(old), "status") => with_status_of(old, wanted, self.kind),
            (Some(old), "scale") => with_replicas_of(old, &wanted),
            _ => wanted,
        };
        if self.subresource().is_empty() {
            self.identify(&mut new)?;
        }
        let mut new = self.finished(self.pruned(new, matches!(intent, Intent::Patch(_)))?);
        let stored = self.old.map(|old| &old["metadata"]["managedFields"]);
        let stored = stored.filter(|fields| !fields.is_null()).cloned();
        set_meta(&mut new, "managedFields", stored);
        let writer = self.writer(Operation::Update)?;
        ownership::track_update(self.old, &mut new, self.kind, &writer, self.now);
        Ok(new)
    }

    /// The object as the client wants it, before the server has its say.
    fn wanted(&self, intent: &Intent) -> Result<Value, ApiError> {
        let scale = self
            .old
            .filter(|_| self.subresource() == "scale")
            .map(scale_of);
        let mut object = scale
            .as_ref()
            .or(self.old)
            .cloned()
            .unwrap_or_else(|| json!({}));
        match intent {
            Intent::Create(body) | Intent::Replace(body) => return Ok(body.clone()),
            Intent::Patch(Patch::Json(operations)) => patch::json(&mut object, operations)?,
            Intent::Patch(Patch::Merge(patch)) => json_patch::merge(&mut object, patch),
            Intent::Patch(Patch::Strategic(_)) if self.kind.is_custom => {
                return Err(ApiError::unsupported_media_type());
            }
            Intent::Patch(Patch::Strategic(patch)) => {
                patch::strategic(&mut object, patch, self.kind.lists)?;
            }
            Intent::Patch(Patch::Apply(_)) => unreachable!("applied has its own way"),
        }
        Ok(object)
    }

    /// Server-side apply.
    fn applied(&self, config: &Value) -> Result<Value, ApiError> {
        if self.subresource() == "scale" {
            return Err(ApiError::bad_request(
                "the sandbox knows no apply to a scale",
            ));
        }
        let writer = self.writer(Operation::Apply)?;
        if config["kind"].is_null() || config["apiVersion"].is_null() {
            return Err(ApiError::bad_request("invalid object type: /, Kind="));
        }
        if !config["metadata"]["managedFields"].is_null() {
            return Err(ApiError::bad_request("metadata.managedFields must be nil"));
        }
        let mut config = config.clone();
        defaults::drop_nulls(&mut config);
        self.identify(&mut config)?;
        self.check_declared(&config)?;
        self.check_versions(&Intent::Patch(Patch::Apply(Value::Null)), &config)?;
        self.project(&mut config);
        let force = self.request.query.is_true("force");
        let merged = ownership::apply(self.old, &config, self.kind, &writer, force, self.now)?;
        // Both what was stored and what is applied have only declared fields: nothing is to be pruned.
        Ok(self.finished(merged))
    }

    fn writer(&self, operation: Operation) -> Result<Writer, ApiError> {
        let manager = match self.request.info.field_manager.as_str() {
            "" if operation == Operation::Apply => {
                let cause = Cause::required("fieldManager", "is required for apply patch");
                return Err(ApiError::invalid_options("PatchOptions", &cause));
            }
            // The client's own name stands for a user agent.
            "" => &self.request.info.user,
            named => named,
        };
        let subresource = self.subresource().to_owned();
        Ok(Writer {
            manager: manager.to_owned(),
            operation,
            subresource,
        })
    }

    /// Drops unknown fields and refuses wrong types.
    fn pruned(&self, new: Value, is_patch: bool) -> Result<Value, ApiError> {
        (self.kind.rules.prune)(new).map_err(|error| {
            let Kind { name, version, .. } = self.kind;
            let message =
                format!("{name} in version {version:?} cannot be handled as a {name}: {error}");
            let (code, reason) = if is_patch {
                (422, "Invalid")
            } else {
                (400, "BadRequest")
            };
            ApiError::new(code, reason, message)
        })
    }

    /// Fills in what the server has to say.
    fn finished(&self, mut new: Value) -> Value {
        defaults::normalize(&mut new, self.kind.is_custom);
        keep_system_fields(&mut new, self.old, self.kind, self.subresource());
        (self.kind.rules.default)(&mut new);
        new
    }

    /// Fills in kind, name and namespace from the URL, and refuses others.
    fn identify(&self, object: &mut Value) -> Result<(), ApiError> {
        let (kind, key) = (self.kind, self.key);
        let map = as_map(object);
        for (field, expected) in [
            ("apiVersion", kind.api_version()),
            ("kind", kind.name.to_string()),
        ] {
            let given = map.entry(field).or_insert_with(|| expected.clone().into());
            if *given != expected {
                let why = format!(
                    "the {field} in the data ({given}) does not match the expected {field} ({expected})"
                );
                return Err(ApiError::bad_request(why));
            }
        }
        let name = meta_str(object, "name");
        if !name.is_empty() && name != key.name {
            let why = format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                key.name
            );
            return Err(ApiError::bad_request(why));
        }
        let namespace = meta_str(object, "namespace");
        if !namespace.is_empty() && namespace != key.namespace {
            let why = "the namespace of the provided object does not match the namespace sent on the request";
            return Err(ApiError::bad_request(why));
        }
        if key.name.is_empty() {
            let cause = Cause::required("metadata.name", "name or generateName is required");
            return Err(ApiError::invalid(kind, "", &[cause]));
        }
        set_meta(object, "name", Some(key.name.as_str().into()));
        set_meta(
            object,
            "namespace",
            kind.namespaced.then(|| key.namespace.as_str().into()),
        );
        Ok(())
    }

    /// An applied configuration may name only fields that the kind has.
    fn check_declared(&self, config: &Value) -> Result<(), ApiError> {
        let declared = (self.kind.rules.prune)(config.clone());
        let problem = match declared {
            Ok(declared) => undeclared(config, &declared, "")
                .map(|path| format!("{path}: field not declared in schema")),
            Err(error) => Some(error.to_string()),
        };
        let Some(problem) = problem else {
            return Ok(());
        };
        let Kind {
            group,
            version,
            name: kind,
            ..
        } = self.kind;
        let Key { namespace, name } = self.key;
        let what = format!("{namespace}/{name}; {group}/{version}, Kind={kind}");
        Err(ApiError::new(
            500,
            "",
            format!("failed to create typed patch object ({what}): {problem}"),
        ))
    }

    /// A uid or a resource version that the client sends along must be the stored one.
    fn check_versions(&self, intent: &Intent, wanted: &Value) -> Result<(), ApiError> {
        let (kind, key) = (self.kind, self.key);
        let (uid, version) = (meta_str(wanted, "uid"), meta_str(wanted, "resourceVersion"));
        let Some(old) = self.old else {
            if matches!(intent, Intent::Create(_)) && !version.is_empty() {
                return Err(ApiError::new(
                    500,
                    "",
                    "resourceVersion should not be set on objects to be created",
                ));
            }
            if matches!(intent, Intent::Patch(_)) && !uid.is_empty() {
                let why = format!(
                    "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
                );
                return Err(ApiError::conflict(kind, &key.name, &why));
            }
            return Ok(());
        };
        let stored = meta_str(old, "uid");
        if !uid.is_empty() && uid != stored {
            if matches!(intent, Intent::Replace(_)) {
                return Err(ApiError::other_uid(kind, key, uid, stored));
            }
            let cause = Cause::invalid("metadata.uid", &uid.into(), "field is immutable");
            return Err(ApiError::invalid(kind, &key.name, &[cause]));
        }
        if !version.is_empty() && version != "0" && version != meta_str(old, "resourceVersion") {
            return Err(ApiError::modified(kind, &key.name));
        }
        let is_versioned = kind.update_policy != UpdatePolicy::Unconditional;
        if is_versioned && version.is_empty() && matches!(intent, Intent::Replace(_)) {
            let cause = Cause::invalid(
                "metadata.resourceVersion",
                &json!(0),
                "must be specified for an update",
            );
            return Err(ApiError::invalid(kind, &key.name, &[cause]));
        }
        Ok(())
    }

    /// The part of an applied configuration that this (sub)resource takes.
    fn project(&self, config: &mut Value) {
        let map = as_map(config);
        if self.subresource() == "status" {
            map.retain(|field, _| {
                matches!(
                    field.as_str(),
                    "apiVersion" | "kind" | "metadata" | "status"
                )
            });
        } else if self.kind.has_status() {
            map.remove("status");
        }
        let metadata = map_mut(config, "metadata");
        metadata.retain(|field, _| !SYSTEM_FIELDS.contains(&field.as_str()));
    }
}

/// The first field that is in `config` and not in `declared`, as error messages write it.
fn undeclared(config: &Value, declared: &Value, path: &str) -> Option<String> {
    match (config, declared) {
        (Value::Object(config), Value::Object(declared)) => {
            config.iter().find_map(|(field, value)| {
                let path = format!("{path}.{field}");
                match declared.get(field) {
                    Some(declared) => undeclared(value, declared, &path),
                    None => Some(path),
                }
            })
        }
        (Value::Array(config), Value::Array(declared)) => {
            let items = config.iter().zip(declared).enumerate();
            items.into_iter().find_map(|(index, (config, declared))| {
                undeclared(config, declared, &format!("{path}[{index}]"))
            })
        }
        _ => None,
    }
}

/// A write to `status` changes no spec; of a custom resource it changes nothing else at all.
fn with_status_of(old: &Value, mut wanted: Value, kind: &Kind) -> Value {
    let mut new = old.clone();
    new["status"] = wanted["status"].take();
    if !kind.is_custom {
        new["metadata"] = wanted["metadata"].take();
    }
    new
}

/// A write to `scale` changes only the replicas; none are zero.
fn with_replicas_of(old: &Value, scale: &Value) -> Value {
    let mut new = old.clone();
    let replicas = &scale["spec"]["replicas"];
    new["spec"]["replicas"] = if replicas.is_null() {
        0.into()
    } else {
        replicas.clone()
    };
    new
}

/// What no client may write: the server's own metadata, and the status of a kind that has it as a subresource.
pub(super) fn keep_system_fields(
    new: &mut Value,
    old: Option<&Value>,
    kind: &Kind,
    subresource: &str,
) {
    for field in SYSTEM_FIELDS {
        let stored = old
            .map(|old| &old["metadata"][field])
            .filter(|value| !value.is_null());
        set_meta(new, field, stored.cloned());
    }
    if kind.has_status() && subresource != "status" {
        let status = old
            .map(|old| &old["status"])
            .filter(|status| !status.is_null());
        match status {
            Some(status) => new["status"] = status.clone(),
            None => drop(as_map(new).remove("status")),
        }
    }
}

/// Counts changes of everything but metadata and status.
pub(super) fn number_generation(new: &mut Value, old: Option<&Value>, kind: &Kind) {
    if !kind.counts_generation {
        return;
    }
    let generation = match old {
        None => 1,
        Some(old) => {
            let is_counted = |field: &str| !matches!(field, "metadata" | "status");
            let stored = old["metadata"]["generation"].as_u64().unwrap_or(0);
            stored + u64::from(!ownership::same_fields(old, new, is_counted))
        }
    };
    set_meta(new, "generation", Some(generation.into()));
}

/// Whether a write would change nothing but the times of managed fields.
pub(super) fn is_unchanged(old: &Value, new: &Value) -> bool {
    ownership::same_fields(old, new, |field| field != "metadata")
        && ownership::same_metadata(&old["metadata"], &new["metadata"])
}

/// Whether a deletion that waited for finalizers is now complete.
pub(super) fn is_finished(kind: &Kind, object: &Value) -> bool {
    let metadata = &object["metadata"];
    let waits_for_kubelet =
        kind.is("", "pods") && metadata["deletionGracePeriodSeconds"].as_u64().unwrap_or(0) > 0;
    let waits_for_contents =
        kind.is("", "namespaces") && !items(&object["spec"], "finalizers").is_empty();
    let is_terminating = super::object::is_terminating(object);
    is_terminating
        && items(metadata, "finalizers").is_empty()
        && !waits_for_kubelet
        && !waits_for_contents
}
