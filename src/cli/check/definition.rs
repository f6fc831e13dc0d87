//! The kind StellarNode as this cluster defines it: whether its schema keeps `spec.validatorConfig.peerPort`.
//!
//! A field that a schema doesn't name is pruned: whoever sets it is told nothing, and it is gone. Definitions come in
//! several shapes, so they are read as JSON.

use serde_json::{Map, Value, json};

use super::finding::{Check, Finding};

/// Name of the definition.
pub(super) const NAME: &str = "stellarnodes.stellar.org";
/// The version that we read.
const VERSION: &str = "v1alpha1";
/// The way to the port.
const PATH: [&str; 3] = ["spec", "validatorConfig", "peerPort"];
/// The port that an admission writes where none is set.
const DEFAULT_PORT: f64 = 11625.0;

/// What a version's schema does with the port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PortField {
    /// Named, and it takes a port.
    Declared,
    /// Not named, and kept with all unknown fields.
    Preserved,
    /// Not named, and so dropped.
    Pruned(Gap),
    /// Named, and it takes no port.
    Refused(String),
    /// The schema is of a shape in which the field has no place.
    Unclear(String),
}

/// Where the schema ends too early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// JSON pointer of the schema object that lacks the next field.
    parent: String,
    /// Whether that has `properties`.
    has_properties: bool,
    /// How many steps of the path are there.
    depth: usize,
}

/// A served version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServedVersion {
    pub(super) name: String,
    pub(super) port: PortField,
}

/// The versions that a definition serves, and what each does with the port.
pub(super) fn versions(definition: &Value) -> Vec<ServedVersion> {
    let keeps_all = definition["spec"]["preserveUnknownFields"] == true;
    let versions = definition["spec"]["versions"].as_array();
    let versions = versions.into_iter().flatten().enumerate();
    versions
        .filter(|(_, version)| version["served"] == true)
        .map(|(index, version)| ServedVersion {
            name: version["name"].as_str().unwrap_or_default().to_owned(),
            port: port_field(version, index, keeps_all),
        })
        .collect()
}

fn port_field(version: &Value, index: usize, keeps_all: bool) -> PortField {
    let mut pointer = format!("/spec/versions/{index}/schema/openAPIV3Schema");
    let Some(mut schema) = version.pointer("/schema/openAPIV3Schema") else {
        return PortField::Unclear("it has no schema".to_owned());
    };
    for (depth, field) in PATH.iter().enumerate() {
        if let Some(next) = schema["properties"].get(field) {
            pointer += &format!("/properties/{field}");
            schema = next;
            continue;
        }
        if keeps_all || schema["x-kubernetes-preserve-unknown-fields"] == true {
            return PortField::Preserved;
        }
        match schema.get("additionalProperties") {
            Some(next @ Value::Object(_)) => {
                pointer += "/additionalProperties";
                schema = next;
            }
            Some(Value::Bool(true)) if depth + 1 == PATH.len() => return PortField::Preserved,
            Some(_) => {
                let at = PATH[..depth].join(".");
                return PortField::Unclear(format!("{at} takes any name, and no objects in it"));
            }
            None if schema["type"] != "object" => {
                let at = PATH[..depth].join(".");
                return PortField::Unclear(format!("{at} is no object"));
            }
            None => {
                return PortField::Pruned(Gap {
                    parent: pointer,
                    has_properties: schema["properties"].is_object(),
                    depth,
                });
            }
        }
    }
    match refusal(schema) {
        Some(why) => PortField::Refused(why),
        None => PortField::Declared,
    }
}

/// Why a field's schema takes no port.
fn refusal(schema: &Value) -> Option<String> {
    let kind = schema["type"].as_str();
    let takes_numbers = match kind {
        Some("integer" | "number") => true,
        Some(_) => false,
        None => {
            schema["x-kubernetes-int-or-string"] == true
                || schema["x-kubernetes-preserve-unknown-fields"] == true
        }
    };
    let limit = |key| schema.get(key).and_then(Value::as_f64);
    if !takes_numbers {
        Some(format!("it is of type {}", kind.unwrap_or("unknown")))
    } else if limit("minimum").is_some_and(|least| least > DEFAULT_PORT)
        || limit("maximum").is_some_and(|most| most < DEFAULT_PORT)
    {
        Some("its limits leave 11625 out".to_owned())
    } else {
        None
    }
}

