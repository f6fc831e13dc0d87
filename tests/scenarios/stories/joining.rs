//! Validators come up and join.

use stellar_peers::{api::names, domain::peer_list};

use crate::world::World;

/// The seed's two validators.
pub(crate) async fn two_validators_end_with_each_other_and_then_nothing_is_written(
    world: &mut World,
) {
    world.begin().await;
    let both = ["validator-1", "validator-2"];
    let start = world.history.mark();
    world.create_validators(&both).await;
    world.everyone_knows(&both).await;
    for node in both {
        assert!(
            world.history.restarts(node, start) <= 1,
            "{node} was restarted more than once"
        );
    }

    let map = world.list().await.expect("the list is there");
    for (key, value) in peer_list::labels() {
        let labels = map.metadata.labels.as_ref().expect("it has labels");
        assert_eq!(labels.get(key).map(String::as_str), Some(value));
    }
    let data = map.data.expect("it has data");
    let keys: Vec<&str> = data.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            names::KEY_KNOWN_PEERS,
            names::KEY_METADATA,
            names::KEY_MEMBERS
        ]
    );
    assert!(data[names::KEY_KNOWN_PEERS].ends_with(":11625\n"));
    let metadata = &data[names::KEY_METADATA];
    assert!(
        metadata.starts_with("discovered_at=20")
            && metadata.ends_with("Z,peer_count=2,active_validators=2"),
        "{metadata}"
    );
    let record = world.record().await.expect("the record is readable");
    for node in &record.nodes {
        assert!(node.ready && node.member, "{node:?}");
        assert_eq!(node.network.as_str(), "testnet");
    }
    world.nothing_is_written().await;
}

pub(crate) async fn a_third_restarts_the_old_ones_once_each_and_is_not_restarted_itself(
    world: &mut World,
) {
    world.begin().await;
    let (old, all) = (
        ["validator-1", "validator-2"],
        ["validator-1", "validator-2", "validator-3"],
    );
    world.create_validators(&old).await;
    world.everyone_knows(&old).await;
    let mark = world.history.mark();
    world.create_validators(&["validator-3"]).await;
    world.everyone_knows(&all).await;
    world.restarted(&old, mark, 1).await;
    world.restarted(&["validator-3"], mark, 0).await;
    assert!(world.history.most_down_at_once(&old, mark) <= 1);
    world.nobody_restarts(&all).await;
}
