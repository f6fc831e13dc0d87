//! Whose configuration is certain, and what is added to it then.

use json_patch::{Patch, PatchOperation};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    api::names,
    domain::{
        injection::{
            CannotRender, Knowledge, OurPort, Parts, RenderParts, Rendering, Template, Wanted,
            complete, is_same_but_for_our_parts, tests::admitted,
        },
        membership::{Members, MembershipHash},
        node::{Network, NodeName},
        patch::sendable,
        peer::PeerPort,
        policy::InjectMode,
    },
    json::Json,
};

/// A pod of SDF's chart, as it is rendered.
fn sdf() -> Value {
    json!({
        "metadata": {"labels": {"app": "validator-1", names::INJECT: "enabled"}},
        "spec": {
            "initContainers": [{"name": "core-init", "image": "core:1", "volumeMounts": [{"name": "core-config", "mountPath": "/config"}]}],
            "containers": [{
                "name": "core", "image": "core:1",
                "args": ["run", "--conf", "/config/stellar-core.cfg", "--console"],
                "ports": [{"name": "core", "containerPort": 11626}, {"name": "core-peer", "containerPort": 11625}],
                "volumeMounts": [{"name": "core-config", "mountPath": "/config"}, {"name": "data", "mountPath": "/data"}],
            }],
            "volumes": [{"name": "core-config", "configMap": {"name": "validator-1"}}, {"name": "data", "emptyDir": {}}],
        },
    })
}

/// A pod of the operator's.
fn operators() -> Value {
    json!({
        "metadata": {},
        "spec": {
            "containers": [{
                "name": "stellar-node", "image": "core:1",
                "volumeMounts": [{"name": "config", "mountPath": "/config", "readOnly": true}],
                "securityContext": {"runAsUser": 10000},
            }],
            "volumes": [{"name": "config", "configMap": {"name": "validator-1-config", "defaultMode": 420}}],
        },
    })
}

fn rendering() -> RenderParts {
    RenderParts {
        image: "registry:5000/stellar-peers:1".to_owned(),
        node: NodeName::new("validator-1").ok(),
        network: Network::new("testnet"),
        config_path: None,
    }
}

/// How a template was completed.
struct How {
    operations: Vec<PatchOperation>,
    not_rendered: Option<CannotRender>,
}

fn completed(template: &Value, rendering: Rendering) -> (Value, How) {
    let wanted = Wanted {
        port: PeerPort::DEFAULT,
        membership: MembershipHash::of(&Members::new()),
        restarted_at: None,
        rendering,
    };
    let json = Json::from(template);
    let our_port = OurPort::of(&[Template::new(&json)]);
    let completed = complete(&json, "", None, &wanted, &our_port).expect("it fits");
    let mut after = template.clone();
    let Patch(operations) = sendable(completed.operations);
    json_patch::patch(&mut after, &operations).expect("the patch fits its template");
    let not_rendered = completed.not_rendered;
    let how = How {
        operations,
        not_rendered,
    };
    (after, how)
}

fn parts(template: &Value) -> Parts {
    Parts::of(Template::new(&template.into()), None)
}

fn rendered(template: &Value) -> Value {
    let (after, how) = completed(template, Rendering::On(rendering()));
    assert_eq!(how.not_rendered, None);
    assert_eq!(parts(&after), Parts::Whole);
    let (again, how) = completed(&after, Rendering::On(rendering()));
    assert_eq!((&again, how.operations), (&after, Vec::new()));
    assert!(is_same_but_for_our_parts(
        &(&after).into(),
        &template.into()
    ));
    after
}

/// Why nothing is rendered; whole without all the same.
fn refused(template: &Value, rendering: RenderParts) -> String {
    let (after, how) = completed(template, Rendering::On(rendering));
    assert_eq!(parts(&after), Parts::Whole);
    assert!(!after.to_string().contains(names::CONFIG_VOLUME));
    how.not_rendered.expect("a reason").to_string()
}

