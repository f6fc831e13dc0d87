//! The body of an AdmissionReview through the whole handler.
#![no_main]

use std::{
    collections::BTreeSet,
    sync::{Arc, LazyLock},
};

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use stellar_peers::{admission::review::Admitter, controller::stores::Stores, domain::Policy};

static ADMITTER: LazyLock<Admitter> = LazyLock::new(|| {
    let stores = Arc::new(Stores::filled_by(0));
    Admitter::new(BTreeSet::new(), stores, Policy::default(), false)
});

fuzz_target!(|body: &[u8]| {
    let Ok(answer) = ADMITTER.answer(body) else {
        return;
    };
    let answer = serde_json::to_value(&answer).expect("an answer serializes");
    // What nobody looks at need not be text.
    let Ok(review) = serde_json::from_slice::<Value>(body) else {
        return;
    };
    assert_eq!(
        answer.pointer("/response/uid"),
        review.pointer("/request/uid"),
        "the answer is to this request"
    );
});
