//! The namespaces of a soak: who writes there, and who validates.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service},
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use stellar_peers::{
    api::StellarNodeObject,
    sandbox::{fixtures, operator::WriteMode},
};
use tokio::task::JoinHandle;

use crate::{real::helm::Installation, world::World};

/// Between two rounds of whoever writes for ever: each then writes all StatefulSets of its namespace.
const FOR_EVER: Duration = Duration::from_millis(400);
/// Validators that are there from the beginning to the end.
const OLD: usize = 3;
/// Those that come and go, at most.
pub(super) const NEW_AT_MOST: usize = 2;

/// Who writes the StatefulSets of a namespace again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Writer {
    /// The operator, by server-side apply: what others add stays.
    Applies,
    /// The operator, by building each StatefulSet anew: what others added is gone.
    Replaces,
    /// No operator: releases of SDF's chart, put as they are or from the chart, in turn.
    Puts,
}

/// One namespace.
pub(super) struct Field {
    pub(super) world: World,
    pub(super) old: Vec<String>,
    pub(super) new: Vec<String>,
    releases: Option<Releases>,
    made: usize,
}

impl Field {
    /// A namespace with its writer and its first validators.
    pub(super) async fn prepare(writer: Writer, installation: &Arc<Installation>) -> Self {
        let story = match writer {
            Writer::Applies => "soak_applies",
            Writer::Replaces => "soak_replaces",
            Writer::Puts => "soak_puts",
        };
        let mut world = crate::real::installed_world(story, installation).await;
        world.pace.operator = FOR_EVER;
        let mut releases = None;
        match writer {
            Writer::Applies => world.start_operator(WriteMode::Apply).await,
            Writer::Replaces => world.start_operator(WriteMode::Replace).await,
            Writer::Puts => {
                releases = Some(Releases::start(world.client.clone(), &world.namespace));
            }
        }
        let mut field = Self {
            world,
            old: Vec::new(),
            new: Vec::new(),
            releases,
            made: 0,
        };
        for _ in 0..OLD {
            let name = field.create().await;
            field.old.push(name);
        }
        field
    }

    pub(super) fn name(&self) -> &str {
        &self.world.namespace
    }

    pub(super) fn validators(&self) -> Vec<&str> {
        self.old
            .iter()
            .chain(&self.new)
            .map(String::as_str)
            .collect()
    }

    pub(super) async fn create(&mut self) -> String {
        self.made += 1;
        let name = format!("validator-{}", self.made);
        match &self.releases {
            None => self.world.create_validator(&name, json!({})).await,
            Some(releases) => {
                self.world.create_release(&name, true).await;
                lock(&releases.images).insert(name.clone(), 0);
            }
        }
        name
    }

    /// Takes a validator away, with all that is its own.
    pub(super) async fn remove(&mut self, name: &str) {
        self.new.retain(|it| it != name);
        match &self.releases {
            None => self.delete::<StellarNodeObject>(name).await,
            Some(releases) => {
                lock(&releases.images).remove(name);
                self.delete::<StatefulSet>(name).await;
                self.delete::<Service>(name).await;
                self.delete::<ConfigMap>(name).await;
            }
        }
        let claim = if self.releases.is_some() {
            format!("data-{name}-0")
        } else {
            format!("{name}-data")
        };
        self.delete::<PersistentVolumeClaim>(&claim).await;
    }

    /// Deletes the StatefulSet alone; whoever owns it makes it again.
    pub(super) async fn lose_set(&self, name: &str) {
        self.delete::<StatefulSet>(name).await;
        if self.releases.is_some() {
            let set = fixtures::chart_stateful_set(self.name(), name);
            // The old one is gone once its deletion was answered: nothing waits for its pods.
            fixtures::create(&self.world.client, &set)
                .await
                .expect("a new StatefulSet");
        }
    }

    /// Another version of stellar-core: a template that restarts the pod by itself.
    pub(super) async fn upgrade(&self, name: &str, version: usize) {
        match &self.releases {
            None => {
                let patch = json!({"spec": {"version": format!("v21.0.{version}")}});
                self.world.patch_validator(name, patch).await;
            }
            Some(releases) => {
                lock(&releases.images).insert(name.to_owned(), version);
            }
        }
    }

    pub(super) async fn lose_pod(&self, name: &str) {
        self.delete::<Pod>(&format!("{name}-0")).await;
    }

    /// The pod loses Ready, or may be Ready again. A successor knows nothing of it.
    pub(super) async fn set_ready(&self, name: &str, is_ready: bool) {
        let value = if is_ready { "yes" } else { "never" };
        let patch = json!({"metadata": {"annotations": {"rig.test/ready": value}}});
        let pods = Api::<Pod>::namespaced(self.world.client.clone(), self.name());
        let patched = pods
            .patch(
                &format!("{name}-0"),
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .await;
        allow_missing(patched.map(drop));
    }

    async fn delete<K>(&self, name: &str)
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.world.client.clone(), self.name());
        allow_missing(
            api.delete(name, &DeleteParams::background())
                .await
                .map(drop),
        );
    }
}

/// It may be gone for a moment, or be made anew.
fn allow_missing(done: kube::Result<()>) {
    match done {
        Err(kube::Error::Api(status)) if status.is_not_found() => {}
        other => other.expect("the API server takes it"),
    }
}

/// Writes the StatefulSets of releases for ever. It stops when this is dropped.
struct Releases {
    /// The version of each release.
    images: Arc<Mutex<BTreeMap<String, usize>>>,
    writing: JoinHandle<()>,
}

impl Drop for Releases {
    fn drop(&mut self) {
        self.writing.abort();
    }
}

impl Releases {
    fn start(client: Client, namespace: &str) -> Self {
        let images = Arc::<Mutex<BTreeMap<String, usize>>>::default();
        let (of_task, namespace) = (Arc::clone(&images), namespace.to_owned());
        let writing = tokio::spawn(async move {
            for round in 0_usize.. {
                tokio::time::sleep(FOR_EVER).await;
                let releases = lock(&of_task).clone();
                for (name, version) in releases {
                    // As with the operator: what failed is tried again in the next round.
                    let _ = put(&client, &namespace, &name, version, round % 2 == 0).await;
                }
            }
        });
        Self { images, writing }
    }
}

/// Puts the StatefulSet as it is, or as the chart has it.
async fn put(
    client: &Client,
    namespace: &str,
    name: &str,
    version: usize,
    is_anew: bool,
) -> kube::Result<()> {
    let sets = Api::<StatefulSet>::namespaced(client.clone(), namespace);
    let params = PostParams {
        field_manager: Some("helm".to_owned()),
        ..PostParams::default()
    };
    let mut set = sets.get(name).await?;
    if is_anew {
        let mut fresh = fixtures::chart_stateful_set(namespace, name);
        for container in [
            "/spec/template/spec/containers/0/image",
            "/spec/template/spec/initContainers/0/image",
        ] {
            if let Some(image) = fresh.pointer_mut(container).filter(|_| version > 0) {
                *image = Value::from(format!("stellar/stellar-core:21.{version}"));
            }
        }
        let fresh: StatefulSet = serde_json::from_value(fresh).map_err(kube::Error::SerdeError)?;
        let stored = std::mem::replace(&mut set, fresh);
        set.metadata.uid = stored.metadata.uid;
        set.metadata.resource_version = stored.metadata.resource_version;
    }
    sets.replace(name, &params, &set).await.map(drop)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
