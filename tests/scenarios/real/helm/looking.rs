//! What people see of it: the outputs that the pages show are those of the program, on a real API server.
//!
//! A page shows a run in a block of kind `console` after a comment that names it. `UPDATE=1` writes what is seen into
//! the pages; without it the two are compared, but for times, addresses and names that differ from run to run.

use std::{path::PathBuf, time::Duration};

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use serde_json::{Value, json};
use stellar_peers::sandbox::{
    fixtures,
    operator::{Operator, OperatorOptions},
};
use tokio::process::Command;

use super::{Installation, short_waits};
use crate::real::control_plane::{User, create, eventually};

const SOON: Duration = Duration::from_mins(2);
const FIVE: [&str; 5] = [
    "validator-1",
    "validator-2",
    "validator-3",
    "validator-4",
    "validator-5",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a control plane: make e2e"]
async fn what_status_and_explain_say_is_what_the_pages_show() {
    let installation = Installation::bare("stellar-peers").await;
    let options = OperatorOptions::default();
    let _operator = Operator::start(installation.admin.clone(), "stellar", options);
    let waits = short_waits().join(",");
    let install = "helm install stellar-peers charts/stellar-peers --namespace stellar-peers --create-namespace";
    installation
        .shell(&format!("{install} --set '{waits}'"))
        .await;
    installation.roll_out().await;
    let mut pages = Pages::default();
    let namespaces = Api::<Namespace>::all(installation.admin.clone());
    create::<Namespace>(&namespaces, json!({"metadata": {"name": "stellar"}})).await;

    let nothing = installation.says("kubectl stellar-peers status").await;
    pages.show("docs/status.md", "nothing", &nothing);
    for name in &FIVE[..4] {
        installation.create_validator(name, json!({})).await;
    }
    installation
        .create_validator("validator-6", json!({"suspended": true}))
        .await;
    installation
        .sees("all know each other", |status| {
            status.pointer("/networks/0/current") == Some(&json!(4))
                && status["list"]["peers"] == 4
                && FIVE[..4]
                    .iter()
                    .all(|name| node(status, name)["phase"] == "Ready")
        })
        .await;
    let quiet = installation
        .says("kubectl stellar-peers status -n stellar")
        .await;
    pages.show("docs/status.md", "quiet", &quiet);

    // Long enough to look on.
    let upgrade =
        "helm upgrade stellar-peers charts/stellar-peers --namespace stellar-peers --reuse-values";
    installation
        .shell(&format!("{upgrade} --set restarts.minReady=20s"))
        .await;
    installation.roll_out().await;
    let pause = "kubectl annotate -n stellar stellarnode validator-4 peers.stellar.org/paused=true";
    installation.shell(pause).await;
    installation
        .create_validator("validator-5", json!({}))
        .await;
    installation
        .sees("the first one restarts", |status| {
            let first = node(status, "validator-1");
            first["phase"] == "Restarting"
                && first["info"]
                    .as_str()
                    .is_some_and(|it| it.starts_with("Ready for"))
                && status["list"]["upToDate"] == true
        })
        .await;
    let restarting = installation
        .says("kubectl stellar-peers status -n stellar")
        .await;
    pages.show("docs/status.md", "restarting", &restarting);
    pages.show("README.md", "status", &restarting);
    for name in ["validator-4", "validator-6", "validator-7"] {
        let command = format!("kubectl stellar-peers explain {name} -n stellar");
        let told = installation.says(&command).await;
        pages.show("docs/status.md", name, &told);
    }

    let watching = "(sleep 3; kubectl annotate -n stellar stellarnode validator-4 peers.stellar.org/paused- > ended) & \
                    timeout 9 kubectl stellar-peers status -n stellar -w";
    let watched = installation.says(watching).await;
    let looks: Vec<&str> = watched.split("Namespace:").skip(1).collect();
    let is_paused = |look: &&str| look.contains("paused by annotation");
    assert!(
        is_paused(&looks[0]) && !looks.iter().all(is_paused),
        "{watched}"
    );

    installation.end_pods().await;
    installation
        .sees("nobody leads", |status| {
            status["service"]["leader"]["state"] != "alive"
        })
        .await;
    let stopped = installation
        .says("kubectl stellar-peers status -n stellar | head -n 2")
        .await;
    pages.show("docs/status.md", "stopped", &stopped);

    installation.refuses_in_one_line().await;
    pages.end();
}

fn node<'a>(status: &'a Value, name: &str) -> &'a Value {
    let nodes = status["nodes"].as_array().expect("a list");
    nodes
        .iter()
        .find(|node| node["name"] == name)
        .unwrap_or(&Value::Null)
}

