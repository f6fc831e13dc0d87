//! The rules of discovery, on small clusters.

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::domain::{
    decision::Decision,
    fixtures::{Cluster, hash_of, name},
    peer_list::PeerList,
    policy::AddressMode,
    snapshot::{Inject, ServiceView, StatefulSetView},
};

const MINUTE: Duration = Duration::from_mins(1);
const FOUR: [&str; 4] = ["v1", "v2", "v3", "v4"];

fn listed(decision: &Decision) -> Vec<String> {
    decision
        .discovery
        .peers()
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn reason(decision: &Decision, node: &str) -> &'static str {
    match &decision.discovery.listings[&name(node)] {
        Listing::Skipped(why) => why.reason(),
        Listing::Peers(..) => "listed",
    }
}

fn members(decision: &Decision) -> Vec<&str> {
    decision
        .discovery
        .networks
        .values()
        .flat_map(|it| it.members().keys())
        .map(NodeName::as_str)
        .collect()
}

/// Every way of being left out: how a healthy validator gets there, and its one reason.
#[test]
fn each_way_of_being_left_out_has_its_reason() {
    type Change = fn(&mut Cluster);
    let ways: [(&str, Change); 14] = [
        ("NotValidator", |it| {
            it.node("v1", |node| node.node_type = "Horizon".to_owned());
        }),
        ("InjectDisabled", |it| {
            it.node("v1", |node| node.inject = Inject::Disabled);
        }),
        ("InjectDisabled", |it| {
            it.set("v1", |set| set.inject = Inject::Disabled);
        }),
        ("Deleted", |it| {
            it.node("v1", |node| node.terminating = true);
        }),
        ("Suspended", |it| {
            it.node("v1", |node| node.suspended = true);
        }),
        ("NoStatefulSet", |it| {
            drop(Arc::make_mut(&mut it.snapshot.stateful_sets).remove(&name("v1")));
        }),
        ("NoStellarNode", |it| {
            drop(Arc::make_mut(&mut it.snapshot.stellar_nodes).remove(&name("v1")));
        }),
        ("NoReplicas", |it| it.set("v1", |set| set.replicas = 0)),
        ("ReadPool", |it| it.set("v1", |set| set.read_pool = true)),
        ("NoPod", |it| Arc::make_mut(&mut it.snapshot.pods).clear()),
        ("PodNotReady", |it| it.pod("v1", |pod| pod.ready = false)),
        ("PodTerminating", |it| {
            it.pod("v1", |pod| pod.terminating = true);
        }),
        ("NoIp", |it| it.pod("v1", |pod| pod.ips.clear())),
        ("OnlyIpv6", |it| {
            it.pod("v1", |pod| pod.ips = vec!["fd00::1".parse().unwrap()]);
        }),
    ];
    for (expected, change) in ways {
        let mut cluster = Cluster::with_ready(&["v1", "v2", "v3"]);
        change(&mut cluster);
        let decision = cluster.decide();
        assert_eq!(reason(&decision, "v1"), expected);
    }
}

#[test]
fn a_port_is_read_from_the_node_then_annotations_then_the_container() {
    let port = |text: &str| Some(crate::domain::peer::PeerPort::from_annotation(text));
    let mut cluster = Cluster::with_ready(&["v1"]);
    assert_eq!(listed(&cluster.decide()), ["10.0.0.1:11625"]);
    cluster.set("v1", |set| set.template.named_port = port("4"));
    assert_eq!(listed(&cluster.decide()), ["10.0.0.1:4"]);
    cluster.set("v1", |set| set.template.port = port("3"));
    assert_eq!(listed(&cluster.decide()), ["10.0.0.1:3"]);
    cluster.set("v1", |set| set.port = port("2"));
    assert_eq!(listed(&cluster.decide()), ["10.0.0.1:2"]);
    cluster.node("v1", |node| node.peer_port = port("1"));
    assert_eq!(listed(&cluster.decide()), ["10.0.0.1:1"]);
    cluster.node("v1", |node| node.peer_port = port("70000"));
    assert_eq!(reason(&cluster.decide(), "v1"), "InvalidPort");
}

