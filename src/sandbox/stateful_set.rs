//! The StatefulSet controller.
//!
//! Follows `pkg/controller/statefulset/stateful_set_control.go`, and what was seen on kube-apiserver 1.35: an
//! `OrderedReady` set does not replace a `NotReady` pod when its template changes, a `Parallel` one does; `partition` and
//! `OnDelete` hold; `status.currentRevision` lags; pods without an owner are taken over. `minReadySeconds` and
//! `ordinals.start` are left out.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::{
    controllers::{Task, Work},
    defaults,
    object::{Key, Object, is_terminating, items, map_mut, meta_str, set_meta},
    selector::Selector,
    store::{Event, TableId, safe_characters},
};

const REVISION: &str = "controller-revision-hash";

/// The templates by set and revision: what `ControllerRevision` objects hold in a real cluster.
#[derive(Debug, Default)]
pub(super) struct Revisions(BTreeMap<Key, History>);

/// One set's templates by revision.
#[derive(Debug, Default)]
struct History {
    uid: String,
    /// The generation whose template is that of `update`.
    generation: u64,
    update: String,
    templates: BTreeMap<String, Arc<Value>>,
}

impl Revisions {
    /// The history of this set, its present template included; that of an earlier set of its name is forgotten.
    fn of(&mut self, set: &Value) -> &History {
        let history = self.0.entry(Key::of(set)).or_default();
        if history.uid != meta_str(set, "uid") {
            *history = History {
                uid: meta_str(set, "uid").to_owned(),
                ..History::default()
            };
        }
        let generation = set["metadata"]["generation"].as_u64().unwrap_or(0);
        if history.generation != generation {
            let template = &set["spec"]["template"];
            history.generation = generation;
            history.update = format!("{}-{}", meta_str(set, "name"), hash(&template.to_string()));
            let entry = history.templates.entry(history.update.clone());
            entry.or_insert_with(|| Arc::new(template.clone()));
        }
        history
    }
}

/// A set's event concerns it unless only metadata changed, as an operator does several times a second.
pub(super) fn observe_set(work: &mut Work<'_>, event: &Event) {
    let (before, after) = (event.before.as_deref(), event.after.as_deref());
    if let (Some(before), Some(after)) = (before, after) {
        let (before, after) = (before.value(), after.value());
        let fields = ["generation", "deletionTimestamp"];
        let is_same = fields
            .iter()
            .all(|field| before["metadata"][field] == after["metadata"][field]);
        if is_same && before["status"] == after["status"] {
            return;
        }
    }
    if let Some(set) = after.or(before) {
        let key = Key::of(set.value());
        work.plan(work.timing.reaction, Task::SyncStatefulSet(key));
    }
}

/// A pod's event concerns the set that its name points to.
pub(super) fn observe_pod(work: &mut Work<'_>, event: &Event) {
    let Some(pod) = event.after.as_deref().or(event.before.as_deref()) else {
        return;
    };
    if let Some((set, _)) = pod.meta("name").rsplit_once('-') {
        let key = Key::new(pod.meta("namespace"), set);
        work.plan(work.timing.reaction, Task::SyncStatefulSet(key));
    }
}

/// Brings the pods of one set one step nearer to what it asks for, and its status up to date.
pub(super) fn sync(work: &mut Work<'_>, revisions: &mut Revisions, key: &Key) {
    let sets = work.state.store.built_in("apps", "statefulsets");
    let Some(set) = work.object(sets, key) else {
        revisions.0.remove(key);
        return;
    };
    if is_terminating(set.value()) {
        return;
    }
    adopt(work, &set);
    let plan = Plan::new(work, revisions, &set);
    for action in plan.actions() {
        match action {
            Action::Create(ordinal) => create_pod(work, &plan, ordinal),
            Action::Delete(name) => {
                let key = Key::new(&*key.namespace, name);
                let _gone_already = work
                    .inner
                    .delete_one(work.state, plan.pods_table, &key, &json!({}))
                    .is_err();
            }
        }
    }
    let status = Plan::new(work, revisions, &set).status();
    work.update(sets, &set, |value| value["status"] = status);
}

/// Takes over pods of its names and labels that nobody controls.
fn adopt(work: &mut Work<'_>, set: &Object) {
    let pods = work.state.store.built_in("", "pods");
    let prefix = format!("{}-", set.meta("name"));
    let is_orphan = |pod: &&Arc<Object>| {
        let owners = items(&pod.value()["metadata"], "ownerReferences");
        pod.meta("name")[prefix.len()..].parse::<u64>().is_ok()
            && !owners.iter().any(|owner| owner["controller"] == true)
            && !is_terminating(pod.value())
            && Selector::from_label_selector(&set.value()["spec"]["selector"]).accepts(pod.value())
    };
    let table = work.state.store.table(pods);
    let orphans = table
        .with_prefix(set.meta("namespace"), &prefix)
        .filter(is_orphan);
    for pod in orphans.cloned().collect::<Vec<_>>() {
        work.update(pods, &pod, |value| {
            let mut owners = items(&value["metadata"], "ownerReferences").to_vec();
            owners.push(owner_reference(set.value()));
            set_meta(value, "ownerReferences", Some(owners.into()));
        });
    }
}

