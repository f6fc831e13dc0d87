//! The parts that put the list into the file that stellar-core reads: an init container that merges it, a volume in
//! memory for the result, and its mount over the file.

mod found;
#[cfg(test)]
mod tests;

pub(super) use self::found::Found;
use super::{
    config::{CannotRender, Config, config},
    parts::{list_mount, retain},
    template::{Template, list},
};
use crate::{
    api::names::{self, MOUNT_PATH},
    domain::{
        node::{Network, NodeName},
        patch::{Operation, add, replace},
        policy::InjectMode,
    },
    json::{Fields, Json},
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
        object: &Json<'_>,
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
    fn parts<'a>(
        &self,
        template: Template<'a>,
        core: &'a Json<'a>,
    ) -> Result<Wanted<'a>, CannotRender> {
        let node = self.node.as_ref().ok_or(CannotRender::GeneratedName)?;
        let config = config(template, core, self.config_path.as_deref(), node.as_str())?;
        Ok(Wanted {
            init_container: self.init_container(template, core, node, &config),
            mount: Json::object([
                ("mountPath", config.path.into()),
                ("name", names::CONFIG_VOLUME.into()),
                ("readOnly", true.into()),
                ("subPath", config.file.into()),
            ]),
        })
    }

    fn init_container<'a>(
        &self,
        template: Template<'a>,
        core: &'a Json<'a>,
        node: &NodeName,
        config: &Config<'a>,
    ) -> Json<'a> {
        let pod_ips = [
            ("apiVersion", "v1".into()),
            ("fieldPath", "status.podIPs".into()),
        ];
        let pod_ips = Json::object([("fieldRef", Json::object(pod_ips))]);
        let env = Json::object([("name", "POD_IP".into()), ("valueFrom", pod_ips)]);
        let source = [
            ("mountPath", SOURCE_PATH.into()),
            (
                "name",
                config.mount.get("name").cloned().unwrap_or_default(),
            ),
            ("readOnly", true.into()),
        ];
        let part = config.mount.get("subPath").cloned();
        let source = source.into_iter().chain(part.map(|it| ("subPath", it)));
        let result = [
            ("mountPath", RESULT_PATH.into()),
            ("name", names::CONFIG_VOLUME.into()),
        ];
        let mounts = [
            Json::Object(source.collect()),
            list_mount(),
            Json::object(result),
        ];
        let args = arguments(node, &self.network, SOURCE_PATH, &config.file);
        Json::object([
            ("args", Json::list(args)),
            ("env", Json::list([env])),
            ("image", self.image.clone().into()),
            ("imagePullPolicy", "IfNotPresent".into()),
            ("name", names::RENDER_CONTAINER.into()),
            ("resources", resources(core)),
            ("securityContext", security(template, core)),
            ("terminationMessagePath", "/dev/termination-log".into()),
            ("terminationMessagePolicy", "FallbackToLogsOnError".into()),
            ("volumeMounts", Json::list(mounts)),
        ])
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
fn resources<'a>(core: &'a Json<'a>) -> Json<'a> {
    let of = |kind| {
        let quantity = |name| Some((name, core.at(["resources", kind, name])?.clone()));
        let quantities = ["cpu", "memory"].into_iter().filter_map(quantity);
        let quantities: Fields<'a> = quantities.collect();
        (!quantities.is_empty()).then_some((kind, Json::Object(quantities)))
    };
    Json::Object(["limits", "requests"].into_iter().filter_map(of).collect())
}

/// The init container reads and writes as the core container does, and needs nothing that a profile could refuse where
/// that one is allowed.
fn security<'a>(template: Template<'_>, core: &'a Json<'a>) -> Json<'a> {
    let drop_all = Json::object([("drop", Json::list(["ALL"]))]);
    let own = [
        ("allowPrivilegeEscalation", false.into()),
        ("capabilities", drop_all),
        ("readOnlyRootFilesystem", true.into()),
        // Without any user it is the image's, which is not root.
        ("runAsNonRoot", (template.user_of(core) != Some(0)).into()),
    ];
    let copied = [
        "runAsGroup",
        "runAsUser",
        "seLinuxOptions",
        "seccompProfile",
    ];
    let copied = copied
        .into_iter()
        .filter_map(|key| Some((key, core.at(["securityContext", key])?.clone())));
    Json::Object(own.into_iter().chain(copied).collect())
}

struct Wanted<'a> {
    init_container: Json<'a>,
    mount: Json<'a>,
}