#[test]
fn a_port_that_becomes_invalid_takes_the_node_off_the_list_and_changes_no_membership() {
    let mut cluster = Cluster::settled(&FOUR);
    cluster.node("v1", |node| {
        node.peer_port = Some(crate::domain::peer::PeerPort::new(0));
    });
    let decision = cluster.pass();
    assert_eq!(reason(&decision, "v1"), "InvalidPort");
    assert_eq!(
        *decision.discovery.networks.values().next().unwrap().hash(),
        hash_of(&FOUR)
    );
}

#[test]
fn a_record_that_is_written_otherwise_is_written_as_it_should_be() {
    let mut cluster = Cluster::settled(&FOUR);
    let list = cluster.decide().list.unwrap();
    let stored = |members: String| {
        let list = PeerList {
            members,
            ..list.clone()
        };
        Some(Arc::new(crate::domain::fixtures::stored(
            &list,
            Cluster::new().now(),
        )))
    };
    let looks = [
        (list.members.clone(), true),
        (list.members.replace(':', ": "), false),
        (list.members.replace("testnet", "Testnet"), false),
        (
            list.members
                .replace("{\"name\":\"v1\"", "{\"more\":1,\"name\":\"v1\""),
            false,
        ),
    ];
    for (members, is_right) in looks {
        cluster.snapshot.config_map = stored(members.clone());
        let decision = cluster.decide();
        assert_eq!(decision.writes_list, !is_right, "{members}");
        assert_eq!(decision.list.unwrap().members, list.members);
    }
}

#[test]
fn every_ready_pod_of_several_replicas_is_a_peer() {
    let mut cluster = Cluster::with_ready(&["v1"]);
    cluster.set("v1", |set| set.replicas = 3);
    let first = cluster.snapshot.pods["v1-0"].clone();
    let mut second = (*first).clone();
    second.ips = vec!["10.0.9.9".parse().unwrap()];
    let mut third = second.clone();
    third.ready = false;
    third.ips = vec!["10.0.9.10".parse().unwrap()];
    Arc::make_mut(&mut cluster.snapshot.pods).insert("v1-1".to_owned(), Arc::new(second));
    Arc::make_mut(&mut cluster.snapshot.pods).insert("v1-2".to_owned(), Arc::new(third));
    assert_eq!(
        listed(&cluster.decide()),
        ["10.0.0.1:11625", "10.0.9.9:11625"]
    );
}

#[test]
fn pods_of_another_owner_or_instance_are_nobodys() {
    for change in [
        |pod: &mut crate::domain::snapshot::PodView| pod.owner = "other".to_owned(),
        |pod: &mut _| {
            let pod: &mut crate::domain::snapshot::PodView = pod;
            pod.instance = None;
        },
    ] {
        let mut cluster = Cluster::with_ready(&["v1"]);
        cluster.pod("v1", change);
        assert_eq!(reason(&cluster.decide(), "v1"), "NoPod");
    }
}

#[test]
fn a_plain_statefulset_needs_only_to_opt_in() {
    let mut cluster = Cluster::with_ready(&["v1"]);
    Arc::make_mut(&mut cluster.snapshot.stellar_nodes).clear();
    cluster.set("v1", |set| {
        (set.operator_labelled, set.inject) = (false, Inject::Enabled);
    });
    cluster.pod("v1", |pod| pod.instance = None);
    assert_eq!(reason(&cluster.decide(), "v1"), "listed");
    cluster.set("v1", |set| set.inject = Inject::Unset);
    assert!(
        cluster.decide().discovery.listings.is_empty(),
        "somebody else's StatefulSet is no business of ours"
    );
}

