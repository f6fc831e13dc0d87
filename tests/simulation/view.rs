//! The few fields of an object that the checks rest on, read by our own rules: the program's reader may be wrong.

use std::collections::BTreeMap;

use serde_json::Value;
use stellar_peers::api::names;

/// How much of our parts a template has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parts {
    None,
    Some,
    All,
}

/// A StellarNode.
#[derive(Clone, Debug)]
pub(crate) struct NodeView {
    pub(crate) takes_part: bool,
    pub(crate) is_opted_out: bool,
    pub(crate) network: String,
    pub(crate) port: u16,
    pub(crate) is_paused: bool,
}

/// A StatefulSet.
#[derive(Clone, Debug)]
pub(crate) struct SetView {
    pub(crate) uid: String,
    pub(crate) takes_part: bool,
    pub(crate) is_chart: bool,
    pub(crate) network: String,
    pub(crate) port: u16,
    pub(crate) generation: u64,
    pub(crate) observed: u64,
    pub(crate) revision: String,
    pub(crate) is_paused: bool,
    pub(crate) is_on_delete: bool,
    pub(crate) partition: u64,
    pub(crate) has_joined: bool,
    pub(crate) has_turn: bool,
    pub(crate) membership: Option<String>,
    pub(crate) restarted_at: Option<String>,
    pub(crate) parts: Parts,
}

/// A pod.
#[derive(Clone, Debug)]
pub(crate) struct PodView {
    pub(crate) uid: String,
    pub(crate) owner: String,
    pub(crate) ip: Option<String>,
    pub(crate) revision: String,
    pub(crate) is_ready: bool,
    pub(crate) is_terminating: bool,
    pub(crate) has_volume: bool,
}

/// The ConfigMap.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListView {
    pub(crate) known_peers: String,
    pub(crate) is_paused: bool,
    pub(crate) has_turn: bool,
    /// By name; none where the record can't be read.
    pub(crate) record: Option<BTreeMap<String, Recorded>>,
}

/// A node of the record.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) network: String,
    pub(crate) addresses: Vec<String>,
    pub(crate) is_member: bool,
    pub(crate) uid: String,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["annotations"][key].as_str()
}

fn is_paused(object: &Value) -> bool {
    annotation(object, names::PAUSED) == Some("true")
}

/// Labels and annotations that opt in or out, on an object or its template.
fn inject(object: &Value) -> Option<&str> {
    let metadata = &object["metadata"];
    metadata["labels"][names::INJECT]
        .as_str()
        .or_else(|| metadata["annotations"][names::INJECT].as_str())
}

impl NodeView {
    pub(crate) fn of(node: &Value) -> Self {
        let spec = &node["spec"];
        let port = spec["validatorConfig"]["peerPort"].as_u64();
        Self {
            takes_part: spec["nodeType"] == "Validator"
                && spec["suspended"] != true
                && node["metadata"]["deletionTimestamp"].is_null()
                && inject(node) != Some("disabled"),
            is_opted_out: inject(node) == Some("disabled"),
            network: text(&spec["network"]).to_lowercase(),
            port: port.and_then(|port| port.try_into().ok()).unwrap_or(11625),
            is_paused: is_paused(node),
        }
    }
}

impl SetView {
    pub(crate) fn of(set: &Value) -> Self {
        let (metadata, spec, status) = (&set["metadata"], &set["spec"], &set["status"]);
        let template = &spec["template"];
        let inject = inject(set).or_else(|| inject(template));
        let strategy = &spec["updateStrategy"];
        let is_chart = metadata["labels"]["app.kubernetes.io/managed-by"] != "stellar-operator";
        let port = annotation(set, names::PORT).and_then(|text| text.parse().ok());
        Self {
            uid: text(&metadata["uid"]),
            takes_part: metadata["deletionTimestamp"].is_null()
                && spec["replicas"].as_u64().unwrap_or(1) > 0
                && inject != Some("disabled")
                && (!is_chart || inject == Some("enabled")),
            is_chart,
            network: text(&metadata["labels"][names::LABEL_NETWORK]).to_lowercase(),
            port: port.unwrap_or(11625),
            generation: metadata["generation"].as_u64().unwrap_or(0),
            observed: status["observedGeneration"].as_u64().unwrap_or(0),
            revision: text(&status["updateRevision"]),
            is_paused: is_paused(set),
            is_on_delete: strategy["type"] == "OnDelete",
            partition: strategy["rollingUpdate"]["partition"].as_u64().unwrap_or(0),
            has_joined: annotation(set, names::JOINED_AT).is_some(),
            has_turn: annotation(set, names::TURN).is_some_and(|it| !it.starts_with("fenced")),
            membership: annotation(template, names::MEMBERSHIP).map(str::to_owned),
            restarted_at: annotation(template, names::RESTARTED_AT).map(str::to_owned),
            parts: parts(template),
        }
    }
}

