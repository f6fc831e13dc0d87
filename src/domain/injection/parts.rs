//! Our parts in a pod template: finding them, adding what is missing, taking them out.

use json_patch::{
    AddOperation, PatchOperation, RemoveOperation, ReplaceOperation, TestOperation,
    jsonptr::PointerBuf,
};
use serde_json::{Map, Value, json};

use super::{
    config::CannotRender,
    rendering::{self, Found, Rendering},
    template::{CannotInject, Template, list, mounts, text},
};
use crate::{
    api::names::{self, MOUNT_PATH, STELLAR_PEERS},
    domain::{membership::MembershipHash, peer::PeerPort},
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
pub(super) fn list_mount() -> Value {
    json!({"name": STELLAR_PEERS, "mountPath": MOUNT_PATH, "readOnly": true})
}

fn is_our_volume(volume: &Value) -> bool {
    text(volume, "name") == Some(STELLAR_PEERS)
        && volume.get("configMap").and_then(|it| text(it, "name")) == Some(STELLAR_PEERS)
}

pub(super) fn is_our_mount(mount: &Value) -> bool {
    text(mount, "name") == Some(STELLAR_PEERS) && text(mount, "mountPath") == Some(MOUNT_PATH)
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
        let has_our_name = |port: &&Value| text(port, "name") == Some(STELLAR_PEERS);
        let is_ours = |port: &Value| numbers.iter().any(|number| has_number(port, *number));
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

    fn is(&self, port: &Value) -> bool {
        let is_numbered = self.numbers.iter().any(|number| has_number(port, *number));
        match text(port, "name") {
            Some(name) => name == STELLAR_PEERS && (is_numbered || self.any_of_our_name),
            None => is_numbered && self.name_taken,
        }
    }
}

fn has_number(port: &Value, number: PeerPort) -> bool {
    port.get("containerPort") == Some(&json!(number.get()))
}

/// Index of the core container, where everything that is missing can be added.
pub(super) fn blocked(template: Template<'_>, named: Option<&str>) -> Result<usize, CannotInject> {
    let (index, core) = template.core(named)?;
    if template
        .volumes()
        .any(|it| text(it, "name") == Some(STELLAR_PEERS) && !is_our_volume(it))
    {
        return Err(CannotInject::VolumeNameTaken);
    }
    let at_our_path = |mount: &&Value| {
        text(mount, "mountPath").map(|path| path.trim_end_matches('/')) == Some(MOUNT_PATH)
    };
    match mounts(core).find(at_our_path) {
        Some(mount) if !is_our_mount(mount) => Err(CannotInject::MountPathTaken(
            text(mount, "name")
                .unwrap_or_default()
                .chars()
                .take(80)
                .collect(),
        )),
        _ => Ok(index),
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
pub fn mend(template: &Value, base: &str, named: Option<&str>) -> Vec<PatchOperation> {
    let view = Template::new(template);
    let core = view.core(named).ok().map(|(index, _)| index);
    let mut operations = rendering::mend(view, base, core);
    let has_volume = view
        .volumes()
        .any(|it| text(it, "name") == Some(STELLAR_PEERS));
    if !has_volume && view.all_containers().flat_map(mounts).any(is_our_mount) {
        let spec = format!("{base}/spec");
        operations.extend(append(&template["spec"], &spec, "volumes", [list_volume()]));
    }
    operations
}

pub(super) fn list_volume() -> Value {
    json!({
        "name": STELLAR_PEERS,
        "configMap": {"name": STELLAR_PEERS, "optional": true, "defaultMode": 420},
    })
}

/// What makes our parts whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Completed {
    /// The operations.
    pub operations: Vec<PatchOperation>,
    /// Why the list is only mounted, where it should come into the configuration as well.
    pub not_rendered: Option<CannotRender>,
}

/// The operations that make our parts in `template` whole.
///
/// Paths begin at `base`, the pointer to the template. Empty where nothing is missing or outdated.
///
/// # Errors
/// [`CannotInject`] where one part can't be added; then none is.
pub fn complete(
    template: &Value,
    base: &str,
    named: Option<&str>,
    wanted: &Wanted,
    our_port: &OurPort,
) -> Result<Completed, CannotInject> {
    let view = Template::new(template);
    let core_index = blocked(view, named)?;
    let core = &template["spec"]["containers"][core_index];
    let core_base = format!("{base}/spec/containers/{core_index}");
    let rendering::Change {
        mut operations,
        volume,
        mount,
        not_rendered,
    } = rendering::change(view, base, (core_index, core), &wanted.rendering);
    let has_volume = view.volumes().any(is_our_volume);
    let volumes = (!has_volume).then(list_volume).into_iter().chain(volume);
    let spec = &template["spec"];
    operations.extend(append(spec, &format!("{base}/spec"), "volumes", volumes));
    let has_mount = mounts(core).any(is_our_mount);
    let added = (!has_mount).then(list_mount).into_iter().chain(mount);
    operations.extend(append(core, &core_base, "volumeMounts", added));
    operations.extend(complete_port(view, core, &core_base, wanted.port, our_port));
    let mut annotations = vec![
        (names::PORT, wanted.port.to_string()),
        (names::MEMBERSHIP, wanted.membership.to_string()),
    ];
    annotations.extend(
        wanted
            .restarted_at
            .clone()
            .map(|at| (names::RESTARTED_AT, at)),
    );
    operations.extend(annotate(template, base, &annotations));
    Ok(Completed {
        operations,
        not_rendered,
    })
}

/// Declares the port where no container does, in the entry that we added before if there is one.
fn complete_port(
    template: Template<'_>,
    core: &Value,
    core_base: &str,
    port: PeerPort,
    our_port: &OurPort,
) -> Option<PatchOperation> {
    let is_outdated = |it: &Value| our_port.is(it) && !has_number(it, port);
    let outdated = list(Some(core), "ports").position(is_outdated);
    let declared = template.declares(port);
    match outdated {
        None if declared => None,
        None => {
            let mut entry = json!({"containerPort": port.get(), "protocol": "TCP"});
            if !template
                .ports()
                .any(|it| text(it, "name") == Some(STELLAR_PEERS))
            {
                entry["name"] = json!(STELLAR_PEERS);
            }
            append(core, core_base, "ports", [entry]).pop()
        }
        Some(index) if declared => Some(remove(&format!("{core_base}/ports/{index}"))),
        // What others wrote may lack its number: "add" puts one in place of another as well as of none.
        Some(index) => Some(add(
            &format!("{core_base}/ports/{index}/containerPort"),
            json!(port.get()),
        )),
    }
}

/// The operations that set these annotations of an object or template at `base`.
pub(crate) fn annotate(
    object: &Value,
    base: &str,
    wanted: &[(&str, String)],
) -> Vec<PatchOperation> {
    let metadata = object.get("metadata").filter(|it| it.is_object());
    let present = metadata
        .and_then(|it| it.get("annotations"))
        .filter(|it| it.is_object());
    let missing = wanted
        .iter()
        .filter(|(key, value)| present.and_then(|it| text(it, key)) != Some(value));
    let missing: Map<String, Value> = missing
        .map(|(key, value)| ((*key).to_owned(), json!(value)))
        .collect();
    match (metadata, present) {
        _ if missing.is_empty() => Vec::new(),
        (None, _) => vec![add(
            &format!("{base}/metadata"),
            json!({ "annotations": missing }),
        )],
        (_, None) => vec![add(
            &format!("{base}/metadata/annotations"),
            Value::Object(missing),
        )],
        (_, Some(_)) => missing
            .into_iter()
            .map(|(key, value)| add(&annotation_path(base, &key), value))
            .collect(),
    }
}

/// The JSON pointer to an annotation of the object at `base`.
pub(crate) fn annotation_path(base: &str, key: &str) -> String {
    format!(
        "{base}/metadata/annotations/{}",
        key.replace('~', "~0").replace('/', "~1")
    )
}

/// Whether two templates differ in nothing but our parts.
#[must_use]
pub fn is_same_but_for_our_parts(one: &Value, other: &Value) -> bool {
    let our_port = OurPort::of(&[Template::new(one), Template::new(other)]);
    strip(one, &our_port) == strip(other, &our_port)
}

/// The template without our parts: what is left is what others wrote.
#[must_use]
pub(super) fn strip(template: &Value, our_port: &OurPort) -> Value {
    let mut left = template.clone();
    let foreign_volume = Template::new(template)
        .volumes()
        .any(|it| text(it, "name") == Some(STELLAR_PEERS) && !is_our_volume(it));
    let ours_only = !Template::new(template)
        .all_containers()
        .flat_map(mounts)
        .any(|it| text(it, "name") == Some(STELLAR_PEERS) && !is_our_mount(it));
    if let Some(Value::Object(annotations)) = left.pointer_mut("/metadata/annotations") {
        for key in [names::PORT, names::MEMBERSHIP, names::RESTARTED_AT] {
            annotations.remove(key);
        }
    }
    if let Some(metadata) = left.get_mut("metadata") {
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
        for container in spec
            .get_mut(kind)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            retain(container, "volumeMounts", |mount| {
                foreign_volume || !is_our_mount(mount)
            });
            retain(container, "ports", |port| !our_port.is(port));
        }
    }
    left
}

pub(super) fn retain(object: &mut Value, key: &str, keep: impl Fn(&Value) -> bool) {
    if let Some(Value::Array(items)) = object.get_mut(key) {
        items.retain(keep);
    }
    drop_empty(object, key);
}

/// An empty list or map and an absent one are the same to the API server.
fn drop_empty(object: &mut Value, key: &str) {
    let Value::Object(object) = object else {
        return;
    };
    let is_empty = match object.get(key) {
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(items)) => items.is_empty(),
        Some(Value::Null) => true,
        _ => false,
    };
    if is_empty {
        object.remove(key);
    }
}

