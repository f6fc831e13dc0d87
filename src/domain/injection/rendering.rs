//! The parts that put the list into the file that stellar-core reads: an init container that merges it, a volume in
//! memory for the result, and its mount over the file.

mod found;
#[cfg(test)]
mod tests;

use json_patch::PatchOperation;
use serde_json::{Map, Value, json};

pub(super) use self::found::Found;
use super::{
    config::{CannotRender, Config, config},
    parts::{add, replace, retain},
    template::{Template, list, text},
};
use crate::{
    api::names::{self, MOUNT_PATH, STELLAR_PEERS},
    domain::{
        node::{Network, NodeName},
        policy::InjectMode,
    },
};

/// Where the init container has the configuration as it was written.
const SOURCE_PATH: &str = "/stellar-peers/config";
/// Where it writes the merged one.
pub(super) const RESULT_PATH: &str = "/stellar-peers/out";
/// Enough for any configuration; it counts as memory.
const RESULT_SIZE: &str = "16Mi";

/// What is to become of these parts in one template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rendering {
    /// What works stays as it is, what doesn't goes, and nothing comes.
    AsItIs,
    /// The list is only mounted: whatever is there goes.
    Off,
    /// All that is missing comes, and what says something else is renewed.
    On(RenderParts),
}

/// How the list comes into the configuration of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderParts {
    /// The image of the init container: ours.
    pub image: String,
    /// The node; none where its name is not known yet.
    pub node: Option<NodeName>,
    /// Its network.
    pub network: Network,
    /// Annotation [`names::CONFIG_PATH`].
    pub config_path: Option<String>,
}

impl Rendering {
    /// What `mode` means for a StatefulSet.
    #[must_use]
    pub fn of(
        mode: &InjectMode,
        object: &Value,
        node: Option<NodeName>,
        network: &Network,
    ) -> Self {
        let annotation = |key| super::setting(object, "annotations", key);
        if annotation(names::INJECT_MODE) == Some(names::INJECT_MODE_MOUNT) {
            return Self::Off;
        }
        match mode {
            InjectMode::AsItIs => Self::AsItIs,
            InjectMode::Mount => Self::Off,
            InjectMode::Render { image } => Self::On(RenderParts {
                image: image.clone(),
                node,
                network: network.clone(),
                config_path: annotation(names::CONFIG_PATH).map(str::to_owned),
            }),
        }
    }
}

impl RenderParts {
    fn parts(&self, template: Template<'_>, core: &Value) -> Result<Wanted, CannotRender> {
        let node = self.node.as_ref().ok_or(CannotRender::GeneratedName)?;
        let config = config(template, core, self.config_path.as_deref(), node.as_str())?;
        Ok(Wanted {
            init_container: self.init_container(template, core, node, &config),
            mount: json!({
                "name": names::CONFIG_VOLUME, "mountPath": config.path, "subPath": config.file,
                "readOnly": true,
            }),
        })
    }

    fn init_container(
        &self,
        template: Template<'_>,
        core: &Value,
        node: &NodeName,
        config: &Config<'_>,
    ) -> Value {
        let args = arguments(node, &self.network, SOURCE_PATH, &config.file);
        let mut source = json!({
            "name": config.mount["name"], "mountPath": SOURCE_PATH, "readOnly": true,
        });
        if let Some(part) = config.mount.get("subPath") {
            source["subPath"] = part.clone();
        }
        json!({
            "name": names::RENDER_CONTAINER,
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "args": args,
            "env": [{
                "name": "POD_IP",
                "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIPs"}},
            }],
            "resources": resources(core),
            "securityContext": security(template, core),
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": [
                source,
                {"name": STELLAR_PEERS, "mountPath": MOUNT_PATH, "readOnly": true},
                {"name": names::CONFIG_VOLUME, "mountPath": RESULT_PATH},
            ],
        })
    }
}

/// The command line of `render` for a node whose configuration is `file` in the folder `config_dir`.
pub(super) fn arguments(
    node: &NodeName,
    network: &Network,
    config_dir: &str,
    file: &str,
) -> [String; 7] {
    [
        "render".to_owned(),
        format!("--node={node}"),
        format!("--config-dir={config_dir}"),
        format!("--config-file={file}"),
        format!("--peers-dir={MOUNT_PATH}"),
        format!("--out-dir={RESULT_PATH}"),
        format!("--network={}", network.as_str()),
    ]
}

/// What the core container has. A pod is admitted, placed and classed by the larger of what its init containers need
/// each and its containers need together: so no quota, range or node refuses it for us.
fn resources(core: &Value) -> Value {
    let mut resources = json!({});
    for kind in ["requests", "limits"] {
        for name in ["cpu", "memory"] {
            if let Some(quantity) = core.pointer(&format!("/resources/{kind}/{name}")) {
                resources[kind][name] = quantity.clone();
            }
        }
    }
    resources
}

/// The init container reads and writes as the core container does, and needs nothing that a profile could refuse where
/// that one is allowed.
fn security(template: Template<'_>, core: &Value) -> Value {
    let mut security = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": true,
        // Without any user it is the image's, which is not root.
        "runAsNonRoot": template.user_of(core) != Some(0),
    });
    for key in [
        "runAsUser",
        "runAsGroup",
        "seLinuxOptions",
        "seccompProfile",
    ] {
        if let Some(value) = core.pointer(&format!("/securityContext/{key}")) {
            security[key] = value.clone();
        }
    }
    security
}

