//! Which process runs where. Servers have a core to themselves, and the load another, so that neither takes the other's
//! time: what a server can do is then what one core can do.
//!
//! By `taskset` of util-linux; threads and children inherit what it sets. Where it is missing, or there is one core,
//! nothing is pinned, and the figures say so.

use std::{
    fs,
    process::{self, Command, Stdio},
};

/// The cores in use.
#[derive(Clone, Debug)]
pub(crate) struct Cores {
    /// Server and load; nothing where they can't be pinned.
    pinned: Option<(u32, u32)>,
    /// For the control plane: neither of them where there are more, else the load's, which has time left.
    others: String,
}

impl Cores {
    /// The first two cores that this process may use.
    pub(crate) fn choose() -> Self {
        let allowed = allowed();
        match allowed[..] {
            [server, load, ref rest @ ..] if pin_ourselves(&list(&allowed)) => Self {
                pinned: Some((server, load)),
                others: list(if rest.is_empty() {
                    &allowed[1..2]
                } else {
                    rest
                }),
            },
            _ => Self {
                pinned: None,
                others: String::new(),
            },
        }
    }

    /// The words before a command that put it on the servers' core.
    pub(crate) fn server(&self) -> Vec<String> {
        self.pinned.map_or_else(Vec::new, |(server, _)| {
            ["taskset", "-c", &server.to_string()]
                .map(str::to_owned)
                .to_vec()
        })
    }

    /// What this process starts from here on, but servers, runs aside from them.
    pub(crate) fn make_room(&self) {
        if self.pinned.is_some() {
            pin_ourselves(&self.others);
        }
    }

    /// From here on this process is the load.
    pub(crate) fn become_load(&self) {
        if let Some((_, load)) = self.pinned {
            pin_ourselves(&load.to_string());
        }
    }

    /// For the reader of the figures.
    pub(crate) fn describe(&self) -> String {
        self.pinned.map_or_else(
            || {
                "nothing is pinned (one core, or no taskset): servers and load share the cores"
                    .to_owned()
            },
            |(server, load)| {
                format!(
                    "servers on core {server}, load on core {load}, control plane on {}",
                    self.others
                )
            },
        )
    }
}

/// All threads of this process. Tells whether it could be done.
fn pin_ourselves(cores: &str) -> bool {
    let id = process::id().to_string();
    let pinned = Command::new("taskset")
        .args(["--all-tasks", "--pid", "--cpu-list", cores, &id])
        .stdout(Stdio::null())
        .status();
    pinned.is_ok_and(|status| status.success())
}

/// As the kernel lists them: `0-1,4`.
fn allowed() -> Vec<u32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let ranges = line.unwrap_or_default().trim().split(',');
    let range = |text: &str| {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        Some(from.parse::<u32>().ok()?..=to.parse::<u32>().ok()?)
    };
    ranges.filter_map(range).flatten().collect()
}

fn list(cores: &[u32]) -> String {
    let cores: Vec<String> = cores.iter().map(ToString::to_string).collect();
    cores.join(",")
}
