//! Faults that only a stand-in can be told to have: one request refused, one answered wrongly, one late.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use clap::Parser;
use serde_json::{Value, json};
use stellar_peers::{
    api::names,
    clock::Clock,
    engine::Engine,
    sandbox::{
        Fault, RunningControllers, Sandbox, fixtures,
        operator::{Operator, OperatorOptions, WriteMode},
    },
};

use super::Flags;

const MINUTE: Duration = Duration::from_mins(1);

/// A cluster whose validators run before we come, each network in its namespaces.
struct Cluster {
    sandbox: Sandbox,
    _controllers: RunningControllers,
    _operators: Vec<Operator>,
}

impl Cluster {
    async fn running(namespaces: &[&str], mode: WriteMode, validators: &[(&str, &str)]) -> Self {
        let sandbox = Sandbox::default();
        let controllers = sandbox.start();
        let admin = sandbox.client("admin");
        fixtures::create(&admin, &fixtures::stellar_node_definition())
            .await
            .expect("a new kind");
        let mut operators = Vec::new();
        for namespace in namespaces {
            sandbox.create_namespace(namespace);
            let options = OperatorOptions {
                mode,
                ..OperatorOptions::default()
            };
            operators.push(Operator::start(
                sandbox.client("operator"),
                namespace,
                options,
            ));
            for (name, network) in validators {
                let mut node = fixtures::stellar_node(namespace, name, &["a", "b"]);
                node["spec"]["network"] = json!(network);
                fixtures::create(&admin, &node)
                    .await
                    .expect("a new validator");
            }
        }
        tokio::time::sleep(MINUTE).await;
        Self {
            sandbox,
            _controllers: controllers,
            _operators: operators,
        }
    }

    /// An installation of ours that acts as `user` and has its Lease in `own`.
    fn ours(&self, user: &str, own: &str) -> Engine {
        let args = Flags::parse_from(["ours", "--own-namespace", own]).app;
        let clock = Clock::of_runtime("2027-01-15T08:00:00Z".parse().expect("a date"));
        Engine::start(self.sandbox.client(user), args.settings(own), clock)
    }

    fn set(&self, namespace: &str, name: &str) -> Value {
        self.sandbox
            .peek("statefulsets.apps", namespace, name)
            .expect("it is there")
    }