fn parts(template: &Value) -> Parts {
    let spec = &template["spec"];
    let named = |list: &Value, name| items(list).filter(|it| it["name"] == name).count();
    let mounts = |name| {
        let containers = items(&spec["containers"]);
        containers.map(|it| named(&it["volumeMounts"], name)).sum()
    };
    let given = [
        named(&spec["volumes"], names::STELLAR_PEERS),
        mounts(names::STELLAR_PEERS),
        usize::from(annotation(template, names::MEMBERSHIP).is_some()),
    ];
    let rendered = [
        named(&spec["initContainers"], names::RENDER_CONTAINER),
        named(&spec["volumes"], names::CONFIG_VOLUME),
        mounts(names::CONFIG_VOLUME),
    ];
    match (given, rendered) {
        ([0, 0, 0], [0, 0, 0]) => Parts::None,
        ([1, 1, 1], [0, 0, 0] | [1, 1, 1]) => Parts::All,
        _ => Parts::Some,
    }
}

/// A template without what is ours: what its writer means.
pub(crate) fn without_our_parts(template: &Value) -> Value {
    let mut template = template.clone();
    let is_foreign = |it: &Value| !text(&it["name"]).starts_with(names::STELLAR_PEERS);
    let sift = |list: &mut Value| {
        if let Some(list) = list.as_array_mut() {
            list.retain(is_foreign);
        }
        if list.as_array().is_some_and(Vec::is_empty) {
            *list = Value::Null;
        }
    };
    let spec = &mut template["spec"];
    sift(&mut spec["volumes"]);
    sift(&mut spec["initContainers"]);
    for container in spec["containers"].as_array_mut().into_iter().flatten() {
        sift(&mut container["volumeMounts"]);
        sift(&mut container["ports"]);
    }
    if let Some(annotations) = template["metadata"]["annotations"].as_object_mut() {
        annotations.retain(|key, _| !key.starts_with("peers.stellar.org/"));
    }
    if template["metadata"]["annotations"]
        .as_object()
        .is_none_or(serde_json::Map::is_empty)
    {
        template["metadata"]["annotations"] = Value::Null;
    }
    template
}

impl PodView {
    pub(crate) fn of(pod: &Value) -> Self {
        let (metadata, status) = (&pod["metadata"], &pod["status"]);
        let is_ready = |it: &Value| it["type"] == "Ready" && it["status"] == "True";
        Self {
            uid: text(&metadata["uid"]),
            owner: text(&metadata["ownerReferences"][0]["uid"]),
            ip: status["podIP"].as_str().map(str::to_owned),
            revision: text(&metadata["labels"][names::LABEL_REVISION]),
            is_ready: items(&status["conditions"]).any(is_ready),
            is_terminating: !metadata["deletionTimestamp"].is_null(),
            has_volume: items(&pod["spec"]["volumes"]).any(|it| it["name"] == names::STELLAR_PEERS),
        }
    }
}

impl ListView {
    pub(crate) fn of(list: &Value) -> Self {
        let data = &list["data"];
        let annotations = list["metadata"]["annotations"].as_object();
        Self {
            known_peers: text(&data[names::KEY_KNOWN_PEERS]),
            is_paused: is_paused(list),
            has_turn: annotations.into_iter().flatten().any(|(key, text)| {
                key.starts_with("peers.stellar.org/turn.") && text.as_str() != Some("")
            }),
            record: data[names::KEY_MEMBERS].as_str().and_then(record),
        }
    }

    /// The addresses of the list.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &str> {
        self.known_peers.lines()
    }
}

fn record(text: &str) -> Option<BTreeMap<String, Recorded>> {
    let record: Value = serde_json::from_str(text).ok()?;
    let node = |node: &Value| {
        let recorded = Recorded {
            network: self::text(&node["network"]),
            addresses: items(&node["addresses"]).map(self::text).collect(),
            is_member: node["member"] == true,
            uid: self::text(&node["uid"]),
        };
        (self::text(&node["name"]), recorded)
    };
    Some(record["nodes"].as_array()?.iter().map(node).collect())
}
