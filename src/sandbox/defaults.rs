//! What the server fills in, so that objects look as they would when they are read back from a real one.
//!
//! Source: `pkg/apis/*/v1/defaults.go` of Kubernetes, for the fields that occur here.

use k8s_openapi::ByteString;
use serde_json::{Map, Value, json};

use super::object::{as_map, map_mut, meta_str};

/// Removes what a Go struct would not write back: nulls, and empty lists and maps that are `omitempty`.
pub(super) fn normalize(value: &mut Value, is_custom: bool) {
    if is_custom {
        drop_nulls(value);
        drop_empty(&mut value["metadata"]);
    } else {
        drop_nulls(value);
        drop_empty(value);
    }
}

/// Removes nulls, at any depth.
pub(super) fn drop_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, entry| !entry.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

fn drop_empty(value: &mut Value) {
    /// Maps that are not pointers to structs, so that `{}` vanishes.
    const MAPS: [&str; 9] = [
        "annotations",
        "binaryData",
        "data",
        "labels",
        "limits",
        "matchLabels",
        "nodeSelector",
        "requests",
        "stringData",
    ];
    match value {
        Value::Object(map) => {
            map.values_mut().for_each(drop_empty);
            map.retain(|name, entry| match entry {
                Value::Array(list) => !list.is_empty(),
                Value::Object(entries) => !(entries.is_empty() && MAPS.contains(&name.as_str())),
                _ => true,
            });
        }
        Value::Array(list) => list.iter_mut().for_each(drop_empty),
        _ => {}
    }
}

/// Sets a field unless it is there.
fn default(map: &mut Map<String, Value>, field: &str, to: impl Into<Value>) {
    if !map.contains_key(field) {
        map.insert(field.to_owned(), to.into());
    }
}

fn each<'a>(
    map: &'a mut Map<String, Value>,
    field: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    map.get_mut(field)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}

pub(super) fn namespace(value: &mut Value) {
    let name = meta_str(value, "name").to_owned();
    let labels = map_mut(&mut value["metadata"], "labels");
    labels.insert("kubernetes.io/metadata.name".to_owned(), name.into());
    default(map_mut(value, "spec"), "finalizers", json!(["kubernetes"]));
    default(map_mut(value, "status"), "phase", "Active");
}

pub(super) fn secret(value: &mut Value) {
    let secret = as_map(value);
    default(secret, "type", "Opaque");
    if let Some(Value::Object(plain)) = secret.remove("stringData") {
        let data = map_mut(value, "data");
        for (key, text) in plain {
            let bytes = ByteString(text.as_str().unwrap_or_default().as_bytes().to_vec());
            data.insert(key, serde_json::to_value(bytes).unwrap_or_default());
        }
    }
}

pub(super) fn service(value: &mut Value) {
    let spec = map_mut(value, "spec");
    default(spec, "type", "ClusterIP");
    default(spec, "sessionAffinity", "None");
    for port in each(spec, "ports") {
        default(port, "protocol", "TCP");
        if let Some(number) = port.get("port").cloned() {
            default(port, "targetPort", number);
        }
    }
    default(as_map(value), "status", json!({"loadBalancer": {}}));
}

/// What the API server itself fills into a definition: a singular name, and that names are accepted.
pub(super) fn definition(value: &mut Value) {
    let names = map_mut(&mut value["spec"], "names");
    let kind = names
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    default(names, "singular", kind.to_lowercase());
    default(names, "listKind", format!("{kind}List"));
    let names = Value::Object(names.clone());
    let status = map_mut(value, "status");
    status.insert("acceptedNames".to_owned(), names);
    default(
        status,
        "conditions",
        json!([
            {"type": "NamesAccepted", "status": "True", "reason": "NoConflicts", "message": "no conflicts found"},
            {"type": "Established", "status": "True", "reason": "InitialNamesAccepted", "message": "the initial names have been accepted"},
        ]),
    );
}

pub(super) fn webhooks(value: &mut Value) {
    for webhook in each(as_map(value), "webhooks") {
        default(webhook, "failurePolicy", "Fail");
        default(webhook, "matchPolicy", "Equivalent");
        default(webhook, "namespaceSelector", json!({}));
        default(webhook, "objectSelector", json!({}));
        default(webhook, "reinvocationPolicy", "Never");
        default(webhook, "timeoutSeconds", 10);
        for rule in each(webhook, "rules") {
            default(rule, "scope", "*");
        }
        if let Some(Value::Object(service)) = webhook
            .get_mut("clientConfig")
            .and_then(|c| c.get_mut("service"))
        {
            default(service, "port", 443);
        }
    }
}

