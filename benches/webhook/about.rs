//! What the figures were taken on, and those of our program alone: its start, and its memory before anything is in the
//! cluster.

use std::{fs, path::Path, process::Command};

use crate::{
    cases::Case, cores::Cores, figures::Samples, measure::Pace, real::control_plane::ControlPlane,
};

/// See above.
#[derive(Clone, Debug)]
pub(crate) struct About {
    /// In the order in which they are told.
    pub(crate) facts: Vec<(String, String)>,
    pub(crate) starts: Samples,
    /// Resident, in bytes.
    pub(crate) empty_memory: Option<u64>,
}

/// The machine, and the versions of all that takes part.
pub(crate) fn facts(
    machine: Vec<(&'static str, String)>,
    cores: &Cores,
    cases: &[Case],
    pace: Pace,
) -> Vec<(String, String)> {
    let mut facts = machine;
    facts.push(("cores", cores.describe()));
    let api_server = ControlPlane::default_bin_dir().join("kube-apiserver");
    facts.push(("API server", said_by(&api_server, &["--version"])));
    facts.push(("Go", said_by(Path::new("go"), &["version"])));
    facts.push(("controller-runtime", controller_runtime_version()));
    facts.push(("rounds", pace.describe()));
    let bodies = cases
        .iter()
        .map(|case| format!("{} {} bytes", case.name, case.body.len()));
    facts.push(("bodies", bodies.collect::<Vec<_>>().join(", ")));
    facts
        .into_iter()
        .map(|(what, value)| (what.to_owned(), value))
        .collect()
}

fn said_by(program: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| "none".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

fn controller_runtime_version() -> String {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/controller-runtime/go.mod");
    let module = fs::read_to_string(module).unwrap_or_default();
    let mut lines = module.lines().map(str::trim);
    let version = lines.find_map(|line| line.strip_prefix("sigs.k8s.io/controller-runtime "));
    version.unwrap_or("unknown").to_owned()
}
