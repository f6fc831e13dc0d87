//! The rules of an admission, over generated pairs of stored and new StatefulSets.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    api::names,
    domain::{
        membership::{Members, Membership, MembershipHash},
        node::{Network, NodeName},
        patch::sendable,
        peer::PeerPort,
        policy::InjectMode,
    },
    json::Json,
};

/// A StatefulSet in the shape of the operator's.
fn operators(image: &str) -> Value {
    json!({
        "metadata": {
            "name": "validator-1",
            "labels": {"app.kubernetes.io/name": "stellar-node", "app.kubernetes.io/component": "validator",
                       "stellar-network": "testnet"},
        },
        "spec": {"template": {
            "metadata": {"labels": {"app.kubernetes.io/instance": "validator-1"}},
            "spec": {
                "containers": [
                    {"name": "stellar-node", "image": image, "ports": [{"containerPort": 11625, "protocol": "TCP"}],
                     "volumeMounts": [{"name": "data", "mountPath": "/opt/stellar/data"},
                                      {"name": "config", "mountPath": "/config", "readOnly": true}]},
                    {"name": "stellar-health-check", "image": "health", "ports": [{"name": "health", "containerPort": 8081}]},
                ],
                "volumes": [
                    {"name": "data", "persistentVolumeClaim": {"claimName": "validator-1-data"}},
                    {"name": "config", "configMap": {"name": "validator-1-config", "defaultMode": 420}},
                ],
                "securityContext": {"runAsUser": 10000, "runAsNonRoot": true, "fsGroup": 10000},
            },
        }},
    })
}

/// A plain one that opts in on its template, declares no ports and has no configuration that we could find.
fn plain(image: &str) -> Value {
    json!({
        "metadata": {"name": "validator-1"},
        "spec": {"template": {
            "metadata": {"labels": {"app": "core", names::INJECT: "enabled"}},
            "spec": {"containers": [{"name": "core", "image": image}]},
        }},
    })
}

fn knowledge(others: &[&str]) -> Knowledge {
    let members: Members = others
        .iter()
        .map(|name| (NodeName::new(name).unwrap(), PeerPort::DEFAULT))
        .collect();
    let membership = Membership::of(members);
    let networks = ["testnet", ""].map(|network| (Network::new(network), membership.clone()));
    Knowledge {
        networks: Arc::new(networks.into()),
        inject: InjectMode::Render {
            image: "ours:1".to_owned(),
        },
        ..Knowledge::default()
    }
}

/// What an admission comes to: how it ended, the object after it, and what the writer is told.
pub(crate) struct Admitted {
    pub(crate) outcome: Outcome,
    pub(crate) after: Value,
    pub(crate) patch: Vec<Value>,
    pub(crate) warnings: Vec<String>,
}

pub(crate) fn admitted(
    object: &Value,
    old: Option<&Value>,
    manager: &str,
    knowledge: impl FnOnce() -> Option<Knowledge>,
) -> Admitted {
    let (json, old) = (Json::from(object), old.map(Json::from));
    let review = Review {
        name: "validator-1",
        object: &json,
        old: old.as_ref(),
        field_manager: Some(manager),
    };
    let admission = admit_stateful_set(review, knowledge);
    let patch = admission.operations.iter().map(|it| json!(it)).collect();
    let mut after = object.clone();
    json_patch::patch(&mut after, &sendable(admission.operations))
        .expect("every patch fits its object");
    Admitted {
        outcome: admission.outcome,
        after,
        patch,
        warnings: admission.warnings,
    }
}

/// What is stored after the admission.
fn stored_after(
    object: &Value,
    old: Option<&Value>,
    manager: &str,
    knowledge: &Knowledge,
) -> Value {
    admitted(object, old, manager, || Some(knowledge.clone())).after
}

fn created(object: &Value) -> Value {
    stored_after(object, None, "operator", &knowledge(&["validator-2"]))
}

fn template(object: &Value) -> &Value {
    &object["spec"]["template"]
}

fn parts(object: &Value) -> Parts {
    Parts::of(Template::new(&template(object).into()), None)
}

