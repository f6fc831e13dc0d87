//! A list that somebody else wrote adds addresses to stellar-core's configuration, and nothing else.

use proptest::prelude::*;
use toml_edit::Document;

use crate::domain::{
    core_config::{
        choice::{MountedList, Reader, choose},
        merge,
    },
    fixtures::name,
    peer::PeerAddress,
};

const CONFIG: &str =
    "NODE_SEED=\"self\"\nKNOWN_PEERS=[\"hand:1\"]\n[QUORUM_SET]\nVALIDATORS=[\"$self\"]\n";

/// What would be a key, a table, a string's end or another line, if it got in.
fn any_hostile() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "\"",
        "'",
        "\\",
        "\n",
        "\r",
        "]",
        "[",
        "=",
        "#",
        "\0",
        "\u{1b}[2J",
        "\"\"\"",
        "\",\"",
        "NODE_SEED=\"x\"",
        "\n[QUORUM_SET]\n",
        "\"]\nUNSAFE_QUORUM=true\n#",
        "10.0.0.1:11625",
        "core.example.org:1",
        ":",
        "..",
        "{}",
        "</script>",
        "\u{202e}",
        " ",
        ",",
        "a",
        "1",
    ]);
    prop_oneof![
        prop::collection::vec(parts, 0..6).prop_map(|parts| parts.concat()),
        "(?s).{0,30}",
    ]
}

proptest! {
    #[test]
    fn no_list_adds_anything_but_addresses(
        texts in prop::collection::vec(any_hostile(), 1..6), network in any_hostile(), lines in any_hostile(),
        is_record: bool,
    ) {
        let node = |text: &String| serde_json::json!({
            "name": "other", "network": "testnet", "port": 1, "addresses": [text], "ready": true, "member": true,
            "uid": text,
        });
        let mut nodes: Vec<_> = texts.iter().map(node).collect();
        nodes.push(serde_json::json!({
            "name": texts[0], "network": network, "port": 1, "addresses": [], "ready": true, "member": true, "uid": "",
        }));
        let record = serde_json::json!({"v": 1, "writer": network, "nodes": nodes}).to_string();
        let list = MountedList {
            members: Some(if is_record { &record } else { &lines }),
            known_peers: Some(&texts.join("\n")),
        };
        let choice = choose(&list, &Reader::new(name("asker"), None, ""));
        let merged = merge(CONFIG, &choice.peers).unwrap().text;
        let read = Document::parse(merged.as_str()).unwrap();
        let keys: Vec<&str> = read.iter().map(|(key, _)| key).collect();
        prop_assert_eq!(keys, ["NODE_SEED", "KNOWN_PEERS", "QUORUM_SET"], "{}", merged);
        prop_assert_eq!(read["QUORUM_SET"].as_table().unwrap().len(), 1);
        prop_assert_eq!(read["NODE_SEED"].as_str(), Some("self"));
        for entry in read["KNOWN_PEERS"].as_array().unwrap().iter().skip(1) {
            let entry = entry.as_str().unwrap();
            prop_assert!(PeerAddress::parse(entry).is_ok(), "{}", entry);
        }
    }
}
