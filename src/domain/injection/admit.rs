//! What an admission of a StatefulSet becomes.

use std::{borrow::Cow, cell::LazyCell, collections::BTreeMap, sync::Arc};

use super::{
    parts::{
        Completed, OurPort, Wanted, annotate, annotation_path, complete, is_same_but_for_our_parts,
        mend, strip,
    },
    rendering::Rendering,
    template::{CannotInject, Template, effective_port, has, metadata, setting},
};
use crate::{
    api::names::{self, MOUNT_PATH, STELLAR_PEERS},
    domain::{
        membership::Membership,
        node::{Network, NodeName},
        patch::{Operation, remove, replace},
        peer::{InvalidPort, PeerPort},
        policy::InjectMode,
        snapshot::{Inject, StellarNodeView, is_operator_labelled, parse_time},
    },
    json::{Fields, Json},
};

const TEMPLATE: &str = "/spec/template";
/// Our caches are not full, or validators are out of their sight.
const NOT_KNOWN: &str =
    "this service does not see all validators of the namespace yet; it is taken in later";

/// One write of a StatefulSet as the API server asks about it.
#[derive(Clone, Copy, Debug)]
pub struct Review<'a> {
    /// Name of the object.
    pub name: &'a str,
    /// The object as it is to be stored.
    pub object: &'a Json<'a>,
    /// The stored object; absent on CREATE.
    pub old: Option<&'a Json<'a>>,
    /// Who writes, by the request's options.
    pub field_manager: Option<&'a str>,
}

/// What the admission knows of the namespace.
#[derive(Clone, Debug, Default)]
pub struct Knowledge {
    /// The StellarNode of the same name.
    pub stellar_node: Option<Arc<StellarNodeView>>,
    /// Who is a member of each network.
    pub networks: Arc<BTreeMap<Network, Membership>>,
    /// How the list is given to validators.
    pub inject: InjectMode,
    /// Another installation keeps the list of the namespace, and so what merges it.
    pub kept_by_another: bool,
    /// Pods of this StatefulSet's names run without an owner: it is being put over them, and a template other
    /// than theirs would restart them.
    pub has_orphans: bool,
}

/// What becomes of a write. The whole set of outcomes: they are also a metric's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// None of our business, or nothing to do.
    Untouched,
    /// Our parts were added or renewed.
    Injected,
    /// What the writer dropped or changed of ours is as it was.
    Kept,
    /// Opted out: our parts were taken out.
    Removed,
    /// It can't get our parts, or not yet.
    NotInjected,
}

/// The answer to one write: always allowed.
#[derive(Clone, Debug, PartialEq)]
pub struct Admission<'a> {
    /// What happened.
    pub outcome: Outcome,
    /// JSON patch of the object; empty where nothing changes.
    pub operations: Vec<Operation<'a>>,
    /// For the writer, in plain words.
    pub warnings: Vec<String>,
}

impl<'a> Admission<'a> {
    const UNTOUCHED: Self = Self {
        outcome: Outcome::Untouched,
        operations: Vec::new(),
        warnings: Vec::new(),
    };

    /// What is there of our parts stays, unless it could keep the pod from starting.
    fn not_injected(object: &'a Json<'a>, why: &str) -> Self {
        let template = template_of(object).unwrap_or(&Json::Null);
        let named = setting(object, "annotations", names::CONTAINER);
        Self {
            outcome: Outcome::NotInjected,
            operations: mend(template, TEMPLATE, named),
            warnings: vec![format!("stellar-peers: not injected: {why}")],
        }
    }
}

/// Whether a write of this StatefulSet is ours to look at: the same rule as the registration's conditions.
#[must_use]
pub fn is_concerned(object: &Json<'_>, old: Option<&Json<'_>>) -> bool {
    [Some(object), old]
        .into_iter()
        .flatten()
        .any(|it| wants_parts(it) || carries_our_volume(it))
}

fn carries_our_volume(object: &Json<'_>) -> bool {
    let template = template_of(object).map(Template::new);
    let mut volumes = template.into_iter().flat_map(Template::volumes);
    volumes.any(|it| it.text("name") == Some(STELLAR_PEERS))
}

fn template_of<'a>(object: &'a Json<'a>) -> Option<&'a Json<'a>> {
    object.at(["spec", "template"])
}

