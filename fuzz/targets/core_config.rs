//! stellar-core's configuration with peers merged into it: all bytes stay, and a second merge adds nothing.
#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use stellar_peers::domain::{core_config::merge, peer::PeerAddress};

fuzz_target!(|bytes: &[u8]| {
    let Ok(config) = std::str::from_utf8(bytes) else {
        return;
    };
    let peers: BTreeSet<PeerAddress> = ["10.0.0.1:11625", "core-1.svc:11625"]
        .iter()
        .filter_map(|text| PeerAddress::parse(text).ok())
        .collect();
    let Ok(merged) = merge(config, &peers) else {
        return;
    };
    let text = merged.text.as_bytes();
    let same = bytes.iter().zip(text).take_while(|(a, b)| a == b).count();
    let rest = bytes.iter().rev().zip(text.iter().rev());
    let same_at_end = rest.take_while(|(a, b)| a == b).count();
    assert!(
        same + same_at_end >= bytes.len() || merged.added > 0,
        "bytes are lost"
    );
    let again = merge(&merged.text, &peers).expect("what was merged is read again");
    assert_eq!(
        (again.added, &again.text),
        (0, &merged.text),
        "a second merge adds something"
    );
});