/// The definition, where there is one.
pub(super) fn findings(definition: Option<&Value>) -> Vec<Finding> {
    let Some(definition) = definition else {
        return vec![Finding::pass(
            Check::Kind,
            "there is no kind StellarNode: StatefulSets take part by their label alone",
        )];
    };
    let versions = versions(definition);
    let of_kind = |finding: Finding| finding.of(format!("CustomResourceDefinition {NAME}"));
    let names: Vec<&str> = versions.iter().map(|it| it.name.as_str()).collect();
    if !names.contains(&VERSION) {
        let others = if names.is_empty() {
            "nothing".to_owned()
        } else {
            names.join(", ")
        };
        let missing = Finding::failed(
            Check::Kind,
            format!("the kind StellarNode is defined and serves {others}, not {VERSION}"),
        );
        return vec![of_kind(
            missing
                .means("the operator's validators can't be seen")
                .fix(format!(
                    "an operator that serves {VERSION}, or a newer stellar-peers"
                )),
        )];
    }
    let served = Finding::pass(Check::Kind, format!("StellarNode {VERSION} is served"));
    let mut findings = vec![of_kind(served)];
    findings.extend(versions.iter().map(|it| of_kind(port_finding(it))));
    findings
}

fn port_finding(version: &ServedVersion) -> Finding {
    let name = &version.name;
    let field = PATH.join(".");
    match &version.port {
        PortField::Declared => {
            Finding::pass(Check::PeerPort, format!("{name} has {field} in its schema"))
        }
        PortField::Preserved => Finding::pass(
            Check::PeerPort,
            format!("{name} keeps {field} with all fields that its schema doesn't name"),
        ),
        PortField::Pruned(gap) => {
            let at = PATH[..=gap.depth].join(".");
            let pruned = Finding::warning(
                Check::PeerPort,
                format!("{name} drops {field}: its schema has no {at}"),
            );
            pruned
                .means(
                    "a port that is set there is lost without a word, and the validator is listed with that of its \
                     annotation or container, else 11625",
                )
                .fix("stellar-peers check --fix")
        }
        PortField::Refused(why) => {
            let refused = Finding::failed(
                Check::PeerPort,
                format!("{name} takes no port at {field}: {why}"),
            );
            refused
                .means("a StellarNode to which the webhook adds its port is refused")
                .fix("a definition in which it is an integer from 1 to 65535")
        }
        PortField::Unclear(why) => {
            let unclear = Finding::warning(
                Check::PeerPort,
                format!("whether {name} keeps {field} is not clear: {why}"),
            );
            unclear
                .means("a port that is set there may be lost without a word")
                .fix("a definition in which it is an integer from 1 to 65535; --fix can't make this one so")
        }
    }
}

/// The JSON patch that gives the field to each version that drops it; [`None`] where none does. It tests the version
/// of the object that it was made for.
pub(super) fn patch(definition: &Value) -> Option<Value> {
    let adds: Vec<Value> = versions(definition)
        .into_iter()
        .filter_map(|version| match version.port {
            PortField::Pruned(gap) => Some(addition(&gap)),
            _ => None,
        })
        .collect();
    if adds.is_empty() {
        return None;
    }
    let test = json!({
        "op": "test", "path": "/metadata/resourceVersion",
        "value": definition["metadata"]["resourceVersion"],
    });
    Some([vec![test], adds].concat().into())
}

