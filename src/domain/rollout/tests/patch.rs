//! Turns and the writes of a restart.

use json_patch::Patch;
use serde_json::Value;

use super::*;
use crate::{
    domain::{patch::sendable, policy::InjectMode},
    json::Json,
};

#[test]
fn a_token_that_was_not_used_is_taken_back() {
    let mut cluster = joined();
    cluster.set("v3", |set| set.turn = Some("token".to_owned()));
    let decision = cluster.pass();
    let fences: Vec<_> = decision
        .plan
        .fences
        .iter()
        .map(|it| (it.node.as_str(), it.token.as_str()))
        .collect();
    assert_eq!(fences, [("v3", "token")]);
    // Our own start, which the stores have not shown yet, is none of these.
    let set = &cluster.snapshot.stateful_sets[&name("v3")];
    let (uid, generation) = (set.uid.clone(), set.generation + 1);
    let network = crate::domain::node::Network::new("testnet");
    cluster
        .memory
        .started(&network, &name("v3"), &uid, generation);
    assert!(cluster.pass().plan.fences.is_empty());
}

fn operators_set() -> Value {
    json!({
        "metadata": {"uid": "u", "generation": 3, "annotations": {names::TURN: "t"}},
        "spec": {"template": {"metadata": {}, "spec": {"containers": [{"name": "stellar-node"}]}}},
    })
}

fn a_start(carried: Option<&str>) -> Start {
    Start {
        node: name("v1"),
        network: crate::domain::node::Network::default(),
        uid: "u".to_owned(),
        generation: 3,
        reason: Stale::NotInjected,
        hash: hash_of(&["v1", "v2"]),
        carried: carried.map(str::to_owned),
        turn: None,
        port: PeerPort::DEFAULT,
        was_down: false,
        outage: false,
        halts: None,
    }
}

const NOON: Timestamp = Timestamp::constant(1_800_000_000, 0);

fn patch_of(set: &Value, carried: Option<&str>) -> Patch {
    let (set, start) = (Json::from(set), a_start(carried));
    sendable(restart_patch(&set, &start, "t", &InjectMode::Mount, NOON).unwrap())
}

fn view_of(set: &Value) -> TemplateView {
    Template::new(&Json::from(&set["spec"]["template"])).view(|_| None, "a")
}

#[test]
fn the_restart_patch_carries_our_parts_and_holds_only_on_what_was_decided() {
    let mut patched = operators_set();
    let patch = patch_of(&patched, None);
    json_patch::patch(&mut patched, &patch).unwrap();
    let view = view_of(&patched);
    assert_eq!(view.parts, Parts::Whole);
    assert_eq!(
        view.membership.as_deref(),
        Some(hash_of(&["v1", "v2"]).as_str())
    );
    assert_eq!(view.restarted_at.as_deref(), Some("2027-01-15T08:00:00Z"));
    for (pointer, value) in [
        ("/metadata/uid", json!("other")),
        ("/metadata/generation", json!(4)),
        (
            "/metadata/annotations/peers.stellar.org~1turn",
            json!("other"),
        ),
    ] {
        let mut other = operators_set();
        *other.pointer_mut(pointer).unwrap() = value;
        assert!(json_patch::patch(&mut other, &patch).is_err(), "{pointer}");
    }
    assert!(
        json_patch::patch(&mut patched.clone(), &patch).is_err(),
        "the token is used up"
    );
    patched["metadata"]["annotations"][names::TURN] = json!("t");
    let patch = patch_of(&patched, Some("v1:000000000000"));
    assert!(
        json_patch::patch(&mut patched, &patch).is_err(),
        "it carries another membership than was seen"
    );
}

#[test]
fn a_restart_is_always_later_than_the_last_even_if_the_clock_went_back() {
    let mut set = operators_set();
    set["spec"]["template"]["metadata"]["annotations"] =
        json!({names::RESTARTED_AT: "2030-01-01T00:00:00Z"});
    let patch = patch_of(&set, None);
    json_patch::patch(&mut set, &patch).unwrap();
    let view = view_of(&set);
    assert_eq!(view.restarted_at.as_deref(), Some("2030-01-01T00:00:01Z"));
}
