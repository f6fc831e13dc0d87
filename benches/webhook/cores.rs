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
    /// The first core that this process may use, and the first that is no thread of the same one.
    pub(crate) fn choose() -> Self {
        let allowed = allowed();
        let [server, ref rest @ ..] = allowed[..] else {
            return Self::UNPINNED;
        };
        let siblings = siblings(server);
        let mut apart = rest.iter().filter(|core| !siblings.contains(core));
        let load = apart.next().or(rest.first()).copied();
        let Some(load) = load.filter(|_| pin_ourselves(&list(&allowed))) else {
            return Self::UNPINNED;
        };
        let taken = [server, load];
        let left = rest.iter().copied().filter(|core| !taken.contains(core));
        let left: Vec<u32> = left.collect();
        Self {
            pinned: Some((server, load)),
            others: list(if left.is_empty() { &taken[1..] } else { &left }),
        }
    }

    const UNPINNED: Self = Self {
        pinned: None,
        others: String::new(),
    };

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
                let others = &self.others;
                let pinned =
                    format!("servers on {server}, load on {load}, control plane on {others}");
                if siblings(server).contains(&load) {
                    format!("{pinned}; {server} and {load} are threads of one core")
                } else {
                    pinned
                }
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

/// Those that this process may use.
fn allowed() -> Vec<u32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    cores(line.unwrap_or_default())
}

/// The threads of the core that this one is of.
fn siblings(core: u32) -> Vec<u32> {
    let file = format!("/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list");
    cores(&fs::read_to_string(file).unwrap_or_default())
}

/// As the kernel lists them: `0-1,4`.
fn cores(text: &str) -> Vec<u32> {
    let ranges = text.trim().split(',');
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