struct Wanted {
    init_container: Value,
    mount: Value,
}

/// The volume for the merged file, which may hold a seed.
pub(super) fn volume(name: &str) -> Value {
    let in_memory = json!({"medium": "Memory", "sizeLimit": RESULT_SIZE});
    json!({"name": name, "emptyDir": in_memory})
}

fn is_render_container(container: &Value) -> bool {
    text(container, "name") == Some(names::RENDER_CONTAINER)
}

/// In memory, as ours is.
fn is_config_volume(volume: &Value) -> bool {
    text(volume, "name") == Some(names::CONFIG_VOLUME)
        && volume.pointer("/emptyDir/medium") == Some(&json!("Memory"))
}

pub(super) fn is_foreign_volume(volume: &Value) -> bool {
    text(volume, "name") == Some(names::CONFIG_VOLUME) && !is_config_volume(volume)
}

fn is_config_mount(mount: &Value) -> bool {
    text(mount, "name") == Some(names::CONFIG_VOLUME)
}

/// What makes these parts as they should be: added, renewed where they say something else, or taken out.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) operations: Vec<PatchOperation>,
    /// The volume, where it has to be added.
    pub(super) volume: Option<Value>,
    /// The mount in the core container, where it has to be added.
    pub(super) mount: Option<Value>,
    /// Why the list is only mounted, where it should be more.
    pub(super) not_rendered: Option<CannotRender>,
}

pub(super) fn change(
    template: Template<'_>,
    base: &str,
    (core_index, core): (usize, &Value),
    rendering: &Rendering,
) -> Change {
    let found = Found::of(template, Some(core_index));
    let spec = format!("{base}/spec");
    let core_base = format!("{spec}/containers/{core_index}");
    let mut change = Change::default();
    let parts = match rendering {
        Rendering::AsItIs => {
            change.operations = mend(template, base, Some(core_index));
            return change;
        }
        Rendering::Off => None,
        Rendering::On(parts) => match parts.parts(template, core) {
            Ok(wanted) => Some(wanted),
            Err(why) => {
                change.not_rendered = Some(why);
                None
            }
        },
    };
    let operations = &mut change.operations;
    let Some(Wanted {
        init_container,
        mount,
    }) = parts
    else {
        operations.extend(found.take_out(&spec));
        return change;
    };
    operations.extend(found.tidy(&spec));
    let path = format!("{spec}/initContainers");
    match found.init_container {
        Some((_, there)) if covers(there, &init_container) => {}
        Some((at, _)) => operations.push(replace(&format!("{path}/{at}"), init_container)),
        None if template.list("initContainers").next().is_some() => {
            operations.push(add(&format!("{path}/0"), init_container));
        }
        None => operations.push(add(&path, json!([init_container]))),
    }
    change.volume = found.volume.is_none().then(|| volume(names::CONFIG_VOLUME));
    match found.mount {
        Some((_, there)) if covers(there, &mount) => {}
        Some((at, _)) => {
            operations.push(replace(&format!("{core_base}/volumeMounts/{at}"), mount));
        }
        None => change.mount = Some(mount),
    }
    change
}

/// Leaves these parts where they work as they stand, and takes them out where they don't. `core` is the core
/// container's index, where it is known.
pub(super) fn mend(template: Template<'_>, base: &str, core: Option<usize>) -> Vec<PatchOperation> {
    let found = Found::of(template, core);
    if found.is_sound() {
        return Vec::new();
    }
    found.take_out(&format!("{base}/spec")).collect()
}

/// Whether everything that is wanted stands so in what is there. Fields that others added don't matter.
fn covers(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => {
            let has = |(key, value)| Map::get(there, key).is_some_and(|it| covers(it, value));
            wanted.iter().all(has)
        }
        (Value::Array(there), Value::Array(wanted)) => {
            let mut pairs = there.iter().zip(wanted);
            there.len() == wanted.len() && pairs.all(|(there, wanted)| covers(there, wanted))
        }
        (there, wanted) => there == wanted,
    }
}

impl<'a> Template<'a> {
    /// A field of the pod's security context.
    pub(super) fn pod_security(self, key: &str) -> Option<&'a Value> {
        self.spec()?.get("securityContext")?.get(key)
    }

    /// The user that a container runs as, where somebody says so.
    pub(super) fn user_of(self, container: &Value) -> Option<u64> {
        let own = container.pointer("/securityContext/runAsUser");
        own.or(self.pod_security("runAsUser"))?.as_u64()
    }
}

/// Removes these parts.
pub(super) fn strip(spec: &mut Value) {
    let is_foreign = list(Some(spec), "volumes").any(is_foreign_volume);
    retain(spec, "initContainers", |it| !is_render_container(it));
    if is_foreign {
        return;
    }
    retain(spec, "volumes", |it| !is_config_volume(it));
    for kind in ["containers", "initContainers"] {
        let containers = spec.get_mut(kind).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            retain(container, "volumeMounts", |it| !is_config_mount(it));
        }
    }
}
