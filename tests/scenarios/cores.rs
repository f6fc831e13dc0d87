//! Stand-ins for the stellar-cores of a namespace: they read the list when they start, and are Ready only with others.
//!
//! They work through the API alone, and so on both rigs. Pods begin as [`NOT_READY`] says, which the operator's stand-in
//! puts into the template; a pod becomes Ready, or loses that, when its annotation is changed here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use stellar_peers::api::names;
use tokio::task::JoinHandle;

/// The annotation by which a pod is not Ready on either rig.
pub(crate) const NOT_READY: (&str, &str) = (READY, "never");
const READY: &str = "rig.test/ready";

/// The running stand-ins. They stop when this is dropped.
#[derive(Debug)]
pub(crate) struct Cores {
    state: Arc<Mutex<State>>,
    acting: JoinHandle<()>,
}

impl Drop for Cores {
    fn drop(&mut self) {
        self.acting.abort();
    }
}

#[derive(Debug, Default)]
struct State {
    enough: usize,
    /// Nodes whose next pods will not become Ready.
    broken_from_now: BTreeSet<String>,
    /// What the kubelets mount, where that is not what the API server has.
    mounted: Option<BTreeSet<String>>,
    /// By uid.
    cores: BTreeMap<String, Core>,
}

#[derive(Clone, Debug)]
struct Core {
    node: String,
    knows: BTreeSet<String>,
    is_broken: bool,
}

/// A pod that runs now.
struct Running {
    pod: String,
    uid: String,
    node: String,
    address: String,
    mounts_list: bool,
    annotation: Option<String>,
}

impl Cores {
    /// A core is Ready when it is linked, directly or by way of others, so that with itself there are `enough`: links
    /// work both ways, and messages are flooded.
    pub(crate) fn start(
        client: Client,
        namespace: &str,
        enough: usize,
        interval: Duration,
    ) -> Self {
        let state = Arc::new(Mutex::new(State {
            enough,
            ..State::default()
        }));
        let (seen, namespace) = (Arc::clone(&state), namespace.to_owned());
        let acting = tokio::spawn(async move {
            loop {
                // What failed is tried again in the next round.
                let _ = round(&client, &namespace, &seen).await;
                tokio::time::sleep(interval).await;
            }
        });
        Self { state, acting }
    }

    /// The pods that these nodes get from now on do not become Ready.
    pub(crate) fn break_next(&self, nodes: &[&str]) {
        let nodes = nodes.iter().map(|node| (*node).to_owned());
        lock(&self.state).broken_from_now.extend(nodes);
    }

    /// The pods that these nodes have now are not Ready any more; their next ones are as others.
    pub(crate) fn break_now(&self, nodes: &[&str]) {
        self.set_broken(nodes, true);
    }

    /// Whatever was wrong with these nodes is over.
    pub(crate) fn repair(&self, nodes: &[&str]) {
        self.set_broken(nodes, false);
        let mut state = lock(&self.state);
        state
            .broken_from_now
            .retain(|node| !nodes.contains(&node.as_str()));
    }

    fn set_broken(&self, nodes: &[&str], is_broken: bool) {
        let mut state = lock(&self.state);
        let cores = state.cores.values_mut();
        for core in cores.filter(|core| nodes.contains(&core.node.as_str())) {
            core.is_broken = is_broken;
        }
    }

    /// From now on pods that start find these addresses mounted: a kubelet's copy is up to a minute old.
    pub(crate) fn mount(&self, addresses: &[String]) {
        lock(&self.state).mounted = Some(addresses.iter().cloned().collect());
    }

    /// From now on pods that start find mounted what the API server has.
    pub(crate) fn mount_the_present_list(&self) {
        lock(&self.state).mounted = None;
    }

    /// All these nodes have a core that started.
    pub(crate) fn have_started(&self, uids: &[String]) -> bool {
        let state = lock(&self.state);
        uids.iter().all(|uid| state.cores.contains_key(uid))
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn round(client: &Client, namespace: &str, state: &Mutex<State>) -> kube::Result<()> {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let running = pods.list(&ListParams::default()).await?;
    let running: Vec<Running> = running.iter().filter_map(look_at).collect();
    let lists = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let list = lists.get_opt(names::STELLAR_PEERS).await?;
    let list = list.and_then(|list| list.data?.remove(names::KEY_KNOWN_PEERS));
    let list = list
        .unwrap_or_default()
        .lines()
        .map(str::to_owned)
        .collect();
    let wanted = {
        let mut state = lock(state);
        state.read_lists(&running, &list);
        state.annotations(&running)
    };
    for (it, wanted) in running.iter().zip(wanted) {
        if it.annotation.as_deref() != Some(wanted) {
            let patch = json!({"metadata": {"uid": it.uid, "annotations": {READY: wanted}}});
            pods.patch(&it.pod, &PatchParams::default(), &Patch::Merge(patch))
                .await?;
        }
    }
    Ok(())
}

fn look_at(pod: &Pod) -> Option<Running> {
    let status = pod.status.as_ref()?;
    let runs = status.phase.as_deref() == Some("Running");
    let volumes = pod.spec.iter().flat_map(|spec| &spec.volumes).flatten();
    let mut maps = volumes.filter_map(|volume| volume.config_map.as_ref());
    (runs && pod.metadata.deletion_timestamp.is_none()).then_some(())?;
    Some(Running {
        pod: pod.name_any(),
        uid: pod.uid()?,
        node: pod.name_any().rsplit_once('-')?.0.to_owned(),
        address: format!("{}:{}", status.pod_ip.as_ref()?, names::DEFAULT_PEER_PORT),
        mounts_list: maps.any(|map| map.name == names::STELLAR_PEERS),
        annotation: pod.annotations().get(READY).cloned(),
    })
}

impl State {
    /// A core reads the list once, when it starts.
    fn read_lists(&mut self, running: &[Running], list: &BTreeSet<String>) {
        let list = self.mounted.as_ref().unwrap_or(list);
        let broken = &self.broken_from_now;
        for it in running {
            let mounted = || list.iter().filter(|_| it.mounts_list).cloned();
            self.cores.entry(it.uid.clone()).or_insert_with(|| Core {
                node: it.node.clone(),
                knows: mounted().collect(),
                is_broken: broken.contains(&it.node),
            });
        }
    }

    fn annotations(&self, running: &[Running]) -> Vec<&'static str> {
        let ready = |at: usize| {
            !self.cores[&running[at].uid].is_broken && self.linked(running, at) >= self.enough
        };
        let annotation = |at| if ready(at) { "as-linked" } else { NOT_READY.1 };
        (0..running.len()).map(annotation).collect()
    }

    /// How many cores messages of this one reach, itself included.
    fn linked(&self, running: &[Running], from: usize) -> usize {
        let knows = |a: &Running, b: &Running| self.cores[&a.uid].knows.contains(&b.address);
        let (mut reached, mut next) = (BTreeSet::from([from]), vec![from]);
        while let Some(at) = next.pop() {
            for (other, it) in running.iter().enumerate() {
                let is_linked = knows(&running[at], it) || knows(it, &running[at]);
                if is_linked && reached.insert(other) {
                    next.push(other);
                }
            }
        }
        reached.len()
    }
}
