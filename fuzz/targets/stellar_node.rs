//! A StellarNode, read and admitted.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use stellar_peers::{
    api::StellarNodeObject,
    domain::{injection::admit_stellar_node, patch::sendable, snapshot::StellarNodeView},
};

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    if let Ok(operations) = admit_stellar_node(&value, None) {
        let mut patched = value.clone();
        json_patch::patch(&mut patched, &sendable(operations))
            .expect("every patch fits its object");
        let again = admit_stellar_node(&patched, Some(&value));
        assert_eq!(
            again.map(|it| it.len()),
            Ok(0),
            "a second call changes something"
        );
    }
    if let Ok(object) = serde_json::from_value::<StellarNodeObject>(value) {
        let _ = StellarNodeView::from(&object);
    }
});
