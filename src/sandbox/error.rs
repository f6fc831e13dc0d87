//! The answers of an API server that says no: `Status` objects with the real codes, reasons and words.

use serde_json::{Value, json};

use super::{kinds::Kind, object::Key};

/// One entry of `details.causes`: which field is wrong, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cause {
    reason: &'static str,
    field: String,
    message: String,
}

impl Cause {
    fn new(reason: &'static str, field: impl Into<String>, message: String) -> Self {
        Self {
            reason,
            field: field.into(),
            message,
        }
    }

    pub(super) fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        Self::new(
            "FieldValueInvalid",
            field,
            format!("Invalid value: {value}: {why}"),
        )
    }

    pub(super) fn duplicate(field: impl Into<String>, value: &str) -> Self {
        Self::new(
            "FieldValueDuplicate",
            field,
            format!("Duplicate value: {value:?}"),
        )
    }

    pub(super) fn required(field: impl Into<String>, why: &str) -> Self {
        let message = if why.is_empty() {
            "Required value".into()
        } else {
            format!("Required value: {why}")
        };
        Self::new("FieldValueRequired", field, message)
    }

    pub(super) fn not_supported(field: impl Into<String>, value: &Value, supported: &str) -> Self {
        let message = format!("Unsupported value: {value}: supported values: {supported}");
        Self::new("FieldValueNotSupported", field, message)
    }

    pub(super) fn not_found(field: impl Into<String>, value: &str) -> Self {
        Self::new("FieldValueNotFound", field, format!("Not found: {value:?}"))
    }

    pub(super) fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self::new("FieldValueForbidden", field, format!("Forbidden: {why}"))
    }

    pub(super) fn too_long(field: impl Into<String>, limit_bytes: usize) -> Self {
        Self::new(
            "FieldValueTooLong",
            field,
            format!("Too long: may not be more than {limit_bytes} bytes"),
        )
    }

    /// A field that another manager owns.
    fn manager_conflict(field: &str, manager: &str) -> Self {
        Self::new(
            "FieldManagerConflict",
            field,
            format!("conflict with {manager:?}"),
        )
    }

    /// As it stands in the message of an `Invalid` answer.
    fn text(&self) -> String {
        format!("{}: {}", self.field, self.message)
    }

    fn json(&self) -> Value {
        json!({"reason": self.reason, "message": self.message, "field": self.field})
    }
}

/// A refusal, as the client will read it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct ApiError {
    pub(super) code: u16,
    /// A plain-text body where the real server sends no `Status`: an API group that doesn't exist.
    plain: bool,
    reason: String,
    message: String,
    details: Value,
}

