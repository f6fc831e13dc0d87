//! A JSON patch (RFC 6902) as it is decided on: values borrow their text from what was read.

use json_patch::{
    AddOperation, PatchOperation, RemoveOperation, ReplaceOperation, TestOperation,
    jsonptr::PointerBuf,
};
use serde::Serialize;

use crate::json::Json;

/// One operation. Paths are JSON pointers, made from constants, indexes and escaped names only.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum Operation<'a> {
    /// Adds a value, also in place of another; before the item where `path` ends in an index.
    Add {
        /// Where.
        path: String,
        /// What.
        value: Json<'a>,
    },
    /// Replaces what is there.
    Replace {
        /// Where.
        path: String,
        /// By what.
        value: Json<'a>,
    },
    /// Removes what is there.
    Remove {
        /// Where.
        path: String,
    },
    /// The whole patch fails unless this is there.
    Test {
        /// Where.
        path: String,
        /// What.
        value: Json<'a>,
    },
}

pub(crate) fn add<'a>(path: impl Into<String>, value: impl Into<Json<'a>>) -> Operation<'a> {
    let (path, value) = (path.into(), value.into());
    Operation::Add { path, value }
}

pub(crate) fn replace<'a>(path: impl Into<String>, value: impl Into<Json<'a>>) -> Operation<'a> {
    let (path, value) = (path.into(), value.into());
    Operation::Replace { path, value }
}

pub(crate) fn remove<'a>(path: impl Into<String>) -> Operation<'a> {
    Operation::Remove { path: path.into() }
}

pub(crate) fn test<'a>(path: impl Into<String>, value: impl Into<Json<'a>>) -> Operation<'a> {
    let (path, value) = (path.into(), value.into());
    Operation::Test { path, value }
}

/// A field's or an annotation's name as a part of a JSON pointer.
pub(crate) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The patch as a client sends it.
#[must_use]
#[expect(
    clippy::missing_panics_doc,
    reason = "a pointer made of constants, indexes and escaped names is well-formed"
)]
pub fn sendable(operations: Vec<Operation<'_>>) -> json_patch::Patch {
    let pointer = |path: String| {
        PointerBuf::parse(path).expect("constants, indexes and escaped names make a pointer")
    };
    let sendable = |operation| match operation {
        Operation::Add { path, value } => PatchOperation::Add(AddOperation {
            path: pointer(path),
            value: value.into(),
        }),
        Operation::Replace { path, value } => PatchOperation::Replace(ReplaceOperation {
            path: pointer(path),
            value: value.into(),
        }),
        Operation::Remove { path } => PatchOperation::Remove(RemoveOperation {
            path: pointer(path),
        }),
        Operation::Test { path, value } => PatchOperation::Test(TestOperation {
            path: pointer(path),
            value: value.into(),
        }),
    };
    json_patch::Patch(operations.into_iter().map(sendable).collect())
}