/// Appends to the list `key` of `object`, which stands at `base`; makes the list where there is none.
fn append(
    object: &Value,
    base: &str,
    key: &str,
    items: impl IntoIterator<Item = Value>,
) -> Vec<PatchOperation> {
    let path = format!("{base}/{key}");
    if object.get(key).is_some_and(Value::is_array) {
        let at_end = format!("{path}/-");
        return items.into_iter().map(|item| add(&at_end, item)).collect();
    }
    let items: Vec<Value> = items.into_iter().collect();
    if items.is_empty() {
        return Vec::new();
    }
    vec![add(&path, Value::Array(items))]
}

pub(crate) fn add(path: &str, value: Value) -> PatchOperation {
    PatchOperation::Add(AddOperation {
        path: pointer(path),
        value,
    })
}

pub(crate) fn replace(path: &str, value: Value) -> PatchOperation {
    PatchOperation::Replace(ReplaceOperation {
        path: pointer(path),
        value,
    })
}

pub(crate) fn remove(path: &str) -> PatchOperation {
    PatchOperation::Remove(RemoveOperation {
        path: pointer(path),
    })
}

pub(crate) fn test(path: &str, value: Value) -> PatchOperation {
    PatchOperation::Test(TestOperation {
        path: pointer(path),
        value,
    })
}

/// Paths are made from constants, indexes and escaped keys only.
fn pointer(path: &str) -> PointerBuf {
    PointerBuf::parse(path)
        .expect("a pointer made of constants, indexes and escaped keys is well-formed")
}
