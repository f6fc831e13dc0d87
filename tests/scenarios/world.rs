//! What a story can do in a cluster and see of it, whichever rig it is told on.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{ConfigMap, Pod},
    events::v1::Event,
};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use serde::Serialize;
use serde_json::{Value, json};
use stellar_peers::{
    api::{PodObject, StatefulSetObject, StellarNodeObject, names},
    domain::{
        injection::Parts,
        membership::{Members, MembershipHash},
        node::NodeName,
        peer::PeerPort,
        peer_list::Record,
        snapshot::{PodView, StatefulSetView},
    },
    sandbox::{
        fixtures,
        operator::{Operator, OperatorOptions, WriteMode},
    },
};

use crate::{
    cores::{Cores, NOT_READY},
    history::{History, Mark},
    ours::{OurEvent, OurRequest, Pace, Webhook},
    real::RealRig,
    release,
    sandbox::SandboxRig,
};

/// The two rigs.
pub(crate) enum Rig {
    Sandbox(Box<SandboxRig>),
    Real(Box<RealRig>),
}

/// A cluster with one namespace for the story.
pub(crate) struct World {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) pace: Pace,
    pub(crate) history: History,
    rig: Rig,
    operator: Option<Operator>,
    cores: Option<Cores>,
}

impl World {
    pub(crate) fn new(rig: Rig, client: Client, namespace: String, pace: Pace) -> Self {
        let history = History::start(client.clone(), &namespace);
        Self {
            client,
            namespace,
            pace,
            history,
            rig,
            operator: None,
            cores: None,
        }
    }

    /// Ours with its webhook registered, and the operator: what most stories begin with.
    pub(crate) async fn begin(&mut self) {
        self.register(Webhook::Registered).await;
        self.start_ours().await;
        self.start_operator(WriteMode::Apply).await;
    }

    /// The same with stand-ins for stellar-core, each Ready only while it reaches `enough`, itself included.
    pub(crate) async fn begin_with_cores(&mut self, enough: usize) {
        self.start_cores(enough);
        self.begin().await;
    }

    pub(crate) fn start_cores(&mut self, enough: usize) {
        let (client, namespace) = (self.client.clone(), &self.namespace);
        self.cores = Some(Cores::start(client, namespace, enough, self.pace.poll));
    }

    /// A release of SDF's chart that opts in, without a claim for its data where that is not asked for.
    pub(crate) async fn create_release(&self, name: &str, has_claim: bool) {
        let namespace = &self.namespace;
        let mut set = if has_claim {
            fixtures::chart_stateful_set(namespace, name)
        } else {
            fixtures::chart_stateful_set_without_claim(namespace, name)
        };
        self.release(name, &mut set, None).await;
    }

    /// The same with these values of the chart.
    pub(crate) async fn create_release_with(&self, name: &str, values: &Value) {
        let mut set = fixtures::chart_stateful_set(&self.namespace, name);
        let script = release::apply(values, &mut set);
        self.release(name, &mut set, Some(script)).await;
    }

    async fn release(&self, name: &str, set: &mut Value, script: Option<Value>) {
        let namespace = &self.namespace;
        if self.cores.is_some() {
            let (key, value) = NOT_READY;
            set["spec"]["template"]["metadata"]["annotations"][key] = json!(value);
        }
        let objects = [
            fixtures::headless_service(namespace, name),
            fixtures::chart_config_map(namespace, name),
        ];
        for object in objects.into_iter().chain(script).chain([set.clone()]) {
            fixtures::create(&self.client, &object)
                .await
                .expect("a new object");
        }
    }

    /// The stand-ins for stellar-core.
    pub(crate) fn cores(&self) -> &Cores {
        self.cores.as_ref().expect("the story began with them")
    }

    pub(crate) async fn register(&mut self, how: Webhook) {
        match &mut self.rig {
            Rig::Sandbox(_) | Rig::Real(_) if how == Webhook::Unregistered => {}
            Rig::Sandbox(rig) => rig.register(how).await,
            Rig::Real(rig) => rig.register(how).await,
        }
    }

    pub(crate) async fn start_ours(&mut self) {
        self.start_ours_with(&[]).await;
    }