/// Ways in which a writer may leave our parts.
#[derive(Clone, Copy, Debug)]
enum Treats {
    KeepsAll,
    DropsAll,
    DropsVolume,
    DropsMount,
    DropsAnnotations,
    DropsInitContainer,
    DropsConfigVolume,
    DropsConfigMount,
    EditsMembership,
}

fn treat(object: &mut Value, how: Treats) {
    let template = &mut object["spec"]["template"];
    let drop_named = |list: Option<&mut Value>, name: &str| {
        if let Some(items) = list.and_then(Value::as_array_mut) {
            items.retain(|item| item["name"] != name);
        }
    };
    let drops = |it| matches!(how, Treats::DropsAll) || it;
    let list = |path| format!("/spec/{path}");
    for (is_dropped, path, name) in [
        (
            matches!(how, Treats::DropsVolume),
            "volumes",
            "stellar-peers",
        ),
        (
            matches!(how, Treats::DropsMount),
            "containers/0/volumeMounts",
            "stellar-peers",
        ),
        (false, "containers/0/ports", "stellar-peers"),
        (
            matches!(how, Treats::DropsInitContainer),
            "initContainers",
            names::RENDER_CONTAINER,
        ),
        (
            matches!(how, Treats::DropsConfigVolume),
            "volumes",
            names::CONFIG_VOLUME,
        ),
        (
            matches!(how, Treats::DropsConfigMount),
            "containers/0/volumeMounts",
            names::CONFIG_VOLUME,
        ),
    ] {
        if drops(is_dropped) {
            drop_named(template.pointer_mut(&list(path)), name);
        }
    }
    if drops(matches!(how, Treats::DropsAnnotations)) {
        template["metadata"]
            .as_object_mut()
            .unwrap()
            .remove("annotations");
    }
    if matches!(how, Treats::EditsMembership) && template["metadata"]["annotations"].is_object() {
        template["metadata"]["annotations"][names::MEMBERSHIP] = json!("v1:000000000000");
    }
}

fn any_treatment() -> impl Strategy<Value = Treats> {
    prop::sample::select(vec![
        Treats::KeepsAll,
        Treats::DropsAll,
        Treats::DropsVolume,
        Treats::DropsMount,
        Treats::DropsAnnotations,
        Treats::DropsInitContainer,
        Treats::DropsConfigVolume,
        Treats::DropsConfigMount,
        Treats::EditsMembership,
    ])
}

/// Something stored: of either shape, with our parts, without, half, or in an older form.
pub(crate) fn any_stored() -> impl Strategy<Value = Value> {
    let object = prop::sample::select(vec![operators("core:1"), plain("core:1")]);
    let flags = any::<(bool, bool, bool, bool)>();
    (object, any_treatment(), flags).prop_map(
        |(object, treatment, (injected, is_older, restarted, is_mounted))| {
            if !injected {
                return object;
            }
            let mounted = Knowledge {
                inject: InjectMode::Mount,
                ..knowledge(&["validator-2"])
            };
            let mut object = if is_mounted {
                stored_after(&object, None, "operator", &mounted)
            } else {
                created(&object)
            };
            treat(&mut object, treatment);
            let metadata = &mut object["spec"]["template"]["metadata"];
            if restarted && metadata["annotations"].is_object() {
                metadata["annotations"][names::RESTARTED_AT] = json!("2025-01-01T00:00:00Z");
            }
            if is_older
                && let Some(volumes) = object["spec"]["template"]["spec"]["volumes"].as_array_mut()
            {
                for volume in volumes
                    .iter_mut()
                    .filter(|it| it["name"] == "stellar-peers")
                {
                    volume["configMap"]["defaultMode"] = json!(256);
                }
                for container in object["spec"]["template"]["spec"]["initContainers"]
                    .as_array_mut()
                    .into_iter()
                    .flatten()
                {
                    container["image"] = json!("ours:0");
                }
            }
            object
        },
    )
}