/// Labels that ask for our parts: an operator's validator, or opted in; and nothing that opts out.
fn wants_parts(object: &Json<'_>) -> bool {
    let of = |it: Option<&Json<'_>>| {
        let maps = it.and_then(|it| it.get("metadata"));
        let map = |key| maps.and_then(|maps| maps.get(key));
        Inject::of(&map("labels"), &map("annotations"))
    };
    let labels = metadata(object, "labels");
    match of(Some(object)).or(of(template_of(object))) {
        Inject::Disabled => false,
        Inject::Enabled => true,
        Inject::Unset => {
            is_operator_labelled(&labels)
                && !has(labels, names::LABEL_ROLE, names::ROLE_READ_REPLICA)
        }
    }
}

/// Decides one write of a StatefulSet. `knowledge` is asked for only where it is needed, and has no answer
/// while our caches are not full.
#[must_use]
pub fn admit_stateful_set(
    review: Review<'_>,
    knowledge: impl FnOnce() -> Option<Knowledge>,
) -> Admission<'_> {
    let Review { object, old, .. } = review;
    let is_deleted = metadata(object, "deletionTimestamp").is_some_and(|it| !it.is_null());
    if is_deleted || !is_concerned(object, old) || !template_of(object).is_some_and(Json::is_object)
    {
        return Admission::UNTOUCHED;
    }
    match old {
        None => admit_create(review, knowledge),
        Some(old) => admit_update(review, old, knowledge),
    }
}

fn admit_create(
    review: Review<'_>,
    knowledge: impl FnOnce() -> Option<Knowledge>,
) -> Admission<'_> {
    let object = review.object;
    if !wants_parts(object) {
        return Admission::UNTOUCHED;
    }
    let Some(knowledge) = knowledge() else {
        return Admission::not_injected(object, NOT_KNOWN);
    };
    if is_disabled(&knowledge) {
        return Admission::UNTOUCHED;
    }
    if knowledge.has_orphans {
        return Admission::not_injected(
            object,
            "it takes over running pods; they are taken in later, one after the other",
        );
    }
    // A copy of another object carries that one's history, which is not this one's.
    let copied = [
        ("", Some(object), names::JOINED_AT),
        ("", Some(object), names::TURN),
        (TEMPLATE, template_of(object), names::RESTARTED_AT),
    ];
    let is_set = |at: Option<&Json<'_>>, key| {
        at.and_then(|at| metadata(at, "annotations")?.get(key))
            .is_some()
    };
    let copied = copied.into_iter().filter(|(_, at, key)| is_set(*at, key));
    let copied = copied.map(|(base, _, key)| remove(annotation_path(base, key)));
    let mut admission = inject(review, &knowledge);
    admission.operations.extend(copied);
    admission
}

fn admit_update<'a>(
    review: Review<'a>,
    old: &'a Json<'a>,
    knowledge: impl FnOnce() -> Option<Knowledge>,
) -> Admission<'a> {
    let Review {
        object,
        field_manager,
        ..
    } = review;
    let (Some(template), Some(stored)) = (template_of(object), template_of(old)) else {
        return Admission::UNTOUCHED;
    };
    let is_injected = |it| Template::new(it).annotation(names::MEMBERSHIP).is_some();
    if !wants_parts(object) && !wants_parts(old) && !is_injected(template) && !is_injected(stored) {
        // A volume of our name that we never added is somebody's own.
        return Admission::UNTOUCHED;
    }
    let is_ours = field_manager == Some(STELLAR_PEERS);
    if is_ours && is_later_restart(template, stored) {
        // The restart carries our parts itself, as decided by who leads.
        return Admission::UNTOUCHED;
    }
    let mut kept = if is_ours {
        Vec::new()
    } else {
        keep_annotations(object, old, "", &[names::JOINED_AT, names::TURN])
    };
    let knowledge = LazyCell::new(knowledge);
    if template == stored || !is_changed_by_writer(object, template, stored, &knowledge) {
        // Nothing but our parts differs: this write restarts nobody, and so it stays.
        if template != stored {
            kept.push(replace(TEMPLATE, stored.clone()));
        }
        let outcome = if kept.is_empty() {
            Outcome::Untouched
        } else {
            Outcome::Kept
        };
        return Admission {
            outcome,
            operations: kept,
            warnings: Vec::new(),
        };
    }
    let mut admission = match knowledge.as_ref() {
        Some(knowledge) if wants_parts(object) && !is_disabled(knowledge) => {
            inject(review, knowledge)
        }
        None if wants_parts(object) => Admission::not_injected(object, NOT_KNOWN),
        _ => take_out(template),
    };
    if admission.outcome == Outcome::Injected {
        // The time of the last restart came with our parts, unless there was none.
        let is_set = |it| Template::new(it).annotation(names::RESTARTED_AT).is_some();
        if is_set(template) && !is_set(stored) {
            admission
                .operations
                .push(remove(annotation_path(TEMPLATE, names::RESTARTED_AT)));
        }
    } else if admission.outcome != Outcome::Removed {
        let keys = [names::RESTARTED_AT];
        admission
            .operations
            .extend(keep_annotations(template, stored, TEMPLATE, &keys));
    }
    admission.operations.extend(kept);
    admission
}

