//! The commands of the how-tos, as they stand there, from nothing to three validators and back.
//!
//! SDF's chart is a stand-in of ours in `tests/charts`, the operator that of the sandbox.

use std::time::Duration;

use stellar_peers::sandbox::operator::{Operator, OperatorOptions};

use super::{Installation, recipes::blocks, short_waits};
use crate::real::control_plane::eventually;

const SOON: Duration = Duration::from_mins(1);

/// What a person has before: keys, and a chart by its name in a repository.
const BEFORE: &str = "export SEED_A=SA SEED_B=SB SEED_C=SC SEED_D=SD KEY_A=GA KEY_B=GB KEY_C=GC\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a control plane: make e2e"]
async fn the_commands_of_the_how_tos_lead_to_validators_and_back() {
    let installation = Installation::bare("stellar-peers").await;
    let options = OperatorOptions {
        has_claim: false,
        ..OperatorOptions::default()
    };
    let _operator = Operator::start(installation.admin.clone(), "stellar", options);
    installation.shell(&volumes()).await;
    let waits = short_waits().join(",");
    let install = "helm install stellar-peers charts/stellar-peers --namespace stellar-peers \
                   --create-namespace --set image.repository=registry.example.com/stellar-peers";
    installation
        .shell(&format!("{install} --set '{waits}'"))
        .await;
    installation.roll_out().await;

    let seeds = "mkdir seeds && for n in 1 2 3; do echo S$n > seeds/validator-$n; done";
    installation.shell(seeds).await;
    let page = blocks("docs/stellar-nodes.md", "```sh");
    let [begin, create, see, day_by_day] = &page[..] else {
        panic!("the page has four blocks");
    };
    installation.shell(begin).await;
    installation.shell(create).await;
    installation.lists("stellar", 3).await;
    installation.shell(see).await;
    installation.shell(day_by_day).await;
    installation.lists("stellar", 3).await;

    let page = blocks("docs/sdf-chart.md", "```sh");
    let [begin, values, install, see, allow, by_name, without_webhook] = &page[..] else {
        panic!("the page has seven blocks");
    };
    let (add_repository, begin) = begin.split_once('\n').expect("two commands");
    assert!(add_repository.starts_with("helm repo add stellar "));
    installation.shell(begin).await;
    installation.shell(values).await;
    installation.shell(&format!("{BEFORE}{install}")).await;
    installation.lists("private", 3).await;
    installation.shell(see).await;
    installation.shell(allow).await;
    installation.shell(by_name).await;
    installation.roll_out().await;
    eventually("names are listed", SOON, async || {
        let listed = installation.listed("private").await;
        listed.contains("core-a-0.core-a.private.svc.cluster.local:11625\n")
    })
    .await;
    installation
        .shell(&format!("{BEFORE}{without_webhook}"))
        .await;
    installation.lists("private", 4).await;
    assert_eq!(
        installation.init_containers("private", "core-d").await,
        "core-init"
    );

    let page = blocks("docs/uninstall.md", "```sh");
    let [
        uninstall,
        who,
        pause,
        opt_out,
        opt_out_release,
        patch,
        patch_node,
        lists,
    ] = &page[..]
    else {
        panic!("the page has eight blocks");
    };
    for block in [pause, opt_out, opt_out_release, who, uninstall] {
        installation.shell(block).await;
    }
    installation.end_pods().await;
    for block in [patch, patch_node, lists] {
        installation.shell(block).await;
    }
    for (namespace, node, left) in [
        ("private", "core-a", "core-init"),
        ("private", "core-b", "core-init"),
        ("private", "core-c", "stellar-peers-render core-init"),
        ("stellar", "validator-1", ""),
        ("stellar", "validator-2", ""),
        ("stellar", "validator-3", "stellar-peers-render"),
    ] {
        assert_eq!(
            installation.init_containers(namespace, node).await,
            left,
            "{node}"
        );
    }
    // What still has our parts starts without us, and without the list.
    for (namespace, pod) in [("private", "core-c-0"), ("stellar", "validator-3-0")] {
        let again = format!(
            "kubectl -n {namespace} delete pod {pod}\n\
             kubectl -n {namespace} wait pod {pod} --for=create --timeout=60s\n\
             kubectl -n {namespace} wait pod {pod} --for=condition=Ready --timeout=60s"
        );
        installation.shell(&again).await;
    }
}

/// Volumes for the claims of the releases: nobody makes them here.
fn volumes() -> String {
    let class = "{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: standard}, provisioner: none}";
    let volume = |number: usize| {
        format!(
            "{{apiVersion: v1, kind: PersistentVolume, metadata: {{name: volume-{number}}}, spec: {{capacity: \
             {{storage: 20G}}, accessModes: [ReadWriteOnce], storageClassName: standard, hostPath: {{path: /none}}}}}}"
        )
    };
    let objects: Vec<String> = (0..4).map(volume).chain([class.to_owned()]).collect();
    format!(
        "kubectl create -f - <<'END'\n{}\nEND",
        objects.join("\n---\n")
    )
}

impl Installation {
    async fn listed(&self, namespace: &str) -> String {
        let list = "configmap stellar-peers --ignore-not-found -o jsonpath={.data.KNOWN_PEERS}";
        let arguments = ["get", "-n", namespace].into_iter().chain(list.split(' '));
        self.kubectl(&arguments.collect::<Vec<_>>()).await
    }

    async fn lists(&self, namespace: &str, count: usize) {
        eventually("all are listed", SOON, async || {
            self.listed(namespace).await.lines().count() == count
        })
        .await;
    }

    async fn init_containers(&self, namespace: &str, name: &str) -> String {
        let path = "jsonpath={.spec.template.spec.initContainers[*].name}";
        self.kubectl(&["get", "-n", namespace, "statefulset", name, "-o", path])
            .await
    }
}
