//! A stored StatefulSet and a new one, a line each: no write that would not have restarted a pod becomes one that does,
//! and every patch fits its object.
#![no_main]

use k8s_openapi::api::apps::v1::StatefulSet;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use stellar_peers::{
    domain::{
        injection::{
            Knowledge, Review, admit_stateful_set, is_concerned, is_same_but_for_our_parts,
        },
        patch::sendable,
        policy::InjectMode,
    },
    json::Json,
};

fn template(object: &Value) -> &Value {
    object.pointer("/spec/template").unwrap_or(&Value::Null)
}

fuzz_target!(|bytes: &[u8]| {
    let mut lines = bytes.splitn(2, |byte| *byte == b'\n');
    let mut next = || serde_json::from_slice::<Value>(lines.next()?).ok();
    let (Some(old), Some(new)) = (next(), next()) else {
        return;
    };
    let knowledge = || {
        Some(Knowledge {
            inject: InjectMode::Render {
                image: "ours:1".to_owned(),
            },
            ..Knowledge::default()
        })
    };
    let admit = |object: &Value, old: Option<&Value>| {
        let (json, old) = (Json::from(object), old.map(Json::from));
        let review = Review {
            name: "validator-1",
            object: &json,
            old: old.as_ref(),
            field_manager: Some("operator"),
        };
        let mut after = object.clone();
        let operations = admit_stateful_set(review, knowledge).operations;
        json_patch::patch(&mut after, &sendable(operations)).expect("every patch fits its object");
        after
    };
    admit(&new, None);
    let after = admit(&new, Some(&old));
    // The port's annotation is its writer's setting as well: another value is a change of theirs.
    let port = |object| template(object).pointer("/metadata/annotations/peers.stellar.org~1port");
    let sets_port = port(&new).is_some() && port(&new) != port(&old);
    let is_asked = !sets_port && old.is_object();
    let is_asked = is_asked && is_concerned(&Json::from(&new), Some(&Json::from(&old)));
    let templates = (Json::from(template(&old)), Json::from(template(&new)));
    if is_asked && is_same_but_for_our_parts(&templates.0, &templates.1) {
        assert_eq!(template(&after), template(&old), "it would restart a pod");
    }
    // What is no StatefulSet never comes to a webhook, and only must not break it.
    let is_typed = |it: &Value| serde_json::from_value::<StatefulSet>(it.clone()).is_ok();
    if is_typed(&old) && is_typed(&new) {
        let again = admit(&after, Some(&old));
        assert_eq!(again, after, "a second call changes something");
    }
});
