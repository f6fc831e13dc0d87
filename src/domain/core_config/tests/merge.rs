//! Merging: examples of the configurations that we meet, and what holds for any.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{prelude::*, sample::subsequence};
use toml_edit::{Document, Item};

use crate::domain::{
    core_config::{
        KNOWN_PEERS, Unmergeable, merge,
        reading::{Refused, read_known_peers},
    },
    peer::PeerAddress,
};

fn peers(addresses: &[&str]) -> BTreeSet<PeerAddress> {
    let parsed = addresses.iter().map(|it| PeerAddress::parse(it).unwrap());
    parsed.collect()
}

fn merged(config: &str, addresses: &[&str]) -> String {
    merge(config, &peers(addresses)).unwrap().text
}

fn refusal(config: &str) -> Unmergeable {
    merge(config, &peers(&["10.0.0.1:11625"])).unwrap_err()
}

/// What the operator's ConfigMap holds: catch-up lines and the declared quorum set.
const OF_THE_OPERATOR: &str = "\
# Written by the operator
CATCHUP_COMPLETE=false
CATCHUP_RECENT=1024 # ledgers

# Whom we trust
[QUORUM_SET]
THRESHOLD_PERCENT = 67
VALIDATORS = [\"$self\", \"$validator-2\"]
";

/// What SDF's chart renders.
const OF_SDF: &str = "\
NETWORK_PASSPHRASE=\"Test SDF Network ; September 2015\"
NODE_SEED=\"SDQ self\"
KNOWN_PEERS=[\"core-testnet1.stellar.org\",
\"core-testnet2.stellar.org\"]

[HISTORY.local]
get=\"cp /history/{0} {1}\"
[[HOME_DOMAINS]]
HOME_DOMAIN=\"testnet.stellar.org\"
QUALITY=\"HIGH\"

[[VALIDATORS]]
NAME=\"sdf_testnet_1\"
ADDRESS=\"core-testnet1.stellar.org\"
";

#[test]
fn a_list_that_is_missing_stands_after_the_last_key_and_leaves_comments_to_their_table() {
    let text = merged(OF_THE_OPERATOR, &["10.0.0.2:11625", "10.0.0.10:11625"]);
    let expected = OF_THE_OPERATOR.replace(
        "# ledgers\n",
        "# ledgers\nKNOWN_PEERS = [\n  \"10.0.0.2:11625\",\n  \"10.0.0.10:11625\",\n]\n",
    );
    assert_eq!(text, expected);
}

#[test]
fn entries_by_hand_stay_first_and_as_they_stand() {
    let text = merged(
        OF_SDF,
        &["10.0.0.2:11625", "core-testnet1.stellar.org:11625"],
    );
    let expected = OF_SDF.replace(
        "\"core-testnet2.stellar.org\"]",
        "\"core-testnet2.stellar.org\", \"10.0.0.2:11625\"]",
    );
    assert_eq!(text, expected);
}

#[test]
fn each_way_to_write_a_list_is_kept() {
    for (before, after) in [
        ("KNOWN_PEERS=[]", "KNOWN_PEERS=[NEW]"),
        ("KNOWN_PEERS = [ ]\n", "KNOWN_PEERS = [NEW ]\n"),
        ("KNOWN_PEERS=['a']", "KNOWN_PEERS=['a', NEW]"),
        ("KNOWN_PEERS=['a',]", "KNOWN_PEERS=['a', NEW,]"),
        ("KNOWN_PEERS=['a' , ] # x", "KNOWN_PEERS=['a', NEW , ] # x"),
        ("\"KNOWN_PEERS\"=['a']", "\"KNOWN_PEERS\"=['a', NEW]"),
        ("KNOWN_PEERS=[\n]", "KNOWN_PEERS=[\n  NEW\n]"),
        (
            "KNOWN_PEERS=[ # none, yet\n]",
            "KNOWN_PEERS=[ # none, yet\n  NEW\n]",
        ),
        ("KNOWN_PEERS=[\n\t'a'\n]", "KNOWN_PEERS=[\n\t'a',\n\tNEW\n]"),
        (
            "KNOWN_PEERS=[\n\t'a', # ], b\n]",
            "KNOWN_PEERS=[\n\t'a', # ], b\n\tNEW,\n]",
        ),
        (
            "KNOWN_PEERS=[\n 'a' # b,\n # c\n ]",
            "KNOWN_PEERS=[\n 'a', # b,\n # c\n NEW\n ]",
        ),
        (
            "KNOWN_PEERS=[\r\n'a'\r\n]\r\n",
            "KNOWN_PEERS=[\r\n'a',\r\nNEW\r\n]\r\n",
        ),
        (
            "KNOWN_PEERS=['a'\n, # b\n]",
            "KNOWN_PEERS=['a'\n, # b\n  NEW,\n]",
        ),
        ("KNOWN_PEERS=['a'\n,]", "KNOWN_PEERS=['a', NEW\n,]"),
        ("", "KNOWN_PEERS = [\n  NEW,\n]\n"),
        ("A=1", "A=1\nKNOWN_PEERS = [\n  NEW,\n]"),
        ("A=1 # a", "A=1 # a\nKNOWN_PEERS = [\n  NEW,\n]"),
        (
            "\u{feff}# a\r\n[A]",
            "\u{feff}KNOWN_PEERS = [\r\n  NEW,\r\n]\r\n# a\r\n[A]",
        ),
        (
            "a.b=1\n[a.c]\nd.e=1",
            "a.b=1\nKNOWN_PEERS = [\n  NEW,\n]\n[a.c]\nd.e=1",
        ),
        (
            "A=\"\"\"\n[B]\n\"\"\"\n[C]",
            "A=\"\"\"\n[B]\n\"\"\"\nKNOWN_PEERS = [\n  NEW,\n]\n[C]",
        ),
    ] {
        let new = "\"10.0.0.2:1\"";
        assert_eq!(
            merged(before, &["10.0.0.2:1"]),
            after.replace("NEW", new),
            "{before:?}"
        );
    }
}

#[test]
fn what_stellar_core_takes_for_the_same_is_not_added() {
    for entry in ["10.0.0.1", "10.0.0.1:11625"] {
        let config = format!("KNOWN_PEERS=[{entry:?}]");
        assert_eq!(merged(&config, &["10.0.0.1:11625"]), config);
    }
    for skipped in ["10.0.0.1:011625", "10.0.0.1:+11625", "10.0.0.1:"] {
        let config = format!("KNOWN_PEERS=[{skipped:?}]");
        let by_core = read_known_peers(&merged(&config, &["10.0.0.1:11625"]));
        assert_eq!(by_core.unwrap(), ["10.0.0.1:11625"]);
    }
    let config = "KNOWN_PEERS=['Core.Example', 'core.example']";
    assert_eq!(merged(config, &["core.example:11625"]), config);
}

#[test]
fn nothing_to_add_changes_nothing_and_makes_no_list() {
    for config in [OF_SDF, OF_THE_OPERATOR, ""] {
        let merged = merge(config, &BTreeSet::new()).unwrap();
        assert_eq!((merged.text.as_str(), merged.added), (config, 0));
    }
}

#[test]
fn what_stellar_core_refuses_is_left_with_a_reason_that_names_it() {
    for config in [
        "KNOWN_PEERS='a'",
        "KNOWN_PEERS={a=1}",
        "[KNOWN_PEERS]\na=1",
        "[[KNOWN_PEERS]]",
        "KNOWN_PEERS.a=1",
    ] {
        assert_eq!(refusal(config), Unmergeable::NotAList, "{config:?}");
        assert_eq!(read_known_peers(config), Err(Refused::NotAnArray));
    }
    assert_eq!(refusal("KNOWN_PEERS=['a', 1]"), Unmergeable::NotText(2));
    for (config, table) in [
        ("[QUORUM_SET]\nKNOWN_PEERS=[]", "QUORUM_SET"),
        ("[HISTORY.h1]\nget=''\nKNOWN_PEERS=[]", "HISTORY.h1"),
        ("[[VALIDATORS]]\nKNOWN_PEERS=[]", "VALIDATORS"),
        ("KNOWN_PEERS=[]\na={KNOWN_PEERS=1}", "a"),
    ] {
        assert_eq!(refusal(config), Unmergeable::InTable(table.to_owned()));
        assert!(matches!(read_known_peers(config), Err(Refused::Unknown(_))));
    }
    let error = refusal("A=1\nNODE_SEED=SECRET\n");
    assert!(
        error.to_string().starts_with("line 2 is no TOML: "),
        "{error}"
    );
    assert!(!error.to_string().contains("SECRET"), "{error}");
    assert!(matches!(
        refusal("KNOWN_PEERS=[]\nKNOWN_PEERS=[]"),
        Unmergeable::NotToml(_)
    ));
}

#[test]
fn neither_long_nor_deep_text_exhausts_the_stack() {
    let deep = |text: &str| text.repeat(200_000);
    for config in [
        format!("{}b=1", deep("a.")),
        format!("[{}b]", deep("a.")),
        format!("a={}", deep("[")),
        format!("a={}", deep("{a=")),
    ] {
        let _ = merge(&config, &peers(&["10.0.0.1:1"]));
    }
    let many: Vec<String> = (0..20_000_u32)
        .map(|it| format!("10.0.{}.{}:1", it / 256, it % 256))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(
        read_known_peers(&merged(OF_SDF, &many)).unwrap().len(),
        20_002
    );
}

#[test]
fn what_stellar_core_would_skip_is_not_read() {
    let config = "KNOWN_PEERS=['', 'a b', '[::1]:1', '::1', '1.2.3.400', 'a:0', 'a:65536', 'a:', 'b', 'c:1']";
    assert_eq!(read_known_peers(config).unwrap(), ["b:11625", "c:1"]);
}

/// A configuration of parts: what stands before the list, the list, what follows it.
#[derive(Clone, Debug)]
struct Config {
    text: String,
    /// The entries of its list.
    by_hand: Vec<String>,
}

/// One statement of the top level, with a key that no other has.
fn any_statement() -> impl Strategy<Value = Vec<&'static str>> {
    let all = vec![
        "NODE_SEED = \"SDQ self\"",
        "A=1 # KNOWN_PEERS = [",
        "  B = '''\n[not a table]\nKNOWN_PEERS=[]\n'''",
        "C.D.E = 1",
        "C.F = { x = \"[\", y = [1, 2] } # x",
        "COMMANDS=[\n\"ll?level=info\", # ]\n]",
        "\"quoted key\" = \"# no comment\"",
        "# a comment ü",
        "",
        "\t",
    ];
    subsequence(all.clone(), 0..=all.len()).prop_shuffle()
}

fn any_tables() -> impl Strategy<Value = Vec<&'static str>> {
    let all = vec![
        "# of the set\n[QUORUM_SET]\nVALIDATORS=[\"$self\"]\nTHRESHOLD_PERCENT=67",
        "[HISTORY.h1]\nget=\"curl {0} -o {1}\"\n",
        "\n[[VALIDATORS]]\nNAME=\"a\"\nADDRESS=\"a.example\"\n[[VALIDATORS]] # second\nNAME='b'",
        "[C.G]\nh.i=1",
        "# at the end",
    ];
    subsequence(all.clone(), 0..=all.len())
}