#[test]
fn networks_share_the_list_and_nothing_else() {
    let mut cluster = Cluster::with_ready(&FOUR);
    for node in ["v3", "v4"] {
        cluster.node(node, |node| node.network = Some(Network::new("Public")));
    }
    let decision = cluster.decide();
    assert_eq!(listed(&decision).len(), 4);
    let hashes: Vec<_> = decision
        .discovery
        .networks
        .values()
        .map(|it| it.hash().clone())
        .collect();
    assert_eq!(hashes, [hash_of(&["v3", "v4"]), hash_of(&["v1", "v2"])]);
    let peers: Vec<String> = decision
        .discovery
        .peers_of(&name("v1"))
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(peers, ["10.0.0.2:11625"]);
}

#[test]
fn dns_names_are_used_where_the_service_gives_them_before_readiness() {
    let mut cluster = Cluster::with_ready(&["v1", "v2"]);
    cluster.policy.address_mode = AddressMode::Dns {
        cluster_domain: "cluster.local".to_owned(),
    };
    cluster.set("v1", |set| set.service_name = "core".to_owned());
    cluster.set("v2", |set| set.service_name = "missing".to_owned());
    let service = ServiceView {
        headless: true,
        publishes_not_ready: true,
    };
    Arc::make_mut(&mut cluster.snapshot.services)
        .insert("core".to_owned(), Arc::new(service.clone()));
    assert_eq!(
        listed(&cluster.decide()),
        [
            "10.0.0.2:11625",
            "v1-0.core.stellar.svc.cluster.local:11625"
        ]
    );
    for lacking in [
        ServiceView {
            headless: false,
            ..service.clone()
        },
        ServiceView {
            publishes_not_ready: false,
            ..service
        },
    ] {
        Arc::make_mut(&mut cluster.snapshot.services).insert("core".to_owned(), Arc::new(lacking));
        assert_eq!(
            listed(&cluster.decide()),
            ["10.0.0.1:11625", "10.0.0.2:11625"]
        );
    }
}

#[test]
fn who_was_ready_once_stays_a_member_and_who_never_was_is_none() {
    let mut cluster = Cluster::settled(&["v1", "v2", "v3"]);
    cluster.pod("v3", |pod| pod.ready = false);
    cluster.add("v4");
    cluster.pod("v4", |pod| pod.ready = false);
    let decision = cluster.pass();
    assert_eq!(members(&decision), ["v1", "v2", "v3"]);
    assert_eq!(
        (reason(&decision, "v3"), reason(&decision, "v4")),
        ("PodNotReady", "PodNotReady")
    );
}

#[test]
fn either_half_of_the_record_is_enough() {
    let mut without_annotations = Cluster::settled(&["v1", "v2", "v3"]);
    let mut without_list = Cluster::settled(&["v1", "v2", "v3"]);
    for node in ["v1", "v2", "v3"] {
        without_annotations.set(node, |set| set.joined_at = None);
    }
    without_list.snapshot.config_map = None;
    for cluster in [&mut without_annotations, &mut without_list] {
        cluster.pod("v1", |pod| pod.ready = false);
        assert_eq!(members(&cluster.decide()), ["v1", "v2", "v3"]);
    }
}

#[test]
fn a_reused_name_starts_anew() {
    let mut cluster = Cluster::settled(&["v1", "v2", "v3"]);
    cluster.set("v1", |set| {
        (set.uid, set.joined_at) = ("another".to_owned(), None);
    });
    cluster.pod("v1", |pod| {
        (pod.owner, pod.ready) = ("another".to_owned(), false);
    });
    assert_eq!(members(&cluster.decide()), ["v2", "v3"]);
}

#[test]
fn a_network_that_is_mostly_down_keeps_all_its_addresses() {
    let mut cluster = Cluster::settled(&FOUR);
    for node in ["v2", "v3"] {
        cluster.pod(node, |pod| pod.ready = false);
    }
    let half = cluster.pass();
    assert_eq!(
        listed(&half),
        ["10.0.0.1:11625", "10.0.0.4:11625"],
        "half is not fewer than half"
    );
    cluster.pod("v4", |pod| {
        (pod.ready, pod.ips) = (false, vec!["10.0.7.7".parse().unwrap()]);
    });
    Arc::make_mut(&mut cluster.snapshot.pods).remove("v3-0");
    let cold = cluster.pass();
    let expected = [
        "10.0.0.1:11625",
        "10.0.0.2:11625",
        "10.0.0.3:11625",
        "10.0.7.7:11625",
    ];
    assert_eq!(
        listed(&cold),
        expected,
        "a running pod's address before a remembered one"
    );
}

