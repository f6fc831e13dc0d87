//! What others' writes may do to templates.

use std::time::Duration;

use serde_json::Value;
use stellar_peers::sandbox::{Change, operator::WriteMode};

use super::{Check, ensure};
use crate::{observer::Observer, view::without_our_parts};

/// A webhook that was asked in vain this long ago may have been asked about the write at hand.
const ASKED_WITHIN: Duration = Duration::from_secs(4);

/// R14: a write that would not have restarted a pod doesn't do so because of our admission.
///
/// Where our webhook isn't reached, a writer that drops our parts does that by itself.
pub(crate) fn no_write_of_others_restarts(
    observer: &Observer,
    change: &Change<'_>,
    before: &Value,
    after: &Value,
    now: Duration,
) -> Check {
    let (old, new) = (&before["spec"]["template"], &after["spec"]["template"]);
    let is_ending = !before["metadata"]["deletionTimestamp"].is_null();
    if is_ending || old == new || without_our_parts(old) != without_our_parts(new) {
        return Ok(());
    }
    let user = change.author.map_or("", |author| author.user.as_str());
    let drops = user != "operator" || observer.plan.operator.mode == WriteMode::Replace;
    let was_missed = observer
        .missed
        .is_some_and(|missed| now.saturating_sub(missed) < ASKED_WITHIN);
    ensure(
        drops && (was_missed || !observer.plan.is_reached),
        "R14",
        "an admission never makes a write restart a pod",
        || {
            format!(
                "{user} changed nothing in the template of {}, and it changed",
                after["metadata"]["name"]
            )
        },
    )
}