fn any_entry() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        any_address(),
        "[a-z0-9.:-]{0,12}",
        Just("core.example".to_owned()),
        Just("bad entry".to_owned()),
        Just("a#b, ] c".to_owned()),
    ];
    text
}

/// Few enough that two lists often share some.
fn any_address() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..6_u8, 1..3_u16).prop_map(|(ip, port)| format!("10.0.0.{ip}:{}", 11624 + port)),
        (0..4_u8).prop_map(|pod| format!("core-{pod}.core.ns.svc.cluster.local:11625")),
    ]
}

/// The ways in which a list is written: what opens it, what stands between entries, and what closes it.
fn any_layout() -> impl Strategy<Value = (&'static str, &'static str, &'static str)> {
    prop::sample::select(vec![
        ("KNOWN_PEERS=[", ",", "]"),
        ("KNOWN_PEERS = [ ", " , ", ", ] # end"),
        ("KNOWN_PEERS = [\n  ", ",\n  ", ",\n]"),
        (
            "KNOWN_PEERS = [\n\t",
            ", # next, ]\n\t",
            " # last\n\t# more\n]",
        ),
        ("\"KNOWN_PEERS\" = [ # open\n", "\n,\n", "]"),
    ])
}

fn any_list() -> impl Strategy<Value = Option<(String, Vec<String>)>> {
    let list = (any_layout(), prop::collection::vec(any_entry(), 0..5));
    prop::option::of(list.prop_map(|((open, between, close), entries)| {
        let texts: Vec<String> = entries.iter().map(|it| format!("{it:?}")).collect();
        let close = if entries.is_empty() {
            close.trim_start_matches(", ").trim_start_matches(',')
        } else {
            close
        };
        (format!("{open}{}{close}", texts.join(between)), entries)
    }))
}

