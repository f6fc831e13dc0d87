//! The same as values of SDF's chart `core`, for those who want no webhook to change their pods.
//!
//! The chart (read at 0.13.0) runs one init container of its own, `core-init`, whose script is a value, and mounts
//! `extraVolumes` into it and into the core container alike. So the merging is done by that script, and stellar-core is
//! pointed to the copy by its arguments: a mount over the file itself would be there before the file.

use serde_json::{Value, json};

use super::{
    parts::{list_mount, list_volume},
    rendering::{RESULT_PATH, arguments, volume},
};
use crate::{
    api::names,
    domain::node::{Network, NodeName},
};

/// Where the chart mounts the configuration.
const CONFIG_DIR: &str = "/config";
/// Where our image is mounted.
const IMAGE_PATH: &str = "/stellar-peers/image";
/// The volume with our image.
const IMAGE_VOLUME: &str = "stellar-peers-image";
/// The volume for the copy. By the name of the injected one, its parts would be taken for injected ones.
const COPY_VOLUME: &str = "stellar-peers-copy";

/// Where the init script has our program from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Binary {
    /// From our image, mounted as a volume.
    Image(String),
    /// It is in the image of stellar-core, at this path.
    Path(String),
}

/// What the values are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChartValues {
    /// The node: the full name of the release's StatefulSet.
    pub node: NodeName,
    /// Its network.
    pub network: Network,
    /// Where our program is.
    pub binary: Binary,
}

impl ChartValues {
    /// The values. They opt in to the list, and keep the webhook and the loop from doing the same once more.
    #[must_use]
    pub fn to_values(&self) -> Value {
        let mut volumes: Vec<Value> = vec![list_volume().into(), volume(COPY_VOLUME).into()];
        let mut mounts = vec![
            list_mount().into(),
            json!({"name": COPY_VOLUME, "mountPath": RESULT_PATH}),
        ];
        if let Binary::Image(image) = &self.binary {
            let source = json!({"reference": image, "pullPolicy": "IfNotPresent"});
            volumes.push(json!({"name": IMAGE_VOLUME, "image": source}));
            mounts.push(json!({"name": IMAGE_VOLUME, "mountPath": IMAGE_PATH, "readOnly": true}));
        }
        let mut labels = json!({names::INJECT: names::INJECT_ENABLED});
        if !self.network.as_str().is_empty() {
            labels[names::LABEL_NETWORK] = json!(self.network.as_str());
        }
        let config = format!("{RESULT_PATH}/{}", names::CONFIG_FILE);
        json!({"core": {
            "labels": labels,
            "annotations": {names::INJECT_MODE: names::INJECT_MODE_MOUNT},
            "extraVolumes": volumes,
            "extraVolumeMounts": mounts,
            "args": ["run", "--conf", config, "--console"],
            "initScript": self.init_script(),
        }})
    }

    /// Whatever goes wrong with the list, the configuration is copied as it is. A mounted image is not executable.
    fn init_script(&self) -> String {
        let (prepare, program) = match &self.binary {
            Binary::Image(_) => (
                format!("bin=$(mktemp -d)\ncp {IMAGE_PATH}/stellar-peers \"$bin/\"\n"),
                "\"$bin/stellar-peers\"".to_owned(),
            ),
            Binary::Path(path) => (String::new(), quoted(path)),
        };
        let arguments = arguments(&self.node, &self.network, CONFIG_DIR, names::CONFIG_FILE);
        let arguments = arguments.map(|it| quoted(&it)).join(" \\\n  ");
        format!(
            "#!/bin/bash\n\
             {prepare}POD_IP=$(hostname -i | tr ' ' ,) {program} {arguments} ||\n  \
             cp -L {CONFIG_DIR}/* {RESULT_PATH}/\n\
             set -ex\n\
             stellar-core upgrade-db --conf {CONFIG_DIR}/{file} --console ||\n  \
             stellar-core new-db --conf {CONFIG_DIR}/{file} --console\n",
            file = names::CONFIG_FILE,
        )
    }
}

/// As one word of a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:".contains(c);
    if word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(binary: Binary, network: &str) -> Value {
        let values = ChartValues {
            node: NodeName::new("core-a").unwrap(),
            network: Network::new(network),
            binary,
        };
        values.to_values()
    }

    #[test]
    fn without_an_image_nothing_is_mounted_but_the_list_and_the_copy() {
        let values = values(Binary::Path("/usr/local/bin/stellar-peers".to_owned()), "");
        let names = |list: &str| -> Vec<String> {
            let items = values["core"][list].as_array().unwrap().iter();
            items
                .map(|it| it["name"].as_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(
            names("extraVolumes"),
            ["stellar-peers", "stellar-peers-copy"]
        );
        assert_eq!(names("extraVolumes"), names("extraVolumeMounts"));
        let script = values["core"]["initScript"].as_str().unwrap();
        assert!(
            script.contains(" /usr/local/bin/stellar-peers render \\\n"),
            "{script}"
        );
        assert!(script.contains(" --network= ||"), "{script}");
        assert!(values["core"]["labels"]["stellar-network"].is_null());
    }

    #[test]
    fn a_word_of_the_script_is_one_word() {
        let values = values(Binary::Path("/a b".to_owned()), "it's; mine");
        let script = values["core"]["initScript"].as_str().unwrap();
        assert!(script.contains(" '/a b' render "), "{script}");
        assert!(script.contains(r"'--network=it'\''s; mine'"), "{script}");
    }
}
