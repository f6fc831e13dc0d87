//! Whom a validator is told about: by tables, and what holds for any record.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::domain::{
    core_config::choice::{Basis, Choice, MountedList, Problem, Reader, choose},
    fixtures::name,
    node::Network,
};

fn record(nodes: &[(&str, &str, &[&str])]) -> String {
    let node = |(name, network, addresses): &(&str, &str, &[&str])| {
        json!({
            "name": name, "network": network, "port": 11625, "addresses": addresses,
            "ready": true, "member": true, "uid": name,
        })
    };
    let nodes: Vec<Value> = nodes.iter().map(node).collect();
    json!({"v": 1, "writer": "stellar-peers/stellar-peers", "nodes": nodes}).to_string()
}

fn two_networks() -> String {
    record(&[
        ("core-a", "testnet", &["10.0.0.1:11625"]),
        ("core-b", "testnet", &["10.0.0.2:11625", "10.0.0.3:11625"]),
        ("core-c", "pubnet", &["10.0.0.4:11625"]),
    ])
}

fn asks(node: &str, pod_ips: &str) -> Reader {
    Reader::new(name(node), None, pod_ips)
}

fn from_members(members: &str, reader: &Reader) -> Choice {
    let list = MountedList {
        members: Some(members),
        known_peers: Some("10.9.9.9:1\n"),
    };
    choose(&list, reader)
}

fn from_lines(lines: &str, reader: &Reader) -> Choice {
    let list = MountedList {
        members: None,
        known_peers: Some(lines),
    };
    choose(&list, reader)
}

fn told(choice: &Choice) -> Vec<String> {
    choice.peers.iter().map(ToString::to_string).collect()
}

#[test]
fn a_node_is_told_of_the_others_of_its_network() {
    let choice = from_members(&two_networks(), &asks("core-a", ""));
    assert_eq!(told(&choice), ["10.0.0.2:11625", "10.0.0.3:11625"]);
    assert_eq!(choice.basis, Basis::Record(Network::new("testnet")));
    assert!(choice.problems.is_empty());
    assert_eq!(
        told(&from_members(&two_networks(), &asks("core-c", ""))),
        [""; 0]
    );
}

#[test]
fn a_new_node_is_of_the_network_that_it_was_told_or_of_the_only_one() {
    let new = asks("core-new", "");
    let choice = from_members(&two_networks(), &new);
    assert!(choice.peers.is_empty());
    assert_eq!(
        choice.problems[0].to_string(),
        "members.json has networks pubnet, testnet, and not core-new; name its network with --network"
    );
    let of_pubnet = Reader {
        network: Some(Network::new("Pubnet")),
        ..new.clone()
    };
    assert_eq!(
        told(&from_members(&two_networks(), &of_pubnet)),
        ["10.0.0.4:11625"]
    );
    let one = record(&[("core-a", "testnet", &["10.0.0.1:11625"])]);
    assert_eq!(told(&from_members(&one, &new)), ["10.0.0.1:11625"]);
    assert_eq!(told(&from_members(&record(&[]), &new)), [""; 0]);
}

#[test]
fn the_record_knows_a_network_better_than_the_flag() {
    let moved = Reader {
        network: Some(Network::new("pubnet")),
        ..asks("core-a", "")
    };
    assert_eq!(
        from_members(&two_networks(), &moved).basis,
        Basis::Record(Network::new("testnet"))
    );
}

#[test]
fn an_address_that_has_become_the_nodes_own_is_not_named() {
    // core-b had core-a's address before. On the host's network a neighbour has the same, and another port.
    let members = record(&[
        ("core-a", "", &["10.0.0.1:11625"]),
        (
            "core-b",
            "",
            &[
                "10.0.0.1:11625",
                "10.0.0.1:11700",
                "10.0.0.7:11625",
                "10.0.0.2:11625",
            ],
        ),
    ]);
    let choice = from_members(&members, &asks("core-a", "10.0.0.7, fd00::7"));
    assert_eq!(told(&choice), ["10.0.0.1:11700", "10.0.0.2:11625"]);
}

