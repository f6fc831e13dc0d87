//! On what the figures were taken: without it they say nothing.

use std::{fs, process::Command, thread};

use crate::figures::fact;

/// Prints the machine, the compiler and the profile.
pub(crate) fn describe() {
    println!("stellar-peers {}", env!("CARGO_PKG_VERSION"));
    for (what, value) in facts() {
        fact(what, &value);
    }
}

/// The machine, the compiler and the profile.
pub(crate) fn facts() -> Vec<(&'static str, String)> {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let mut facts = vec![
        ("machine", format!("{cores} cores, {}", processor())),
        ("load before the start (1, 5, 15 min)", load()),
        ("compiler", compiler()),
    ];
    if cfg!(debug_assertions) {
        facts.push(("profile", "debug: the figures mean nothing".to_owned()));
    }
    facts
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find(|line| line.starts_with("model name"));
    let model = model.and_then(|line| line.split_once(": "));
    model.map_or("unknown", |(_, model)| model).to_owned()
}

fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

fn compiler() -> String {
    let output = Command::new("rustc")
        .arg("--version")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output();
    output.map_or_else(
        |error| format!("unknown: {error}"),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
