//! Whose configuration is certain, and what is added to it then.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    api::names,
    domain::{
        injection::{
            Completed, OurPort, Parts, Rendering, Template, Wanted, complete,
            is_same_but_for_our_parts,
        },
        membership::{Members, MembershipHash},
        node::{Network, NodeName},
        peer::PeerPort,
    },
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

fn rendering() -> Rendering {
    Rendering {
        image: "registry:5000/stellar-peers:1".to_owned(),
        node: NodeName::new("validator-1").ok(),
        network: Network::new("testnet"),
        config_path: None,
    }
}

fn completed(template: &Value, rendering: Option<Rendering>) -> (Value, Completed) {
    let wanted = Wanted {
        port: PeerPort::DEFAULT,
        membership: MembershipHash::of(&Members::new()),
        restarted_at: None,
        rendering,
    };
    let our_port = OurPort::of(&[Template::new(template)]);
    let completed = complete(template, "", None, &wanted, &our_port).expect("it fits");
    let mut after = template.clone();
    json_patch::patch(&mut after, &completed.operations).expect("the patch fits its template");
    (after, completed)
}

fn rendered(template: &Value) -> Value {
    let (after, completed) = completed(template, Some(rendering()));
    assert_eq!(completed.not_rendered, None);
    assert_eq!(Parts::of(Template::new(&after), None), Parts::Whole);
    let (again, completed) = self::completed(&after, Some(rendering()));
    assert_eq!((&again, completed.operations), (&after, Vec::new()));
    assert!(is_same_but_for_our_parts(&after, template));
    after
}

/// Why nothing is rendered; whole without all the same.
fn refused(template: &Value, rendering: Rendering) -> String {
    let (after, completed) = completed(template, Some(rendering));
    assert_eq!(Parts::of(Template::new(&after), None), Parts::Whole);
    assert!(!after.to_string().contains(names::CONFIG_VOLUME));
    completed.not_rendered.expect("a reason").to_string()
}