proptest! {
    #[test]
    fn a_write_that_changes_nothing_but_our_parts_restarts_nobody(
        stored in any_stored(),
        treatment in any_treatment(),
        others in prop::sample::subsequence(vec!["validator-2", "validator-3"], 0..=2),
        replicas in 0..3,
    ) {
        let mut new = stored.clone();
        treat(&mut new, treatment);
        new["spec"]["replicas"] = json!(replicas);
        let after = stored_after(&new, Some(&stored), "operator", &knowledge(&others));
        prop_assert_eq!(template(&after), template(&stored));
        prop_assert_eq!(&after["spec"]["replicas"], &json!(replicas));
    }

    #[test]
    fn a_write_that_restarts_anyway_comes_out_whole_and_otherwise_as_its_writer_sent_it(
        stored in any_stored(),
        treatment in any_treatment(),
    ) {
        let mut new = stored.clone();
        treat(&mut new, treatment);
        new["spec"]["template"]["spec"]["containers"][0]["image"] = json!("core:2");
        let after = stored_after(&new, Some(&stored), "operator", &knowledge(&["validator-2"]));
        prop_assert_eq!(parts(&after), Parts::Whole);
        prop_assert!(is_same_but_for_our_parts(&template(&after).into(), &template(&new).into()));
        let again = stored_after(&after, Some(&stored), "operator", &knowledge(&["validator-2"]));
        prop_assert_eq!(&again, &after, "a second call of the same request changes nothing");
    }

    #[test]
    fn what_an_earlier_call_added_is_taken_back_where_the_change_was_taken_back(stored in any_stored()) {
        let mut new = stored.clone();
        new["spec"]["template"]["spec"]["containers"][0]["image"] = json!("core:2");
        let mut first = stored_after(&new, Some(&stored), "operator", &knowledge(&["validator-2"]));
        // Another webhook pins the image.
        first["spec"]["template"]["spec"]["containers"][0]["image"] = json!("core:1");
        let second = stored_after(&first, Some(&stored), "operator", &knowledge(&["validator-2"]));
        prop_assert_eq!(template(&second), template(&stored));
    }

    #[test]
    fn our_own_restart_is_stored_as_we_sent_it(stored in any_stored()) {
        let mut new = created(&stored);
        new["spec"]["template"]["metadata"]["annotations"][names::RESTARTED_AT] = json!("2026-01-01T00:00:00Z");
        let after = stored_after(&new, Some(&stored), names::STELLAR_PEERS, &knowledge(&[]));
        prop_assert_eq!(&after, &new);
        // The same from anybody else is no restart of ours.
        let after = stored_after(&new, Some(&stored), "kubectl", &knowledge(&[]));
        prop_assert_eq!(template(&after), template(&stored));
    }

    #[test]
    fn no_json_makes_an_admission_panic(
        object in any_json(), old in any_json(), has_old in any::<bool>(), wrap in any::<bool>(),
    ) {
        let wrapped = |inner: Value| if wrap { json!({"spec": {"template": inner}, "metadata": {"labels": {names::INJECT: "enabled"}}}) } else { inner };
        let (object, old) = (wrapped(object), wrapped(old));
        let _ = admitted(&object, has_old.then_some(&old), "x", || Some(knowledge(&["a"])));
        let _ = admit_stellar_node(&object, has_old.then_some(&old));
    }
}

/// Any JSON, mostly of the keys that are read.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        Just(json!("stellar-peers")),
        Just(json!("enabled")),
        Just(json!(11625)),
        Just(json!(-1)),
        Just(json!("core")),
        Just(json!("stellar-peers-config")),
        Just(json!("stellar-peers-render")),
        Just(json!("--conf")),
        Just(json!("/config/a")),
        Just(json!("/config")),
        Just(json!({})),
        Just(json!([])),
    ];
    let key = prop::sample::select(vec![
        "metadata",
        "spec",
        "template",
        "containers",
        "volumes",
        "name",
        "ports",
        "containerPort",
        "annotations",
        "labels",
        "volumeMounts",
        "mountPath",
        "configMap",
        "initContainers",
        "subPath",
        "args",
        names::CONFIG_PATH,
        names::INJECT,
        names::PORT,
        names::MEMBERSHIP,
        names::CONTAINER,
    ]);
    leaf.prop_recursive(6, 40, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::btree_map(key.clone(), inner, 0..4).prop_map(|map| map
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value))
                .collect()),
        ]
    })
}