    fn known_peers(&self, namespace: &str) -> String {
        let list = self
            .sandbox
            .peek("configmaps", namespace, names::STELLAR_PEERS)
            .unwrap_or_default();
        list["data"][names::KEY_KNOWN_PEERS]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Writes of a kind by a user so far.
    fn writes(&self, user: &str, resource: &str) -> usize {
        let requests = self.sandbox.requests();
        requests
            .iter()
            .filter(|it| it.info.user == user && it.info.resource == resource && it.is_write())
            .count()
    }

    fn is_down(&self, namespace: &str, pod: &str) -> bool {
        let Some(pod) = self.sandbox.peek("pods", namespace, pod) else {
            return true;
        };
        let conditions = pod["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let is_ready = conditions
            .iter()
            .any(|it| it["type"] == "Ready" && it["status"] == "True");
        !is_ready || !pod["metadata"]["deletionTimestamp"].is_null()
    }
}

const THREE: [(&str, &str); 3] = [("a", "testnet"), ("b", "testnet"), ("c", "testnet")];

#[tokio::test(start_paused = true)]
async fn a_404_while_we_run_empties_no_list() {
    let cluster = Cluster::running(&["ns"], WriteMode::Apply, &THREE).await;
    let _ours = cluster.ours("us", "ns");
    tokio::time::sleep(10 * MINUTE).await;
    let before = cluster.known_peers("ns");
    assert_eq!(before.lines().count(), 3);
    for kind in ["statefulsets", "stellarnodes", "pods", "configmaps"] {
        cluster.sandbox.set_faults(move |it| {
            let is_hit =
                it.user == "us" && it.resource == kind && ["list", "watch"].contains(&it.verb);
            if is_hit {
                Fault::Status(404)
            } else {
                Fault::None
            }
        });
        cluster.sandbox.break_watches();
        tokio::time::sleep(MINUTE).await;
        assert_eq!(cluster.known_peers("ns"), before, "404 on {kind}");
        cluster.sandbox.clear_faults();
        tokio::time::sleep(MINUTE).await;
        assert_eq!(cluster.known_peers("ns"), before, "after a 404 on {kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_not_served_when_we_start_empties_no_list() {
    let cluster = Cluster::running(&["ns"], WriteMode::Apply, &THREE).await;
    let ours = cluster.ours("us", "ns");
    tokio::time::sleep(10 * MINUTE).await;
    let before = cluster.known_peers("ns");
    assert_eq!(before.lines().count(), 3);
    drop(ours);
    cluster.sandbox.set_faults(|it| {
        if it.user == "us" && it.resource == "stellarnodes" {
            Fault::Status(404)
        } else {
            Fault::None
        }
    });
    let (_ours, writes) = (
        cluster.ours("us", "ns"),
        cluster.writes("us", "statefulsets"),
    );
    tokio::time::sleep(5 * MINUTE).await;
    assert_eq!(cluster.known_peers("ns"), before);
    assert_eq!(cluster.writes("us", "statefulsets"), writes);
    let told = cluster.sandbox.peek_all("events.events.k8s.io", "ns");
    assert!(told.iter().any(|it| it["reason"] == "KindMissing"));

    // What is seen again is looked after again.
    cluster.sandbox.clear_faults();
    let admin = cluster.sandbox.client("admin");
    let newcomer = fixtures::stellar_node("ns", "d", &["a", "b"]);
    fixtures::create(&admin, &newcomer)
        .await
        .expect("a new validator");
    tokio::time::sleep(5 * MINUTE).await;
    assert_eq!(cluster.known_peers("ns").lines().count(), 4);
}

#[tokio::test(start_paused = true)]
async fn one_network_in_three_namespaces_is_taken_in_one_validator_at_a_time() {
    let namespaces = ["n1", "n2", "n3"];
    let cluster = Cluster::running(&namespaces, WriteMode::Apply, &THREE[..2]).await;
    let _ours = cluster.ours("us", "n1");
    let mut most = 0_usize;
    for _ in 0..40 * 60 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let is_down = |namespace: &&str| {
            let pods = ["a-0", "b-0"].into_iter();
            pods.filter(|pod| cluster.is_down(namespace, pod)).count()
        };
        most = most.max(namespaces.iter().map(is_down).sum());
    }
    assert_eq!(most, 1);
    for namespace in namespaces {
        for name in ["a", "b"] {
            let annotations =
                &cluster.set(namespace, name)["spec"]["template"]["metadata"]["annotations"];
            assert!(
                annotations[names::MEMBERSHIP].is_string(),
                "{namespace}/{name} was not taken in"
            );
        }
    }
}

/// Its template is put back each time, and the record of the restart meets a conflict.
#[tokio::test(start_paused = true)]
async fn a_replacing_operator_and_a_conflict_after_each_restart_lead_to_no_second_one() {
    let cluster = Cluster::running(&["ns"], WriteMode::Replace, &THREE[..2]).await;
    let armed = Arc::new(AtomicBool::new(false));
    cluster.sandbox.set_faults(move |it| {
        if it.user != "us" || it.verb != "patch" {
            return Fault::None;
        }
        if it.resource == "statefulsets" {
            armed.store(true, Ordering::SeqCst);
        }
        if it.resource == "configmaps" && armed.swap(false, Ordering::SeqCst) {
            return Fault::Status(409);
        }
        Fault::None
    });
    let _ours = cluster.ours("us", "ns");
    tokio::time::sleep(60 * MINUTE).await;
    for name in ["a", "b"] {
        // One restart, and the operator's way back from it.
        assert!(
            cluster.set("ns", name)["metadata"]["generation"].as_i64() <= Some(3),
            "{name}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn one_statefulset_that_refuses_our_writes_holds_nobody_else_up() {
    let validators = [
        ("a", "testnet"),
        ("b", "testnet"),
        ("c", "testnet"),
        ("x", "other"),
        ("y", "other"),
    ];
    let cluster = Cluster::running(&["ns"], WriteMode::Apply, &validators).await;
    cluster.sandbox.set_faults(|it| {
        let is_hit = it.user == "us"
            && it.resource == "statefulsets"
            && it.verb == "patch"
            && it.name == "a";
        if is_hit {
            Fault::Status(403)
        } else {
            Fault::None
        }
    });
    let _ours = cluster.ours("us", "ns");
    tokio::time::sleep(60 * MINUTE).await;
    for (name, _) in validators {
        let set = cluster.set("ns", name);
        let is_done = set["metadata"]["annotations"][names::JOINED_AT].is_string()
            && set["spec"]["template"]["metadata"]["annotations"][names::MEMBERSHIP].is_string();
        assert_eq!(is_done, name != "a", "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_installations_that_cannot_see_each_other_do_not_fight() {
    let cluster = Cluster::running(&["ns", "one", "two"], WriteMode::Apply, &[]).await;
    let admin = cluster.sandbox.client("admin");
    for (name, _) in THREE {
        fixtures::create(&admin, &fixtures::stellar_node("ns", name, &["a"]))
            .await
            .expect("a new validator");
    }
    tokio::time::sleep(MINUTE).await;
    cluster.sandbox.set_faults(|it| {
        let is_hit = it.resource == "leases" && it.user != it.namespace;
        if is_hit {
            Fault::Status(403)
        } else {
            Fault::None
        }
    });
    let (_one, _two) = (cluster.ours("one", "one"), cluster.ours("two", "two"));
    tokio::time::sleep(20 * MINUTE).await;
    for (name, _) in THREE {
        let generation = cluster.set("ns", name)["metadata"]["generation"].as_i64();
        assert_eq!(
            generation,
            Some(2),
            "{name} was taken in once, by one of the two"
        );
    }
    let writes = || {
        let of = |user| cluster.writes(user, "configmaps") + cluster.writes(user, "statefulsets");
        (of("one"), of("two"))
    };
    let before = writes();
    tokio::time::sleep(5 * MINUTE).await;
    assert_eq!(writes(), before, "at rest nobody writes");
}

#[tokio::test(start_paused = true)]
async fn a_list_restored_from_a_backup_is_not_written_for_ever() {
    let cluster = Cluster::running(&["ns"], WriteMode::Apply, &THREE[..1]).await;
    let restored = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": names::STELLAR_PEERS, "namespace": "ns", "annotations": {
            names::RESTARTS: "{\"a\":{\"uid\":\"old\",\"reason\":\"Membership\",\"hash\":\"v1:000000000000\"}}",
        }},
        "data": {},
    });
    fixtures::create(&cluster.sandbox.client("backup"), &restored)
        .await
        .expect("a new ConfigMap");
    let _ours = cluster.ours("us", "ns");
    tokio::time::sleep(5 * MINUTE).await;
    let before = cluster.writes("us", "configmaps");
    tokio::time::sleep(5 * MINUTE).await;
    assert_eq!(cluster.writes("us", "configmaps"), before);
}
