//! Where stellar-core's configuration is. Only where that is certain may another file be mounted over it.

use super::{
    parts::is_our_mount,
    rendering::is_foreign_volume,
    template::{Template, list, mounts},
};
use crate::{api::names, json::Json};

/// The mode of files in volumes where none is said.
const MODE_DEFAULT: u64 = 0o644;
/// What lets anybody read a file.
const READABLE_BY_ALL: u64 = 0o004;

/// The file that stellar-core reads, and the volume that it is from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Config<'a> {
    /// Its path in the core container.
    pub(super) path: String,
    /// The mount that brings it: a folder of a ConfigMap, a Secret or a projected volume.
    pub(super) mount: &'a Json<'a>,
    /// Its path below that mount.
    pub(super) file: String,
}

/// Why the list can be mounted, but not be put into stellar-core's configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotRender {
    /// Nothing tells which file is read.
    #[error(
        "no argument --conf names its file; name it in annotation peers.stellar.org/config-path"
    )]
    Unnamed,
    /// Two files.
    #[error(
        "its arguments name {0} and {1}; name the one that it reads in annotation peers.stellar.org/config-path"
    )]
    Ambiguous(String, String),
    /// A path that says too little.
    #[error("{0:?} is no plain absolute path")]
    UnclearPath(String),
    /// Not from a volume, or from one that is no configuration.
    #[error("{0} is from no ConfigMap, Secret or projected volume")]
    NoVolume(String),
    /// The volume's list of files lacks it.
    #[error("volume {volume} has no file {file}")]
    NoFile {
        /// The volume.
        volume: String,
        /// The file.
        file: String,
    },
    /// Another mount can't be put over this one.
    #[error("{0} is mounted by itself; mount its folder instead")]
    FileMount(String),
    /// A part of the volume, chosen when the pod starts.
    #[error("the mount of {0} has a subPathExpr")]
    Expression(String),
    /// A volume of our name.
    #[error("volume stellar-peers-config is somebody else's; rename that volume")]
    VolumeNameTaken,
    /// Nobody says who may read the file.
    #[error(
        "not everybody may read {0}, and neither runAsUser nor fsGroup is set; set one of them, or its mode to 0444"
    )]
    UnknownUser(String),
    /// The name of the node is made when it is stored.
    #[error("its name is generated")]
    GeneratedName,
}

/// Finds the configuration of the core container of the StatefulSet `node`, where something can be mounted over it. `chosen` is annotation
/// [`names::CONFIG_PATH`].
pub(super) fn config<'a>(
    template: Template<'a>,
    core: &'a Json<'a>,
    chosen: Option<&str>,
    node: &str,
) -> Result<Config<'a>, CannotRender> {
    if template.volumes().any(is_foreign_volume) {
        return Err(CannotRender::VolumeNameTaken);
    }
    let path = match chosen {
        Some(path) => path.to_owned(),
        None => named_by_arguments(core)?
            .or_else(|| of_operator(template, core, node))
            .ok_or(CannotRender::Unnamed)?,
    };
    // What begins with two dots is the kubelet's own.
    let is_plain = |part: &str| !part.is_empty() && part != "." && !part.starts_with("..");
    let parts = path.strip_prefix('/').map(|rest| rest.split('/'));
    if !parts.is_some_and(|mut parts| parts.all(is_plain)) || path.contains(['$', ':', '\n']) {
        return Err(CannotRender::UnclearPath(path.chars().take(200).collect()));
    }
    let (mount, file) = mount_of(core, &path)?;
    let volume = mount.text("name").unwrap_or_default();
    let volume = template
        .volumes()
        .find(|it| it.text("name") == Some(volume));
    let no_volume = || CannotRender::NoVolume(path.clone());
    let volume = volume.ok_or_else(no_volume)?;
    let source = Source::of(volume).ok_or_else(no_volume)?;
    if mount.get("subPath").is_none() && !source.may_have(&file) {
        return Err(CannotRender::NoFile {
            volume: volume.text("name").unwrap_or_default().to_owned(),
            file,
        });
    }
    if !source.is_readable_by_all() && !template.says_who_reads(core) {
        return Err(CannotRender::UnknownUser(path));
    }
    Ok(Config { path, mount, file })
}

