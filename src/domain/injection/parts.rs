//! Our parts in a pod template: finding them, adding what is missing, taking them out.

use super::{
    config::CannotRender,
    rendering::{self, Found, Rendering},
    template::{CannotInject, Template, mounts, ports},
};
use crate::{
    api::names::{self, MOUNT_PATH, STELLAR_PEERS},
    domain::{
        membership::MembershipHash,
        patch::{Operation, add, remove},
        peer::PeerPort,
    },
    json::{Fields, Json, escaped},
};

/// How much of our parts a template has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Parts {
    /// Nothing of ours. An annotation with the port alone may be its writer's.
    #[default]
    Absent,
    /// Some, but not all: whatever happened, it is completed first.
    Partial,
    /// Everything, in this or an older form.
    Whole,
}

impl Parts {
    /// Finds our parts. `named` is annotation [`names::CONTAINER`].
    #[must_use]
    pub fn of(template: Template<'_>, named: Option<&str>) -> Self {
        let core = template.core(named).ok();
        let volume = template.volumes().any(is_our_volume);
        let mount = core.is_some_and(|(_, core)| mounts(core).any(is_our_mount));
        let rendering = Found::of(template, core.map(|(index, _)| index));
        let membership = template.annotation(names::MEMBERSHIP).is_some();
        let port = template
            .port_annotation()
            .and_then(Result::ok)
            .is_some_and(|port| template.declares(port));
        // A list that is only mounted is an older form, or all that can be done.
        let is_consistent = rendering.is_absent() || rendering.is_whole();
        match (volume, mount, membership, port) {
            (false, false, false, _) if rendering.is_absent() => Self::Absent,
            (true, true, true, true) if is_consistent => Self::Whole,
            _ => Self::Partial,
        }
    }
}

/// The mount of the list.
pub(super) fn list_mount() -> Json<'static> {
    Json::object([
        ("mountPath", MOUNT_PATH.into()),
        ("name", STELLAR_PEERS.into()),
        ("readOnly", true.into()),
    ])
}

fn is_our_volume(volume: &Json<'_>) -> bool {
    volume.text("name") == Some(STELLAR_PEERS)
        && volume.get("configMap").and_then(|it| it.text("name")) == Some(STELLAR_PEERS)
}

pub(super) fn is_our_mount(mount: &Json<'_>) -> bool {
    mount.text("name") == Some(STELLAR_PEERS) && mount.text("mountPath") == Some(MOUNT_PATH)
}

/// How to tell the port entry that we added: it has a number that we wrote down, and our name or, where that name
/// was taken by another port, none.
#[derive(Clone, Debug)]
pub struct OurPort {
    numbers: Vec<PeerPort>,
    name_taken: bool,
    any_of_our_name: bool,
}

impl OurPort {
    /// From the templates that are looked at: one, or the stored one and the new one. What one of them has
    /// dropped, the other still tells.
    #[must_use]
    pub fn of(templates: &[Template<'_>]) -> Self {
        let numbers: Vec<PeerPort> = templates
            .iter()
            .filter_map(|it| it.port_annotation()?.ok())
            .collect();
        let has_our_name = |port: &&Json<'_>| port.text("name") == Some(STELLAR_PEERS);
        let is_ours = |port: &Json<'_>| numbers.iter().any(|number| has_number(port, *number));
        let mut named = templates
            .iter()
            .flat_map(|it| it.ports())
            .filter(has_our_name);
        let is_injected = |it: &Template<'_>| {
            it.volumes().any(is_our_volume)
                || it.all_containers().flat_map(mounts).any(is_our_mount)
        };
        Self {
            // Without any number, in what is half injected, the name alone has to do.
            any_of_our_name: numbers.is_empty() && templates.iter().any(is_injected),
            name_taken: named.any(|port| !is_ours(port)),
            numbers,
        }
    }

    fn is(&self, port: &Json<'_>) -> bool {
        let is_numbered = self.numbers.iter().any(|number| has_number(port, *number));
        match port.text("name") {
            Some(name) => name == STELLAR_PEERS && (is_numbered || self.any_of_our_name),
            None => is_numbered && self.name_taken,
        }
    }
}

fn has_number(port: &Json<'_>, number: PeerPort) -> bool {
    port.get("containerPort").and_then(Json::as_u64) == Some(number.get().into())
}

/// Index and object of the core container, where everything that is missing can be added.
pub(super) fn blocked<'a>(
    template: Template<'a>,
    named: Option<&str>,
) -> Result<(usize, &'a Json<'a>), CannotInject> {
    let (index, core) = template.core(named)?;
    if template
        .volumes()
        .any(|it| it.text("name") == Some(STELLAR_PEERS) && !is_our_volume(it))
    {
        return Err(CannotInject::VolumeNameTaken);
    }
    let at_our_path = |mount: &&Json<'_>| {
        mount
            .text("mountPath")
            .map(|path| path.trim_end_matches('/'))
            == Some(MOUNT_PATH)
    };
    match mounts(core).find(at_our_path) {
        Some(mount) if !is_our_mount(mount) => Err(CannotInject::MountPathTaken(
            mount
                .text("name")
                .unwrap_or_default()
                .chars()
                .take(80)
                .collect(),
        )),
        _ => Ok((index, core)),
    }
}