#[test]
fn a_new_validator_gets_everything_at_once() {
    let after = created(&operators("core:1"));
    let hash = MembershipHash::of(
        &["validator-1", "validator-2"]
            .map(|name| (NodeName::new(name).unwrap(), PeerPort::DEFAULT))
            .into(),
    );
    let template = template(&after);
    assert_eq!(
        template["metadata"]["annotations"][names::MEMBERSHIP],
        json!(hash.as_str())
    );
    assert_eq!(
        template["metadata"]["annotations"][names::PORT],
        json!("11625")
    );
    assert_eq!(
        template["spec"]["volumes"][2],
        json!({"name": "stellar-peers", "configMap": {"name": "stellar-peers", "optional": true, "defaultMode": 420}})
    );
    assert_eq!(
        template["spec"]["containers"][0]["volumeMounts"][2],
        json!({"name": "stellar-peers", "mountPath": "/etc/stellar-peers", "readOnly": true})
    );
    let declared = json!([{"containerPort": 11625, "protocol": "TCP"}]);
    assert_eq!(
        template["spec"]["containers"][0]["ports"], declared,
        "the port was declared already"
    );
    assert_eq!(
        template["spec"]["containers"][1],
        operators("core:1")["spec"]["template"]["spec"]["containers"][1]
    );
}

#[test]
fn a_container_without_the_port_gets_it_under_our_name_or_without_one_where_that_is_taken() {
    let after = created(&plain("core:1"));
    let expected = json!([{"name": "stellar-peers", "containerPort": 11625, "protocol": "TCP"}]);
    assert_eq!(template(&after)["spec"]["containers"][0]["ports"], expected);

    let mut taken = plain("core:1");
    taken["spec"]["template"]["spec"]["containers"][0]["ports"] =
        json!([{"name": "stellar-peers", "containerPort": 80, "protocol": "TCP"}]);
    let after = created(&taken);
    let ports = &template(&after)["spec"]["containers"][0]["ports"];
    assert_eq!(ports[1], json!({"containerPort": 11625, "protocol": "TCP"}));
    // A writer that drops ours, name or not, restarts nobody.
    let after_drop = stored_after(
        &taken,
        Some(&after),
        "operator",
        &knowledge(&["validator-2"]),
    );
    assert_eq!(template(&after_drop), template(&after));
}

#[test]
fn another_port_renews_the_entry_that_we_added() {
    let stored = created(&plain("core:1"));
    let mut new = stored.clone();
    new["spec"]["template"]["metadata"]["annotations"][names::PORT] = json!("11700");
    let after = stored_after(&new, Some(&stored), "helm", &knowledge(&[]));
    let expected = json!([{"name": "stellar-peers", "containerPort": 11700, "protocol": "TCP"}]);
    assert_eq!(template(&after)["spec"]["containers"][0]["ports"], expected);
    assert_eq!(parts(&after), Parts::Whole);
}

#[test]
fn a_port_that_we_derived_follows_the_container_and_one_that_its_writer_set_stays() {
    let with_port = |port: i64, annotation: Option<&str>| {
        let mut object = plain("core:1");
        object["spec"]["template"]["spec"]["containers"][0]["ports"] =
            json!([{"name": "peer", "containerPort": port, "protocol": "TCP"}]);
        if let Some(annotation) = annotation {
            object["spec"]["template"]["metadata"]["annotations"] =
                json!({names::PORT: annotation});
        }
        object
    };
    let moved = |annotation: Option<&str>| {
        let stored = created(&with_port(12000, annotation));
        let mut new = stored.clone();
        new["spec"]["template"]["spec"]["containers"][0]["ports"][0]["containerPort"] =
            json!(12001);
        let after = stored_after(&new, Some(&stored), "helm", &knowledge(&[]));
        template(&after)["metadata"]["annotations"][names::PORT].clone()
    };
    assert_eq!(moved(None), json!("12001"));
    assert_eq!(moved(Some("13000")), json!("13000"));
}

