//! Breaks the program by hand, in ways that would halt a network or restart it for nothing, and shows that the
//! simulation finds each within its default seeds. What it can't find it does not protect from.
//!
//! `make mutants` builds and runs all of them; a plain test run only sees that each still fits the source.

mod mutations;
mod tree;

use std::time::Instant;

use mutations::MUTATIONS;
use tree::{Found, Tree};

#[test]
fn every_mutation_fits_the_source_in_one_place() {
    for mutation in MUTATIONS {
        mutation.applied().unwrap_or_else(|why| panic!("{why}"));
    }
}

/// `ONLY=part of a name` runs those alone.
#[test]
#[ignore = "builds the program once for each mutation: make mutants"]
#[expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "the figures are for people"
)]
fn the_simulation_finds_every_mutation() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let mut tree = Tree::copy().expect("the source can be copied");
    let mut missed = Vec::new();
    for mutation in MUTATIONS.iter().filter(|it| it.name.contains(&only)) {
        let started = Instant::now();
        let found = tree.run_with(mutation).expect("the copy can be built");
        let took = started.elapsed().as_secs();
        match found {
            Found::Violation(line) => println!("found  {:>4} s  {}: {line}", took, mutation.name),
            Found::Nothing => {
                println!("MISSED {took:>4} s  {}", mutation.name);
                missed.push(mutation.name);
            }
        }
    }
    assert!(missed.is_empty(), "the simulation missed {missed:?}");
}