/// The volume for the merged file, which may hold a seed.
pub(super) fn volume(name: &str) -> Json<'_> {
    let in_memory = [
        ("medium", "Memory".into()),
        ("sizeLimit", RESULT_SIZE.into()),
    ];
    Json::object([("emptyDir", Json::object(in_memory)), ("name", name.into())])
}

fn is_render_container(container: &Json<'_>) -> bool {
    container.text("name") == Some(names::RENDER_CONTAINER)
}

/// In memory, as ours is.
fn is_config_volume(volume: &Json<'_>) -> bool {
    volume.text("name") == Some(names::CONFIG_VOLUME)
        && volume.get("emptyDir").and_then(|it| it.text("medium")) == Some("Memory")
}

pub(super) fn is_foreign_volume(volume: &Json<'_>) -> bool {
    volume.text("name") == Some(names::CONFIG_VOLUME) && !is_config_volume(volume)
}

fn is_config_mount(mount: &Json<'_>) -> bool {
    mount.text("name") == Some(names::CONFIG_VOLUME)
}

/// What makes these parts as they should be: added, renewed where they say something else, or taken out.
#[derive(Debug, Default)]
pub(super) struct Change<'a> {
    pub(super) operations: Vec<Operation<'a>>,
    /// The volume, where it has to be added.
    pub(super) volume: Option<Json<'a>>,
    /// The mount in the core container, where it has to be added.
    pub(super) mount: Option<Json<'a>>,
    /// Why the list is only mounted, where it should be more.
    pub(super) not_rendered: Option<CannotRender>,
}

pub(super) fn change<'a>(
    template: Template<'a>,
    base: &str,
    (core_index, core): (usize, &'a Json<'a>),
    rendering: &Rendering,
) -> Change<'a> {
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
        Some((at, _)) => operations.push(replace(format!("{path}/{at}"), init_container)),
        None if template.list("initContainers").next().is_some() => {
            operations.push(add(format!("{path}/0"), init_container));
        }
        None => operations.push(add(path, Json::list([init_container]))),
    }
    change.volume = found.volume.is_none().then(|| volume(names::CONFIG_VOLUME));
    match found.mount {
        Some((_, there)) if covers(there, &mount) => {}
        Some((at, _)) => {
            operations.push(replace(format!("{core_base}/volumeMounts/{at}"), mount));
        }
        None => change.mount = Some(mount),
    }
    change
}

/// Leaves these parts where they work as they stand, and takes them out where they don't. `core` is the core
/// container's index, where it is known.
pub(super) fn mend(
    template: Template<'_>,
    base: &str,
    core: Option<usize>,
) -> Vec<Operation<'static>> {
    let found = Found::of(template, core);
    if found.is_sound() {
        return Vec::new();
    }
    found.take_out(&format!("{base}/spec")).collect()
}

/// Whether everything that is wanted stands so in what is there. Fields that others added don't matter.
fn covers(there: &Json<'_>, wanted: &Json<'_>) -> bool {
    match (there, wanted) {
        (Json::Object(there), Json::Object(wanted)) => {
            let has = |(key, value)| there.get(key).is_some_and(|it| covers(it, value));
            wanted.iter().all(has)
        }
        (Json::List(there), Json::List(wanted)) => {
            let mut pairs = there.iter().zip(wanted);
            there.len() == wanted.len() && pairs.all(|(there, wanted)| covers(there, wanted))
        }
        (there, wanted) => there == wanted,
    }
}

impl<'a> Template<'a> {
    /// A field of the pod's security context.
    pub(super) fn pod_security(self, key: &str) -> Option<&'a Json<'a>> {
        self.spec()?.at(["securityContext", key])
    }

    /// The user that a container runs as, where somebody says so.
    pub(super) fn user_of(self, container: &Json<'_>) -> Option<u64> {
        let own = container.at(["securityContext", "runAsUser"]);
        own.or(self.pod_security("runAsUser"))?.as_u64()
    }
}

/// Removes these parts.
pub(super) fn strip(spec: &mut Json<'_>) {
    let is_foreign = list(Some(spec), "volumes").any(is_foreign_volume);
    retain(spec, "initContainers", |it| !is_render_container(it));
    if is_foreign {
        return;
    }
    retain(spec, "volumes", |it| !is_config_volume(it));
    for kind in ["containers", "initContainers"] {
        let containers = spec.get_mut(kind).and_then(Json::as_list_mut);
        for container in containers.into_iter().flatten() {
            retain(container, "volumeMounts", |it| !is_config_mount(it));
        }
    }
}
