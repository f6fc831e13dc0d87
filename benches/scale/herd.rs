//! Many validators at once: objects with their status, as an operator, the controllers and the kubelets leave them.
//! Nobody of these runs, so that nothing moves but what the benchmark moves.

use std::{fmt, net::Ipv4Addr};

use kube::Client;
use serde_json::{Value, json};
use stellar_peers::{
    domain::{
        injection::{OurPort, RenderParts, Rendering, Template, Wanted, complete},
        membership::{Members, MembershipHash},
        node::{Network, NodeName},
        patch::sendable,
        peer::PeerPort,
    },
    json::Json,
    sandbox::{
        Sandbox,
        fixtures::{create, stellar_node_definition},
    },
};

use crate::validator::{self, Validator};

/// The image that merges the list, as our program is told as well.
pub(crate) const IMAGE: &str = "registry.example.com/stellar-peers:bench";

/// How many namespaces, and how many validators in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) namespaces: usize,
    pub(crate) validators: usize,
}

impl Shape {
    pub(crate) const fn all(self) -> usize {
        self.namespaces * self.validators
    }

    /// Reads `1000x10`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (namespaces, validators) = text.split_once('x')?;
        Some(Self {
            namespaces: namespaces.parse().ok()?,
            validators: validators.parse().ok()?,
        })
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} x {}", self.namespaces, self.validators)
    }
}

/// A validator's pod.
#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) address: Ipv4Addr,
}

impl Pod {
    /// Its line in the list.
    pub(crate) fn line(&self) -> String {
        format!("{}:{}", self.address, PeerPort::DEFAULT)
    }

    /// Writes its readiness and its address, as a kubelet does.
    pub(crate) async fn write(&self, client: &Client, is_ready: bool) {
        let status = json!({
            "podIP": self.address, "podIPs": [{"ip": self.address}],
            "conditions": conditions(is_ready),
        });
        patch_status(
            client,
            "api/v1",
            "pods",
            &self.namespace,
            &self.name,
            &status,
        )
        .await;
    }
}

fn conditions(is_ready: bool) -> Value {
    let status = if is_ready { "True" } else { "False" };
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "lastTransitionTime": "2027-01-15T08:00:00Z"});
    json!([
        condition("PodScheduled", "True"),
        condition("Initialized", "True"),
        condition("Ready", status),
        condition("ContainersReady", status),
    ])
}

/// Plants a herd. The namespaces have to be there.
///
/// All validators of a namespace carry all of our parts and the present membership, and are Ready: there is nobody to
/// restart.
pub(crate) async fn plant(sandbox: &Sandbox, validator: &Validator, shape: Shape) -> Vec<Pod> {
    let admin = sandbox.client("admin");
    let made = create(&admin, &stellar_node_definition()).await;
    made.expect("the kind is new");
    let mould = Mould::of(validator, shape.validators);
    let mut pods = Vec::with_capacity(shape.all());
    for namespace in 0..shape.namespaces {
        for number in 0..shape.validators {
            let address = Ipv4Addr::new(10, 0, 0, 1).to_bits() + small(pods.len());
            let pod = Pod {
                namespace: namespace_name(namespace),
                name: format!("validator-{number}-0"),
                address: address.into(),
            };
            mould.plant(sandbox, &format!("validator-{number}"), &pod, pods.len());
            pods.push(pod);
        }
    }
    pods
}

pub(crate) fn namespace_name(number: usize) -> String {
    format!("stellar-{number}")
}

/// The membership of a namespace's validators.
pub(crate) fn membership(validators: usize) -> MembershipHash {
    let member = |number| (node_name(number), PeerPort::DEFAULT);
    MembershipHash::of(&(0..validators).map(member).collect::<Members>())
}

pub(crate) fn node_name(number: usize) -> NodeName {
    NodeName::new(&format!("validator-{number}")).expect("a name")
}