fn owner_reference(set: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "name": meta_str(set, "name"), "uid": meta_str(set, "uid"),
        "controller": true, "blockOwnerDeletion": true,
    })
}

fn is_controlled_by(owner: &Value, set: &Value) -> bool {
    owner["uid"] == set["metadata"]["uid"] && owner["controller"] == true
}

#[derive(Debug)]
enum Action {
    Create(u64),
    Delete(String),
}

/// One pod of the set.
#[derive(Debug)]
struct Pod {
    name: String,
    revision: String,
    is_terminating: bool,
    is_ready: bool,
}

impl Pod {
    fn is_healthy(&self) -> bool {
        self.is_ready && !self.is_terminating
    }
}

/// A set, its pods and its revisions at one moment.
#[derive(Debug)]
struct Plan<'a> {
    set: &'a Value,
    pods_table: TableId,
    pods: BTreeMap<u64, Pod>,
    /// Names of its slots that others' pods have.
    taken: Vec<String>,
    current: String,
    update: String,
    current_template: Arc<Value>,
}

impl<'a> Plan<'a> {
    fn new(work: &Work<'_>, revisions: &mut Revisions, set: &'a Arc<Object>) -> Self {
        let set = set.value();
        let history = revisions.of(set);
        let current = set["status"]["currentRevision"]
            .as_str()
            .unwrap_or_default();
        let current = if history.templates.contains_key(current) {
            current
        } else {
            &history.update
        };
        let current_template = Arc::clone(&history.templates[current]);
        let (current, update) = (current.to_owned(), history.update.clone());
        let pods_table = work.state.store.built_in("", "pods");
        let prefix = format!("{}-", meta_str(set, "name"));
        let (mut pods, mut taken) = (BTreeMap::new(), Vec::new());
        for object in work
            .state
            .store
            .table(pods_table)
            .with_prefix(meta_str(set, "namespace"), &prefix)
        {
            let Ok(ordinal) = object.meta("name")[prefix.len()..].parse() else {
                continue;
            };
            let mut owners = items(&object.value()["metadata"], "ownerReferences").iter();
            if owners.any(|owner| is_controlled_by(owner, set)) {
                pods.insert(ordinal, pod(object));
            } else {
                taken.push(object.meta("name").to_owned());
            }
        }
        Self {
            set,
            pods_table,
            pods,
            taken,
            current,
            update,
            current_template,
        }
    }

    fn name(&self, ordinal: u64) -> String {
        format!("{}-{ordinal}", meta_str(self.set, "name"))
    }

    fn replicas(&self) -> u64 {
        self.set["spec"]["replicas"].as_u64().unwrap_or(1)
    }

    fn strategy(&self) -> &Value {
        &self.set["spec"]["updateStrategy"]
    }

    fn partition(&self) -> u64 {
        self.strategy()["rollingUpdate"]["partition"]
            .as_u64()
            .unwrap_or(0)
    }

    /// What to do now. An ordered set does one thing at a time, and waits for each pod to be Ready.
    fn actions(&self) -> Vec<Action> {
        let is_ordered = self.set["spec"]["podManagementPolicy"] != "Parallel";
        let mut actions = Vec::new();
        for ordinal in 0..self.replicas() {
            match self.pods.get(&ordinal) {
                None if self.taken.contains(&self.name(ordinal)) => {}
                None => actions.push(Action::Create(ordinal)),
                Some(pod) if pod.is_healthy() => continue,
                Some(_) => {}
            }
            if is_ordered {
                return actions;
            }
        }
        for pod in self.pods.range(self.replicas()..).rev().map(|(_, pod)| pod) {
            if !pod.is_terminating {
                actions.push(Action::Delete(pod.name.clone()));
            }
            if is_ordered {
                return actions;
            }
        }
        if self.strategy()["type"] != "OnDelete" && actions.is_empty() {
            actions.extend(self.next_replacement());
        }
        actions
    }

    /// From the highest ordinal down to the partition, one at a time, each waiting for those above.
    fn next_replacement(&self) -> Option<Action> {
        for pod in self
            .pods
            .range(self.partition()..)
            .rev()
            .map(|(_, pod)| pod)
        {
            if pod.revision != self.update && !pod.is_terminating {
                return Some(Action::Delete(pod.name.clone()));
            }
            if !pod.is_healthy() {
                return None;
            }
        }
        None
    }

    /// The revision and template that a pod is made from.
    fn template(&self, ordinal: u64) -> (&str, &Value) {
        if self.strategy()["type"] != "OnDelete" && ordinal < self.partition() {
            (&self.current, &self.current_template)
        } else {
            (&self.update, &self.set["spec"]["template"])
        }
    }