#[test]
fn where_one_part_cannot_be_added_none_is_and_the_write_goes_on() {
    let mut volume_taken = plain("core:1");
    volume_taken["spec"]["template"]["spec"]["volumes"] =
        json!([{"name": "stellar-peers", "emptyDir": {}}]);
    let mut path_taken = plain("core:1");
    path_taken["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "x", "mountPath": "/etc/stellar-peers/"}]);
    let mut two_containers = plain("core:1");
    two_containers["spec"]["template"]["spec"]["containers"] =
        json!([{"name": "a"}, {"name": "b"}]);
    let mut bad_port = plain("core:1");
    bad_port["metadata"]["annotations"] = json!({names::PORT: "http"});
    for (object, says) in [
        (volume_taken, "volume"),
        (path_taken, "mount"),
        (two_containers, names::CONTAINER),
        (bad_port, "port"),
    ] {
        let admission = admitted(&object, None, "x", || Some(knowledge(&[])));
        assert_eq!(
            (admission.outcome, &admission.after),
            (Outcome::NotInjected, &object),
        );
        assert!(
            admission.warnings[0].contains(says),
            "{:?}",
            admission.warnings
        );
    }
}

#[test]
fn opting_out_takes_our_parts_out_when_the_template_changes_and_not_before() {
    let stored = created(&plain("core:1"));
    let mut out = stored.clone();
    out["metadata"]["labels"] = json!({names::INJECT: "disabled"});
    let unchanged = stored_after(&out, Some(&stored), "helm", &knowledge(&[]));
    assert_eq!(template(&unchanged), template(&stored));
    out["spec"]["template"]["spec"]["containers"][0]["image"] = json!("core:2");
    let after = stored_after(&out, Some(&stored), "helm", &knowledge(&[]));
    assert_eq!(parts(&after), Parts::Absent);
    let mut expected = plain("core:2");
    expected["spec"]["template"]["metadata"]["annotations"] = json!({names::PORT: "11625"});
    assert_eq!(template(&after), template(&expected));
}

#[test]
fn our_annotations_of_the_object_survive_every_writer_but_us() {
    let mut stored = created(&operators("core:1"));
    stored["metadata"]["annotations"] =
        json!({names::JOINED_AT: "2026-01-01T00:00:00Z", "other": "x"});
    let replaced = operators("core:1");
    let after = stored_after(&replaced, Some(&stored), "operator", &knowledge(&[]));
    assert_eq!(
        after["metadata"]["annotations"],
        json!({names::JOINED_AT: "2026-01-01T00:00:00Z"})
    );
    let mut forged = created(&operators("core:1"));
    let without = forged.clone();
    forged["metadata"]["annotations"] = json!({names::JOINED_AT: "2026-01-01T00:00:00Z"});
    assert_eq!(
        stored_after(&forged, Some(&without), "kubectl", &knowledge(&[]))["metadata"]["annotations"],
        json!({})
    );
    assert_eq!(
        stored_after(
            &forged,
            Some(&without),
            names::STELLAR_PEERS,
            &knowledge(&[])
        ),
        forged
    );
}

#[test]
fn a_copy_of_another_object_does_not_bring_its_history() {
    let mut copy = created(&operators("core:1"));
    copy["metadata"]["annotations"] =
        json!({names::JOINED_AT: "2026-01-01T00:00:00Z", names::TURN: "t"});
    copy["spec"]["template"]["metadata"]["annotations"][names::RESTARTED_AT] =
        json!("2026-01-01T00:00:00Z");
    let after = created(&copy);
    assert_eq!(after["metadata"]["annotations"], json!({}));
    assert_eq!(
        template(&after)["metadata"]["annotations"].get(names::RESTARTED_AT),
        None
    );
}

#[test]
fn a_statefulset_put_over_running_pods_and_one_before_we_are_ready_are_left_as_they_are() {
    let object = operators("core:1");
    let orphans = Knowledge {
        has_orphans: true,
        ..knowledge(&[])
    };
    assert_eq!(stored_after(&object, None, "x", &orphans), object);
    let admission = admitted(&object, None, "x", || None);
    assert_eq!(
        (admission.outcome, admission.after),
        (Outcome::NotInjected, object)
    );
}

#[test]
fn only_validators_and_what_opts_in_are_concerned() {
    let mut read_pool = operators("core:1");
    read_pool["metadata"]["labels"][names::LABEL_ROLE] = json!("read-replica");
    let mut disabled = operators("core:1");
    disabled["spec"]["template"]["metadata"]["labels"][names::INJECT] = json!("disabled");
    let mut other = plain("postgres");
    other["spec"]["template"]["metadata"]["labels"] = json!({"app": "postgres"});
    for object in [read_pool, disabled, other] {
        assert!(!is_concerned(&Json::from(&object), None), "{object}");
        assert_eq!(created(&object), object);
    }
    assert!(is_concerned(&operators("core:1").into(), None));
    assert!(is_concerned(&plain("core:1").into(), None));
}

#[test]
fn a_strangers_own_volume_of_our_name_is_left_alone() {
    for source in [
        json!({"configMap": {"name": "stellar-peers"}}),
        json!({"emptyDir": {}}),
    ] {
        let mut stored = plain("horizon:1");
        stored["spec"]["template"]["metadata"]["labels"] = json!({"app": "horizon"});
        let mut volume = source.clone();
        volume["name"] = json!("stellar-peers");
        stored["spec"]["template"]["spec"]["volumes"] = json!([volume]);
        stored["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
            json!([{"name": "stellar-peers", "mountPath": "/etc/stellar-peers"}]);
        let mut new = stored.clone();
        new["spec"]["template"]["spec"]["containers"][0]["image"] = json!("horizon:2");
        assert_eq!(
            stored_after(&new, Some(&stored), "helm", &knowledge(&[])),
            new
        );
        let mut without = stored.clone();
        without["spec"]["template"]["spec"]["volumes"] = json!([]);
        without["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = json!([]);
        assert_eq!(
            stored_after(&without, Some(&stored), "helm", &knowledge(&[])),
            without
        );
    }
}

#[test]
fn opting_out_on_the_stellar_node_takes_our_parts_out_as_well() {
    let stored = created(&operators("core:1"));
    let mut new = stored.clone();
    new["spec"]["template"]["spec"]["containers"][0]["image"] = json!("core:2");
    let node = crate::domain::snapshot::StellarNodeView {
        inject: crate::domain::snapshot::Inject::Disabled,
        ..Default::default()
    };
    let disabled = Knowledge {
        stellar_node: Some(std::sync::Arc::new(node)),
        ..knowledge(&[])
    };
    assert_eq!(
        parts(&stored_after(&new, Some(&stored), "operator", &disabled)),
        Parts::Absent
    );
    assert_eq!(
        created(&operators("core:1")),
        stored_after(
            &operators("core:1"),
            None,
            "x",
            &knowledge(&["validator-2"])
        )
    );
}

#[test]
fn a_writer_that_drops_every_annotation_with_an_upgrade_gets_all_of_ours_back() {
    let mut stored = created(&operators("core:1"));
    stored["spec"]["template"]["metadata"]["annotations"][names::RESTARTED_AT] =
        json!("2026-01-01T00:00:00Z");
    stored["metadata"]["annotations"] =
        json!({names::JOINED_AT: "2026-01-01T00:00:00Z", names::TURN: "token"});
    let after = stored_after(
        &operators("core:2"),
        Some(&stored),
        "operator",
        &knowledge(&["validator-2"]),
    );
    assert_eq!(parts(&after), Parts::Whole);
    assert_eq!(
        template(&after)["metadata"]["annotations"][names::RESTARTED_AT],
        json!("2026-01-01T00:00:00Z")
    );
    assert_eq!(
        after["metadata"]["annotations"],
        stored["metadata"]["annotations"]
    );
}

#[test]
fn a_port_of_our_name_without_a_number_gets_one() {
    let mut object = created(&plain("core:1"));
    let spec = &mut object["spec"]["template"];
    spec["metadata"]["annotations"] = json!({});
    spec["spec"]["containers"][0]["ports"] = json!([{"name": "stellar-peers"}]);
    let after = created(&object);
    let port = &template(&after)["spec"]["containers"][0]["ports"][0];
    assert_eq!(
        *port,
        json!({"name": "stellar-peers", "containerPort": 11625})
    );
}

/// Found by fuzzing: the mount of the list was taken for the one that brings a configuration below it.
#[test]
fn the_list_itself_brings_no_configuration() {
    let mut object = plain("core:1");
    let below = format!("{}/config/stellar-core.cfg", names::MOUNT_PATH);
    object["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["run", "--conf", below]);
    let once = created(&object);
    assert_eq!(
        template(&once)["spec"].get("initContainers"),
        None,
        "it is from no volume"
    );
    assert_eq!(created(&once), once);
}
