//! How many instructions an admission and a pass take, by callgrind, against what is written down in `budget.txt`.
//!
//! Times differ from run to run and from machine to machine; counts of instructions hardly do. They are those of the
//! tests' build, which is the one at hand: what they are compared with is themselves. `UPDATE=1` writes the file anew.
//!
//! The counts of two runs with different numbers of rounds are taken from one another, so that what a start costs is
//! not in them.

#![expect(
    clippy::print_stdout,
    reason = "the figures go to where the caller looks for them"
)]

mod budget;
#[path = "../../benches/shared/namespace.rs"]
mod namespace;
#[path = "../../benches/shared/reviews.rs"]
mod reviews;
#[path = "../../benches/shared/validator.rs"]
mod validator;
#[path = "../../benches/shared/views.rs"]
mod views;
mod work;

use std::{
    env, fs,
    path::Path,
    process::{Command, ExitCode},
    thread,
};

use self::budget::Budget;

/// Of rounds: enough that a table's growth, now and then, is a small part of it.
const ROUNDS: [u64; 2] = [20, 60];

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [flag, name, rounds, validator] = &arguments[..]
        && flag == "--work"
    {
        work::run(
            name,
            rounds.parse().expect("a number"),
            Path::new(validator),
        );
        return ExitCode::SUCCESS;
    }
    if arguments.iter().any(|it| it == "--list") {
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("valgrind is missing: instructions are not counted");
        return ExitCode::SUCCESS;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let validator = folder.path().join("validator.json");
    let objects = validator::made_by_the_operator().to_json().to_string();
    fs::write(&validator, objects).expect("the folder can be written");
    let counts = thread::scope(|scope| {
        let count = |name: &'static str| {
            let validator = &validator;
            scope.spawn(move || (name, instructions(name, validator)))
        };
        let counting: Vec<_> = work::NAMES.into_iter().map(count).collect();
        let counted = counting.into_iter().map(thread::ScopedJoinHandle::join);
        counted
            .map(|it| it.expect("it is counted"))
            .collect::<Vec<_>>()
    });
    Budget::committed().judge(&counts)
}

/// Of one round of this work.
fn instructions(name: &str, validator: &Path) -> u64 {
    let [few, many] = ROUNDS.map(|rounds| collected(name, rounds, validator));
    (many - few) / (ROUNDS[1] - ROUNDS[0])
}

/// All that callgrind counts in a process with so many rounds.
fn collected(name: &str, rounds: u64, validator: &Path) -> u64 {
    let ourselves = env::current_exe().expect("we are a file");
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(ourselves)
        .args(["--work", name, &rounds.to_string()])
        .arg(validator)
        .output()
        .expect("valgrind starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {said}");
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    let (_, count) = collected.unwrap_or_else(|| panic!("callgrind tells no count: {said}"));
    count.trim().parse().expect("a count")
}
