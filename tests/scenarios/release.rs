//! A stand-in for what SDF's chart makes of values: the hooks that `render values` uses, each where the chart has it.

use std::process::Command;

use serde_json::{Value, json};

/// What our program prints as values for this node.
pub(crate) fn printed_values(node: &str) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stellar-peers"));
    command.args([
        "render",
        "values",
        "--chart=stellar/core",
        "--image=stellar-peers:test",
    ]);
    let output = command.arg(format!("--node={node}")).output();
    let output = output.expect("our binary starts");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("YAML is text");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// Puts the values into the StatefulSet of a release, and gives the ConfigMap with its init script.
pub(crate) fn apply(values: &Value, set: &mut Value) -> Value {
    let values = &values["core"];
    let scripts = format!(
        "{}-init-scripts",
        set["metadata"]["name"].as_str().expect("a name")
    );
    let template = &mut set["spec"]["template"];
    for key in ["labels", "annotations"] {
        json_patch::merge(&mut template["metadata"], &json!({key: values[key]}));
    }
    let spec = &mut template["spec"];
    let scripts_volume = json!({"name": "init-scripts", "configMap": {"name": scripts}});
    append(&mut spec["volumes"], [&scripts_volume]);
    append(&mut spec["volumes"], items(&values["extraVolumes"]));
    for container in ["/initContainers/0", "/containers/0"] {
        let container = spec.pointer_mut(container).expect("it has one");
        append(
            &mut container["volumeMounts"],
            items(&values["extraVolumeMounts"]),
        );
    }
    spec["containers"][0]["args"] = values["args"].clone();
    let init = spec["initContainers"][0]
        .as_object_mut()
        .expect("a container");
    init.remove("args");
    init.insert(
        "command".to_owned(),
        json!(["/bin/bash", "/init-scripts/init.sh"]),
    );
    let mount = json!({"name": "init-scripts", "mountPath": "/init-scripts"});
    append(&mut spec["initContainers"][0]["volumeMounts"], [&mount]);
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": scripts, "namespace": set["metadata"]["namespace"]},
        "data": {"init.sh": values["initScript"]},
    })
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().expect("a list").iter()
}

fn append<'a>(list: &mut Value, more: impl IntoIterator<Item = &'a Value>) {
    let list = list.as_array_mut().expect("a list");
    list.extend(more.into_iter().cloned());
}