fn any_config() -> impl Strategy<Value = Config> {
    let parts = (any_statement(), any_list(), any_statement(), any_tables());
    (parts, any::<[bool; 3]>()).prop_map(|((mut before, list, after, tables), flags)| {
        let [windows, ends_line, mark] = flags;
        let after: Vec<_> = after
            .into_iter()
            .filter(|it| it.is_empty() || !before.contains(it))
            .collect();
        let (list, by_hand) = list.unzip();
        before.extend(list.as_deref());
        let lines = [before, after, tables].concat();
        let mut text = lines.join("\n");
        if ends_line {
            text.push('\n');
        }
        if windows {
            text = text.replace('\n', "\r\n");
        }
        if mark {
            text.insert(0, '\u{feff}');
        }
        Config {
            text,
            by_hand: by_hand.unwrap_or_default(),
        }
    })
}

fn any_peers() -> impl Strategy<Value = BTreeSet<PeerAddress>> {
    let addresses = prop::collection::vec(any_address(), 0..6);
    addresses.prop_map(|all| {
        all.iter()
            .map(|it| PeerAddress::parse(it).unwrap())
            .collect()
    })
}

/// All that a text says but its list: values by their path.
fn rest_of(text: &str) -> BTreeMap<String, String> {
    fn walk(path: &str, item: &Item, text: &str, out: &mut BTreeMap<String, String>) {
        let mut inner = |key: &str, item: &Item| walk(&format!("{path}/{key}"), item, text, out);
        if let Some(tables) = item.as_array_of_tables() {
            for (index, table) in tables.iter().enumerate() {
                inner(&index.to_string(), &Item::Table(table.clone()));
            }
        } else if let Some(table) = item.as_table() {
            for (key, item) in table {
                inner(key, item);
            }
        } else {
            out.insert(path.to_owned(), text[item.span().unwrap()].to_owned());
        }
    }
    let document = Document::parse(text).unwrap();
    let mut out = BTreeMap::new();
    for (key, item) in document.iter().filter(|(key, _)| *key != KNOWN_PEERS) {
        walk(key, item, text, &mut out);
    }
    out
}

