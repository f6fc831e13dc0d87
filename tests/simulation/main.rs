//! The simulation: small clusters on the in-memory sandbox under a paused clock, with everything that may go wrong
//! drawn from a seed, and invariants checked at every write.
//!
//! `make sim` plays many seeds, `make sim SEED=123` one with its trace. Everything that happens in a run is a function
//! of its seed: a seed that fails is a complete bug report.

#![expect(
    clippy::print_stdout,
    reason = "this is a test program of its own, which tells what it found"
)]

mod checks;
mod core_like;
mod deeds;
mod faults;
mod figures;
mod gates;
mod history;
mod logs;
mod observer;
mod options;
mod people;
mod plan;
mod processes;
mod quorum;
mod random;
mod run;
mod runner;
mod trace;
mod truth;
mod view;
mod webhooks;
mod world;

use std::process::ExitCode;

use options::Task;
use runner::{Failure, Stopwatch};

/// Of each so many seeds one is played twice.
const TWICE_EVERY: u64 = 100;
/// Lines of a trace that tell how a seed failed.
const TAIL_LINES: usize = 60;

fn main() -> ExitCode {
    match Task::from_env() {
        Task::List => {
            println!("simulation: test");
            ExitCode::SUCCESS
        }
        Task::Nothing => ExitCode::SUCCESS,
        Task::One(seed) => play_one(seed),
        Task::Many { first, count } => play_many(first, count),
    }
}

fn play_one(seed: u64) -> ExitCode {
    logs::collect();
    let outcome = runner::play(seed, true);
    print!("{}", outcome.trace);
    match outcome.violation {
        None => {
            println!("seed {seed}: passed");
            ExitCode::SUCCESS
        }
        Some(violation) => {
            println!("seed {seed}: {violation}");
            ExitCode::FAILURE
        }
    }
}

fn play_many(first: u64, count: u64) -> ExitCode {
    let watch = Stopwatch::start();
    let (figures, failures) = runner::play_many(first, count);
    let took = watch.elapsed();
    for Failure { seed, violation } in &failures {
        println!("seed {seed}: {violation}");
        println!("  again: make sim SEED={seed}");
    }
    if let Some(Failure { seed, .. }) = failures.first() {
        println!("the end of seed {seed}:\n{}", tail(*seed));
    }
    let twice = first..first + count.div_ceil(TWICE_EVERY);
    let strays: Vec<u64> = twice.filter(|seed| differs(*seed)).collect();
    for seed in &strays {
        println!("seed {seed}: two runs differ");
    }
    let (pace, seconds) = (figures.seeds_a_second(took), took.as_secs_f64());
    println!(
        "{} seeds in {seconds:.1} s, {pace} a second; {figures}",
        figures.seeds
    );
    let passed = figures.seeds.saturating_sub(failures.len() as u64);
    let failed = failures.len() + strays.len();
    println!("{passed} passed, {failed} failed");
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The last lines of a seed's trace.
fn tail(seed: u64) -> String {
    let trace = runner::play(seed, true).trace;
    let lines: Vec<&str> = trace.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

/// Whether two runs of a seed differ in a byte of their traces.
fn differs(seed: u64) -> bool {
    runner::play(seed, true).trace != runner::play(seed, true).trace
}
