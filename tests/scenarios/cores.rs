//! Stand-ins for the stellar-cores of a namespace: they read their configuration when they start, dial whom they find
//! in it, and are Ready only with others.
//!
//! They work through the API alone, and so on both rigs. Pods begin as [`NOT_READY`] says, which the operator's stand-in
//! puts into the template; a pod becomes Ready, or loses that, when its annotation is changed here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;
use stellar_peers::{api::names, domain::core_config::reading::read_known_peers};
use tokio::task::JoinHandle;

use crate::kubelet::{Mounted, configuration, mounted};

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
    /// What the kubelets mount as the list, where that is not what the API server has.
    mounted: Option<BTreeMap<String, String>>,
    /// By uid.
    cores: BTreeMap<String, Core>,
}

#[derive(Clone, Debug)]
struct Core {
    node: String,
    /// What it dials: `host:port`.
    knows: BTreeSet<String>,
    is_broken: bool,
}

/// A pod that runs now.
struct Running {
    pod: String,
    uid: String,
    node: String,
    /// Where it can be reached: by its IP and, by its governing Service, by name.
    addresses: Vec<String>,
    annotation: Option<String>,
    object: Pod,
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

    /// They panicked: stellar-core would not have started with what it was given.
    pub(crate) fn have_ended(&self) -> bool {
        self.acting.is_finished()
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

    /// From now on pods that start find this list mounted: a kubelet's copy is up to a minute old.
    pub(crate) fn mount(&self, list: BTreeMap<String, String>) {
        lock(&self.state).mounted = Some(list);
    }

    /// From now on pods that start find mounted what the API server has.
    pub(crate) fn mount_the_present_list(&self) {
        lock(&self.state).mounted = None;
    }

    /// What the core of this pod dials; nothing before it started.
    pub(crate) fn dials(&self, uid: &str) -> BTreeSet<String> {
        let state = lock(&self.state);
        let core = state.cores.get(uid);
        core.map(|core| core.knows.clone()).unwrap_or_default()
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
    let services = Api::<Service>::namespaced(client.clone(), namespace);
    let services = services.list(&ListParams::default()).await?;
    let named: BTreeSet<String> = services.iter().filter_map(gives_names).collect();
    let running: Vec<Running> = running
        .into_iter()
        .filter_map(|pod| look_at(pod, &named))
        .collect();
    for it in &running {
        if lock(state).cores.contains_key(&it.uid) {
            continue;
        }
        let mut mounted = mounted(client, namespace, &it.object).await?;
        let mut state = lock(state);
        if let Some(list) = &state.mounted {
            mounted.insert(names::STELLAR_PEERS.to_owned(), list.clone());
        }
        state.start(it, &mounted);
    }
    let wanted = {
        let state = lock(state);
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

/// Name of a headless Service that gives names to pods before they are Ready.
fn gives_names(service: &Service) -> Option<String> {
    let spec = service.spec.as_ref()?;
    let gives = spec.cluster_ip.as_deref() == Some("None")
        && spec.publish_not_ready_addresses == Some(true);
    gives.then(|| service.name_any())
}

fn look_at(pod: Pod, named: &BTreeSet<String>) -> Option<Running> {
    let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref()?);
    let runs = status.phase.as_deref() == Some("Running");
    (runs && pod.metadata.deletion_timestamp.is_none()).then_some(())?;
    let namespace = pod.namespace()?;
    let name = spec.subdomain.as_ref().filter(|it| named.contains(*it));
    let name = name.and_then(|service| {
        let host = spec.hostname.as_ref()?;
        Some(format!("{host}.{service}.{namespace}.svc.cluster.local"))
    });
    let hosts = status.pod_ip.iter().cloned().chain(name);
    let address = |host| format!("{host}:{}", names::DEFAULT_PEER_PORT);
    Some(Running {
        pod: pod.name_any(),
        uid: pod.uid()?,
        node: pod.name_any().rsplit_once('-')?.0.to_owned(),
        addresses: hosts.map(address).collect(),
        annotation: pod.annotations().get(READY).cloned(),
        object: pod,
    })
}

impl State {
    /// A core reads its configuration once, when it starts.
    fn start(&mut self, it: &Running, mounted: &Mounted) {
        let config = configuration(&it.object, mounted);
        let peers = read_known_peers(&config);
        let peers = peers.unwrap_or_else(|error| panic!("{}: {error}\n{config}", it.pod));
        let core = Core {
            node: it.node.clone(),
            knows: peers.into_iter().collect(),
            is_broken: self.broken_from_now.contains(&it.node),
        };
        self.cores.insert(it.uid.clone(), core);
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
        let knows = |a: &Running, b: &Running| {
            let knows = &self.cores[&a.uid].knows;
            b.addresses.iter().any(|address| knows.contains(address))
        };
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