impl ApiError {
    pub(super) fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            plain: false,
            reason: reason.into(),
            message: message.into(),
            details: Value::Null,
        }
    }

    /// One that says nothing about an object: Go's `NewGenericServerResponse`.
    fn generic(code: u16, reason: &str, message: &str) -> Self {
        Self {
            details: json!({}),
            ..Self::new(code, reason, message)
        }
    }

    fn about(code: u16, reason: &str, kind: &Kind, name: &str, message: String) -> Self {
        let mut details = json!({"kind": kind.plural});
        for (field, value) in [("name", name), ("group", &kind.group)] {
            if !value.is_empty() {
                details[field] = value.into();
            }
        }
        Self {
            details,
            ..Self::new(code, reason, message)
        }
    }

    fn with_causes(mut self, causes: &[Cause]) -> Self {
        self.details["causes"] = causes.iter().map(Cause::json).collect();
        self
    }

    pub(super) fn page_not_found() -> Self {
        Self {
            plain: true,
            ..Self::new(404, "NotFound", "404 page not found\n")
        }
    }

    pub(super) fn resource_not_found() -> Self {
        let message = "the server could not find the requested resource";
        Self::generic(404, "NotFound", message)
    }

    pub(super) fn not_found(kind: &Kind, name: &str) -> Self {
        Self::about(
            404,
            "NotFound",
            kind,
            name,
            format!("{} {name:?} not found", kind.qualified()),
        )
    }

    pub(super) fn already_exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", kind.qualified());
        Self::about(409, "AlreadyExists", kind, name, message)
    }

    pub(super) fn conflict(kind: &Kind, name: &str, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: {why}",
            kind.qualified()
        );
        Self::about(409, "Conflict", kind, name, message)
    }

    /// The object moved on since the client read it.
    pub(super) fn modified(kind: &Kind, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, why)
    }

    /// A replace that names another uid than the stored one.
    pub(super) fn other_uid(kind: &Kind, key: &Key, wanted: &str, is: &str) -> Self {
        let place = format!("/registry/{}/{}/{}", kind.plural, key.namespace, key.name);
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: {place}, ResourceVersion: 0, AdditionalErrorMsg: \
             Precondition failed: UID in precondition: {wanted}, UID in object meta: {is}"
        );
        Self::conflict(kind, &key.name, &why)
    }

    /// A deletion whose precondition doesn't hold.
    pub(super) fn precondition(
        kind: &Kind,
        name: &str,
        what: &str,
        wanted: &str,
        is: &str,
    ) -> Self {
        let guess = if what == "UID" {
            "deleted and then recreated"
        } else {
            "modified"
        };
        let message = format!(
            "Operation cannot be fulfilled on {} {name:?}: the {what} in the precondition ({wanted}) does not match the \
             {what} in record ({is}). The object might have been {guess}",
            kind.name
        );
        let mut error = Self::about(409, "Conflict", kind, name, message);
        error.details["kind"] = kind.name.as_ref().into();
        error
    }

    /// Server-side apply meets fields of other managers: each with the paths that it owns.
    pub(super) fn apply_conflict(conflicts: &[(&str, Vec<String>)]) -> Self {
        let total: usize = conflicts.iter().map(|(_, paths)| paths.len()).sum();
        let list = match conflicts {
            [(manager, paths)] if paths.len() == 1 => {
                format!("conflict with {manager:?}: {}", paths[0])
            }
            several => {
                let each = several.iter().map(|(manager, paths)| {
                    format!("conflicts with {manager:?}:\n- {}", paths.join("\n- "))
                });
                each.collect::<Vec<_>>().join("\n")
            }
        };
        let noun = if total == 1 { "conflict" } else { "conflicts" };
        let causes = conflicts.iter().flat_map(|(manager, paths)| {
            paths
                .iter()
                .map(|path| Cause::manager_conflict(path, manager))
        });
        let message = format!("Apply failed with {total} {noun}: {list}");
        Self {
            details: json!({}),
            ..Self::new(409, "Conflict", message)
        }
        .with_causes(&causes.collect::<Vec<_>>())
    }

    pub(super) fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        let texts: Vec<_> = causes.iter().map(Cause::text).collect();
        let list = if texts.len() == 1 {
            texts[0].clone()
        } else {
            format!("[{}]", texts.join(", "))
        };
        let what = if kind.group.is_empty() {
            kind.name.to_string()
        } else {
            format!("{}.{}", kind.name, kind.group)
        };
        let mut error = Self::about(
            422,
            "Invalid",
            kind,
            name,
            format!("{what} {name:?} is invalid: {list}"),
        );
        error.details["kind"] = kind.name.as_ref().into();
        error.with_causes(causes)
    }

    /// Wrong options of a request.
    pub(super) fn invalid_options(options: &str, cause: &Cause) -> Self {
        let message = format!("{options}.meta.k8s.io \"\" is invalid: {}", cause.text());
        Self {
            details: json!({"group": "meta.k8s.io", "kind": options}),
            ..Self::new(422, "Invalid", message)
        }
        .with_causes(std::slice::from_ref(cause))
    }

    /// What a failed `test` of a JSON patch and a patch that doesn't fit the object both get.
    pub(super) fn patch_refused() -> Self {
        let message = "the server rejected our request due to an error in our request";
        Self::generic(422, "Invalid", message)
    }

    pub(super) fn namespace_terminating(kind: &Kind, name: &str, namespace: &str) -> Self {
        let why = format!(
            "unable to create new content in namespace {namespace} because it is being terminated"
        );
        let message = format!("{} {name:?} is forbidden: {why}", kind.qualified());
        let cause = Cause::new(
            "NamespaceTerminating",
            "metadata.namespace",
            format!("namespace {namespace} is being terminated"),
        );
        Self::about(403, "Forbidden", kind, name, message).with_causes(&[cause])
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(super) fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub(super) fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self::generic(405, "MethodNotAllowed", message)
    }

    pub(super) fn unsupported_media_type() -> Self {
        Self::generic(415, "UnsupportedMediaType", "415: Unsupported Media Type")
    }

    pub(super) fn internal(message: impl std::fmt::Display) -> Self {
        Self::new(
            500,
            "InternalError",
            format!("Internal error occurred: {message}"),
        )
    }

    /// A status that a fault or a webhook chose.
    pub(super) fn with_code(code: u16) -> Self {
        let (reason, message) = match code {
            401 => ("Unauthorized", "Unauthorized"),
            403 => ("Forbidden", "forbidden"),
            429 => (
                "TooManyRequests",
                "too many requests, please try again later",
            ),
            500 => (
                "InternalError",
                "Internal error occurred: etcdserver: leader changed",
            ),
            503 => (
                "ServiceUnavailable",
                "the server is currently unable to handle the request",
            ),
            504 => (
                "Timeout",
                "the server was unable to return a response in the time allotted",
            ),
            _ => ("", "the server refused"),
        };
        Self::new(code, reason, message)
    }

    /// The `Status` object.
    pub(super) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if !self.details.is_null() {
            status["details"] = self.details.clone();
        }
        if self.reason.is_empty()
            && let Some(status) = status.as_object_mut()
        {
            status.remove("reason");
        }
        status
    }

    /// The response's body and its content type.
    pub(super) fn body(&self) -> (Vec<u8>, &'static str) {
        if self.plain {
            (
                self.message.clone().into_bytes(),
                "text/plain; charset=utf-8",
            )
        } else {
            (self.status().to_string().into_bytes(), "application/json")
        }
    }
}
