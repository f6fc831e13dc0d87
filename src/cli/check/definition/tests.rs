//! Definitions in their shapes.

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
        findings(Some(&ours), &[])
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
    let absent = findings(None, &[]);
    assert_eq!(absent.len(), 1);
    assert_eq!(absent[0].outcome, Outcome::Pass);
    let mut other = definition(&[json!({"type": "object"})]);
    other["spec"]["versions"][0]["name"] = json!("v1");
    assert_eq!(findings(Some(&other), &[])[0].outcome, Outcome::Failed);
    let mut unserved = definition(&[json!({"type": "object"})]);
    unserved["spec"]["versions"][0]["served"] = json!(false);
    assert_eq!(findings(Some(&unserved), &[])[0].outcome, Outcome::Failed);
}
