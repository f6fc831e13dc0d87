//! Reading a pod template: its core container, its ports, and which of our parts it has.

use super::{
    config::{CannotRender, config},
    parts::Parts,
};
use crate::{
    api::names,
    domain::{
        peer::{InvalidPort, PeerPort},
        snapshot::Lookup,
    },
    json::Json,
};

/// A pod template as JSON, in whatever shape it came.
#[derive(Clone, Copy, Debug)]
pub struct Template<'a>(&'a Json<'a>);

/// Why a template can't get our parts. Nothing that we do by ourselves changes that.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotInject {
    /// No container is known as stellar-core's.
    #[error(
        "none of the containers is named stellar-node, core or stellar-core; \
         name it in annotation peers.stellar.org/container"
    )]
    NoCoreContainer,
    /// The annotation names a container that isn't there.
    #[error("annotation peers.stellar.org/container names {0:?}, and no container is named so")]
    NoSuchContainer(String),
    /// A volume of this name is somebody else's.
    #[error("volume stellar-peers is not from ConfigMap stellar-peers; rename that volume")]
    VolumeNameTaken,
    /// Another volume is mounted at our path.
    #[error("volume {0:?} is mounted at /etc/stellar-peers; mount it elsewhere")]
    MountPathTaken(String),
    /// The port is unusable.
    #[error("the peer port {0}")]
    InvalidPort(#[from] InvalidPort),
}

/// What decisions need to know of a template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TemplateView {
    /// Annotation [`names::MEMBERSHIP`].
    pub membership: Option<String>,
    /// Annotation [`names::RESTARTED_AT`].
    pub restarted_at: Option<String>,
    /// Annotation [`names::PORT`], where it still means something.
    pub port: Option<Result<PeerPort, InvalidPort>>,
    /// Container port named `peer` or `core-peer`.
    pub named_port: Option<Result<PeerPort, InvalidPort>>,
    /// Which of our parts are there.
    pub parts: Parts,
    /// Why the missing ones can't be added.
    pub blocked: Option<CannotInject>,
    /// The core container keeps its data on an emptyDir.
    pub ephemeral_ledger: bool,
    /// Why the list can't be put into stellar-core's configuration, where more is asked for than to mount it.
    pub not_rendered: Option<CannotRender>,
}

impl<'a> Template<'a> {
    /// Any JSON will do; what isn't there is absent.
    #[must_use]
    pub const fn new(template: &'a Json<'a>) -> Self {
        Self(template)
    }

    pub(crate) fn labels(self) -> Option<&'a Json<'a>> {
        self.0.at(["metadata", "labels"])
    }

    pub(crate) fn annotations(self) -> Option<&'a Json<'a>> {
        self.0.at(["metadata", "annotations"])
    }

    /// An annotation of the template.
    #[must_use]
    pub fn annotation(self, key: &str) -> Option<&'a str> {
        self.annotations()?.text(key)
    }

    pub(super) fn spec(self) -> Option<&'a Json<'a>> {
        self.0.get("spec")
    }

    pub(super) fn list(self, key: &str) -> impl Iterator<Item = &'a Json<'a>> + Clone {
        list(self.spec(), key)
    }

    pub(super) fn volumes(self) -> impl Iterator<Item = &'a Json<'a>> {
        self.list("volumes")
    }

    /// All containers, those that run at the start included.
    pub(super) fn all_containers(self) -> impl Iterator<Item = &'a Json<'a>> {
        self.list("containers").chain(self.list("initContainers"))
    }

    /// Index and object of stellar-core's container. `named` is annotation [`names::CONTAINER`].
    pub(super) fn core(self, named: Option<&str>) -> Result<(usize, &'a Json<'a>), CannotInject> {
        let containers = || self.list("containers").enumerate();
        let find = |name: &str| containers().find(|(_, it)| it.text("name") == Some(name));
        let known = names::CORE_CONTAINERS.iter().find_map(|name| find(name));
        match (known, named) {
            (Some(core), _) => Ok(core),
            (None, Some(name)) => find(name)
                .ok_or_else(|| CannotInject::NoSuchContainer(name.chars().take(80).collect())),
            (None, None) => {
                let mut all = containers();
                let only = all.next().filter(|_| all.next().is_none());
                only.ok_or(CannotInject::NoCoreContainer)
            }
        }
    }

    /// Whether some container declares this TCP port.
    pub(super) fn declares(self, port: PeerPort) -> bool {
        let is_tcp = |it: &Json<'_>| it.text("protocol").is_none_or(|it| it == "TCP");
        let has_number = |it: &Json<'_>| number(it) == i64::from(port.get());
        self.readable_ports().any(|it| is_tcp(it) && has_number(it))
    }

    /// The declared ports of the containers that run side by side.
    pub(super) fn ports(self) -> impl Iterator<Item = &'a Json<'a>> {
        self.list("containers").flat_map(ports)
    }

    /// The same, without those of containers of which a port can't be read.
    fn readable_ports(self) -> impl Iterator<Item = &'a Json<'a>> {
        let containers = self.list("containers");
        let readable = containers.filter(|it| ports(it).all(is_readable));
        readable.flat_map(ports)
    }

    /// The port that a container declares by name as the peer port.
    #[must_use]
    pub fn named_port(self) -> Option<Result<PeerPort, InvalidPort>> {
        let is_peer = |name: &str| names::PEER_PORT_NAMES.contains(&name);
        let mut ports = self.readable_ports();
        let port = ports.find(|it| it.text("name").is_some_and(is_peer))?;
        Some(PeerPort::new(number(port)))
    }

    /// Annotation [`names::PORT`] of the template.
    #[must_use]
    pub fn port_annotation(self) -> Option<Result<PeerPort, InvalidPort>> {
        self.annotation(names::PORT).map(PeerPort::from_annotation)
    }

    /// Annotation [`names::PORT`] as a setting. One that we added for a port which the container no longer declares
    /// yields to the port that it declares by name.
    fn port_setting(self, named: Option<&str>) -> Option<Result<PeerPort, InvalidPort>> {
        let annotated = self.port_annotation()?;
        let is_declared = annotated.as_ref().is_ok_and(|port| self.declares(*port));
        let is_injected = Parts::of(self, named) != Parts::Absent;
        let is_outdated = is_injected && !is_declared && self.named_port().is_some();
        (!is_outdated).then_some(annotated)
    }

    /// What decisions need to know. `setting` gives the annotations of the object or of this template, `node` is the
    /// object's name.
    #[must_use]
    pub fn view<'s>(
        self,
        setting: impl Fn(&'static str) -> Option<&'s str>,
        node: &str,
    ) -> TemplateView {
        let named = setting(names::CONTAINER);
        TemplateView {
            membership: self.annotation(names::MEMBERSHIP).map(str::to_owned),
            restarted_at: self.annotation(names::RESTARTED_AT).map(str::to_owned),
            port: self.port_setting(named),
            named_port: self.named_port(),
            parts: Parts::of(self, named),
            blocked: super::parts::blocked(self, named).err(),
            ephemeral_ledger: self
                .core(named)
                .is_ok_and(|(_, core)| self.is_ephemeral(core)),
            not_rendered: self.not_rendered(named, setting, node),
        }
    }

    fn not_rendered<'s>(
        self,
        named: Option<&str>,
        setting: impl Fn(&'static str) -> Option<&'s str>,
        node: &str,
    ) -> Option<CannotRender> {
        if setting(names::INJECT_MODE) == Some(names::INJECT_MODE_MOUNT) {
            return None;
        }
        let (_, core) = self.core(named).ok()?;
        config(self, core, setting(names::CONFIG_PATH), node).err()
    }

    /// A container whose only data is on an emptyDir. A mount without a volume here is a claim by template.
    fn is_ephemeral(self, core: &Json<'_>) -> bool {
        let volume = |name: &str| self.volumes().find(|it| it.text("name") == Some(name));
        let kinds = mounts(core)
            .filter_map(|mount| mount.text("name"))
            .map(|name| match volume(name) {
                None => Some(false),
                Some(it) if it.get("persistentVolumeClaim").is_some() => Some(false),
                Some(it)
                    if it.get("emptyDir").is_some() && !name.starts_with(names::STELLAR_PEERS) =>
                {
                    Some(true)
                }
                Some(_) => None,
            });
        let kinds: Vec<bool> = kinds.flatten().collect();
        !kinds.is_empty() && kinds.into_iter().all(|is_empty_dir| is_empty_dir)
    }
}