#[test]
fn all_pods_lost_at_once_leave_the_remembered_addresses() {
    let mut cluster = Cluster::settled(&FOUR);
    let before = listed(&cluster.pass());
    Arc::make_mut(&mut cluster.snapshot.pods).clear();
    let decision = cluster.pass();
    assert_eq!(listed(&decision), before);
    assert!(!decision.list.unwrap().bootstrap);
}

#[test]
fn a_network_in_which_nobody_was_ever_ready_is_published_after_a_while_and_stays_one_membership() {
    let mut cluster = Cluster::with_ready(&FOUR);
    for node in FOUR {
        cluster.pod(node, |pod| pod.ready = false);
    }
    let decision = cluster.pass();
    assert_eq!(listed(&decision).len(), 0);
    let look_again = decision.look_again.expect("time alone changes this");
    assert_eq!(look_again.since(cluster.now().moment), MINUTE);
    assert_eq!(
        listed(&cluster.after(MINUTE.checked_sub(Duration::from_secs(1)).unwrap())).len(),
        0
    );

    let published = cluster.after(Duration::from_secs(1));
    assert_eq!(listed(&published).len(), 4);
    assert!(published.list.unwrap().bootstrap);
    assert_eq!(members(&cluster.pass()), FOUR);

    // It goes on through a restart of ours, and becomes an ordinary network without another membership.
    cluster.memory = Memory::default();
    assert_eq!(listed(&cluster.pass()).len(), 4);
    cluster.pod("v1", |pod| pod.ready = true);
    let first = cluster.pass();
    assert_eq!((members(&first), listed(&first).len()), (FOUR.to_vec(), 4));
    assert!(!first.list.unwrap().bootstrap);
}

#[test]
fn a_bootstrap_needs_two_that_run_and_can_be_turned_off() {
    let mut alone = Cluster::with_ready(&["v1"]);
    alone.pod("v1", |pod| pod.ready = false);
    alone.pass();
    assert_eq!(listed(&alone.after(10 * MINUTE)).len(), 0);
    let mut off = Cluster::with_ready(&["v1", "v2"]);
    off.policy.bootstrap_after = Duration::ZERO;
    for node in ["v1", "v2"] {
        off.pod(node, |pod| pod.ready = false);
    }
    off.pass();
    assert_eq!(listed(&off.after(10 * MINUTE)).len(), 0);
}

#[test]
fn the_list_is_written_only_when_something_but_the_time_changed() {
    let mut cluster = Cluster::settled(&["v1", "v2"]);
    assert!(!cluster.after(MINUTE).writes_list);
    cluster.pod("v1", |pod| pod.ips = vec!["10.0.8.8".parse().unwrap()]);
    assert!(cluster.pass().writes_list);
    assert!(!cluster.pass().writes_list);
    let stored = Arc::make_mut(cluster.snapshot.config_map.as_mut().unwrap());
    stored.labelled = false;
    assert!(cluster.pass().writes_list, "drift is repaired");
}

#[test]
fn the_list_stays_empty_after_the_last_validator_and_is_not_made_for_nobody() {
    let mut nobody = Cluster::new();
    assert_eq!(nobody.decide().list, None);
    let mut cluster = Cluster::settled(&["v1"]);
    cluster.remove("v1");
    let decision = cluster.pass();
    let list = decision.list.unwrap();
    assert_eq!((list.known_peers.as_str(), list.peers), ("", 0));
    assert!(!cluster.pass().writes_list);
}