/// A StatefulSet of this name with all of our parts in its template.
pub(crate) fn with_our_parts(set: &Value, name: &str, membership: MembershipHash) -> Value {
    let template = &set["spec"]["template"];
    let wanted = Wanted {
        port: PeerPort::DEFAULT,
        membership,
        restarted_at: None,
        rendering: Rendering::On(RenderParts {
            image: IMAGE.to_owned(),
            node: NodeName::new(name).ok(),
            network: Network::new("testnet"),
            config_path: None,
        }),
    };
    let template = Json::from(template);
    let ours = OurPort::of(&[Template::new(&template)]);
    let completed = complete(&template, "/spec/template", None, &wanted, &ours);
    let completed = completed.expect("an operator's template can be completed");
    let patch = sendable(completed.operations);
    let mut set = set.clone();
    json_patch::patch(&mut set, &patch).expect("the patch fits the object");
    set
}

/// What all of them are made from.
struct Mould {
    stellar_node: Value,
    stateful_set: Value,
    pod: Value,
}

impl Mould {
    fn of(validator: &Validator, validators: usize) -> Self {
        let (set, membership) = (&validator.stateful_set, membership(validators));
        Self {
            stellar_node: validator.stellar_node.clone(),
            stateful_set: with_our_parts(set, validator::NAME, membership),
            pod: validator.pod.clone(),
        }
    }

    fn plant(&self, sandbox: &Sandbox, name: &str, pod: &Pod, number: usize) {
        let uid = |kind: &str| json!(format!("{kind}-0000-4000-8000-{number:012}"));
        let (node_uid, set_uid) = (uid("00000001"), uid("00000002"));
        let place = |object: &Value, name: &str, uid: Value| {
            let mut object = object.clone();
            let metadata = &mut object["metadata"];
            metadata["namespace"] = json!(pod.namespace);
            metadata["name"] = json!(name);
            metadata["uid"] = uid;
            object
        };
        let mut node = place(&self.stellar_node, name, node_uid.clone());
        node["metadata"]["labels"]["app.kubernetes.io/instance"] = json!(name);
        sandbox.plant("stellarnodes.stellar.org", node);
        let mut set = place(&self.stateful_set, name, set_uid.clone());
        let template = &mut set["spec"]["template"];
        *template = renamed(template, name);
        let selected = [
            "/metadata/labels",
            "/spec/selector/matchLabels",
            "/spec/template/metadata/labels",
        ];
        for labels in selected {
            let labels = set.pointer_mut(labels).expect("an operator's labels");
            labels["app.kubernetes.io/instance"] = json!(name);
        }
        set["metadata"]["ownerReferences"][0]["name"] = json!(name);
        set["metadata"]["ownerReferences"][0]["uid"] = node_uid;
        set["status"]["observedGeneration"] = set["metadata"]["generation"].clone();
        sandbox.plant("statefulsets.apps", set);
        let mut object = place(&self.pod, &pod.name, uid("00000003"));
        object["metadata"]["labels"]["app.kubernetes.io/instance"] = json!(name);
        object["metadata"]["ownerReferences"][0]["name"] = json!(name);
        object["metadata"]["ownerReferences"][0]["uid"] = set_uid;
        object["status"]["podIP"] = json!(pod.address);
        object["status"]["podIPs"] = json!([{"ip": pod.address}]);
        sandbox.plant("pods", object);
    }
}

/// What is named after its node is named after another one: its claim, its configuration, and what merges that.
fn renamed(template: &Value, name: &str) -> Value {
    let text = template.to_string();
    let text = text.replace("\"validator-", &format!("\"{name}-"));
    let text = text.replace("--node=validator", &format!("--node={name}"));
    serde_json::from_str(&text).expect("names are as good as any")
}

async fn patch_status(
    client: &Client,
    group: &str,
    plural: &str,
    namespace: &str,
    name: &str,
    status: &Value,
) {
    let path = format!("/{group}/namespaces/{namespace}/{plural}/{name}/status");
    let body = json!({ "status": status }).to_string().into_bytes();
    let request = http::Request::patch(path)
        .header(http::header::CONTENT_TYPE, "application/merge-patch+json")
        .body(body)
        .expect("a request");
    let written: Result<Value, _> = client.request(request).await;
    written.expect("the object is there");
}

fn small(count: usize) -> u32 {
    u32::try_from(count).expect("some ten thousand validators")
}
