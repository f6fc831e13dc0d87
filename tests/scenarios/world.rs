//! What a story can do in a cluster and see of it, whichever rig it is told on.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, Patch, PatchParams},
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
    history::{History, Mark},
    ours::{Pace, Webhook},
    real::RealRig,
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
        }
    }

    /// Ours with its webhook registered, and the operator: what most stories begin with.
    pub(crate) async fn begin(&mut self) {
        self.register(Webhook::Registered).await;
        self.start_ours().await;
        self.start_operator(WriteMode::Apply).await;
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

    /// Starts our program and waits until it is ready.
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

    /// As by kill -9.
    pub(crate) fn kill_ours(&mut self) {
        match &mut self.rig {
            Rig::Sandbox(rig) => rig.kill_ours(),
            Rig::Real(rig) => rig.kill_ours(),
        }
    }

    /// Starts the stand-in for the operator, in place of the one that runs.
    pub(crate) async fn start_operator(&mut self, mode: WriteMode) {
        let client = match &self.rig {
            Rig::Sandbox(rig) => rig.sandbox.client("stellar-operator"),
            Rig::Real(rig) => rig.operators_client().await,
        };
        let options = OperatorOptions {
            mode,
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

    /// Requests of our program so far but those about its Lease: verb, resource, whether it meant to write.
    pub(crate) fn our_requests(&self) -> Vec<(String, String, bool)> {
        let mut requests = match &self.rig {
            Rig::Sandbox(rig) => rig.requests(),
            Rig::Real(rig) => rig.requests(),
        };
        requests.retain(|(_, resource, _)| resource != "leases");
        requests
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
    }

    /// Waits for what must come.
    pub(crate) async fn eventually(&self, what: &str, holds: impl AsyncFn(&Self) -> bool) {
        let waiting = async {
            while !holds(self).await {
                tokio::time::sleep(Duration::from_millis(200)).await;
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
        self.restarted(nodes, mark, 0);
    }

    /// Each of these nodes was restarted this often since the mark.
    pub(crate) fn restarted(&self, nodes: &[&str], since: Mark, times: usize) {
        for node in nodes {
            assert_eq!(
                self.history.restarts(node, since),
                times,
                "restarts of {node}"
            );
        }
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
            .filter(|(verb, _, is_write)| *is_write || verb == "list")
            .collect();
        assert!(costly.is_empty(), "at rest our program sent {costly:?}");
    }

    /// All that a failed story should show.
    async fn state(&self) -> String {
        let sets = Api::<StatefulSetObject>::namespaced(self.client.clone(), &self.namespace);
        let sets = sets
            .list(&kube::api::ListParams::default())
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
            .list(&kube::api::ListParams::default())
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
            "list: {:#?}\n{}\n{log}",
            self.list().await.map(|map| map.data),
            lines.join("\n")
        )
    }

    /// The story is told: nothing of it stays.
    pub(crate) async fn end(mut self) {
        self.operator = None;
        self.kill_ours();
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