    fn status(&self) -> Value {
        let count = |accepts: &dyn Fn(&Pod) -> bool| {
            self.pods.values().filter(|pod| accepts(pod)).count() as u64
        };
        let ready = count(&|pod| pod.is_ready);
        let updated = count(&|pod| !pod.is_terminating && pod.revision == self.update);
        let total = self.pods.len() as u64;
        let is_complete = self.strategy()["type"] != "OnDelete"
            && updated == self.replicas()
            && ready == updated
            && total == updated;
        let current = if is_complete {
            &self.update
        } else {
            &self.current
        };
        let of_current = count(&|pod| !pod.is_terminating && pod.revision == *current);
        let mut status = json!({
            "observedGeneration": self.set["metadata"]["generation"], "replicas": total, "availableReplicas": ready,
            "currentRevision": current, "updateRevision": self.update, "collisionCount": 0,
        });
        // Zeroes are left out, as in Go's `omitempty`.
        for (field, value) in [
            ("readyReplicas", ready),
            ("updatedReplicas", updated),
            ("currentReplicas", of_current),
        ] {
            if value > 0 {
                status[field] = value.into();
            }
        }
        status
    }
}

fn pod(object: &Object) -> Pod {
    let value = object.value();
    let mut conditions = items(&value["status"], "conditions").iter();
    Pod {
        name: object.meta("name").to_owned(),
        revision: value["metadata"]["labels"][REVISION]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        is_terminating: is_terminating(value),
        is_ready: value["status"]["phase"] == "Running"
            && conditions.any(|c| c["type"] == "Ready" && c["status"] == "True"),
    }
}

fn create_pod(work: &mut Work<'_>, plan: &Plan<'_>, ordinal: u64) {
    let namespace = meta_str(plan.set, "namespace");
    let namespaces = work.state.store.built_in("", "namespaces");
    if work
        .object(namespaces, &Key::new("", namespace))
        .is_none_or(|n| is_terminating(n.value()))
    {
        return;
    }
    let name = plan.name(ordinal);
    let (revision, template) = plan.template(ordinal);
    let (owner, claims) = (plan.set, items(&plan.set["spec"], "volumeClaimTemplates"));
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": template["metadata"].clone(), "spec": template["spec"].clone(),
    });
    for (field, value) in [
        ("name", name.as_str().into()),
        (
            "generateName",
            format!("{}-", meta_str(owner, "name")).into(),
        ),
        ("namespace", namespace.into()),
        ("generation", 1.into()),
        ("uid", work.state.store.new_uid().into()),
        ("creationTimestamp", work.clock.date().into()),
        ("ownerReferences", json!([owner_reference(owner)])),
    ] {
        set_meta(&mut pod, field, Some(value));
    }
    let labels = map_mut(&mut pod["metadata"], "labels");
    labels.insert(REVISION.to_owned(), revision.into());
    labels.insert(
        "statefulset.kubernetes.io/pod-name".to_owned(),
        name.as_str().into(),
    );
    labels.insert(
        "apps.kubernetes.io/pod-index".to_owned(),
        ordinal.to_string().into(),
    );
    pod["spec"]["hostname"] = name.as_str().into();
    pod["spec"]["subdomain"] = owner["spec"]["serviceName"].clone();
    for claim in claims {
        let claim_name = format!("{}-{name}", meta_str(claim, "name"));
        let mut volumes = items(&pod["spec"], "volumes").to_vec();
        volumes.push(json!({"name": meta_str(claim, "name"), "persistentVolumeClaim": {"claimName": claim_name}}));
        pod["spec"]["volumes"] = volumes.into();
        ensure_claim(work, claim, namespace, &claim_name);
    }
    defaults::normalize(&mut pod, false);
    defaults::pod(&mut pod);
    work.state.put(plan.pods_table, pod);
}

/// The claim that a template asks for; it stays when the pod goes.
fn ensure_claim(work: &mut Work<'_>, template: &Value, namespace: &str, name: &str) {
    let claims = work.state.store.built_in("", "persistentvolumeclaims");
    if work.object(claims, &Key::new(namespace, name)).is_some() {
        return;
    }
    let mut claim = template.clone();
    claim["apiVersion"] = "v1".into();
    claim["kind"] = "PersistentVolumeClaim".into();
    claim["status"] = json!({"phase": "Bound"});
    set_meta(&mut claim, "name", Some(name.into()));
    set_meta(&mut claim, "namespace", Some(namespace.into()));
    set_meta(&mut claim, "uid", Some(work.state.store.new_uid().into()));
    set_meta(
        &mut claim,
        "creationTimestamp",
        Some(work.clock.date().into()),
    );
    work.state.put(claims, claim);
}

/// FNV-1a: a function of the template's bytes alone.
fn hash(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    safe_characters(hash).take(10).collect()
}
