//! What was done and what went wrong, each with its time.

use std::{
    fmt::Write as _,
    fs::File,
    io::Write as _,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// How many deeds a fault is told with.
const DEEDS_TOLD: usize = 15;
/// How many faults are told. One that comes fifty times a second is known by then; the file has all.
const FAULTS_TOLD: usize = 10;

/// The log of one soak.
#[derive(Debug)]
pub(super) struct Log {
    began: Instant,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    file: File,
    deeds: Vec<String>,
    faults: usize,
    /// The first of them, each with the deeds before it.
    told: Vec<String>,
}

impl Log {
    pub(super) fn create(path: &Path) -> Self {
        let file = File::create(path).expect("the folder is writable");
        let kept = Kept {
            file,
            deeds: Vec::new(),
            faults: 0,
            told: Vec::new(),
        };
        Self {
            began: Instant::now(),
            kept: Mutex::new(kept),
        }
    }

    /// Since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Something that was done.
    pub(super) fn deed(&self, what: &str) {
        let line = self.line(what);
        let mut kept = self.lock();
        writeln!(kept.file, "{line}").expect("the file is writable");
        kept.deeds.push(line);
    }

    /// Something that must not be, told at once.
    pub(super) fn fault(&self, what: &str) {
        let line = self.line(&format!("FAULT: {what}"));
        let mut kept = self.lock();
        writeln!(kept.file, "{line}").expect("the file is writable");
        kept.faults += 1;
        if kept.faults > FAULTS_TOLD {
            return;
        }
        let deeds = &kept.deeds[kept.deeds.len().saturating_sub(DEEDS_TOLD)..];
        let mut told = format!("{line}\nthe last deeds before it:\n");
        for deed in deeds {
            writeln!(told, "  {deed}").expect("text takes text");
        }
        eprintln!("{told}");
        kept.told.push(told);
    }

    pub(super) fn faults(&self) -> usize {
        self.lock().faults
    }

    /// The first of them, with the deeds before each.
    pub(super) fn told(&self) -> Vec<String> {
        self.lock().told.clone()
    }

    pub(super) fn is_clean(&self) -> bool {
        self.lock().faults == 0
    }

    pub(super) fn deeds(&self) -> usize {
        self.lock().deeds.len()
    }

    fn line(&self, what: &str) -> String {
        format!("{} {what}", clock(self.elapsed()))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Minutes and seconds.
pub(super) fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{:02}:{:02}", seconds / 60, seconds % 60)
}
