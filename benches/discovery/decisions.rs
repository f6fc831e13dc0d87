//! A pass of the core: one snapshot in, everything that is to be done out. Nothing of it waits for anything.

use std::time::Duration;

use crate::{
    figures::{Samples, row, title},
    namespace::Namespace,
    validator::Validator,
};

/// For each row.
const BUDGET: Duration = Duration::from_millis(700);
const PASSES_MIN: usize = 3;

/// Prints the table of passes.
pub(crate) fn measure(validator: &Validator) {
    title("One pass over a namespace (domain::decide)");
    for validators in [10, 100, 1000, 5000] {
        let mut settled = Namespace::settled(validator, validators);
        let passes = Samples::of(PASSES_MIN, BUDGET, || settled.pass());
        row(&format!("{validators} validators, nothing to do"), &passes);
        let mut new = Namespace::before_us(validator, validators);
        let passes = Samples::of(PASSES_MIN, BUDGET, || new.pass());
        row(
            &format!("{validators} validators, all to be taken in"),
            &passes,
        );
    }
}
