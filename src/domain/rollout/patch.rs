//! The writes to a StatefulSet that make up a restart, each a JSON patch that tests what it rests on.

use jiff::Timestamp;
use json_patch::PatchOperation;
use serde_json::{Value, json};

use super::{Fence, Start};
use crate::{
    api::names,
    domain::{
        injection::{self, CannotInject, OurPort, Rendering, Template, Wanted, test},
        policy::InjectMode,
        snapshot::parse_time,
        time::rfc3339,
        turn::fenced,
    },
};

/// The patch that gives a StatefulSet the token of a turn. `object` is the StatefulSet as it was decided on.
#[must_use]
pub fn token_patch(object: &Value, start: &Start, token: &str) -> Vec<PatchOperation> {
    let mut operations = tests_of(&start.uid, start.generation);
    let path = injection::annotation_path("", names::TURN);
    match &start.turn {
        Some(seen) => operations.push(test(&path, json!(seen))),
        // An absent annotation can be tested only where there are others.
        None if injection::metadata(object, "annotations").is_some() => {
            operations.push(test(&path, Value::Null));
        }
        None => operations.push(test("/metadata/annotations", Value::Null)),
    }
    operations.extend(injection::annotate(
        object,
        "",
        &[(names::TURN, token.to_owned())],
    ));
    operations
}

/// The patch that replaces the token of a turn, so that its restart can't be carried out any more.
#[must_use]
pub fn fence_patch(fence: &Fence) -> Vec<PatchOperation> {
    let path = injection::annotation_path("", names::TURN);
    vec![
        test("/metadata/uid", json!(fence.uid)),
        test(&path, json!(fence.token)),
        injection::replace(&path, json!(fenced(&fence.token))),
    ]
}

/// The patch that restarts a validator: it tests what the decision rested on, adds our parts where they are
/// missing or outdated, carries the membership and the time, and uses the token up.
///
/// `object` is the StatefulSet as read uncached. The time is later than that of the last restart even if the wall
/// clock went back, since by that an admission tells this write from all others.
///
/// # Errors
/// [`CannotInject`] where the template changed so that our parts no longer fit.
pub fn restart_patch(
    object: &Value,
    start: &Start,
    token: &str,
    inject: &InjectMode,
    at: Timestamp,
) -> Result<Vec<PatchOperation>, CannotInject> {
    let template = object.pointer("/spec/template").unwrap_or(&Value::Null);
    let named = injection::setting(object, "annotations", names::CONTAINER);
    let stored = Template::new(template)
        .annotation(names::RESTARTED_AT)
        .and_then(parse_time);
    let next_second =
        stored.and_then(|stored| stored.checked_add(jiff::SignedDuration::from_secs(1)).ok());
    let at = next_second.map_or(at, |next| next.max(at));
    let mut operations = tests_of(&start.uid, start.generation);
    if let Some(carried) = &start.carried {
        operations.push(test(
            &injection::annotation_path("/spec/template", names::MEMBERSHIP),
            json!(carried),
        ));
    }
    let path = injection::annotation_path("", names::TURN);
    operations.extend([test(&path, json!(token)), injection::remove(&path)]);
    let our_port = OurPort::of(&[Template::new(template)]);
    let wanted = Wanted {
        port: start.port,
        membership: start.hash.clone(),
        restarted_at: Some(rfc3339(at)),
        rendering: Rendering::of(inject, object, Some(start.node.clone()), &start.network),
    };
    let completed = injection::complete(template, "/spec/template", named, &wanted, &our_port)?;
    operations.extend(completed.operations);
    Ok(operations)
}

fn tests_of(uid: &str, generation: i64) -> Vec<PatchOperation> {
    vec![
        test("/metadata/uid", json!(uid)),
        test("/metadata/generation", json!(generation)),
    ]
}
