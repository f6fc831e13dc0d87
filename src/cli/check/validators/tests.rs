//! Namespaces in the sandbox, as a person finds them.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use super::*;
use crate::{
    api::{StatefulSetObject, names},
    cli::check::finding::Outcome,
    domain::{Policy, notes::short_uid},
    peer_discovery,
    sandbox::{Fault, Sandbox, fixtures},
};

fn ours() -> Ours {
    Ours {
        policy: Policy {
            writer: "default/stellar-peers".to_owned(),
            ..Policy::default()
        },
        writes_lists: true,
        uses_names: false,
        is_known: true,
        is_writer_known: true,
    }
}

async fn outcomes(sandbox: &Sandbox) -> Vec<(Check, Outcome)> {
    outcomes_for(sandbox, &ours()).await
}

async fn outcomes_for(sandbox: &Sandbox, ours: &Ours) -> Vec<(Check, Outcome)> {
    let client = sandbox.client("a-person");
    let found = look(&client, "default", ours, Clock::system()).await;
    found.into_iter().map(|it| (it.check, it.outcome)).collect()
}

async fn patch<K>(sandbox: &Sandbox, name: &str, patch: Value)
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug,
{
    let api = Api::<K>::namespaced(sandbox.client("a-person"), "default");
    let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
    let patched = api.patch(name, &params, &patch);
    patched.await.expect("it is there");
}

async fn cluster() -> (Sandbox, crate::sandbox::RunningControllers) {
    let sandbox = Sandbox::default();
    let running = sandbox.start();
    let client = sandbox.client("a-person");
    for name in ["core-a", "core-b"] {
        let set = fixtures::chart_stateful_set("default", name);
        fixtures::create(&client, &set).await.expect("it is new");
    }
    tokio::time::sleep(Duration::from_mins(2)).await;
    let found = peer_discovery::discover_peers(&client, "default", None)
        .await
        .expect("all can be read");
    let written = peer_discovery::ensure_peers_config_map(&client, "default", &found).await;
    assert!(written.expect("nobody else writes"));
    (sandbox, running)
}

