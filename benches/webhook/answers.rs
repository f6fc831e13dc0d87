//! Whether the servers do what is compared: a look at one answer each.

use json_patch::Patch;
use k8s_openapi::ByteString;
use serde_json::{Value, json};
use stellar_peers::api::names;

use crate::cases::Case;

/// What an answer makes of the object's template: the parts that count, or nothing where it changes nothing.
///
/// # Panics
/// Where the answer is none, refuses the object, or its patch doesn't fit: figures of such a server mean nothing.
pub(crate) fn parts(server: &str, case: &Case, answer: &[u8]) -> Option<Value> {
    let told = || {
        format!(
            "{server}, {}: {}",
            case.name,
            String::from_utf8_lossy(answer)
        )
    };
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    let response = &answer["response"];
    assert_eq!(response["allowed"], true, "{}", told());
    if response["patch"].is_null() {
        return None;
    }
    let patch: ByteString = serde_json::from_value(response["patch"].clone())
        .unwrap_or_else(|error| panic!("{error}: {}", told()));
    let patch: Patch =
        serde_json::from_slice(&patch.0).unwrap_or_else(|error| panic!("{error}: {}", told()));
    if patch.0.is_empty() {
        return None;
    }
    let review: Value = serde_json::from_slice(&case.body).expect("the API server sent JSON");
    let mut object = review["request"]["object"].clone();
    json_patch::patch(&mut object, &patch).unwrap_or_else(|error| panic!("{error}: {}", told()));
    let template = &object["spec"]["template"];
    let ours = |list: &Value, key: &str| {
        let mut list = list.as_array().into_iter().flatten();
        list.find(|it| it[key] == names::STELLAR_PEERS).cloned()
    };
    let core = &template["spec"]["containers"];
    let core = core.as_array().into_iter().flatten();
    let core = core.clone().find(|it| it["name"] == "stellar-node");
    let core = core.unwrap_or(&Value::Null);
    let annotations = &template["metadata"]["annotations"];
    Some(json!({
        "volume": ours(&template["spec"]["volumes"], "name"),
        "mount": ours(&core["volumeMounts"], "name"),
        "port": ours(&core["ports"], "name"),
        "port annotation": annotations[names::PORT],
        "membership": annotations[names::MEMBERSHIP],
    }))
}

/// Asserts that all of these servers add the same, and all of it where the case asks for it.
pub(crate) fn check(case: &Case, parts: &[(&str, Option<Value>)]) {
    for (server, parts) in parts {
        assert_eq!(
            parts.is_some(),
            case.is_patched,
            "{server}, {}: {parts:?}",
            case.name
        );
        let mut all = parts.iter().filter_map(Value::as_object).flatten();
        assert!(
            all.all(|(_, part)| !part.is_null()),
            "{server}, {}: not all is there: {parts:?}",
            case.name
        );
    }
    for pair in parts.windows(2) {
        assert_eq!(
            pair[0].1, pair[1].1,
            "{}: {} and {} differ",
            case.name, pair[0].0, pair[1].0
        );
    }
}