/// Whether the template differs in more than our parts.
fn is_changed_by_writer<F: FnOnce() -> Option<Knowledge>>(
    object: &Json<'_>,
    template: &Json<'_>,
    stored: &Json<'_>,
    knowledge: &LazyCell<Option<Knowledge>, F>,
) -> bool {
    if !is_same_but_for_our_parts(template, stored) {
        return true;
    }
    // The port's annotation is its writer's setting as well as our part. A writer that drops it drops ours; one
    // that sets another value changes the template. Only where none was stored may it be what an earlier call
    // of this same request added.
    let (new, old) = (Template::new(template), Template::new(stored));
    match (new.annotation(names::PORT), old.annotation(names::PORT)) {
        (Some(new), Some(old)) => new != old,
        (Some(_), None) => knowledge.as_ref().is_none_or(|knowledge| {
            new.port_annotation() != Some(port_without_template(object, knowledge))
        }),
        (None, _) => false,
    }
}

/// Our own start of a restart: the time of the last one moved on.
fn is_later_restart(template: &Json<'_>, stored: &Json<'_>) -> bool {
    let time = |template| {
        Template::new(template)
            .annotation(names::RESTARTED_AT)
            .and_then(parse_time)
    };
    match (time(template), time(stored)) {
        (Some(new), Some(old)) => new > old,
        (Some(_), None) => true,
        (None, _) => false,
    }
}

/// What keeps these annotations of ours, of the object or template at `base`, as they are stored.
fn keep_annotations<'a>(
    new: &Json<'_>,
    old: &Json<'_>,
    base: &str,
    keys: &[&'static str],
) -> Vec<Operation<'a>> {
    let is_set = |key| {
        metadata(new, "annotations")
            .and_then(|it| it.get(key))
            .is_some()
    };
    let mut stored = Vec::new();
    let mut operations = Vec::new();
    for key in keys {
        match metadata(old, "annotations").and_then(|it| it.text(key)) {
            Some(old) => stored.push((*key, old.to_owned())),
            None if is_set(key) => operations.push(remove(annotation_path(base, key))),
            None => {}
        }
    }
    operations.extend(annotate(new, base, stored));
    operations
}

fn is_disabled(knowledge: &Knowledge) -> bool {
    let node = knowledge.stellar_node.as_ref();
    node.is_some_and(|node| node.inject == Inject::Disabled)
}

/// Adds or renews our parts.
fn inject<'a>(review: Review<'a>, knowledge: &Knowledge) -> Admission<'a> {
    match injection(review, knowledge) {
        Ok(completed) if completed.operations.is_empty() => Admission::UNTOUCHED,
        Ok(completed) => {
            let warning = |why| {
                format!(
                    "stellar-peers: the peer list is mounted at {MOUNT_PATH}, and not put into stellar-core's \
                     configuration: {why}"
                )
            };
            Admission {
                outcome: Outcome::Injected,
                operations: completed.operations,
                warnings: completed.not_rendered.map(warning).into_iter().collect(),
            }
        }
        Err(why) => Admission::not_injected(review.object, &why.to_string()),
    }
}

