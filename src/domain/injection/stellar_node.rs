//! What an admission of a StellarNode becomes: a validator gets its peer port, and an impossible one is refused.

use serde_json::Value;

use crate::{
    domain::{
        patch::{Operation, add},
        peer::PeerPort,
        snapshot::peer_port_of_spec,
    },
    json::Json,
};

/// Decides one write of a StellarNode: the operations that give it its port.
///
/// # Errors
/// A message for the writer where `spec.validatorConfig.peerPort` is no port and this write set it so.
pub fn admit_stellar_node(
    object: &Value,
    old: Option<&Value>,
) -> Result<Vec<Operation<'static>>, String> {
    let is_deleted = object
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|it| !it.is_null());
    let Some(spec) = object
        .get("spec")
        .filter(|it| it.is_object() && !is_deleted)
    else {
        return Ok(Vec::new());
    };
    if spec.get("nodeType").and_then(Value::as_str) != Some("Validator") {
        return Ok(Vec::new());
    }
    match peer_port_of_spec(spec) {
        Some(Ok(_)) => Ok(Vec::new()),
        Some(Err(invalid)) => {
            let port = |spec: &Value| spec.pointer("/validatorConfig/peerPort").cloned();
            let stored = old.and_then(|old| old.get("spec")).and_then(port);
            if old.is_some() && stored == port(spec) {
                Ok(Vec::new())
            } else {
                Err(format!("spec.validatorConfig.peerPort {invalid}"))
            }
        }
        None => Ok(match spec.get("validatorConfig") {
            Some(Value::Object(_)) => vec![add(
                "/spec/validatorConfig/peerPort",
                PeerPort::DEFAULT.get(),
            )],
            None | Some(Value::Null) => {
                vec![add(
                    "/spec/validatorConfig",
                    Json::object([("peerPort", PeerPort::DEFAULT.get().into())]),
                )]
            }
            Some(_) => Vec::new(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::patch::sendable;

    fn validator(config: impl Into<Value>) -> Value {
        json!({"spec": {"nodeType": "Validator", "validatorConfig": config.into()}})
    }

    fn admitted(mut object: Value) -> Value {
        let operations = admit_stellar_node(&object, None).unwrap();
        json_patch::patch(&mut object, &sendable(operations)).unwrap();
        object
    }

    #[test]
    fn a_validator_without_a_port_gets_the_default() {
        let expected = json!({"peerPort": 11625});
        assert_eq!(
            admitted(validator(json!({})))["spec"]["validatorConfig"],
            expected
        );
        assert_eq!(
            admitted(validator(json!(null)))["spec"]["validatorConfig"],
            expected
        );
        assert_eq!(
            admitted(json!({"spec": {"nodeType": "Validator"}}))["spec"]["validatorConfig"],
            expected
        );
        assert_eq!(
            admitted(validator(json!({"peerPort": 1})))["spec"]["validatorConfig"],
            json!({"peerPort": 1})
        );
    }

    #[test]
    fn other_node_types_and_odd_objects_are_left_alone() {
        for object in [
            json!({"spec": {"nodeType": "Horizon"}}),
            json!({}),
            json!({"spec": 1}),
            validator(json!("x")),
        ] {
            assert_eq!(
                admit_stellar_node(&object, None),
                Ok(Vec::new()),
                "{object}"
            );
        }
    }

    #[test]
    fn an_impossible_port_is_refused_by_name_only_where_this_write_sets_it() {
        for port in [json!(0), json!(65536), json!("11625"), json!(1.5)] {
            let object = validator(json!({"peerPort": port}));
            let refused = admit_stellar_node(&object, None).unwrap_err();
            assert!(
                refused.contains("spec.validatorConfig.peerPort"),
                "{refused}"
            );
            assert!(
                admit_stellar_node(&object, Some(&validator(json!({"peerPort": 11625})))).is_err()
            );
            assert_eq!(admit_stellar_node(&object, Some(&object)), Ok(Vec::new()));
            let mut deleted = object.clone();
            deleted["metadata"] = json!({"deletionTimestamp": "2026-01-01T00:00:00Z"});
            assert_eq!(admit_stellar_node(&deleted, None), Ok(Vec::new()));
        }
    }
}