impl Installation {
    /// Without rights, without an API server, without a cluster: one line that says so, and what to do.
    async fn refuses_in_one_line(&self) {
        let account = "kubectl create serviceaccount -n stellar nobody";
        self.shell(account).await;
        let token = self
            .kubectl(&["create", "token", "-n", "stellar", "nobody"])
            .await;
        let as_nobody = "--kubeconfig=nobody";
        self.shell(&format!(
            "kubectl config view --raw --flatten > nobody && \
                 kubectl --kubeconfig=nobody config set-credentials nobody --token={} && \
                 kubectl --kubeconfig=nobody config set-context --current --user=nobody",
            token.trim()
        ))
        .await;
        for command in ["status", "explain validator-1"] {
            let command = format!("kubectl stellar-peers {command} -n stellar {as_nobody}");
            let refused = self.says(&command).await;
            assert!(refused.contains("you may not "), "{refused}");
        }
        self.shell("sed 's/server: .*/server: https:\\/\\/127.0.0.1:1/' nobody > nowhere")
            .await;
        for (kubeconfig, wanted) in [
            ("nowhere", "the API server can't be reached"),
            ("missing", "there is no cluster to ask"),
        ] {
            let command = format!("kubectl stellar-peers status --kubeconfig={kubeconfig}");
            let refused = self.says(&command).await;
            assert!(
                refused.contains(wanted) && refused.lines().count() == 2,
                "{refused}"
            );
        }
    }

    async fn create_validator(&self, name: &str, more: Value) {
        let claim = format!("{name}-data");
        self.plane.claim("stellar", &claim).await;
        let quorum_set: Vec<&str> = FIVE[..4].to_vec();
        let mut object = fixtures::stellar_node("stellar", name, &quorum_set);
        for (key, value) in more.as_object().expect("an object") {
            object["spec"][key] = value.clone();
        }
        let created = fixtures::create(&self.admin, &object).await;
        created.expect("a new validator");
    }

    /// A command of a person who has the program as a plugin of kubectl, and all that it prints.
    async fn says(&self, command: &str) -> String {
        let folder = self.folder.path().join("shell");
        let plugin = folder.join("kubectl-stellar_peers");
        if !plugin.exists() {
            let binary = env!("CARGO_BIN_EXE_stellar-peers");
            std::os::unix::fs::symlink(binary, &plugin).expect("a link");
        }
        let bin = super::ControlPlane::default_bin_dir();
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{}:{path}", folder.display(), bin.display());
        let mut shell = Command::new("bash");
        shell
            .args(["-c", &format!("{command} 2>&1")])
            .current_dir(&folder)
            .env("PATH", path)
            .env("KUBECONFIG", self.plane.kubeconfig_for(User::Admin));
        let output = shell.output().await.expect("there is bash");
        let said = String::from_utf8_lossy(&output.stdout);
        format!("$ {command}\n{said}")
    }

    /// Waits until the status of namespace `stellar` is so.
    async fn sees(&self, what: &str, holds: impl Fn(&Value) -> bool) {
        eventually(what, SOON, async || {
            let said = self
                .says("kubectl stellar-peers status -n stellar -o json")
                .await;
            let json = said.split_once('\n').map_or("", |(_, json)| json);
            let seen: Result<Value, _> = serde_json::from_str(json);
            let holds = seen.is_ok_and(|seen| holds(&seen["namespaces"][0]));
            if !holds {
                // Shown where it fails.
                eprintln!(
                    "{}",
                    self.says("kubectl stellar-peers status -n stellar").await
                );
            }
            holds
        })
        .await;
    }
}

/// The pages that show runs. A comment before each block names it.
#[derive(Default)]
struct Pages {
    outdated: Vec<String>,
}

impl Pages {
    /// Compares a run with the block of this name on a page.
    fn show(&mut self, page: &str, name: &str, seen: &str) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(page);
        let text = std::fs::read_to_string(&path).expect("the page is there");
        let start = format!("<!-- seen: {name} -->\n\n```console\n");
        let (before, rest) = text
            .split_once(&start)
            .unwrap_or_else(|| panic!("{page} has no block {name}: {seen}"));
        let (shown, after) = rest.split_once("```").expect("the block ends");
        if masked(shown) == masked(seen) {
            return;
        }
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, format!("{before}{start}{seen}```{after}"))
                .expect("the page is ours");
        } else {
            let outdated = format!("{page}, {name}:\n{shown}\nis now:\n{seen}");
            self.outdated.push(outdated);
        }
    }

    fn end(self) {
        let outdated = self.outdated.join("\n");
        assert!(outdated.is_empty(), "{outdated}\n`UPDATE=1` writes them");
    }
}

/// The words of a run without what differs from one run to the next: times, addresses, hashes of these, names of pods
/// of ours. Columns are as wide as these.
fn masked(text: &str) -> Vec<String> {
    let is_address = |word: &str| {
        let host = word.split_once(':').map_or(word, |(host, _)| host);
        host.parse::<std::net::Ipv4Addr>().is_ok()
    };
    let is_unit = |rest: &str| ["s", "m", "h", "d", "ms"].contains(&rest);
    let mask = |word: &str| {
        let bare = word.trim_end_matches([',', '.', ';', ':']);
        let rest = bare.trim_start_matches(|c: char| c.is_ascii_digit());
        if rest.len() < bare.len() && is_unit(rest) {
            "<time>".to_owned()
        } else if is_address(bare) {
            "<address>".to_owned()
        } else if bare.starts_with("stellar-peers_") {
            "<pod>".to_owned()
        } else if bare.starts_with("20") && bare.ends_with('Z') {
            "<date>".to_owned()
        } else if bare.len() == 6 && bare.chars().all(|c| c.is_ascii_hexdigit()) {
            "<hash>".to_owned()
        } else {
            word.to_owned()
        }
    };
    let mut words: Vec<String> = text.split_whitespace().map(mask).collect();
    // "2m 15s" is one time, as is "2m".
    words.dedup_by(|a, b| a == "<time>" && a == b);
    words
}