#[test]
fn sdfs_chart_gets_a_first_init_container_and_the_result_over_its_file() {
    let after = rendered(&sdf());
    let spec = &after["spec"];
    let init = json!({
        "name": "stellar-peers-render",
        "image": "registry:5000/stellar-peers:1",
        "imagePullPolicy": "IfNotPresent",
        "args": [
            "render", "--node=validator-1", "--config-dir=/stellar-peers/config",
            "--config-file=stellar-core.cfg", "--peers-dir=/etc/stellar-peers",
            "--out-dir=/stellar-peers/out", "--network=testnet",
        ],
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIPs"}}}],
        "resources": {},
        "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true, "runAsNonRoot": true,
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "core-config", "mountPath": "/stellar-peers/config", "readOnly": true},
            {"name": "stellar-peers", "mountPath": "/etc/stellar-peers", "readOnly": true},
            {"name": "stellar-peers-config", "mountPath": "/stellar-peers/out"},
        ],
    });
    assert_eq!(spec["initContainers"][0], init);
    assert_eq!(
        spec["initContainers"][1],
        sdf()["spec"]["initContainers"][0]
    );
    let volume = json!({"name": "stellar-peers-config", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}});
    assert_eq!(spec["volumes"][3], volume);
    let mount = json!({
        "name": "stellar-peers-config", "mountPath": "/config/stellar-core.cfg", "subPath": "stellar-core.cfg",
        "readOnly": true,
    });
    assert_eq!(spec["containers"][0]["volumeMounts"][3], mount);
}

#[test]
fn the_init_container_runs_as_the_core_container_does() {
    let security = |template: &Value| {
        let after = rendered(template);
        after["spec"]["initContainers"][0]["securityContext"].clone()
    };
    let mut template = operators();
    assert_eq!(security(&template)["runAsUser"], json!(10000));
    assert_eq!(security(&template)["runAsNonRoot"], json!(true));
    for (key, value) in [
        ("runAsGroup", json!(7)),
        ("seLinuxOptions", json!({"level": "s0"})),
        ("seccompProfile", json!({"type": "RuntimeDefault"})),
    ] {
        assert_eq!(security(&template).get(key), None);
        template["spec"]["containers"][0]["securityContext"][key] = value.clone();
        assert_eq!(security(&template)[key], value);
    }
    // As root, where core does: elsewhere it could not read what only root may.
    template["spec"]["containers"][0]["securityContext"] = json!({"runAsUser": 0});
    assert_eq!(security(&template)["runAsNonRoot"], json!(false));
    template["spec"]["containers"][0]["securityContext"] = json!({});
    template["spec"]["securityContext"] = json!({"runAsUser": 0});
    assert_eq!(security(&template)["runAsNonRoot"], json!(false));
    assert_eq!(security(&template).get("runAsUser"), None);
}

