//! The parts that put the list into the file that stellar-core reads: an init container that merges it, a volume in
//! memory for the result, and its mount over the file.

use json_patch::PatchOperation;
use serde_json::{Map, Value, json};

use super::{
    config::{CannotRender, Config, config},
    parts::{add, remove, replace},
    template::{Template, list, mounts, text},
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
const RESULT_PATH: &str = "/stellar-peers/out";
/// Enough for any configuration; it counts as memory.
const RESULT_SIZE: &str = "16Mi";

/// How the list comes into the configuration of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendering {
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
    /// What `mode` means for a StatefulSet; [`None`] where the list is only mounted.
    #[must_use]
    pub fn of(
        mode: &InjectMode,
        object: &Value,
        node: Option<NodeName>,
        network: &Network,
    ) -> Option<Self> {
        let InjectMode::Render { image } = mode else {
            return None;
        };
        let annotation = |key| super::setting(object, "annotations", key);
        (annotation(names::INJECT_MODE) != Some(names::INJECT_MODE_MOUNT)).then(|| Self {
            image: image.clone(),
            node,
            network: network.clone(),
            config_path: annotation(names::CONFIG_PATH).map(str::to_owned),
        })
    }

    fn parts(&self, template: Template<'_>, core: &Value) -> Result<Wanted, CannotRender> {
        if template.volumes().any(is_foreign_volume) {
            return Err(CannotRender::VolumeNameTaken);
        }
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
        let mut args = vec![
            "render".to_owned(),
            format!("--node={node}"),
            format!("--config-dir={SOURCE_PATH}"),
            format!("--config-file={}", config.file),
            format!("--peers-dir={MOUNT_PATH}"),
            format!("--out-dir={RESULT_PATH}"),
        ];
        if !self.network.as_str().is_empty() {
            args.push(format!("--network={}", self.network.as_str()));
        }
        let mut source = json!({
            "name": config.mount["name"], "mountPath": SOURCE_PATH, "readOnly": true,
        });
        if let Some(part) = config.mount.get("subPath") {
            source["subPath"] = part.clone();
        }
        let resources = json!({"cpu": "100m", "memory": "64Mi"});
        json!({
            "name": names::RENDER_CONTAINER,
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "args": args,
            "env": [{
                "name": "POD_IP",
                "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIPs"}},
            }],
            "resources": {"requests": resources, "limits": resources},
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

/// The init container passes the profile `restricted` by itself, and reads and writes as the core container does.
fn security(template: Template<'_>, core: &Value) -> Value {
    let mut security = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": true,
        "seccompProfile": {"type": "RuntimeDefault"},
    });
    for key in ["runAsUser", "runAsGroup", "seLinuxOptions"] {
        if let Some(value) = core.pointer(&format!("/securityContext/{key}")) {
            security[key] = value.clone();
        }
    }
    // Without any user it is the image's, which is not root.
    if template.user_of(core) != Some(0) {
        security["runAsNonRoot"] = json!(true);
    }
    security
}

struct Wanted {
    init_container: Value,
    mount: Value,
}

fn volume() -> Value {
    let in_memory = json!({"medium": "Memory", "sizeLimit": RESULT_SIZE});
    json!({"name": names::CONFIG_VOLUME, "emptyDir": in_memory})
}

pub(super) fn is_our_container(container: &Value) -> bool {
    text(container, "name") == Some(names::RENDER_CONTAINER)
}

pub(super) fn is_our_volume(volume: &Value) -> bool {
    text(volume, "name") == Some(names::CONFIG_VOLUME) && volume.get("emptyDir").is_some()
}

fn is_foreign_volume(volume: &Value) -> bool {
    text(volume, "name") == Some(names::CONFIG_VOLUME) && !is_our_volume(volume)
}

pub(super) fn is_our_mount(mount: &Value) -> bool {
    text(mount, "name") == Some(names::CONFIG_VOLUME)
}

/// Which of these parts a template has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    init_container: Option<usize>,
    volume: Option<usize>,
    mount: Option<usize>,
}