#[test]
fn sdfs_chart_gets_a_first_init_container_and_the_result_over_its_file() {
    let after = rendered(&sdf());
    let spec = &after["spec"];
    let resources = json!({"cpu": "100m", "memory": "64Mi"});
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
        "resources": {"requests": resources, "limits": resources},
        "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": true, "seccompProfile": {"type": "RuntimeDefault"}, "runAsNonRoot": true,
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
    template["spec"]["containers"][0]["securityContext"]["runAsGroup"] = json!(7);
    assert_eq!(security(&template)["runAsGroup"], json!(7));
    // As root, where core does: elsewhere it could not read what only root may.
    template["spec"]["containers"][0]["securityContext"] = json!({"runAsUser": 0});
    assert_eq!(security(&template).get("runAsNonRoot"), None);
    template["spec"]["containers"][0]["securityContext"] = json!({});
    template["spec"]["securityContext"] = json!({"runAsUser": 0});
    assert_eq!(security(&template).get("runAsNonRoot"), None);
    assert_eq!(security(&template).get("runAsUser"), None);
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

#[test]
fn what_is_not_certain_is_only_mounted_and_says_why() {
    let changed = |path: &str, value: Value| {
        let mut template = sdf();
        *template.pointer_mut(path).expect("it is there") = value;
        template
    };
    let args = "/spec/containers/0/args";
    let mount = "/spec/containers/0/volumeMounts/0";
    let volume = "/spec/volumes/0";
    let config_path = |path: &str| Rendering {
        config_path: Some(path.to_owned()),
        ..rendering()
    };
    for (template, rendering, says) in [
        (
            changed(args, json!(["run"])),
            rendering(),
            "no argument --conf",
        ),
        (
            changed(args, json!(["--conf", "/a/b", "--conf=/c/d"])),
            rendering(),
            "/a/b and /c/d",
        ),
        (
            changed(args, json!(["--conf", "core.cfg"])),
            rendering(),
            "no plain absolute path",
        ),
        (
            changed(args, json!(["--conf", "/config/../x"])),
            rendering(),
            "no plain absolute path",
        ),
        (
            changed(args, json!(["--conf", "/$(DIR)/x"])),
            rendering(),
            "no plain absolute path",
        ),
        (
            changed(args, json!(["--conf", "/else/x"])),
            rendering(),
            "from no ConfigMap",
        ),
        (
            changed(volume, json!({"name": "core-config", "emptyDir": {}})),
            rendering(),
            "from no ConfigMap",
        ),
        (
            changed(
                mount,
                json!({"name": "core-config", "mountPath": "/config/stellar-core.cfg", "subPath": "x"}),
            ),
            rendering(),
            "mounted by itself",
        ),
        (
            changed(
                mount,
                json!({"name": "core-config", "mountPath": "/config", "subPathExpr": "$(X)"}),
            ),
            rendering(),
            "subPathExpr",
        ),
        (
            changed(
                volume,
                json!({"name": "core-config", "configMap": {"name": "x", "items": [{"key": "k", "path": "other"}]}}),
            ),
            rendering(),
            "has no file stellar-core.cfg",
        ),
        (
            changed(
                volume,
                json!({"name": "core-config", "secret": {"secretName": "x", "defaultMode": 256}}),
            ),
            rendering(),
            "neither runAsUser nor fsGroup",
        ),
        (sdf(), config_path("config/x"), "no plain absolute path"),
        (sdf(), config_path("/elsewhere/x"), "from no ConfigMap"),
        (
            sdf(),
            Rendering {
                node: None,
                ..rendering()
            },
            "generated",
        ),
    ] {
        let why = refused(&template, rendering);
        assert!(why.contains(says), "{why:?} for {says:?}");
    }
    let mut taken = sdf();
    taken["spec"]["volumes"][1] =
        json!({"name": "stellar-peers-config", "configMap": {"name": "x"}});
    let (after, completed) = completed(&taken, Some(rendering()));
    assert!(
        completed
            .not_rendered
            .is_some_and(|why| why.to_string().contains("somebody else's"))
    );
    assert_eq!(after["spec"]["volumes"][1], taken["spec"]["volumes"][1]);
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
    let named = Rendering {
        config_path: Some("/config/stellar-core.cfg".to_owned()),
        ..rendering()
    };
    let (after, completed) = completed(&other, Some(named));
    assert_eq!(completed.not_rendered, None);
    assert!(after.to_string().contains(names::CONFIG_VOLUME));
}

#[test]
fn what_has_changed_is_renewed_and_what_is_not_wanted_goes() {
    let after = rendered(&sdf());
    let newer = Rendering {
        image: "registry:5000/stellar-peers@sha256:00".to_owned(),
        ..rendering()
    };
    let (renewed, _) = completed(&after, Some(newer.clone()));
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
    let (mounted, _) = completed(&after, None);
    let (expected, _) = completed(&sdf(), None);
    assert_eq!(mounted, expected);
    // Fields that somebody else added to our init container stay.
    let mut extended = after.clone();
    extended["spec"]["initContainers"][0]["lifecycle"] = json!({});
    assert_eq!(completed(&extended, Some(rendering())).0, extended);
}

#[test]
fn another_installations_parts_are_left_alone() {
    let foreign = Rendering {
        image: "elsewhere/stellar-peers:1".to_owned(),
        ..rendering()
    };
    let (theirs, _) = completed(&sdf(), Some(foreign));
    assert_eq!(completed(&theirs, Some(rendering())).0, theirs);
}

#[test]
fn the_part_of_an_image_that_names_it_ends_before_tag_and_digest() {
    for image in [
        "a:5/b/c",
        "a:5/b/c:1",
        "a:5/b/c@sha256:00",
        "a:5/b/c:1@sha256:00",
    ] {
        assert_eq!(super::repository(image), "a:5/b/c");
    }
    assert_eq!(super::repository("c:1"), "c");
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
        let (mut rest, _) = completed(&template, renders_before.then(rendering));
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
        let (after, change) = completed(&rest, renders_after.then(rendering));
        prop_assert_eq!(change.not_rendered, None);
        prop_assert_eq!(Parts::of(Template::new(&after), None), Parts::Whole);
        prop_assert_eq!(after.to_string().contains(names::CONFIG_VOLUME), renders_after);
        prop_assert!(is_same_but_for_our_parts(&after, &template));
        let (again, change) = completed(&after, renders_after.then(rendering));
        prop_assert_eq!(again, after);
        prop_assert!(change.operations.is_empty());
    }
}
