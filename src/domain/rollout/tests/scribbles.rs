//! Whoever may write to the ConfigMap of a namespace can hold its restarts back, and cause none.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::*;
use crate::domain::snapshot::ConfigMapView;

const FOUR: [&str; 4] = ["v1", "v2", "v3", "v4"];

fn any_node() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["v1", "v2", "v3", "v4", "gone", "..", "a/b"])
}

fn any_hash() -> impl Strategy<Value = String> {
    let known = [hash_of(&THREE), hash_of(&FOUR), hash_of(&["v1"])];
    let known: Vec<String> = known.iter().map(ToString::to_string).collect();
    prop_oneof![
        prop::sample::select(known),
        Just("v1:000000000000".to_owned()),
        Just("v9:0".to_owned()),
        ".{0,12}",
    ]
}

fn any_network() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["testnet", "pubnet", "", "\n"])
}

/// A turn that nobody took, or that looks as if it was done.
fn any_turn() -> impl Strategy<Value = String> {
    let parts = (
        any_node(),
        any_network(),
        any_hash(),
        prop::option::of(any_hash()),
        -1_i64..4,
        any::<bool>(),
    );
    parts.prop_map(|(node, network, hash, carried, generation, outage)| {
        json!({
            "network": network, "node": node, "uid": format!("set-{node}"), "generation": generation,
            "reason": if outage { "Outage" } else { "Membership" }, "hash": hash, "carried": carried,
            "outage": outage, "token": "forged",
        })
        .to_string()
    })
}

fn any_restarts() -> impl Strategy<Value = String> {
    let flags = prop::sample::subsequence(vec!["up", "past", "outage", "pod=x"], 0..=4);
    let one = (any_node(), any_hash(), any_hash(), flags);
    prop::collection::vec(one, 0..5).prop_map(|all| {
        let all = all.into_iter().map(|(node, hash, carried, flags)| {
            let uid = short_uid(&format!("set-{node}"));
            let text = format!("{uid} Membership {hash} {carried} {}", flags.join(" "));
            (node.to_owned(), json!(text.trim_end()))
        });
        serde_json::Value::Object(all.collect()).to_string()
    })
}

fn any_record() -> impl Strategy<Value = String> {
    let node = (
        any_node(),
        any_network(),
        any::<(bool, bool)>(),
        0_u32..70_000,
    );
    let nodes = prop::collection::vec(node, 0..5).prop_map(|nodes| {
        let node = |(name, network, (ready, member), port)| {
            json!({
                "name": name, "network": network, "port": port, "addresses": ["10.9.9.9:1"], "ready": ready,
                "member": member, "uid": format!("set-{name}"),
            })
        };
        let nodes: Vec<_> = nodes.into_iter().map(node).collect();
        json!({"v": 1, "writer": "", "nodes": nodes}).to_string()
    });
    prop_oneof![
        nodes,
        ".{0,40}",
        Just("x".repeat(1 << 20)),
        Just("[".repeat(100_000))
    ]
}

/// A ConfigMap as somebody else wrote it.
fn any_scribble() -> impl Strategy<Value = ConfigMap> {
    let annotations = prop_oneof![
        any_turn().prop_map(|text| (format!("{}testnet", names::TURN_OF), text)),
        any_turn().prop_map(|text| (format!("{}x-0", names::TURN_OF), text)),
        any_restarts().prop_map(|text| (names::RESTARTS.to_owned(), text)),
        any_hash().prop_map(|hash| (names::KEYS.to_owned(), json!({"testnet": hash}).to_string())),
        any_node().prop_map(|node| (
            names::DEPARTED.to_owned(),
            json!({"testnet": [node]}).to_string()
        )),
        Just((names::RECORD_LOST.to_owned(), "true".to_owned())),
        prop::sample::select(vec![
            names::RESTARTS,
            names::KEYS,
            names::DEPARTED,
            names::PAUSED
        ])
        .prop_flat_map(|key| ".{0,20}".prop_map(move |text| (key.to_owned(), text))),
    ];
    let data = prop_oneof![
        any_record().prop_map(|text| (names::KEY_MEMBERS.to_owned(), text)),
        ".{0,40}".prop_map(|text| (names::KEY_KNOWN_PEERS.to_owned(), text)),
        Just((names::KEY_METADATA.to_owned(), "bootstrap=true".to_owned())),
    ];
    let annotations = prop::collection::vec(annotations, 0..5);
    (annotations, prop::collection::vec(data, 0..4)).prop_map(|(annotations, data)| ConfigMap {
        data: Some(data.into_iter().collect()),
        metadata: ObjectMeta {
            annotations: Some(annotations.into_iter().collect::<BTreeMap<_, _>>()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    })
}

#[derive(Clone, Debug)]
enum Deed {
    Scribble(Box<ConfigMap>),
    Delete,
    Wait,
}

fn any_deed() -> impl Strategy<Value = (Deed, u64)> {
    let deed = prop_oneof![
        3 => any_scribble().prop_map(|map| Deed::Scribble(Box::new(map))),
        1 => Just(Deed::Delete),
        3 => Just(Deed::Wait),
    ];
    (
        deed,
        prop::sample::select(vec![0, 1, 29, 31, 61, 400, 4_000]),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nobody_who_scribbles_has_two_restarted_at_once_or_one_twice(
        deeds in prop::collection::vec(any_deed(), 1..40), is_fresh: bool,
    ) {
        let mut cluster = joined();
        cluster.snapshot.is_fresh = is_fresh;
        let (mut restarts, mut down) = (BTreeMap::<String, usize>::new(), None::<String>);
        for (deed, seconds) in deeds {
            match deed {
                Deed::Scribble(map) => cluster.snapshot.config_map = Some(Arc::new(ConfigMapView::from(&*map))),
                Deed::Delete => cluster.snapshot.config_map = None,
                Deed::Wait => {}
            }
            let decision = cluster.after(Duration::from_secs(seconds));
            let started: Vec<String> = starts(&decision).into_iter().map(str::to_owned).collect();
            prop_assert!(started.len() + usize::from(down.is_some()) <= 1, "{:?} beside {:?}", started, down);
            for deletion in &decision.plan.deletions {
                let pod = &cluster.snapshot.pods[&deletion.pod];
                prop_assert!(!pod.ready, "{} was Ready", deletion.pod);
            }
            if let Some(node) = down.take() {
                cluster.pod(&node, |pod| pod.ready = true);
            } else if let Some(node) = started.first() {
                let start = decision.plan.starts().next().unwrap();
                cluster.restart(node, &start.hash);
                cluster.pod(node, |pod| pod.ready = false);
                *restarts.entry(node.clone()).or_default() += 1;
                down = Some(node.clone());
            }
        }
        prop_assert!(restarts.values().all(|times| *times <= 1), "{:?}", restarts);
    }
}
