//! What else runs while the load asks: held still where it can be, and told where it can't.

use std::{fs, process, process::Command, time::Duration};

use tokio::time::Instant;

use crate::measure::cpu_time;

/// Of the control plane, what works by itself and is not asked for anything by our program. As the kernel names them,
/// which is by 15 letters.
const HELD: [&str; 3] = ["kube-controller", "kube-scheduler", "kwok"];
/// Columns of `/proc/stat`, in the kernel's order, and which of them is the time that the hypervisor took.
const COLUMNS: usize = 8;
const STOLEN: usize = 7;

/// Stops those until they are killed. Where it fails, they go on, and take some of the load's core.
pub(crate) fn hold_still() {
    let mut kill = Command::new("kill");
    kill.arg("-STOP");
    for id in children() {
        let name = fs::read_to_string(format!("/proc/{id}/comm")).unwrap_or_default();
        if HELD.contains(&name.trim()) {
            kill.arg(id.to_string());
        }
    }
    if kill.get_args().len() > 1 {
        let _ = kill.status();
    }
}

/// A look at what had the cores so far.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    at: Instant,
    others: Duration,
    stat: Vec<u64>,
}

impl Look {
    /// `servers` are not counted among the others.
    pub(crate) fn now(servers: &[u32]) -> Self {
        let others = children().filter(|id| !servers.contains(id));
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let total = stat.lines().next().unwrap_or_default();
        let columns = total.split_whitespace().skip(1).take(COLUMNS);
        Self {
            at: Instant::now(),
            others: others.map(cpu_time).sum(),
            stat: columns.filter_map(|ticks| ticks.parse().ok()).collect(),
        }
    }

    /// What the control plane had of one core since then, and the hypervisor of all.
    pub(crate) fn told_since(&self, before: &Self) -> String {
        let others = self.others.saturating_sub(before.others).as_secs_f64();
        let share = others / (self.at - before.at).as_secs_f64();
        let ticks = |column: usize| {
            let of = |look: &Self| look.stat.get(column).copied().unwrap_or(0);
            let ticks = of(self).saturating_sub(of(before));
            f64::from(u32::try_from(ticks).unwrap_or(u32::MAX))
        };
        let all: f64 = (0..COLUMNS).map(ticks).sum();
        format!(
            "meanwhile the control plane had {:.1} % of a core, the hypervisor {:.1} % of all",
            share * 100.0,
            ticks(STOLEN) / all.max(1.0) * 100.0
        )
    }
}

/// The processes that this one started.
fn children() -> impl Iterator<Item = u32> {
    let tasks = fs::read_dir(format!("/proc/{}/task", process::id()));
    let lists = tasks.into_iter().flatten().flatten().map(|task| {
        let list = fs::read_to_string(task.path().join("children"));
        list.unwrap_or_default()
    });
    let ids: Vec<u32> = lists
        .flat_map(|list| {
            let ids = list.split_whitespace().map(str::parse);
            ids.filter_map(Result::ok).collect::<Vec<_>>()
        })
        .collect();
    ids.into_iter()
}