impl Found {
    pub(super) fn of(template: Template<'_>, core: Option<&Value>) -> Self {
        let mut in_core = core.into_iter().flat_map(mounts);
        Self {
            init_container: template.init_containers().position(is_our_container),
            volume: template.volumes().position(is_our_volume),
            mount: in_core.position(is_our_mount),
        }
    }

    fn all(self) -> [Option<usize>; 3] {
        [self.init_container, self.volume, self.mount]
    }

    pub(super) fn is_whole(self) -> bool {
        self.all().iter().all(Option::is_some)
    }

    pub(super) fn is_absent(self) -> bool {
        self.all().iter().all(Option::is_none)
    }
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
    core: &Value,
    core_base: &str,
    rendering: Option<&Rendering>,
) -> Change {
    let found = Found::of(template, Some(core));
    let spec = format!("{base}/spec");
    let present = |index: usize| template.init_containers().nth(index);
    let present = found.init_container.and_then(present);
    let is_foreign = |rendering: &Rendering| {
        let image = present.and_then(|it| text(it, "image"));
        image.is_some_and(|image| repository(image) != repository(&rendering.image))
    };
    if rendering.is_some_and(is_foreign) {
        // Another installation's, which keeps it.
        return Change::default();
    }
    let wanted = rendering.map(|it| it.parts(template, core)).transpose();
    let mut change = Change::default();
    let operations = &mut change.operations;
    match wanted {
        Ok(Some(wanted)) => {
            let path = format!("{spec}/initContainers");
            match (found.init_container, present) {
                (Some(index), Some(it)) if !covers(it, &wanted.init_container) => {
                    operations.push(replace(&format!("{path}/{index}"), wanted.init_container));
                }
                (Some(_), _) => {}
                (None, _) if template.has_init_containers() => {
                    operations.push(add(&format!("{path}/0"), wanted.init_container));
                }
                (None, _) => operations.push(add(&path, json!([wanted.init_container]))),
            }
            change.volume = found.volume.is_none().then(volume);
            let mount = found.mount.and_then(|index| mounts(core).nth(index));
            match (found.mount, mount) {
                (Some(index), Some(it)) if !covers(it, &wanted.mount) => {
                    let path = format!("{core_base}/volumeMounts/{index}");
                    operations.push(replace(&path, wanted.mount));
                }
                (Some(_), _) => {}
                (None, _) => change.mount = Some(wanted.mount),
            }
        }
        Ok(None) => operations.extend(take_out(found, &spec, core_base)),
        Err(why) => {
            operations.extend(take_out(found, &spec, core_base));
            change.not_rendered = Some(why);
        }
    }
    change
}

fn take_out(found: Found, spec: &str, core_base: &str) -> impl Iterator<Item = PatchOperation> {
    let paths = [
        (found.init_container, format!("{spec}/initContainers")),
        (found.volume, format!("{spec}/volumes")),
        (found.mount, format!("{core_base}/volumeMounts")),
    ];
    let paths = paths.into_iter();
    paths.filter_map(|(index, path)| Some(remove(&format!("{path}/{}", index?))))
}

/// An image without its tag or digest.
fn repository(image: &str) -> &str {
    let named = image.split('@').next().unwrap_or(image);
    let name_at = named.rfind('/').map_or(0, |slash| slash + 1);
    match named[name_at..].find(':') {
        Some(colon) => &named[..name_at + colon],
        None => named,
    }
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
    fn init_containers(self) -> impl Iterator<Item = &'a Value> {
        self.list("initContainers")
    }

    fn has_init_containers(self) -> bool {
        self.init_containers().next().is_some()
    }

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
    super::parts::retain(spec, "initContainers", |it| !is_our_container(it));
    if is_foreign {
        return;
    }
    super::parts::retain(spec, "volumes", |it| !is_our_volume(it));
    for kind in ["containers", "initContainers"] {
        let containers = spec.get_mut(kind).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            super::parts::retain(container, "volumeMounts", |it| !is_our_mount(it));
        }
    }
}

#[cfg(test)]
mod tests;
