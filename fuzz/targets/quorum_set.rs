//! A declared quorum set, read and asked who may go down.
#![no_main]

use libfuzzer_sys::fuzz_target;
use stellar_peers::domain::{
    node::NodeName,
    quorum::{Directory, Resolved, parse},
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let Ok(Some(set)) = parse(text) else {
        return;
    };
    let names: Vec<NodeName> = ["validator-1", "validator-2", "validator-3"]
        .iter()
        .filter_map(|name| NodeName::new(name).ok())
        .collect();
    let directory = Directory::new(&names);
    let sets = Resolved::new(&directory, names.iter().map(|name| (name, &set)));
    for name in &names {
        let _ = sets.while_down([&names[0]]).tolerance(name);
        let _ = (sets.names_of(name), sets.unmapped(name).count());
    }
});
