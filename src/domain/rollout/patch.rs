//! The writes to a StatefulSet that make up a restart, each a JSON patch that tests what it rests on.

use jiff::Timestamp;

use super::{Fence, Start};
use crate::{
    api::names,
    domain::{
        injection::{self, CannotInject, OurPort, Rendering, Template, Wanted},
        patch::{Operation, remove, replace, test},
        policy::InjectMode,
        snapshot::parse_time,
        time::rfc3339,
        turn::fenced,
    },
    json::Json,
};

/// The patch that gives a StatefulSet the token of a turn. `object` is the StatefulSet as it was decided on.
#[must_use]
pub fn token_patch<'a>(object: &Json<'_>, start: &'a Start, token: &str) -> Vec<Operation<'a>> {
    let mut operations = tests_of(&start.uid, start.generation);
    let path = injection::annotation_path("", names::TURN);
    match &start.turn {
        Some(seen) => operations.push(test(path, seen.as_str())),
        // An absent annotation can be tested only where there are others.
        None if injection::metadata(object, "annotations").is_some() => {
            operations.push(test(path, Json::Null));
        }
        None => operations.push(test("/metadata/annotations", Json::Null)),
    }
    let turn = [(names::TURN, token.to_owned())];
    operations.extend(injection::annotate(object, "", turn));
    operations
}

/// The patch that replaces the token of a turn, so that its restart can't be carried out any more.
#[must_use]
pub fn fence_patch(fence: &Fence) -> Vec<Operation<'_>> {
    let path = injection::annotation_path("", names::TURN);
    vec![
        test("/metadata/uid", fence.uid.as_str()),
        test(path.as_str(), fence.token.as_str()),
        replace(path, fenced(&fence.token)),
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
pub fn restart_patch<'a>(
    object: &'a Json<'a>,
    start: &'a Start,
    token: &'a str,
    inject: &InjectMode,
    at: Timestamp,
) -> Result<Vec<Operation<'a>>, CannotInject> {
    let template = object.at(["spec", "template"]).unwrap_or(&Json::Null);
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
            injection::annotation_path("/spec/template", names::MEMBERSHIP),
            carried.as_str(),
        ));
    }
    let path = injection::annotation_path("", names::TURN);
    operations.extend([test(path.as_str(), token), remove(path)]);
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

fn tests_of(uid: &str, generation: i64) -> Vec<Operation<'_>> {
    vec![
        test("/metadata/uid", uid),
        test("/metadata/generation", generation),
    ]
}
