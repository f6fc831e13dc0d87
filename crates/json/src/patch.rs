//! A JSON patch (RFC 6902) whose values borrow their text from what was read.

use std::borrow::Cow;

use serde::Serialize;

use super::Json;

/// What our parts take, most often: a longer patch costs another allocation.
const PATCH_BYTES: usize = 2048;

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

/// A field's or an annotation's name as a part of a JSON pointer.
#[must_use]
pub fn escaped(name: &str) -> Cow<'_, str> {
    if name.contains(['~', '/']) {
        return Cow::Owned(name.replace('~', "~0").replace('/', "~1"));
    }
    Cow::Borrowed(name)
}

/// The patch as text.
///
/// # Errors
/// None: whatever stands in a patch can be written.
pub fn to_bytes(patch: &[Operation<'_>]) -> serde_json::Result<Vec<u8>> {
    let mut text = Vec::with_capacity(PATCH_BYTES);
    serde_json::to_writer(&mut text, patch)?;
    Ok(text)
}
