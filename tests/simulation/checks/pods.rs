//! What ours may do to pods.

use serde_json::Value;

use super::{Check, ensure};
use crate::view::PodView;

/// R23: a Ready pod is never deleted.
pub(crate) fn no_ready_pod_is_deleted(name: &str, before: &Value, after: Option<&Value>) -> Check {
    let before = PodView::of(before);
    let is_deletion = after.is_none_or(|after| PodView::of(after).is_terminating);
    ensure(
        !is_deletion || before.is_terminating || !before.is_ready,
        "R23",
        "a Ready pod is never deleted by ours",
        || name.to_owned(),
    )
}