fn injection<'a>(review: Review<'a>, knowledge: &Knowledge) -> Result<Completed<'a>, CannotInject> {
    let object = review.object;
    let template = template_of(object).unwrap_or(&Json::Null);
    let port = port_to_inject(review, knowledge)?;
    let network = network(object, knowledge);
    // A generated name is not known yet.
    let node = NodeName::new(review.name).ok();
    let members = knowledge.networks.get(&network);
    let members = members.map_or_else(|| Cow::Owned(Membership::default()), Cow::Borrowed);
    // A newcomer knows of itself, so that its joining doesn't restart it.
    let membership = match &node {
        Some(node) => members.hash_with(node, port),
        None => members.hash().clone(),
    };
    let named = setting(object, "annotations", names::CONTAINER);
    let wanted = Wanted {
        port,
        membership,
        restarted_at: stored_annotation(review, names::RESTARTED_AT),
        rendering: if knowledge.kept_by_another {
            Rendering::AsItIs
        } else {
            Rendering::of(&knowledge.inject, object, node, &network)
        },
    };
    let stored = review.old.and_then(template_of);
    let templates: Vec<Template<'_>> = [Some(template), stored]
        .into_iter()
        .flatten()
        .map(Template::new)
        .collect();
    complete(template, TEMPLATE, named, &wanted, &OurPort::of(&templates))
}

fn stored_annotation(review: Review<'_>, key: &str) -> Option<String> {
    let stored = template_of(review.old?)?;
    Template::new(stored).annotation(key).map(str::to_owned)
}

fn network(object: &Json<'_>, knowledge: &Knowledge) -> Network {
    let label = || setting(object, "labels", names::LABEL_NETWORK).map(Network::new);
    knowledge
        .stellar_node
        .as_ref()
        .and_then(|node| node.network.clone())
        .or_else(label)
        .unwrap_or_default()
}

/// The port by all settings but the template's annotation.
fn port_without_template(
    object: &Json<'_>,
    knowledge: &Knowledge,
) -> Result<PeerPort, InvalidPort> {
    port(object, knowledge, None)
}

fn port(
    object: &Json<'_>,
    knowledge: &Knowledge,
    template: Option<&Result<PeerPort, InvalidPort>>,
) -> Result<PeerPort, InvalidPort> {
    let spec = knowledge
        .stellar_node
        .as_ref()
        .and_then(|node| node.peer_port.as_ref());
    let on_object = metadata(object, "annotations")
        .and_then(|it| it.get(names::PORT))
        .and_then(Json::as_str);
    let on_object = on_object.map(PeerPort::from_annotation);
    let named = template_of(object).and_then(|it| Template::new(it).named_port());
    effective_port(spec, on_object.as_ref(), template, named.as_ref())
}

/// The port by all settings. The template's annotation counts unless it is the one that we derived for the
/// stored object from what has changed since, such as a container's port.
fn port_to_inject(review: Review<'_>, knowledge: &Knowledge) -> Result<PeerPort, InvalidPort> {
    let annotation =
        |object: &Json<'_>| template_of(object).and_then(|it| Template::new(it).port_annotation());
    let new = annotation(review.object);
    let was_derived = review.old.is_some_and(|old| {
        let stored = annotation(old);
        stored.is_some() && stored == new && stored == Some(port_without_template(old, knowledge))
    });
    port(
        review.object,
        knowledge,
        if was_derived { None } else { new.as_ref() },
    )
}

/// Opted out, and the template changes anyway: our parts go. The port's annotation may be its writer's, and stays.
fn take_out<'a>(template: &'a Json<'a>) -> Admission<'a> {
    let view = Template::new(template);
    let mut stripped = strip(template, &OurPort::of(&[view]));
    if let Some(port) = view.annotation(names::PORT) {
        set_annotation(&mut stripped, names::PORT, port);
    }
    if stripped == *template {
        return Admission::UNTOUCHED;
    }
    Admission {
        outcome: Outcome::Removed,
        operations: vec![replace(TEMPLATE, stripped)],
        warnings: Vec::new(),
    }
}

/// Sets an annotation of a template that had annotations.
fn set_annotation<'a>(template: &mut Json<'a>, key: &'static str, value: &'a str) {
    let metadata = template.get_mut("metadata").and_then(Json::as_object_mut);
    if let Some(metadata) = metadata {
        let mut annotations = match metadata.remove("annotations") {
            Some(Json::Object(annotations)) => annotations,
            _ => Fields::default(),
        };
        annotations.set(key, value);
        metadata.set("annotations", Json::Object(annotations));
    }
}