    /// Starts our program, beside what runs of it, and waits until it is ready.
    pub(crate) async fn start_ours_with(&mut self, more: &[&str]) {
        let mut flags = self.pace.flags();
        flags.extend(more.iter().map(|flag| (*flag).to_owned()));
        match &mut self.rig {
            Rig::Sandbox(rig) => rig.start_ours(&flags),
            Rig::Real(rig) => rig.start_ours(&flags),
        }
        self.eventually("our program is ready", async |world| match &world.rig {
            Rig::Sandbox(rig) => rig.is_ready(),
            Rig::Real(rig) => rig.is_ready().await,
        })
        .await;
    }

    /// A figure of our program's, by what stands before it in its line. Only a process has a port to ask.
    pub(crate) async fn metric(&self, line: &str) -> Option<u64> {
        match &self.rig {
            Rig::Sandbox(_) => None,
            Rig::Real(rig) => rig.metric(line).await,
        }
    }

    /// As by kill -9.
    pub(crate) fn kill_ours(&mut self) {
        match &mut self.rig {
            Rig::Sandbox(rig) => rig.kill_ours(),
            Rig::Real(rig) => rig.kill_ours(),
        }
    }

    /// Kills the replica that leads, as by kill -9, and gives its name in the Lease.
    pub(crate) async fn kill_the_leader(&mut self) -> String {
        let leader = self.leader().await.expect("somebody leads");
        let before = self.replicas();
        match &mut self.rig {
            Rig::Sandbox(rig) => rig.kill_leader(&leader),
            Rig::Real(rig) => rig.kill_leader(&leader),
        }
        assert_eq!(self.replicas(), before - 1, "{leader} is one of ours");
        leader
    }

    fn replicas(&self) -> usize {
        match &self.rig {
            Rig::Sandbox(rig) => rig.replicas(),
            Rig::Real(rig) => rig.replicas(),
        }
    }

    /// Who has the Lease.
    pub(crate) async fn leader(&self) -> Option<String> {
        let leases = Api::<Lease>::namespaced(self.client.clone(), &self.namespace);
        let lease = leases.get_opt(names::STELLAR_PEERS).await.ok()??;
        lease.spec?.holder_identity
    }

    /// Starts the stand-in for the operator, in place of the one that runs.
    pub(crate) async fn start_operator(&mut self, mode: WriteMode) {
        let client = match &self.rig {
            Rig::Sandbox(rig) => rig.sandbox.client("stellar-operator"),
            Rig::Real(rig) => rig.operators_client().await,
        };
        let not_ready = (NOT_READY.0.to_owned(), NOT_READY.1.to_owned());
        let options = OperatorOptions {
            mode,
            interval: self.pace.operator,
            pod_annotations: self.cores.iter().map(|_| not_ready.clone()).collect(),
            ..OperatorOptions::default()
        };
        self.operator = Some(Operator::start(client, &self.namespace, options));
    }

    pub(crate) async fn api_server_goes_away(&mut self, how_long: Duration) {
        match &mut self.rig {
            Rig::Sandbox(rig) => {
                rig.sandbox.set_available(false);
                tokio::time::sleep(how_long).await;
                rig.sandbox.set_available(true);
            }
            Rig::Real(rig) => rig.api_server_goes_away(how_long).await,
        }
    }

    pub(crate) fn still_runs(&mut self) -> bool {
        match &mut self.rig {
            Rig::Sandbox(_) => true,
            Rig::Real(rig) => rig.still_runs(),
        }
    }

    /// Requests of our program so far.
    pub(crate) fn our_requests(&self) -> Vec<OurRequest> {
        match &self.rig {
            Rig::Sandbox(rig) => rig.requests(),
            Rig::Real(rig) => rig.requests(),
        }
    }

    /// The pods that our program deleted, by name, oldest first.
    pub(crate) fn our_pod_deletions(&self) -> Vec<String> {
        let requests = self.our_requests().into_iter();
        let deletions =
            requests.filter(|it| it.verb == "delete" && it.resource == "pods" && it.code < 300);
        deletions.map(|it| it.name).collect()
    }