#[test]
fn without_a_record_all_lines_count_but_those_of_the_pod() {
    let lines = "10.0.0.1:11625\n10.0.0.2:11625\n10.0.0.2:11626\ncore-0.core.ns.svc:1\ncore-b-0.core.ns.svc:1\n";
    let choice = from_lines(lines, &asks("core", "fd00::1,10.0.0.2"));
    assert_eq!(told(&choice), ["10.0.0.1:11625", "core-b-0.core.ns.svc:1"]);
    assert_eq!(choice.basis, Basis::Lines);
    assert!(choice.problems.is_empty());
    assert!(from_lines("", &asks("core", "")).problems.is_empty());
}

#[test]
fn what_is_no_address_is_left_out_and_told() {
    let lines = "10.0.0.1:11625\r\n\nevil\"]\nNODE_SEED = \"x\"\n[::1]:11625\n";
    let choice = from_lines(lines, &asks("core", ""));
    assert_eq!(told(&choice), ["10.0.0.1:11625"]);
    assert!(matches!(
        choice.problems[..],
        [Problem::InvalidLines { count: 3, first: 3 }]
    ));
}

#[test]
fn a_record_that_cannot_be_used_falls_back_to_the_lines_and_says_so() {
    for members in [
        "",
        "{",
        "{\"v\":2,\"nodes\":[]}",
        &record(&[("a", "", &["evil\"]\n:1"])]),
    ] {
        let choice = from_members(members, &asks("core", ""));
        assert_eq!(told(&choice), ["10.9.9.9:1"]);
        assert!(
            matches!(choice.problems[..], [Problem::Record(_)]),
            "{members}"
        );
        let alone = MountedList {
            members: Some(members),
            known_peers: None,
        };
        assert!(matches!(
            choose(&alone, &asks("core", "")).problems[..],
            [Problem::Record(_)]
        ));
    }
    let none = choose(&MountedList::default(), &asks("core", ""));
    assert!(matches!(none.problems[..], [Problem::NoList]));
    assert_eq!((none.peers, none.basis), (BTreeSet::new(), Basis::Nothing));
}

proptest! {
    #[test]
    fn a_node_is_never_told_of_itself_nor_of_another_network(
        nodes in prop::collection::vec(("[a-c]", "[xy]", prop::collection::vec("10\\.0\\.0\\.[0-5]:1162[56]", 0..3)), 0..6),
        own in "[a-d]",
        own_ip in 0..6_u8,
    ) {
        let nodes: Vec<(&str, &str, Vec<&str>)> = nodes
            .iter()
            .map(|(name, network, all)| (name.as_str(), network.as_str(), all.iter().map(String::as_str).collect()))
            .collect();
        let as_slices: Vec<_> = nodes.iter().map(|(name, network, all)| (*name, *network, all.as_slice())).collect();
        let ip = format!("10.0.0.{own_ip}");
        let choice = from_members(&record(&as_slices), &asks(&own, &ip));
        let told = told(&choice);
        let pod = format!("{ip}:11625");
        prop_assert!(!told.contains(&pod));
        if let Basis::Record(network) = &choice.basis {
            for address in &told {
                let has = |(name, of, all): &(&str, &str, Vec<&str>)| {
                    *name != own && *of == network.as_str() && all.contains(&address.as_str())
                };
                prop_assert!(nodes.iter().any(has));
            }
        } else {
            prop_assert!(told.is_empty());
        }
    }

    #[test]
    fn no_text_makes_choosing_panic_or_gives_more_than_addresses(members in ".{0,100}", lines in "(?s).{0,200}") {
        let choice = choose(
            &MountedList { members: Some(&members), known_peers: Some(&lines) },
            &asks("core", &lines),
        );
        let plain = |c: char| c.is_ascii_alphanumeric() || ".:-".contains(c);
        prop_assert!(choice.peers.iter().all(|it| it.to_string().chars().all(plain)));
    }
}