pub(super) fn stateful_set(value: &mut Value) {
    let spec = map_mut(value, "spec");
    default(spec, "podManagementPolicy", "OrderedReady");
    default(spec, "replicas", 1);
    default(spec, "revisionHistoryLimit", 10);
    default(
        spec,
        "persistentVolumeClaimRetentionPolicy",
        json!({"whenDeleted": "Retain", "whenScaled": "Retain"}),
    );
    default(spec, "updateStrategy", json!({}));
    let strategy = as_map(&mut spec["updateStrategy"]);
    default(strategy, "type", "RollingUpdate");
    if strategy["type"] == "RollingUpdate" {
        default(strategy, "rollingUpdate", json!({}));
        default(as_map(&mut strategy["rollingUpdate"]), "partition", 0);
    }
    for claim in each(spec, "volumeClaimTemplates") {
        default(claim, "apiVersion", "v1");
        default(claim, "kind", "PersistentVolumeClaim");
        default(claim, "status", json!({"phase": "Pending"}));
        if let Some(spec) = claim.get_mut("spec").and_then(Value::as_object_mut) {
            default(spec, "volumeMode", "Filesystem");
        }
    }
    if let Some(template) = spec.get_mut("template") {
        pod_spec(map_mut(template, "spec"));
    }
    default(
        as_map(value),
        "status",
        json!({"replicas": 0, "availableReplicas": 0}),
    );
}

pub(super) fn pod(value: &mut Value) {
    let spec = map_mut(value, "spec");
    pod_spec(spec);
    default(spec, "enableServiceLinks", true);
    // What the admission plugins Priority and DefaultTolerationSeconds add.
    default(spec, "priority", 0);
    default(spec, "preemptionPolicy", "PreemptLowerPriority");
    let tolerates = |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
    let tolerations = [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ];
    default(spec, "tolerations", tolerations.map(tolerates).to_vec());
    default(
        as_map(value),
        "status",
        json!({"phase": "Pending", "qosClass": "BestEffort"}),
    );
}

/// What a pod and a pod template have in common.
fn pod_spec(spec: &mut Map<String, Value>) {
    default(spec, "restartPolicy", "Always");
    default(spec, "dnsPolicy", "ClusterFirst");
    default(spec, "terminationGracePeriodSeconds", 30);
    default(spec, "schedulerName", "default-scheduler");
    default(spec, "securityContext", json!({}));
    if let Some(account) = spec.get("serviceAccountName").cloned() {
        default(spec, "serviceAccount", account);
    }
    for volume in each(spec, "volumes") {
        volume_source(volume);
    }
    for list in ["initContainers", "containers"] {
        each(spec, list).for_each(container);
    }
}

fn volume_source(volume: &mut Map<String, Value>) {
    if volume.keys().all(|key| key == "name") {
        volume.insert("emptyDir".to_owned(), json!({}));
    }
    for source in ["configMap", "secret", "projected", "downwardAPI"] {
        if let Some(Value::Object(source)) = volume.get_mut(source) {
            default(source, "defaultMode", 0o644);
        }
    }
}

fn container(container: &mut Map<String, Value>) {
    default(container, "terminationMessagePath", "/dev/termination-log");
    default(container, "terminationMessagePolicy", "File");
    default(container, "resources", json!({}));
    let image = container
        .get("image")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let file = image.rsplit('/').next().unwrap_or_default();
    let is_latest =
        !image.contains('@') && file.split_once(':').is_none_or(|(_, tag)| tag == "latest");
    default(
        container,
        "imagePullPolicy",
        if is_latest { "Always" } else { "IfNotPresent" },
    );
    for port in each(container, "ports") {
        default(port, "protocol", "TCP");
    }
    for variable in each(container, "env") {
        if let Some(Value::Object(field)) = variable
            .get_mut("valueFrom")
            .and_then(|from| from.get_mut("fieldRef"))
        {
            default(field, "apiVersion", "v1");
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(Value::Object(probe)) = container.get_mut(probe) {
            default(probe, "timeoutSeconds", 1);
            default(probe, "periodSeconds", 10);
            default(probe, "successThreshold", 1);
            default(probe, "failureThreshold", 3);
            if let Some(Value::Object(get)) = probe.get_mut("httpGet") {
                default(get, "path", "/");
                default(get, "scheme", "HTTP");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stateful_set_reads_back_with_what_the_server_fills_in() {
        let mut value = json!({"spec": {"template": {"spec": {
            "containers": [{"name": "c", "image": "a/b:1", "ports": [{"containerPort": 1}], "env": []}],
            "volumes": [{"name": "v", "configMap": {"name": "x"}}, {"name": "e"}],
        }}}});
        normalize(&mut value, false);
        stateful_set(&mut value);
        let spec = &value["spec"];
        assert_eq!(spec["replicas"], 1);
        assert_eq!(
            spec["updateStrategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})
        );
        let pod = &spec["template"]["spec"];
        assert_eq!(pod["volumes"][0]["configMap"]["defaultMode"], 420);
        assert_eq!(pod["volumes"][1]["emptyDir"], json!({}));
        assert_eq!(pod["containers"][0]["ports"][0]["protocol"], "TCP");
        assert_eq!(pod["containers"][0]["imagePullPolicy"], "IfNotPresent");
        assert!(pod["containers"][0].get("env").is_none());
        let once = value.clone();
        stateful_set(&mut value);
        assert_eq!(value, once, "defaulting is idempotent");
    }

    #[test]
    fn a_secret_takes_plain_text_in() {
        let mut value = json!({"stringData": {"a": "b"}});
        secret(&mut value);
        assert_eq!(value, json!({"type": "Opaque", "data": {"a": "Yg=="}}));
    }
}
