//! The write that restarts a validator.

use jiff::Timestamp;
use json_patch::{PatchOperation, TestOperation};
use serde_json::{Value, json};

use super::Start;
use crate::{
    api::names,
    domain::{
        injection::{self, CannotInject, OurPort, Template, Wanted},
        snapshot::parse_time,
        time::rfc3339,
    },
};

/// The JSON patch that restarts a validator: it tests what the decision rested on, adds our parts where they are
/// missing or outdated, and carries the membership and the time.
///
/// `object` is the StatefulSet as read uncached. The time is later than that of the last restart even if the wall
/// clock went back, since by that an admission tells this write from all others.
///
/// # Errors
/// [`CannotInject`] where the template changed so that our parts no longer fit.
pub fn restart_patch(
    object: &Value,
    start: &Start,
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
    let test = |path: &str, value: Value| {
        PatchOperation::Test(TestOperation {
            path: injection::pointer(path),
            value,
        })
    };
    let mut operations = vec![
        test("/metadata/uid", json!(start.uid)),
        test("/metadata/generation", json!(start.generation)),
    ];
    if let Some(carried) = &start.carried {
        operations.push(test(
            &injection::annotation_path("/spec/template", names::MEMBERSHIP),
            json!(carried),
        ));
    }
    let our_port = OurPort::of(&[Template::new(template)]);
    let wanted = Wanted {
        port: start.port,
        membership: start.hash.clone(),
        restarted_at: Some(rfc3339(at)),
    };
    operations.extend(injection::complete(
        template,
        "/spec/template",
        named,
        &wanted,
        &our_port,
    )?);
    Ok(operations)
}