/// Clusters of up to six validators in every state that discovery tells apart.
fn any_cluster() -> impl Strategy<Value = Cluster> {
    let validator = (0..9_u8, any::<bool>(), 1..4_u8);
    prop::collection::vec(validator, 0..6).prop_map(|validators| {
        let mut cluster = Cluster::new();
        for (index, (state, public, recorded)) in validators.into_iter().enumerate() {
            let node = format!("v{index}");
            cluster.add(&node);
            if public {
                cluster.node(&node, |node| node.network = Some(Network::new("public")));
            }
            if recorded == 1 {
                cluster.set(&node, |set| {
                    set.joined_at = Some("2026-01-01T00:00:00Z".to_owned());
                });
            }
            match state {
                0 => cluster.pod(&node, |pod| pod.ready = false),
                1 => cluster.pod(&node, |pod| pod.terminating = true),
                2 => cluster.pod(&node, |pod| pod.ips.clear()),
                3 => cluster.node(&node, |node| node.suspended = true),
                4 => cluster.set(&node, |set| set.replicas = 0),
                5 => drop(Arc::make_mut(&mut cluster.snapshot.pods).remove(&format!("{node}-0"))),
                _ => {}
            }
        }
        cluster
    })
}

proptest! {
    #[test]
    fn every_name_has_exactly_one_listing_and_nobody_is_its_own_peer(mut cluster in any_cluster()) {
        let decision = cluster.decide();
        let names: Vec<&NodeName> = decision.discovery.listings.keys().collect();
        prop_assert_eq!(names, cluster.snapshot.stellar_nodes.keys().collect::<Vec<_>>());
        for (node, listing) in &decision.discovery.listings {
            let own = listing.addresses();
            prop_assert!(!matches!(listing, Listing::Peers(addresses, _) if addresses.is_empty()));
            let peers = decision.discovery.peers_of(node);
            prop_assert!(own.iter().all(|address| !peers.contains(address)));
        }
    }

    #[test]
    fn the_list_is_sorted_unique_and_the_union_of_the_records_listed_addresses(mut cluster in any_cluster()) {
        let decision = cluster.decide();
        let Some(list) = &decision.list else { return Ok(()) };
        let lines: Vec<PeerAddress> =
            list.known_peers.lines().map(|line| PeerAddress::parse(line).unwrap()).collect();
        let mut sorted = lines.clone();
        sorted.sort();
        sorted.dedup();
        prop_assert_eq!(&sorted, &lines);
        let record = crate::domain::peer_list::Record::parse(&list.members).unwrap();
        for line in &lines {
            prop_assert!(record.nodes.iter().any(|node| node.addresses.contains(line)));
        }
    }

    #[test]
    fn the_same_cluster_told_in_another_order_gives_the_same_list(
        cluster in any_cluster(), order in Just((0..6).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        // Maps have no order to begin with; what could depend on one is the order in which objects came in.
        let mut again = Cluster::new();
        let nodes: Vec<_> = cluster.snapshot.stellar_nodes.keys().cloned().collect();
        for index in order.into_iter().filter(|index| *index < nodes.len()) {
            let node = &nodes[index];
            let snapshot = &cluster.snapshot;
            Arc::make_mut(&mut again.snapshot.stellar_nodes).insert(node.clone(), snapshot.stellar_nodes[node].clone());
            Arc::make_mut(&mut again.snapshot.stateful_sets).insert(node.clone(), snapshot.stateful_sets[node].clone());
            let pod = format!("{node}-0");
            if let Some(view) = snapshot.pods.get(&pod) {
                Arc::make_mut(&mut again.snapshot.pods).insert(pod, view.clone());
            }
        }
        let mut cluster = cluster;
        prop_assert_eq!(again.decide().list, cluster.decide().list);
    }
}

#[test]
fn a_default_statefulset_view_is_no_node() {
    let mut cluster = Cluster::new();
    Arc::make_mut(&mut cluster.snapshot.stateful_sets)
        .insert(name("postgres"), Arc::new(StatefulSetView::default()));
    assert!(cluster.decide().discovery.listings.is_empty());
}