/// The file that `--conf` names.
fn named_by_arguments(core: &Json<'_>) -> Result<Option<String>, CannotRender> {
    let arguments = list(Some(core), "command").chain(list(Some(core), "args"));
    let mut arguments = arguments.filter_map(Json::as_str);
    let mut found: Option<String> = None;
    while let Some(argument) = arguments.next() {
        let value = match argument.strip_prefix("--conf") {
            Some("") => arguments.next(),
            Some(rest) => rest.strip_prefix('='),
            None => None,
        };
        match (value, &found) {
            (Some(value), Some(other)) if value != other => {
                return Err(CannotRender::Ambiguous(other.clone(), value.to_owned()));
            }
            (Some(value), _) => found = Some(value.to_owned()),
            (None, _) => {}
        }
    }
    Ok(found)
}

/// The operator's image reads one file of the ConfigMap that it makes for each node, and is told nothing else.
fn of_operator(template: Template<'_>, core: &Json<'_>, node: &str) -> Option<String> {
    let is_told = |key| list(Some(core), key).next().is_some();
    if core.text("name") != Some(names::OPERATOR_CONTAINER) || is_told("command") || is_told("args")
    {
        return None;
    }
    let mount = mounts(core).find(|it| it.text("mountPath") == Some(names::OPERATOR_CONFIG_DIR))?;
    let volume = mount.text("name")?;
    let volume = template
        .volumes()
        .find(|it| it.text("name") == Some(volume))?;
    let is_its = volume.get("configMap")?.text("name")? == format!("{node}-config");
    let folder = names::OPERATOR_CONFIG_DIR;
    let file = names::CONFIG_FILE;
    (is_its && !node.is_empty()).then(|| format!("{folder}/{file}"))
}

/// The innermost mount that has this path, and what of the path is below it.
fn mount_of<'a>(core: &'a Json<'a>, path: &str) -> Result<(&'a Json<'a>, String), CannotRender> {
    let below = |mount: &'a Json<'a>| {
        let at = mount.text("mountPath")?.trim_end_matches('/');
        let rest = path.strip_prefix(at)?;
        // The list is nobody's configuration, though a path below it may be named.
        let is_ours = mount.text("name") == Some(names::CONFIG_VOLUME) || is_our_mount(mount);
        (!is_ours && (rest.is_empty() || rest.starts_with('/'))).then_some((mount, rest))
    };
    let innermost = mounts(core).filter_map(below).min_by_key(|it| it.1.len());
    let (mount, rest) = innermost.ok_or_else(|| CannotRender::NoVolume(path.to_owned()))?;
    if rest.is_empty() {
        return Err(CannotRender::FileMount(path.to_owned()));
    }
    if mount.get("subPathExpr").is_some() {
        return Err(CannotRender::Expression(path.to_owned()));
    }
    Ok((mount, rest.trim_start_matches('/').to_owned()))
}

/// A volume whose files are there before any container runs.
struct Source<'a> {
    /// The ConfigMaps and Secrets that it is made of.
    parts: Vec<&'a Json<'a>>,
    mode: u64,
}

impl<'a> Source<'a> {
    fn of(volume: &'a Json<'a>) -> Option<Self> {
        let kinds = ["configMap", "secret", "projected"];
        let (kind, source) = kinds
            .into_iter()
            .find_map(|kind| Some((kind, volume.get(kind)?)))?;
        let parts = if kind == "projected" {
            let of = |it: &'a Json<'a>| it.get("configMap").or_else(|| it.get("secret"));
            list(Some(source), "sources").filter_map(of).collect()
        } else {
            vec![source]
        };
        let mode = source.get("defaultMode").and_then(Json::as_u64);
        (!parts.is_empty()).then_some(Self {
            parts,
            mode: mode.unwrap_or(MODE_DEFAULT),
        })
    }

    /// Without a list of items, whatever the object holds is there.
    fn may_have(&self, file: &str) -> bool {
        self.parts.iter().any(|part| match part.get("items") {
            Some(Json::List(items)) if !items.is_empty() => {
                items.iter().any(|it| it.text("path") == Some(file))
            }
            _ => true,
        })
    }

    fn is_readable_by_all(&self) -> bool {
        let items = self.parts.iter().flat_map(|part| list(Some(part), "items"));
        let modes = items.filter_map(|item| item.get("mode")?.as_u64());
        modes
            .chain([self.mode])
            .all(|mode| mode & READABLE_BY_ALL != 0)
    }
}

impl Template<'_> {
    /// Who the core container runs as, or what group its files have.
    fn says_who_reads(self, core: &Json<'_>) -> bool {
        self.user_of(core).is_some() || self.pod_security("fsGroup").is_some()
    }
}