    /// Events of our program so far, sorted.
    pub(crate) async fn our_events(&self) -> Vec<OurEvent> {
        let api = Api::<Event>::namespaced(self.client.clone(), &self.namespace);
        let events = api.list(&ListParams::default()).await;
        let events = events.map(|list| list.items).unwrap_or_default();
        let ours = events
            .into_iter()
            .filter(|event| event.reporting_controller.as_deref() == Some(names::STELLAR_PEERS));
        let mut ours: Vec<OurEvent> = ours
            .map(|event| {
                let about = event.regarding.unwrap_or_default();
                OurEvent {
                    kind: about.kind.unwrap_or_default(),
                    about: about.name.unwrap_or_default(),
                    reason: event.reason.unwrap_or_default(),
                    note: event.note.unwrap_or_default(),
                    count: event.series.map_or(1, |series| series.count),
                }
            })
            .collect();
        ours.sort();
        ours
    }

    /// Waits until our program has told of a node with this reason.
    pub(crate) async fn is_told(&self, node: &str, reason: &str) {
        let what = format!("an Event {reason} tells of {node}");
        self.eventually(&what, async |world| {
            let events = world.our_events().await;
            let mut events = events.iter();
            events.any(|event| event.about == node && event.reason == reason)
        })
        .await;
    }

    /// Looks on for a while: nobody is restarted, and our program has nothing more to tell.
    pub(crate) async fn nothing_is_told(&self, nodes: &[&str]) {
        // Events are sent one after the other, and what was decided in one pass may be on its way.
        self.eventually("what there is to tell is told", async |world| {
            let before = world.our_events().await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            world.our_events().await == before
        })
        .await;
        let before = self.our_events().await;
        self.nobody_restarts(nodes).await;
        assert_eq!(self.our_events().await, before, "it was told already");
    }

    /// A validator as the seed's example has it.
    pub(crate) async fn create_validators(&self, names: &[&str]) {
        for name in names {
            self.create_validator(name, json!({})).await;
        }
    }

    /// The same with some of its spec replaced (JSON merge patch).
    pub(crate) async fn create_validator(&self, name: &str, spec: Value) {
        if let Rig::Real(rig) = &self.rig {
            rig.make_claim(&format!("{name}-data")).await;
        }
        let mut node =
            fixtures::stellar_node(&self.namespace, name, &["validator-1", "validator-2"]);
        json_patch::merge(&mut node["spec"], &spec);
        fixtures::create(&self.client, &node)
            .await
            .expect("a new validator");
    }

    pub(crate) async fn patch_validator(&self, name: &str, patch: Value) {
        self.patch::<StellarNodeObject>(name, patch).await;
    }

