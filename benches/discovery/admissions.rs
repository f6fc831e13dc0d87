//! An admission without its connection: the bytes of a review in, the answer out, on one core.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use stellar_peers::{admission::review::Admitter, domain::Policy};

use crate::{
    cluster::VALIDATORS,
    figures::{Samples, row_and, title},
    namespace::Namespace,
    reviews::bodies,
    validator::Validator,
    views::filled,
};

/// For each row.
const BUDGET: Duration = Duration::from_secs(1);
const REVIEWS_MIN: usize = 1000;

/// Prints the table of admissions.
pub(crate) fn measure(validator: &Validator) {
    title(&format!(
        "An admission of a StatefulSet (Admitter::answer), {VALIDATORS} validators"
    ));
    let namespace = Namespace::settled(validator, VALIDATORS);
    let stores = Arc::new(filled(namespace.snapshot));
    let admitter = Admitter::new(BTreeSet::new(), stores, Policy::default(), false);
    for (what, body) in bodies(&admitter, validator) {
        let samples = Samples::of(REVIEWS_MIN, BUDGET, || admitter.answer(&body));
        let rate = samples.per_second();
        let more = format!("{rate:.0} a second; a body of {} bytes", body.len());
        row_and(what, &samples, &more);
    }
}
