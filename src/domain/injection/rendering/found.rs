//! The parts of ours that a template has, wherever they ended up, and how they go.

use super::{is_config_mount, is_config_volume, is_foreign_volume, is_render_container};
use crate::{
    api::names::STELLAR_PEERS,
    domain::{
        injection::template::{Template, mounts},
        patch::{Operation, remove},
    },
    json::Json,
};

/// A mount of our volume: of which kind its container is, which of them, and which of its mounts.
type MountAt = (&'static str, usize, usize);

/// What a template has. A mount of a volume of our name that is somebody else's is none.
#[derive(Clone, Debug)]
pub(in crate::domain::injection) struct Found<'a> {
    pub(super) init_container: Option<(usize, &'a Json<'a>)>,
    pub(super) volume: Option<usize>,
    core: Option<usize>,
    /// In the core container.
    pub(super) mount: Option<(usize, &'a Json<'a>)>,
    /// Where no mount belongs: in other containers, or a second time. Last ones first.
    elsewhere: Vec<MountAt>,
    /// Each volume that the init container mounts is there.
    is_sound: bool,
}

impl<'a> Found<'a> {
    pub(in crate::domain::injection) fn of(template: Template<'a>, core: Option<usize>) -> Self {
        let init_containers = template.list("initContainers");
        let mut ours = init_containers
            .enumerate()
            .filter(|(_, it)| is_render_container(it));
        let init_container = ours.next();
        let mut found = Self {
            init_container,
            volume: template.volumes().position(is_config_volume),
            core,
            mount: None,
            elsewhere: Vec::new(),
            is_sound: init_container.is_none_or(|(_, it)| mounts_what_is_there(template, it)),
        };
        if template.volumes().any(is_foreign_volume) {
            return found;
        }
        for kind in ["containers", "initContainers"] {
            for (index, container) in template.list(kind).enumerate() {
                if kind == "initContainers" && is_render_container(container) {
                    continue;
                }
                let is_core = kind == "containers" && core == Some(index);
                for (at, mount) in mounts(container).enumerate() {
                    if !is_config_mount(mount) {
                    } else if is_core && found.mount.is_none() {
                        found.mount = Some((at, mount));
                    } else {
                        found.elsewhere.push((kind, index, at));
                    }
                }
            }
        }
        found.elsewhere.reverse();
        found
    }

    pub(in crate::domain::injection) fn is_whole(&self) -> bool {
        self.init_container.is_some() && self.volume.is_some() && self.mount.is_some()
    }

    pub(in crate::domain::injection) fn is_absent(&self) -> bool {
        self.init_container.is_none() && self.volume.is_none() && self.mount.is_none()
    }

    /// It works as it stands: there is nothing, or all that belongs together.
    pub(super) fn is_sound(&self) -> bool {
        self.is_sound && self.elsewhere.is_empty() && (self.is_absent() || self.is_whole())
    }

    /// Takes out what stands where it doesn't belong.
    pub(super) fn tidy<'o>(&self, spec: &str) -> impl Iterator<Item = Operation<'o>> {
        let path = move |(kind, index, at): &MountAt| {
            remove(format!("{spec}/{kind}/{index}/volumeMounts/{at}"))
        };
        self.elsewhere.iter().map(path)
    }

    /// Takes all of it out: mounts before the volume that they name, and before the indexes of containers change.
    pub(super) fn take_out<'o>(&self, spec: &str) -> impl Iterator<Item = Operation<'o>> {
        let in_core = self.core.zip(self.mount);
        let mount = in_core.map(|(core, (at, _))| format!("containers/{core}/volumeMounts/{at}"));
        let volume = self.volume.map(|at| format!("volumes/{at}"));
        let container = self
            .init_container
            .map(|(at, _)| format!("initContainers/{at}"));
        let parts = [mount, volume, container].into_iter().flatten();
        let parts = parts.map(|part| remove(format!("{spec}/{part}")));
        self.tidy(spec).chain(parts.collect::<Vec<_>>())
    }
}

fn mounts_what_is_there(template: Template<'_>, container: &Json<'_>) -> bool {
    let has = |name| template.volumes().any(|it| it.text("name") == name);
    // The list's own volume is always brought back.
    let is_list = |mount: &Json<'_>| mount.text("name") == Some(STELLAR_PEERS);
    mounts(container).all(|mount| is_list(mount) || has(mount.text("name")))
}
