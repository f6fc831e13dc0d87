//! The work of which the instructions are counted. Each round does the same.

use std::{collections::BTreeSet, fs, hint::black_box, path::Path, sync::Arc};

use clap::{Args as _, FromArgMatches as _};
use stellar_peers::{
    admission::review::Admitter,
    domain::Policy,
    observe::logs::{self, LogArgs},
};

use crate::{namespace::Namespace, reviews::bodies, validator::Validator, views::filled};

/// In the namespace.
const VALIDATORS: usize = 50;

/// By which the work is told apart.
pub(crate) const NAMES: [&str; 6] = [
    "create",
    "update-unchanged",
    "update-our-parts-dropped",
    "update-changed",
    "pass-at-rest",
    "pass-all-new",
];

/// Does it so many times.
pub(crate) fn run(name: &str, rounds: u64, validator: &Path) {
    // As the service does: what it would say is part of what it costs.
    let defaults = LogArgs::augment_args(clap::Command::new("work")).get_matches_from(["work"]);
    let logs = LogArgs::from_arg_matches(&defaults).expect("the defaults are values");
    let _logs = logs::init(&logs).expect("the defaults can be used");
    let text = fs::read_to_string(validator).expect("the validator is there");
    let validator = Validator::from_json(&text);
    let mut work = prepared(name, &validator);
    for _ in 0..rounds {
        work();
    }
}

fn prepared(name: &str, validator: &Validator) -> Box<dyn FnMut()> {
    let of_namespace = |mut namespace: Namespace| -> Box<dyn FnMut()> {
        Box::new(move || drop(black_box(namespace.pass())))
    };
    match name {
        "pass-at-rest" => of_namespace(Namespace::settled(validator, VALIDATORS)),
        "pass-all-new" => of_namespace(Namespace::before_us(validator, VALIDATORS)),
        _ => {
            let namespace = Namespace::settled(validator, VALIDATORS);
            let stores = Arc::new(filled(namespace.snapshot));
            let admitter = Admitter::new(BTreeSet::new(), stores, Policy::default(), false);
            let bodies = bodies(&admitter, validator);
            let index = NAMES.iter().position(|it| *it == name);
            let (_, body) = bodies[index.expect("it is one of the names")].clone();
            Box::new(move || {
                let answer = admitter.answer(&body).expect("the review is readable");
                black_box(answer.to_body());
            })
        }
    }
}
