//! The simulation: small clusters on the in-memory sandbox under a paused clock, with everything that may go wrong
//! drawn from a seed, and invariants checked at every write.
//!
//! `make sim` plays many seeds, `make sim SEED=123` one with its trace. Everything that happens in a run is a function
//! of its seed: a seed that fails is a complete bug report.

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

use std::{process::ExitCode, time::Instant};

use options::Task;

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
    let start = Instant::now();
    let (figures, failures) = runner::play_many(first, count);
    let took = start.elapsed();
    for failure in &failures {
        println!("seed {}: {}", failure.seed, failure.violation);
        println!("  again: make sim SEED={}", failure.seed);
    }
    if let Some(failure) = failures.first() {
        let trace = runner::play(failure.seed, true).trace;
        let lines: Vec<&str> = trace.lines().collect();
        println!("the end of seed {}:", failure.seed);
        lines[lines.len().saturating_sub(TAIL_LINES)..]
            .iter()
            .for_each(|line| println!("{line}"));
    }
    let strays: Vec<u64> = (first..first + count.div_ceil(TWICE_EVERY))
        .filter(|seed| differs(*seed))
        .collect();
    for seed in &strays {
        println!("seed {seed}: two runs differ");
    }
    println!(
        "{} seeds in {:.1} s ({:.0} a second), {:.1} virtual hours, {} restarts, {} lists, {} requests of ours, {} faults",
        figures.seeds,
        took.as_secs_f64(),
        figures.seeds as f64 / took.as_secs_f64(),
        figures.virtual_time.as_secs_f64() / 3600.0,
        figures.restarts,
        figures.lists,
        figures.requests,
        figures.faults(),
    );
    let events = figures
        .events
        .iter()
        .map(|(event, count)| format!("{event} {count}"));
    println!("{}", events.collect::<Vec<_>>().join(", "));
    let failed = failures.len() + strays.len();
    println!(
        "{} passed, {failed} failed",
        figures.seeds - failures.len().min(figures.seeds as usize) as u64
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Whether two runs of a seed differ in a byte of their traces.
fn differs(seed: u64) -> bool {
    runner::play(seed, true).trace != runner::play(seed, true).trace
}