/// The items of a list, none where it is absent or no list.
pub(super) fn list<'a>(
    object: Option<&'a Json<'a>>,
    key: &str,
) -> impl Iterator<Item = &'a Json<'a>> + Clone + use<'a> {
    object
        .and_then(|it| it.get(key))
        .and_then(Json::as_list)
        .into_iter()
        .flatten()
}

/// The volume mounts of a container.
pub(super) fn mounts<'a>(container: &'a Json<'a>) -> impl Iterator<Item = &'a Json<'a>> {
    list(Some(container), "volumeMounts")
}

/// The ports that a container declares.
pub(super) fn ports<'a>(container: &'a Json<'a>) -> impl Iterator<Item = &'a Json<'a>> + Clone {
    list(Some(container), "ports")
}

/// Whether a declared port has the shape of one.
fn is_readable(port: &Json<'_>) -> bool {
    let is_text = |key| {
        port.get(key)
            .is_none_or(|it| it.is_null() || it.as_str().is_some())
    };
    let number = port.get("containerPort");
    port.is_object()
        && is_text("name")
        && is_text("protocol")
        && number.is_none_or(|it| it.as_i64().is_some())
}

fn number(port: &Json<'_>) -> i64 {
    port.get("containerPort")
        .and_then(Json::as_i64)
        .unwrap_or_default()
}

/// The effective peer port: StellarNode, then annotation (object, template), then a named container port, then
/// stellar-core's default.
///
/// # Errors
/// [`InvalidPort`] where the first of these that is set is no port: a typo must not send peers elsewhere.
pub(crate) fn effective_port(
    spec: Option<&Result<PeerPort, InvalidPort>>,
    object: Option<&Result<PeerPort, InvalidPort>>,
    template: Option<&Result<PeerPort, InvalidPort>>,
    named: Option<&Result<PeerPort, InvalidPort>>,
) -> Result<PeerPort, InvalidPort> {
    [spec, object, template, named]
        .into_iter()
        .flatten()
        .next()
        .cloned()
        .unwrap_or(Ok(PeerPort::DEFAULT))
}

/// Looks a label up in JSON metadata.
pub(crate) fn metadata<'a>(object: &'a Json<'a>, map: &str) -> Option<&'a Json<'a>> {
    object.at(["metadata", map])
}

/// An annotation or label of an object, then of its template.
pub(crate) fn setting<'a>(object: &'a Json<'a>, map: &str, key: &str) -> Option<&'a str> {
    let template = object.at(["spec", "template"]);
    [Some(object), template]
        .into_iter()
        .flatten()
        .find_map(|it| it.at(["metadata", map])?.text(key))
}

/// Whether a map of labels has this value.
pub(crate) fn has(map: Option<&Json<'_>>, key: &str, value: &str) -> bool {
    map.find(key) == Some(value)
}