/// A text without the bytes of its list: from the key to the closing bracket, with the line where nothing else is
/// on it.
fn without_list(text: &str, takes_line: bool) -> String {
    let document = Document::parse(text).unwrap();
    let (key, item) = document.as_table().get_key_value(KNOWN_PEERS).unwrap();
    let (mut from, mut to) = (key.span().unwrap().start, item.span().unwrap().end);
    if takes_line {
        let newline = ["\r\n", "\n"]
            .into_iter()
            .find(|it| text[to..].starts_with(it));
        match newline {
            Some(newline) => to += newline.len(),
            None => {
                from = text[..from]
                    .trim_end_matches('\n')
                    .trim_end_matches('\r')
                    .len();
            }
        }
    }
    format!("{}{}", &text[..from], &text[to..])
}

fn texts_of(config: &str) -> Vec<String> {
    let document = Document::parse(config).unwrap();
    let list = document.get(KNOWN_PEERS).and_then(Item::as_array);
    let entries = list.into_iter().flatten();
    entries.map(|it| it.as_str().unwrap().to_owned()).collect()
}

proptest! {
    #[test]
    fn only_the_list_changes(config in any_config(), peers in any_peers()) {
        let merged = merge(&config.text, &peers).unwrap();
        prop_assert_eq!(rest_of(&merged.text), rest_of(&config.text));
        let had_list = Document::parse(config.text.as_str()).unwrap().contains_key(KNOWN_PEERS);
        if had_list {
            prop_assert_eq!(without_list(&merged.text, false), without_list(&config.text, false));
        } else if merged.added > 0 {
            prop_assert_eq!(without_list(&merged.text, true), config.text);
        } else {
            prop_assert_eq!(merged.text, config.text);
        }
    }

    #[test]
    fn bytes_are_added_and_none_is_changed(config in any_config(), peers in any_peers()) {
        let merged = merge(&config.text, &peers).unwrap().text;
        let mut rest = merged.as_bytes().iter();
        prop_assert!(config.text.as_bytes().iter().all(|byte| rest.any(|it| it == byte)));
    }

    #[test]
    fn entries_by_hand_come_first_then_the_missing_peers_sorted_and_none_twice(
        config in any_config(),
        peers in any_peers(),
    ) {
        let merged = merge(&config.text, &peers).unwrap();
        let texts = texts_of(&merged.text);
        let (first, added) = texts.split_at(config.by_hand.len());
        prop_assert_eq!(first, &config.by_hand);
        prop_assert_eq!(added.len(), merged.added);
        let parsed: Vec<_> = added.iter().map(|it| PeerAddress::parse(it).unwrap()).collect();
        prop_assert!(parsed.is_sorted_by(|a, b| a < b));
        let by_core = read_known_peers(&merged.text).unwrap();
        for peer in &peers {
            let count = by_core.iter().filter(|it| **it == peer.to_string()).count();
            let by_hand = read_known_peers(&config.text).unwrap();
            let before = by_hand.iter().filter(|it| **it == peer.to_string()).count();
            prop_assert_eq!(count, before.max(1));
        }
    }

    #[test]
    fn stellar_core_reads_what_was_there_and_the_peers(config in any_config(), peers in any_peers()) {
        let before = read_known_peers(&config.text).unwrap();
        let after = read_known_peers(&merge(&config.text, &peers).unwrap().text).unwrap();
        let expected: BTreeSet<String> = before.iter().cloned().chain(peers.iter().map(ToString::to_string)).collect();
        prop_assert_eq!(after.iter().cloned().collect::<BTreeSet<_>>(), expected);
        prop_assert_eq!(&after[..before.len()], &before[..]);
    }

    #[test]
    fn merging_again_changes_nothing(config in any_config(), peers in any_peers()) {
        let once = merge(&config.text, &peers).unwrap();
        let twice = merge(&once.text, &peers).unwrap();
        prop_assert_eq!(twice.text, once.text);
        prop_assert_eq!(twice.added, 0);
    }

    #[test]
    fn no_text_makes_merging_panic(text in "(?s).{0,200}", peers in any_peers()) {
        let _ = merge(&text, &peers);
    }

    #[test]
    fn no_mangled_configuration_makes_merging_panic_or_lose_a_byte(
        config in any_config(),
        at in any::<prop::sample::Index>(),
        text in prop::sample::select(vec!["[", "]", "\"", "'", "#", ",", "\n", "\r", "=", ".", "KNOWN_PEERS", "'''", "\u{feff}"]),
        peers in any_peers(),
    ) {
        let mut mangled = config.text;
        let mut at = at.index(mangled.len() + 1);
        while !mangled.is_char_boundary(at) {
            at -= 1;
        }
        mangled.insert_str(at, text);
        if let Ok(merged) = merge(&mangled, &peers) {
            let mut rest = merged.text.as_bytes().iter();
            prop_assert!(mangled.as_bytes().iter().all(|byte| rest.any(|it| it == byte)));
            prop_assert!(read_known_peers(&merged.text).is_ok(), "{:?}", merged.text);
            prop_assert_eq!(rest_of(&merged.text), rest_of(&mangled));
        }
    }
}