/// As `stellar-peers crd` has it, with what is missing on the way to it.
fn addition(gap: &Gap) -> Value {
    let port = json!({
        "description": "Port on which other validators reach this one; 11625 where absent.",
        "type": "integer", "format": "int32", "minimum": 1, "maximum": 65535, "nullable": true,
    });
    let missing = &PATH[gap.depth + 1..];
    let schema = missing.iter().rev().fold(
        port,
        |inner, field| json!({"type": "object", "nullable": true, "properties": {*field: inner}}),
    );
    let first = PATH[gap.depth];
    let parent = &gap.parent;
    if gap.has_properties {
        json!({"op": "add", "path": format!("{parent}/properties/{first}"), "value": schema})
    } else {
        let properties = Map::from_iter([(first.to_owned(), schema)]);
        json!({"op": "add", "path": format!("{parent}/properties"), "value": properties})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::stellar_node_crd, cli::check::finding::Outcome};

    fn definition(schemas: &[Value]) -> Value {
        let versions = schemas.iter().enumerate().map(|(index, schema)| {
            json!({
                "name": if index == 0 { "v1alpha1".to_owned() } else { format!("v{index}") },
                "served": true, "storage": index == 0, "schema": {"openAPIV3Schema": schema},
            })
        });
        let versions: Vec<Value> = versions.collect();
        json!({"metadata": {"resourceVersion": "7"}, "spec": {"versions": versions}})
    }

    fn object(properties: &Value) -> Value {
        json!({"type": "object", "properties": properties})
    }

    /// `spec.validatorConfig` with this schema.
    fn with_config(config: &Value) -> Value {
        object(&json!({"spec": object(&json!({"validatorConfig": config}))}))
    }

    fn port(schema: &Value) -> PortField {
        versions(&definition(std::slice::from_ref(schema)))
            .remove(0)
            .port
    }

    #[test]
    fn our_own_definition_has_the_field() {
        let ours = serde_json::to_value(stellar_node_crd()).unwrap();
        let [version] = &versions(&ours)[..] else {
            panic!("it has one version")
        };
        assert_eq!(version.port, PortField::Declared);
        assert_eq!(patch(&ours), None);
        assert!(
            findings(Some(&ours))
                .iter()
                .all(|it| it.outcome == Outcome::Pass)
        );
    }

    #[test]
    fn a_field_that_is_not_named_is_kept_only_where_unknown_fields_are() {
        let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let named = object(&json!({"seedSecretRef": {"type": "string"}}));
        let mut open_and_named = named.clone();
        open_and_named["x-kubernetes-preserve-unknown-fields"] = json!(true);
        for kept in [
            open.clone(),
            object(&json!({"spec": open})),
            with_config(&open_and_named),
            with_config(&json!({"type": "object", "additionalProperties": true})),
        ] {
            assert_eq!(port(&kept), PortField::Preserved, "{kept}");
        }
        // What stands open further out keeps nothing of what is named further in.
        let mut outer = with_config(&named);
        outer["x-kubernetes-preserve-unknown-fields"] = json!(true);
        for pruned in [
            with_config(&named),
            outer,
            object(&json!({"spec": object(&json!({}))})),
        ] {
            assert!(matches!(port(&pruned), PortField::Pruned(_)), "{pruned}");
        }
        let mut old = definition(&[with_config(&named)]);
        old["spec"]["preserveUnknownFields"] = json!(true);
        assert_eq!(versions(&old)[0].port, PortField::Preserved);
    }

    #[test]
    fn a_field_of_another_type_refuses_the_port_that_an_admission_adds() {
        let field = |schema: Value| with_config(&object(&json!({"peerPort": schema})));
        for good in [
            json!({"type": "integer"}),
            json!({"type": "number", "minimum": 1, "maximum": 65535}),
            json!({"x-kubernetes-int-or-string": true}),
        ] {
            assert_eq!(port(&field(good)), PortField::Declared);
        }
        for bad in [
            json!({"type": "string"}),
            json!({"type": "integer", "maximum": 1024}),
            json!({"type": "integer", "minimum": 20000}),
        ] {
            assert!(matches!(port(&field(bad)), PortField::Refused(_)));
        }
        let values =
            with_config(&json!({"type": "object", "additionalProperties": {"type": "string"}}));
        assert!(matches!(port(&values), PortField::Refused(_)));
    }

    #[test]
    fn shapes_without_a_place_for_it_are_told_and_not_patched() {
        for odd in [
            with_config(&json!({"type": "string"})),
            object(&json!({"spec": {"type": "object", "additionalProperties": true}})),
        ] {
            assert!(matches!(port(&odd), PortField::Unclear(_)), "{odd}");
            assert_eq!(patch(&definition(&[odd])), None);
        }
        let bare = json!({"spec": {"versions": [{"name": "v1alpha1", "served": true}]}});
        assert!(matches!(versions(&bare)[0].port, PortField::Unclear(_)));
        assert_eq!(patch(&json!({})), None);
    }

    #[test]
    fn a_patch_adds_the_field_to_each_version_that_drops_it_and_to_no_other() {
        let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        let mut pruning = definition(&[
            with_config(&object(&json!({"seedSecretRef": {"type": "string"}}))),
            open,
            with_config(&json!({"type": "object"})),
            object(&json!({"spec": object(&json!({"network": {"type": "string"}}))})),
            json!({"type": "object"}),
        ]);
        let patch = patch(&pruning).expect("some drop it");
        assert_eq!(
            patch[0],
            json!({"op": "test", "path": "/metadata/resourceVersion", "value": "7"})
        );
        assert_eq!(patch.as_array().unwrap().len(), 5);
        let parsed: json_patch::Patch = serde_json::from_value(patch).unwrap();
        json_patch::patch(&mut pruning, &parsed).unwrap();
        let after: Vec<PortField> = versions(&pruning).into_iter().map(|it| it.port).collect();
        let kept = |at: usize| at == 1;
        for (at, port) in after.iter().enumerate() {
            let expected = if kept(at) {
                PortField::Preserved
            } else {
                PortField::Declared
            };
            assert_eq!(port, &expected, "version {at}");
        }
        let first = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/validatorConfig/properties";
        assert!(
            pruning.pointer(&format!("{first}/seedSecretRef")).is_some(),
            "the others stay"
        );
    }

    #[test]
    fn without_the_kind_all_is_well_and_without_its_version_it_is_not() {
        let absent = findings(None);
        assert_eq!(absent.len(), 1);
        assert_eq!(absent[0].outcome, Outcome::Pass);
        let mut other = definition(&[json!({"type": "object"})]);
        other["spec"]["versions"][0]["name"] = json!("v1");
        assert_eq!(findings(Some(&other))[0].outcome, Outcome::Failed);
        let mut unserved = definition(&[json!({"type": "object"})]);
        unserved["spec"]["versions"][0]["served"] = json!(false);
        assert_eq!(findings(Some(&unserved))[0].outcome, Outcome::Failed);
    }
}
