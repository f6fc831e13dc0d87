//! A JSON patch (RFC 6902) as it is decided on, and as a client sends it.

use json_patch::{
    AddOperation, PatchOperation, RemoveOperation, ReplaceOperation, TestOperation,
    jsonptr::PointerBuf,
};

use crate::json::Json;
pub use crate::json::Operation;

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
