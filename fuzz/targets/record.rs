//! `members.json` and the annotations beside it, as anybody may have written them.
#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use stellar_peers::{
    api::names,
    domain::{notes::Notes, peer_list::Record},
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(record) = Record::parse(text) {
        let again = Record::parse(&record.render()).expect("what we write is read");
        assert_eq!(again, record);
    }
    let keys = [
        names::RESTARTS,
        names::KEYS,
        names::DEPARTED,
        names::RECORD_LOST,
        "peers.stellar.org/turn.a",
    ];
    let annotations: BTreeMap<String, String> = keys
        .iter()
        .map(|key| ((*key).to_owned(), text.to_owned()))
        .collect();
    let notes = Notes::parse(&annotations);
    let rendered = notes.render(&BTreeMap::new());
    assert_eq!(
        Notes::parse(&rendered),
        notes,
        "notes change when they are written"
    );
});
