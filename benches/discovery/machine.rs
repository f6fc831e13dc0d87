//! On what the figures were taken: without it they say nothing.

use std::{fs, process::Command, thread};

use crate::figures::fact;

/// Prints the machine, the compiler and the profile.
pub(crate) fn describe() {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    println!("stellar-peers {}", env!("CARGO_PKG_VERSION"));
    fact("machine", &format!("{cores} cores, {}", processor()));
    fact("load before the start (1, 5, 15 min)", &load());
    fact("compiler", &compiler());
    if cfg!(debug_assertions) {
        fact("profile", "debug: the figures mean nothing");
    }
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
