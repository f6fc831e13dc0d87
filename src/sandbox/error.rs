//! The answers of an API server that says no: `Status` objects with the real codes, reasons and words.

use serde_json::{Value, json};

use super::kinds::Kind;

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

    pub(super) fn manager_conflict(field: String, manager: &str) -> Self {
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

    fn about(code: u16, reason: &str, kind: &Kind, name: &str, message: String) -> Self {
        let details = json!({"name": name, "group": kind.group, "kind": kind.plural});
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
        Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
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

    pub(super) fn precondition(
        kind: &Kind,
        name: &str,
        what: &str,
        wanted: &str,
        is: &str,
    ) -> Self {
        let why = format!(
            "Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {is}"
        );
        Self::conflict(kind, name, &why)
    }

    /// Server-side apply meets fields of other managers.
    pub(super) fn apply_conflict(causes: &[Cause]) -> Self {
        let noun = if causes.len() == 1 {
            "conflict"
        } else {
            "conflicts"
        };
        let list: Vec<_> = causes
            .iter()
            .map(|c| format!("{}: {}", c.message, c.field))
            .collect();
        let message = format!(
            "Apply failed with {} {noun}: {}",
            causes.len(),
            list.join(", ")
        );
        Self {
            details: json!({}),
            ..Self::new(409, "Conflict", message)
        }
        .with_causes(causes)
    }

    pub(super) fn invalid(kind: &Kind, name: &str, causes: &[Cause]) -> Self {
        let texts: Vec<_> = causes.iter().map(Cause::text).collect();
        let list = if texts.len() == 1 {
            texts[0].clone()
        } else {
            format!("[{}]", texts.join(", "))
        };
        let what = if kind.group.is_empty() {
            kind.kind.to_string()
        } else {
            format!("{}.{}", kind.kind, kind.group)
        };
        let mut error = Self::about(
            422,
            "Invalid",
            kind,
            name,
            format!("{what} {name:?} is invalid: {list}"),
        );
        error.details["kind"] = kind.kind.as_ref().into();
        error.with_causes(causes)
    }

    /// What a failed `test` of a JSON patch and a patch that doesn't fit the object both get.
    pub(super) fn patch_refused() -> Self {
        Self::new(
            422,
            "Invalid",
            "the server rejected our request due to an error in our request",
        )
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
        Self::new(405, "MethodNotAllowed", message)
    }

    pub(super) fn unsupported_media_type() -> Self {
        let message = "the body of the request was in an unknown format - accepted media types include: \
                       application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
        Self::new(415, "UnsupportedMediaType", message)
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