#[tokio::test(start_paused = true)]
async fn a_namespace_in_which_all_is_well_has_nothing_but_passes() {
    let (sandbox, _running) = cluster().await;
    let expected = [
        (Check::Namespace, Outcome::Pass),
        (Check::ListCurrent, Outcome::Pass),
    ];
    assert_eq!(outcomes(&sandbox).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_says_something_else_is_told_and_a_seed_that_is_shared() {
    let (sandbox, _running) = cluster().await;
    let client = sandbox.client("a-person");
    let mut set = fixtures::chart_stateful_set("default", "core-c");
    set["spec"]["replicas"] = json!(2);
    fixtures::create(&client, &set).await.unwrap();
    tokio::time::sleep(Duration::from_mins(2)).await;
    let found = outcomes(&sandbox).await;
    assert!(
        found.contains(&(Check::ListCurrent, Outcome::Failed)),
        "{found:?}"
    );
    assert!(
        found.contains(&(Check::SharedSeed, Outcome::Failed)),
        "{found:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_nobody_opted_in_is_told_and_no_fault() {
    let sandbox = Sandbox::default();
    let client = sandbox.client("a-person");
    let mut set = fixtures::chart_stateful_set("default", "core-a");
    set["spec"]["template"]["metadata"]["labels"] = json!({"app": "core-a"});
    fixtures::create(&client, &set).await.unwrap();
    assert_eq!(
        outcomes(&sandbox).await,
        [(Check::NotOptedIn, Outcome::Skipped)]
    );
    assert!(
        sandbox
            .peek("configmaps", "default", names::STELLAR_PEERS)
            .is_none()
    );
}

#[tokio::test(start_paused = true)]
async fn what_may_not_be_read_is_skipped() {
    let sandbox = Sandbox::default();
    sandbox.set_faults(|request| match &*request.resource {
        "pods" => Fault::Status(403),
        _ => Fault::None,
    });
    assert_eq!(
        outcomes(&sandbox).await,
        [(Check::Namespace, Outcome::Skipped)]
    );
}

#[tokio::test(start_paused = true)]
async fn a_list_that_cannot_follow_or_be_read_is_told() {
    let (sandbox, _running) = cluster().await;
    let broken = json!({"data": {"KNOWN_PEERS": "", "members.json": "{"}, "immutable": true});
    patch::<ConfigMap>(&sandbox, names::STELLAR_PEERS, broken).await;
    let found = outcomes(&sandbox).await;
    for check in [
        Check::ListCurrent,
        Check::ListImmutable,
        Check::ListRecord,
        Check::ListEmpty,
    ] {
        assert!(
            found.contains(&(check, Outcome::Failed)),
            "{check:?}: {found:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_known_of_the_service_makes_no_failure() {
    let (sandbox, _running) = cluster().await;
    let other = json!({"data": {"KNOWN_PEERS": "192.0.2.1:11625\n"}});
    patch::<ConfigMap>(&sandbox, names::STELLAR_PEERS, other).await;
    let mut unknown = ours();
    unknown.is_known = false;
    let found = outcomes_for(&sandbox, &unknown).await;
    assert!(
        found.contains(&(Check::ListCurrent, Outcome::Warning)),
        "{found:?}"
    );
    let mut dry = ours();
    dry.writes_lists = false;
    let found = outcomes_for(&sandbox, &dry).await;
    assert!(
        found.contains(&(Check::ListCurrent, Outcome::Skipped)),
        "{found:?}"
    );
    let mut elsewhere = ours();
    elsewhere.policy.writer = "ops/stellar-peers".to_owned();
    let found = outcomes_for(&sandbox, &elsewhere).await;
    assert!(
        found.contains(&(Check::ListWriter, Outcome::Warning)),
        "{found:?}"
    );
    assert!(
        found.contains(&(Check::ListCurrent, Outcome::Skipped)),
        "{found:?}"
    );
    // Names where the flags are not known: nobody can tell what they should be.
    let named =
        json!({"data": {"KNOWN_PEERS": "core-a-0.core-a.default.svc.cluster.local:11625\n"}});
    patch::<ConfigMap>(&sandbox, names::STELLAR_PEERS, named).await;
    let found = outcomes_for(&sandbox, &unknown).await;
    assert!(
        found.contains(&(Check::ListCurrent, Outcome::Skipped)),
        "{found:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_does_not_come_to_its_end_is_told() {
    let (sandbox, running) = cluster().await;
    // Nobody carries it out.
    drop(running);
    let set = sandbox
        .peek("statefulsets.apps", "default", "core-a")
        .expect("it is there");
    let uid = set["metadata"]["uid"].as_str().expect("it has one");
    let template =
        json!({"metadata": {"annotations": {names::RESTARTED_AT: "2020-01-01T00:00:00Z"}}});
    patch::<StatefulSetObject>(&sandbox, "core-a", json!({"spec": {"template": template}})).await;
    let restarts = json!({"core-a": format!("{} Membership v1:0123456789ab -", short_uid(uid))});
    let noted = json!({"metadata": {"annotations": {names::RESTARTS: restarts.to_string()}}});
    patch::<ConfigMap>(&sandbox, names::STELLAR_PEERS, noted).await;
    let found = outcomes(&sandbox).await;
    assert!(
        found.contains(&(Check::StuckRestart, Outcome::Failed)),
        "{found:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_quorum_set_that_cannot_be_read_and_a_port_that_is_none_are_told() {
    let (sandbox, _running) = cluster().await;
    let client = sandbox.client("a-person");
    let definition = fixtures::stellar_node_definition();
    fixtures::create(&client, &definition)
        .await
        .expect("it is new");
    let mut node = fixtures::stellar_node("default", "core-a", &[]);
    node["spec"]["validatorConfig"] = json!({"quorumSet": "?", "peerPort": 70000});
    fixtures::create(&client, &node).await.expect("it is new");
    let found = outcomes(&sandbox).await;
    assert!(
        found.contains(&(Check::QuorumUnreadable, Outcome::Warning)),
        "{found:?}"
    );
    assert!(
        found.contains(&(Check::NotListed, Outcome::Warning)),
        "{found:?}"
    );
}