    /// A JSON merge patch as a person would send it.
    pub(crate) async fn patch<K>(&self, name: &str, patch: Value)
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.client.clone(), &self.namespace);
        let params = PatchParams {
            field_manager: Some("a-person".to_owned()),
            ..PatchParams::default()
        };
        api.patch(name, &params, &Patch::Merge(patch))
            .await
            .expect("the object is there");
    }

    pub(crate) async fn delete<K>(&self, name: &str)
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        let api = Api::<K>::namespaced(self.client.clone(), &self.namespace);
        api.delete(name, &DeleteParams::default())
            .await
            .expect("the object is there");
    }

    pub(crate) async fn pod(&self, node: &str) -> Option<PodView> {
        let api = Api::<PodObject>::namespaced(self.client.clone(), &self.namespace);
        api.get_opt(&format!("{node}-0"))
            .await
            .ok()?
            .as_ref()
            .map(PodView::from)
    }

    pub(crate) async fn pod_object(&self, node: &str) -> Option<Pod> {
        let api = Api::<Pod>::namespaced(self.client.clone(), &self.namespace);
        api.get_opt(&format!("{node}-0")).await.ok()?
    }

    /// Replaces a node's pod, so that it comes back at another address.
    pub(crate) async fn lose_pod(&self, node: &str) {
        self.delete::<Pod>(&format!("{node}-0")).await;
    }

    pub(crate) async fn stateful_set(&self, name: &str) -> Option<StatefulSetObject> {
        let api = Api::<StatefulSetObject>::namespaced(self.client.clone(), &self.namespace);
        api.get_opt(name).await.ok()?
    }

    pub(crate) async fn list(&self) -> Option<ConfigMap> {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), &self.namespace);
        api.get_opt(names::STELLAR_PEERS).await.ok()?
    }

    pub(crate) async fn data(&self, key: &str) -> Option<String> {
        self.list().await?.data?.remove(key)
    }

    pub(crate) async fn known_peers(&self) -> Vec<String> {
        let text = self.data(names::KEY_KNOWN_PEERS).await.unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) async fn record(&self) -> Option<Record> {
        Record::parse(&self.data(names::KEY_MEMBERS).await?).ok()
    }

    /// The list has exactly the addresses of these nodes' pods.
    pub(crate) async fn lists_exactly(&self, nodes: &[&str]) -> bool {
        let mut expected = Vec::new();
        for node in nodes {
            match self
                .pod(node)
                .await
                .and_then(|pod| pod.ips.first().copied())
            {
                Some(ip) => expected.push(format!("{ip}:11625")),
                None => return false,
            }
        }
        let mut listed = self.known_peers().await;
        expected.sort();
        listed.sort();
        listed == expected
    }

    /// The node's template carries all our parts and this membership, and its pod is Ready on that template.
    pub(crate) async fn runs_with(&self, node: &str, hash: &MembershipHash) -> bool {
        let (Some(set), Some(pod)) = (self.stateful_set(node).await, self.pod(node).await) else {
            return false;
        };
        let set = StatefulSetView::from(&set);
        set.template.parts == Parts::Whole
            && set.template.membership.as_deref() == Some(hash.as_str())
            && set.observed_generation == set.generation
            && pod.revision == set.update_revision
            && pod.ready
            && !pod.terminating
    }

    /// Waits until exactly these validators are listed and each runs with the membership of all of them.
    pub(crate) async fn everyone_knows(&self, nodes: &[&str]) {
        let hash = hash_of(nodes);
        self.eventually(&format!("{nodes:?} know each other"), async |world| {
            if !world.lists_exactly(nodes).await {
                return false;
            }
            for node in nodes {
                if !world.runs_with(node, &hash).await {
                    return false;
                }
            }
            true
        })
        .await;
        self.history_is_complete().await;
    }

    /// Waits until these validators' pods are Ready.
    pub(crate) async fn all_ready(&self, nodes: &[&str]) {
        self.eventually(&format!("the pods of {nodes:?} are Ready"), async |world| {
            for node in nodes {
                let pod = world.pod(node).await;
                if !pod.is_some_and(|pod| pod.ready && !pod.terminating) {
                    return false;
                }
            }
            true
        })
        .await;
        self.history_is_complete().await;
    }

    /// Waits until a node's pod was replaced.
    pub(crate) async fn restarts(&self, node: &str, since: Mark) {
        self.eventually(&format!("{node} restarts"), async |world| {
            world.history.restarts(node, since) > 0
        })
        .await;
    }

    /// Waits for what must come.
    pub(crate) async fn eventually(&self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        let waiting = async {
            while !holds(self).await {
                let cores_ended = self.cores.as_ref().is_some_and(Cores::have_ended);
                assert!(!cores_ended, "the stand-ins for stellar-core panicked");
                tokio::time::sleep(self.pace.poll).await;
            }
        };
        if tokio::time::timeout(self.pace.patience, waiting)
            .await
            .is_err()
        {
            panic!("it never came that {what}\n{}", self.state().await);
        }
    }

    /// Looks on for a while: nobody is restarted.
    pub(crate) async fn nobody_restarts(&self, nodes: &[&str]) {
        let mark = self.history.mark();
        tokio::time::sleep(self.pace.quiet).await;
        self.restarted(nodes, mark, 0).await;
    }

    /// Each of these nodes was restarted this often since the mark.
    pub(crate) async fn restarted(&self, nodes: &[&str], since: Mark, times: usize) {
        self.history_is_complete().await;
        for node in nodes {
            assert_eq!(
                self.history.restarts(node, since),
                times,
                "restarts of {node}"
            );
        }
    }

    /// Waits until the history has come to the pods that are there: it may lag behind what was asked for.
    async fn history_is_complete(&self) {
        let api = Api::<PodObject>::namespaced(self.client.clone(), &self.namespace);
        self.eventually("the history has come to all pods", async |world| {
            let pods = api.list(&ListParams::default()).await;
            pods.is_ok_and(|pods| {
                let mut pods = pods.items.iter().map(PodView::from);
                pods.all(|pod| world.history.has(&pod.uid))
            })
        })
        .await;
    }

    /// Looks on for a while: our program writes nothing and lists nothing.
    pub(crate) async fn nothing_is_written(&self) {
        // What was under way may come to its end first.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = self.our_requests().len();
        tokio::time::sleep(self.pace.at_rest).await;
        let requests = self.our_requests().split_off(before);
        let costly: Vec<_> = requests
            .iter()
            .filter(|it| it.resource != "leases" && (it.is_write || it.verb == "list"))
            .collect();
        assert!(costly.is_empty(), "at rest our program sent {costly:?}");
    }

    /// All that a failed story should show.
    async fn state(&self) -> String {
        let sets = Api::<StatefulSetObject>::namespaced(self.client.clone(), &self.namespace);
        let sets = sets
            .list(&ListParams::default())
            .await
            .map(|list| list.items)
            .unwrap_or_default();
        let sets = sets.iter().map(|set| {
            let view = StatefulSetView::from(set);
            format!(
                "{:?} generation {} {:?}",
                set.metadata.name, view.generation, view.template
            )
        });
        let pods = Api::<PodObject>::namespaced(self.client.clone(), &self.namespace);
        let pods = pods
            .list(&ListParams::default())
            .await
            .map(|list| list.items)
            .unwrap_or_default();
        let pods = pods
            .iter()
            .map(|pod| format!("{:?} {:?}", pod.metadata.name, PodView::from(pod)));
        let log = match &self.rig {
            Rig::Sandbox(_) => String::new(),
            Rig::Real(rig) => rig.log_tail(),
        };
        let lines: Vec<String> = sets.chain(pods).collect();
        format!(
            "list: {:#?}\n{}\n{:#?}\n{log}",
            self.list()
                .await
                .map(|map| (map.metadata.annotations, map.data)),
            lines.join("\n"),
            self.our_events().await,
        )
    }

    /// Requests of our program that it has no right to. An API server that starts refuses for a moment what it
    /// allows then.
    fn refused_requests(&self) -> Vec<OurRequest> {
        let requests = self.our_requests();
        let asks = |it: &OurRequest| (it.verb.clone(), it.resource.clone(), it.name.clone());
        let allowed = requests.iter().filter(|it| it.code != 403);
        let allowed: BTreeSet<_> = allowed.map(asks).collect();
        let refused = requests.iter().filter(|it| !allowed.contains(&asks(it)));
        refused.cloned().collect()
    }

    pub(crate) fn no_ready_pod_was_deleted(&self) {
        let deleted = self.our_pod_deletions();
        for pod in &deleted {
            let node = pod.rsplit_once('-').map_or(pod.as_str(), |(node, _)| node);
            let count = deleted.iter().filter(|it| *it == pod).count();
            assert!(
                count <= self.history.deleted_while_not_ready(node),
                "our program deleted {pod}, which was Ready"
            );
        }
    }

    /// The story is told: what holds for all stories is looked at, and nothing of it stays.
    pub(crate) async fn end(mut self) {
        self.operator = None;
        self.cores = None;
        self.kill_ours();
        let refused = self.refused_requests();
        assert!(refused.is_empty(), "our account may not do {refused:?}");
        self.no_ready_pod_was_deleted();
        if let Rig::Real(rig) = &self.rig {
            rig.clean_up().await;
        }
    }
}

/// The hash of the membership of these validators, all on the default port.
pub(crate) fn hash_of(nodes: &[&str]) -> MembershipHash {
    let member = |node: &&str| (NodeName::new(node).expect("a name"), PeerPort::DEFAULT);
    MembershipHash::of(&nodes.iter().map(member).collect::<Members>())
}

/// An object with its type, as the API server takes it.
pub(crate) fn kubernetes_object<K: Serialize + Resource<DynamicType = ()>>(object: &K) -> Value {
    let mut value = serde_json::to_value(object).expect("objects serialize");
    value["apiVersion"] = json!(K::api_version(&()));
    value["kind"] = json!(K::kind(&()));
    value
}