#[test]
fn the_init_container_needs_what_the_core_container_needs() {
    let mut template = operators();
    template["spec"]["containers"][0]["resources"] = json!({
        "requests": {"cpu": "2", "memory": "4Gi", "ephemeral-storage": "1Gi"}, "limits": {"memory": "8Gi"},
    });
    let after = rendered(&template);
    let expected = json!({"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"memory": "8Gi"}});
    assert_eq!(after["spec"]["initContainers"][0]["resources"], expected);
}

#[test]
fn configurations_from_any_volume_that_is_there_before_the_pod_runs_are_rendered() {
    let from = |volume: Value, mount: Value| {
        let mut template = sdf();
        template["spec"]["securityContext"] = json!({"runAsUser": 1000, "fsGroup": 1000});
        template["spec"]["volumes"][0] = volume;
        template["spec"]["containers"][0]["volumeMounts"][0] = mount;
        let after = rendered(&template);
        let source = after["spec"]["initContainers"][0]["volumeMounts"][0].clone();
        let mounts = after["spec"]["containers"][0]["volumeMounts"]
            .as_array()
            .cloned();
        let result = mounts.unwrap_or_default().pop().unwrap_or_default();
        (source, result["subPath"].clone())
    };
    let plain = json!({"name": "c", "mountPath": "/config"});
    for volume in [
        json!({"name": "c", "secret": {"secretName": "s", "defaultMode": 256}}),
        json!({"name": "c", "projected": {"sources": [{"configMap": {"name": "a"}}, {"secret": {"name": "b"}}]}}),
        json!({"name": "c", "configMap": {"name": "a", "items": [{"key": "cfg", "path": "stellar-core.cfg"}]}}),
    ] {
        let (source, file) = from(volume, plain.clone());
        assert_eq!(
            source,
            json!({"name": "c", "mountPath": "/stellar-peers/config", "readOnly": true})
        );
        assert_eq!(file, json!("stellar-core.cfg"));
    }
    let volume = json!({"name": "c", "configMap": {"name": "a"}});
    let (source, _) = from(
        volume.clone(),
        json!({"name": "c", "mountPath": "/config", "subPath": "core"}),
    );
    assert_eq!(source["subPath"], json!("core"));
    let (_, file) = from(volume, json!({"name": "c", "mountPath": "/"}));
    assert_eq!(file, json!("config/stellar-core.cfg"));
}

fn changed_at(path: &str, value: Value) -> Value {
    let mut template = sdf();
    *template.pointer_mut(path).expect("it is there") = value;
    template
}

#[test]
fn a_file_that_the_arguments_leave_open_is_not_certain() {
    for (args, says) in [
        (json!(["run"]), "no argument --conf"),
        (json!(["--conf", "/a/b", "--conf=/c/d"]), "/a/b and /c/d"),
        (json!(["--conf", "core.cfg"]), "no plain absolute path"),
        (json!(["--conf", "/config/../x"]), "no plain absolute path"),
        (
            json!(["--conf", "/config/..data/x"]),
            "no plain absolute path",
        ),
        (json!(["--conf", "/$(DIR)/x"]), "no plain absolute path"),
        (json!(["--conf", "/else/x"]), "from no ConfigMap"),
    ] {
        let why = refused(&changed_at("/spec/containers/0/args", args), rendering());
        assert!(why.contains(says), "{why:?} for {says:?}");
    }
    for (path, says) in [
        ("config/x", "no plain absolute path"),
        ("/elsewhere/x", "from no ConfigMap"),
    ] {
        let named = RenderParts {
            config_path: Some(path.to_owned()),
            ..rendering()
        };
        assert!(refused(&sdf(), named).contains(says));
    }
    let unnamed = RenderParts {
        node: None,
        ..rendering()
    };
    assert!(refused(&sdf(), unnamed).contains("generated"));
}

#[test]
fn a_volume_that_may_lack_the_file_or_be_closed_to_its_reader_is_not_certain() {
    let items = json!([{"key": "k", "path": "other"}]);
    for (volume, says) in [
        (json!({"emptyDir": {}}), "from no ConfigMap"),
        (
            json!({"configMap": {"name": "x", "items": items}}),
            "has no file stellar-core.cfg",
        ),
        (
            json!({"secret": {"secretName": "x", "defaultMode": 256}}),
            "neither runAsUser nor fsGroup",
        ),
    ] {
        let mut volume = volume;
        volume["name"] = json!("core-config");
        let why = refused(&changed_at("/spec/volumes/0", volume), rendering());
        assert!(why.contains(says), "{why:?} for {says:?}");
    }
}

#[test]
fn a_mount_that_no_other_can_be_put_over_is_not_certain() {
    for (mount, says) in [
        (
            json!({"mountPath": "/config/stellar-core.cfg", "subPath": "x"}),
            "mounted by itself",
        ),
        (
            json!({"mountPath": "/config", "subPathExpr": "$(X)"}),
            "subPathExpr",
        ),
    ] {
        let mut mount = mount;
        mount["name"] = json!("core-config");
        let at = "/spec/containers/0/volumeMounts/0";
        let why = refused(&changed_at(at, mount), rendering());
        assert!(why.contains(says), "{why:?} for {says:?}");
    }
    let volume = json!({"name": "stellar-peers-config", "configMap": {"name": "x"}});
    let taken = changed_at("/spec/volumes/1", volume);
    let (_, completed) = completed(&taken, on(true));
    let why = completed.not_rendered.expect("a reason").to_string();
    assert!(why.contains("somebody else's"), "{why}");
}

#[test]
fn an_operators_shape_counts_only_with_the_config_map_of_that_node() {
    let after = rendered(&operators());
    let mount = &after["spec"]["containers"][0]["volumeMounts"][2];
    assert_eq!(mount["mountPath"], json!("/config/stellar-core.cfg"));
    let mut other = operators();
    other["spec"]["volumes"][0]["configMap"]["name"] = json!("shared");
    assert!(refused(&other, rendering()).contains("no argument --conf"));
    // Its own annotation makes it certain again.
    let named = RenderParts {
        config_path: Some("/config/stellar-core.cfg".to_owned()),
        ..rendering()
    };
    let (after, completed) = completed(&other, Rendering::On(named));
    assert_eq!(completed.not_rendered, None);
    assert!(after.to_string().contains(names::CONFIG_VOLUME));
}

#[test]
fn what_has_changed_is_renewed_and_what_is_not_wanted_goes() {
    let after = rendered(&sdf());
    let newer = RenderParts {
        image: "registry:5000/stellar-peers@sha256:00".to_owned(),
        ..rendering()
    };
    let (renewed, _) = completed(&after, Rendering::On(newer.clone()));
    assert_eq!(
        renewed["spec"]["initContainers"][0]["image"],
        json!(newer.image)
    );
    let mut moved = after.clone();
    moved["spec"]["containers"][0]["args"][2] = json!("/config/other.cfg");
    let moved = rendered(&moved);
    assert_eq!(
        moved["spec"]["containers"][0]["volumeMounts"][3]["subPath"],
        json!("other.cfg")
    );
    let (mounted, _) = completed(&after, Rendering::Off);
    let (expected, _) = completed(&sdf(), Rendering::Off);
    assert_eq!(mounted, expected);
    // Fields that somebody else added to our init container stay.
    let mut extended = after.clone();
    extended["spec"]["initContainers"][0]["lifecycle"] = json!({});
    assert_eq!(completed(&extended, Rendering::On(rendering())).0, extended);
}

fn on(is_on: bool) -> Rendering {
    if is_on {
        Rendering::On(rendering())
    } else {
        Rendering::Off
    }
}

#[test]
fn where_nothing_is_known_of_an_image_what_works_stays_and_what_does_not_goes() {
    let whole = rendered(&sdf());
    let (after, completed) = completed(&whole, Rendering::AsItIs);
    assert_eq!((&after, completed.operations), (&whole, Vec::new()));
    let (mounted, _) = self::completed(&sdf(), Rendering::Off);
    assert_eq!(self::completed(&sdf(), Rendering::AsItIs).0, mounted);
    let mut half = whole;
    half["spec"]["initContainers"]
        .as_array_mut()
        .unwrap()
        .remove(0);
    assert_eq!(self::completed(&half, Rendering::AsItIs).0, mounted);
}

#[test]
fn a_volume_of_our_name_that_is_its_writers_stays_with_its_mounts() {
    for source in [json!({"configMap": {"name": "c"}}), json!({"emptyDir": {}})] {
        let mut taken = sdf();
        let mut volume = source;
        volume["name"] = json!(names::CONFIG_VOLUME);
        taken["spec"]["volumes"][0] = volume;
        for kind in ["containers", "initContainers"] {
            taken["spec"][kind][0]["volumeMounts"][0]["name"] = json!(names::CONFIG_VOLUME);
        }
        for rendering in [on(true), on(false), Rendering::AsItIs] {
            let (after, _) = completed(&taken, rendering);
            for path in [
                "/spec/containers/0/volumeMounts/0",
                "/spec/initContainers",
                "/spec/volumes/0",
            ] {
                assert_eq!(after.pointer(path), taken.pointer(path));
            }
            assert_eq!(parts(&after), Parts::Whole);
        }
    }
}

#[test]
fn where_another_container_is_core_no_mount_of_ours_is_left_in_the_first() {
    let mut plain = sdf();
    plain["spec"]["containers"][0]["name"] = json!("validator");
    let mut new = rendered(&plain);
    let core = json!({"name": "core", "image": "x"});
    new["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(core.clone());
    let (after, _) = completed(&new, on(true));
    assert_eq!(astray(&after), Vec::<String>::new());
    assert!(!after.to_string().contains(names::CONFIG_VOLUME));
    // The other one has a configuration as well.
    let mut both = new;
    both["spec"]["containers"][1] = sdf()["spec"]["containers"][0].clone();
    let (after, completed) = completed(&both, on(true));
    assert_eq!(completed.not_rendered, None);
    let has_ours = |index: usize| {
        let mounts = &after["spec"]["containers"][index]["volumeMounts"];
        mounts.to_string().contains(names::CONFIG_VOLUME)
    };
    assert_eq!((has_ours(0), has_ours(1)), (false, true));
}

#[test]
fn a_shell_that_may_read_another_file_is_not_the_operators() {
    let script = "exec stellar-core run --conf /config/core.cfg";
    for (key, value) in [
        ("command", json!(["sh", "-c", script])),
        ("args", json!(["run"])),
        ("name", json!("core")),
    ] {
        let mut template = operators();
        template["spec"]["containers"][0][key] = value;
        assert!(refused(&template, rendering()).contains("no argument --conf"));
    }
}

/// Mounts of volumes that are not there, and parts of the rendering without the others.
fn astray(template: &Value) -> Vec<String> {
    let list = |it: &Value, key: &str| it[key].as_array().cloned().unwrap_or_default();
    let spec = &template["spec"];
    let volumes: Vec<Value> = list(spec, "volumes")
        .iter()
        .map(|it| it["name"].clone())
        .collect();
    let mut found = Vec::new();
    for kind in ["containers", "initContainers"] {
        for container in list(spec, kind) {
            for mount in list(&container, "volumeMounts") {
                if !volumes.contains(&mount["name"]) {
                    found.push(format!("{} mounts {}", container["name"], mount["name"]));
                }
            }
        }
    }
    let names = template.to_string().matches(names::CONFIG_VOLUME).count();
    let has_container = template.to_string().contains(names::RENDER_CONTAINER);
    // The volume, the init container's mount and the core container's.
    if (names, has_container) != (0, false) && (names, has_container) != (3, true) {
        found.push(format!("{names} names of the volume: {template}"));
    }
    found
}

fn set(template: &Value) -> Value {
    json!({
        "metadata": {"name": "validator-1", "labels": {names::INJECT: "enabled"}},
        "spec": {"template": template},
    })
}

/// What a writer may do to a template together with a change of its own.
#[derive(Clone, Copy, Debug)]
enum Change {
    RenamesConfigVolume,
    AddsAnotherCore,
    DropsInitContainers,
    DropsOurVolume,
    NamesAnotherFile,
    OptsOut,
}

fn changed(template: &Value, change: Change) -> Value {
    let text = match change {
        Change::RenamesConfigVolume => {
            let mut new = template.clone();
            let spec = &mut new["spec"];
            let rename = |items: &mut Value| {
                for item in items.as_array_mut().into_iter().flatten() {
                    if item["name"] == "core-config" || item["name"] == "config" {
                        item["name"] = json!("renamed");
                    }
                }
            };
            rename(&mut spec["volumes"]);
            for kind in ["containers", "initContainers"] {
                for container in spec[kind].as_array_mut().into_iter().flatten() {
                    // A writer doesn't know of ours.
                    if container["name"] != names::RENDER_CONTAINER {
                        rename(&mut container["volumeMounts"]);
                    }
                }
            }
            return new;
        }
        Change::NamesAnotherFile => template
            .to_string()
            .replace("/config/stellar-core.cfg\",\"--c", "/config/x.cfg\",\"--c"),
        _ => template.to_string(),
    };
    let mut new: Value = serde_json::from_str(&text).unwrap();
    let spec = &mut new["spec"];
    match change {
        Change::AddsAnotherCore => {
            spec["containers"]
                .as_array_mut()
                .unwrap()
                .push(json!({"name": "stellar-core", "image": "x"}));
        }
        Change::DropsInitContainers => {
            spec.as_object_mut().unwrap().remove("initContainers");
        }
        Change::DropsOurVolume => {
            let volumes = spec["volumes"].as_array_mut().unwrap();
            volumes.retain(|it| it["name"] != names::STELLAR_PEERS);
        }
        Change::OptsOut => new["metadata"]["labels"] = json!({names::INJECT: "disabled"}),
        Change::RenamesConfigVolume | Change::NamesAnotherFile => {}
    }
    new
}

fn any_knowledge() -> impl Strategy<Value = Option<Knowledge>> {
    let image = |image: &str| InjectMode::Render {
        image: image.to_owned(),
    };
    let modes = [
        InjectMode::AsItIs,
        InjectMode::Mount,
        image("registry:5000/stellar-peers:1"),
        image("mirror/stellar-peers:2"),
    ];
    let mode = prop::sample::select(modes.to_vec());
    let known = (mode, any::<bool>()).prop_map(|(inject, kept_by_another)| Knowledge {
        inject,
        kept_by_another,
        ..Knowledge::default()
    });
    prop::option::weighted(0.8, known)
}

proptest! {
    /// Whatever is there of our parts, completing makes them whole, twice is as once, and nothing of others changes.
    #[test]
    fn any_rest_of_our_parts_is_made_whole(
        is_sdf: bool,
        drops in any::<[bool; 5]>(),
        renders_before: bool,
        renders_after: bool,
    ) {
        let template = if is_sdf { sdf() } else { operators() };
        let (mut rest, _) = completed(&template, on(renders_before));
        let lists = [
            ("/spec/initContainers", names::RENDER_CONTAINER),
            ("/spec/volumes", names::CONFIG_VOLUME),
            ("/spec/volumes", names::STELLAR_PEERS),
            ("/spec/containers/0/volumeMounts", names::CONFIG_VOLUME),
            ("/spec/containers/0/volumeMounts", names::STELLAR_PEERS),
        ];
        for ((path, name), _) in lists.iter().zip(drops).filter(|(_, drops)| *drops) {
            if let Some(Value::Array(items)) = rest.pointer_mut(path) {
                items.retain(|item| item["name"] != **name);
            }
        }
        let (after, how) = completed(&rest, on(renders_after));
        prop_assert_eq!(how.not_rendered, None);
        prop_assert_eq!(parts(&after), Parts::Whole);
        prop_assert_eq!(after.to_string().contains(names::CONFIG_VOLUME), renders_after);
        prop_assert!(is_same_but_for_our_parts(&(&after).into(), &(&template).into()));
        let (again, how) = completed(&after, on(renders_after));
        prop_assert_eq!(again, after);
        prop_assert_eq!(how.operations, []);
    }

    /// Whatever a writer changes and whatever we know, the API server takes the result, and its pod can start.
    #[test]
    fn no_admission_leaves_a_mount_without_its_volume_or_half_of_what_belongs_together(
        shape in 0..3,
        is_rendered: bool,
        changes in prop::collection::vec(prop::sample::select(vec![
            Change::RenamesConfigVolume, Change::AddsAnotherCore, Change::DropsInitContainers,
            Change::DropsOurVolume, Change::NamesAnotherFile, Change::OptsOut,
        ]), 0..3),
        knowledge in any_knowledge(),
    ) {
        let mut template = if shape == 0 { operators() } else { sdf() };
        if shape == 2 {
            template["spec"]["containers"][0]["name"] = json!("validator");
        }
        let stored = if is_rendered { rendered(&template) } else { template };
        let mut new = changes.iter().fold(stored.clone(), |new, change| changed(&new, *change));
        new["spec"]["containers"][0]["image"] = json!("core:2");
        let (new, old) = (set(&new), set(&stored));
        let admitted = admitted(&new, Some(&old), "helm", || knowledge);
        let found = astray(&admitted.after["spec"]["template"]);
        prop_assert_eq!(found, Vec::<String>::new(), "{:?}", admitted.patch);
    }
}