/// What the parts are to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The peer port.
    pub port: PeerPort,
    /// The membership that the pods will know.
    pub membership: MembershipHash,
    /// The time of our restart, RFC 3339, where this is one.
    pub restarted_at: Option<String>,
    /// Whether and how the list comes into stellar-core's configuration.
    pub rendering: Rendering,
}

/// The operations without which what is left of our parts could keep a pod from being stored or from starting, where
/// nothing else can be decided. A list that is only mounted always works.
#[must_use]
pub fn mend(template: &Json<'_>, base: &str, named: Option<&str>) -> Vec<Operation<'static>> {
    let view = Template::new(template);
    let core = view.core(named).ok().map(|(index, _)| index);
    let mut operations = rendering::mend(view, base, core);
    let has_volume = view
        .volumes()
        .any(|it| it.text("name") == Some(STELLAR_PEERS));
    if !has_volume && view.all_containers().flat_map(mounts).any(is_our_mount) {
        let spec = [base, "/spec"].concat();
        operations.extend(append(view.spec(), &spec, "volumes", [list_volume()]));
    }
    operations
}

pub(super) fn list_volume() -> Json<'static> {
    let source = [
        ("defaultMode", 420_u16.into()),
        ("name", STELLAR_PEERS.into()),
        ("optional", true.into()),
    ];
    Json::object([
        ("configMap", Json::object(source)),
        ("name", STELLAR_PEERS.into()),
    ])
}

/// What makes our parts whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Completed<'a> {
    /// The operations.
    pub operations: Vec<Operation<'a>>,
    /// Why the list is only mounted, where it should come into the configuration as well.
    pub not_rendered: Option<CannotRender>,
}

/// The operations that make our parts in `template` whole.
///
/// Paths begin at `base`, the pointer to the template. Empty where nothing is missing or outdated.
///
/// # Errors
/// [`CannotInject`] where one part can't be added; then none is.
pub fn complete<'a>(
    template: &'a Json<'a>,
    base: &str,
    named: Option<&str>,
    wanted: &Wanted,
    our_port: &OurPort,
) -> Result<Completed<'a>, CannotInject> {
    let view = Template::new(template);
    let (core_index, core) = blocked(view, named)?;
    let core_base = format!("{base}/spec/containers/{core_index}");
    let rendering::Change {
        mut operations,
        volume,
        mount,
        not_rendered,
    } = rendering::change(view, base, (core_index, core), &wanted.rendering);
    let has_volume = view.volumes().any(is_our_volume);
    let volumes = (!has_volume).then(list_volume).into_iter().chain(volume);
    let spec = [base, "/spec"].concat();
    operations.extend(append(view.spec(), &spec, "volumes", volumes));
    let has_mount = mounts(core).any(is_our_mount);
    let added = (!has_mount).then(list_mount).into_iter().chain(mount);
    operations.extend(append(Some(core), &core_base, "volumeMounts", added));
    operations.extend(complete_port(view, core, &core_base, wanted.port, our_port));
    let said = [
        (names::PORT, wanted.port.to_string()),
        (names::MEMBERSHIP, wanted.membership.to_string()),
    ];
    let restarted = wanted.restarted_at.clone();
    let restarted = restarted.map(|at| (names::RESTARTED_AT, at));
    operations.extend(annotate(template, base, said.into_iter().chain(restarted)));
    Ok(Completed {
        operations,
        not_rendered,
    })
}

/// Declares the port where no container does, in the entry that we added before if there is one.
fn complete_port(
    template: Template<'_>,
    core: &Json<'_>,
    core_base: &str,
    port: PeerPort,
    our_port: &OurPort,
) -> Option<Operation<'static>> {
    let is_outdated = |it: &Json<'_>| our_port.is(it) && !has_number(it, port);
    let outdated = ports(core).position(is_outdated);
    let declared = template.declares(port);
    match outdated {
        None if declared => None,
        None => {
            let is_taken = template
                .ports()
                .any(|it| it.text("name") == Some(STELLAR_PEERS));
            let name = (!is_taken).then(|| ("name", Json::from(STELLAR_PEERS)));
            let entry = [
                ("containerPort", port.get().into()),
                ("protocol", "TCP".into()),
            ];
            let entry = Json::Object(entry.into_iter().chain(name).collect());
            append(Some(core), core_base, "ports", [entry]).pop()
        }
        Some(index) if declared => Some(remove(format!("{core_base}/ports/{index}"))),
        // What others wrote may lack its number: "add" puts one in place of another as well as of none.
        Some(index) => Some(add(
            format!("{core_base}/ports/{index}/containerPort"),
            port.get(),
        )),
    }
}

