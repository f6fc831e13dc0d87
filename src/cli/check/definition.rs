//! The kind StellarNode as this cluster defines it: whether its schema keeps `spec.validatorConfig.peerPort`.
//!
//! A field that a schema doesn't name is pruned: whoever sets it is told nothing, and it is gone. Definitions come in
//! several shapes, so they are read as JSON.

#[cfg(test)]
mod tests;

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

/// A field in words.
fn at(depth: usize) -> String {
    match depth {
        0 => "the schema".to_owned(),
        _ => PATH[..depth].join("."),
    }
}

/// The versions that drop the port.
pub(super) fn pruning(definition: &Value) -> Vec<String> {
    let versions = versions(definition).into_iter();
    let pruning = versions.filter(|it| matches!(it.port, PortField::Pruned(_)));
    pruning.map(|it| it.name).collect()
}

fn port_field(version: &Value, index: usize, keeps_all: bool) -> PortField {
    let mut pointer = format!("/spec/versions/{index}/schema/openAPIV3Schema");
    let Some(mut schema) = version.pointer("/schema/openAPIV3Schema") else {
        return PortField::Unclear("it has no schema".to_owned());
    };
    for (depth, field) in PATH.iter().enumerate() {
        if let Some(next) = schema["properties"].get(field) {
            pointer = format!("{pointer}/properties/{field}");
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
                let at = at(depth);
                return PortField::Unclear(format!("{at} takes any name, and no objects in it"));
            }
            None if schema["type"] != "object" => {
                return PortField::Unclear(format!("{} is no object", at(depth)));
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

/// The definition, where there is one. `mended` are the versions to which the field was added just now.
pub(super) fn findings(definition: Option<&Value>, mended: &[String]) -> Vec<Finding> {
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
    findings.extend(versions.iter().map(|version| {
        let mut finding = port_finding(version);
        if mended.contains(&version.name) {
            finding.text += match version.port {
                PortField::Pruned(_) => {
                    ", though --fix added it: somebody has put the definition back"
                }
                _ => ": added by --fix, and read again",
            };
        }
        of_kind(finding)
    }));
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