/// The operations that set these annotations of an object or template at `base`.
pub(crate) fn annotate(
    object: &Json<'_>,
    base: &str,
    wanted: impl IntoIterator<Item = (&'static str, String)>,
) -> Vec<Operation<'static>> {
    let metadata = object.get("metadata").filter(|it| it.is_object());
    let present = metadata
        .and_then(|it| it.get("annotations"))
        .filter(|it| it.is_object());
    let is_missing =
        |(key, value): &(&str, String)| present.and_then(|it| it.text(key)) != Some(value);
    let missing = wanted.into_iter().filter(is_missing);
    let missing: Fields<'static> = missing.map(|(key, value)| (key, value.into())).collect();
    match (metadata, present) {
        _ if missing.is_empty() => Vec::new(),
        (None, _) => vec![add(
            [base, "/metadata"].concat(),
            Json::object([("annotations", Json::Object(missing))]),
        )],
        (_, None) => vec![add(
            [base, "/metadata/annotations"].concat(),
            Json::Object(missing),
        )],
        (_, Some(_)) => missing
            .into_iter()
            .map(|(key, value)| add(annotation_path(base, &key), value))
            .collect(),
    }
}

/// The JSON pointer to an annotation of the object at `base`.
pub(crate) fn annotation_path(base: &str, key: &str) -> String {
    [base, "/metadata/annotations/", &escaped(key)].concat()
}

/// Whether two templates differ in nothing but our parts.
#[must_use]
pub fn is_same_but_for_our_parts(one: &Json<'_>, other: &Json<'_>) -> bool {
    let our_port = OurPort::of(&[Template::new(one), Template::new(other)]);
    strip(one, &our_port) == strip(other, &our_port)
}

/// The template without our parts: what is left is what others wrote.
#[must_use]
pub(super) fn strip<'a>(template: &'a Json<'a>, our_port: &OurPort) -> Json<'a> {
    let mut left = template.clone();
    let foreign_volume = Template::new(template)
        .volumes()
        .any(|it| it.text("name") == Some(STELLAR_PEERS) && !is_our_volume(it));
    let ours_only = !Template::new(template)
        .all_containers()
        .flat_map(mounts)
        .any(|it| it.text("name") == Some(STELLAR_PEERS) && !is_our_mount(it));
    if let Some(metadata) = left.get_mut("metadata") {
        let annotations = metadata.get_mut("annotations");
        if let Some(annotations) = annotations.and_then(Json::as_object_mut) {
            for key in [names::PORT, names::MEMBERSHIP, names::RESTARTED_AT] {
                annotations.remove(key);
            }
        }
        drop_empty(metadata, "annotations");
    }
    let Some(spec) = left.get_mut("spec") else {
        return left;
    };
    rendering::strip(spec);
    if ours_only {
        retain(spec, "volumes", |volume| !is_our_volume(volume));
    }
    for kind in ["containers", "initContainers"] {
        let containers = spec.get_mut(kind).and_then(Json::as_list_mut);
        for container in containers.into_iter().flatten() {
            retain(container, "volumeMounts", |mount| {
                foreign_volume || !is_our_mount(mount)
            });
            retain(container, "ports", |port| !our_port.is(port));
        }
    }
    left
}

pub(super) fn retain(object: &mut Json<'_>, key: &str, keep: impl Fn(&Json<'_>) -> bool) {
    if let Some(Json::List(items)) = object.get_mut(key) {
        items.retain(keep);
    }
    drop_empty(object, key);
}

/// An empty list or map and an absent one are the same to the API server.
fn drop_empty(object: &mut Json<'_>, key: &str) {
    let Json::Object(object) = object else {
        return;
    };
    let is_empty = match object.get(key) {
        Some(Json::List(items)) => items.is_empty(),
        Some(Json::Object(fields)) => fields.is_empty(),
        Some(Json::Null) => true,
        _ => false,
    };
    if is_empty {
        object.remove(key);
    }
}

/// Appends to the list `key` of `object`, which stands at `base`; makes the list where there is none.
fn append<'a>(
    object: Option<&Json<'_>>,
    base: &str,
    key: &str,
    items: impl IntoIterator<Item = Json<'a>>,
) -> Vec<Operation<'a>> {
    let items = items.into_iter();
    if object.and_then(|it| it.get(key)).is_some_and(Json::is_list) {
        let at_end = [base, "/", key, "/-"].concat();
        return items.map(|item| add(at_end.as_str(), item)).collect();
    }
    let items: Vec<Json<'a>> = items.collect();
    if items.is_empty() {
        return Vec::new();
    }
    vec![add([base, "/", key].concat(), Json::List(items))]
}
