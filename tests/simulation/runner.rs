//! Many seeds, on all cores.

use std::{
    io::{self, IsTerminal},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    checks::Violation,
    figures::Figures,
    run::{self, Outcome},
};

/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(10);
/// Between two looks at it on a terminal, where it is shown in place.
const PROGRESS_IN_PLACE: Duration = Duration::from_millis(500);
/// More seeds than this that fail say nothing new.
const FAILURES_MAX: usize = 10;

/// A seed that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) seed: u64,
    pub(crate) violation: Violation,
}

/// Plays a seed; a panic of the rig itself is a violation as well.
pub(crate) fn play(seed: u64, traces: bool) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| run::play(seed, traces))).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .unwrap_or_else(|| "a panic".to_owned());
        let violation = Violation {
            rule: "-",
            asks: "the simulation itself does not panic",
            found: text,
        };
        Outcome {
            figures: Figures::default(),
            violation: Some(violation),
            trace: String::new(),
        }
    })
}

/// Plays these seeds; gives back the sum of their figures, and those that failed.
pub(crate) fn play_many(first: u64, count: u64) -> (Figures, Vec<Failure>) {
    let next = AtomicU64::new(first);
    let sum = Mutex::new((Figures::default(), Vec::new()));
    let lock = || sum.lock().unwrap_or_else(PoisonError::into_inner);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || lock().1.len() >= FAILURES_MAX {
                        return;
                    }
                    let outcome = play(seed, false);
                    let (figures, failures) = &mut *lock();
                    figures.add(&outcome.figures);
                    failures.extend(
                        outcome
                            .violation
                            .map(|violation| Failure { seed, violation }),
                    );
                }
            });
        }
        scope.spawn(|| {
            let (watch, mut told) = (Stopwatch::start(), Duration::ZERO);
            let progress = Progress::on_stderr();
            while next.load(Ordering::Relaxed) < first + count && lock().1.len() < FAILURES_MAX {
                thread::sleep(Duration::from_millis(50));
                if watch.elapsed() >= told + progress.interval() {
                    told = watch.elapsed();
                    progress.tell(&words(&lock().0, count, told));
                }
            }
            progress.end();
        });
    });
    let (figures, mut failures) = sum.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort_by_key(|failure| failure.seed);
    (figures, failures)
}

/// How far it is: what is done of all, how fast, and how long the rest will take at this pace.
fn words(figures: &Figures, count: u64, elapsed: Duration) -> String {
    let (seeds, faults) = (figures.seeds, figures.faults());
    let pace = figures.seeds_a_second(elapsed);
    let left = u128::from(count.saturating_sub(seeds)).checked_div(pace);
    let left = left.map_or_else(String::new, |left| format!(", {left} s left"));
    format!("{seeds} of {count} seeds, {pace} a second, {faults} faults{left}")
}

/// Where progress is told: on a terminal in place, else line by line.
#[derive(Clone, Copy, Debug)]
struct Progress {
    in_place: bool,
}

impl Progress {
    fn on_stderr() -> Self {
        Self {
            in_place: io::stderr().is_terminal(),
        }
    }

    const fn interval(self) -> Duration {
        if self.in_place {
            PROGRESS_IN_PLACE
        } else {
            PROGRESS
        }
    }

    fn tell(self, words: &str) {
        if self.in_place {
            eprint!("\r\x1b[K{words}");
        } else {
            eprintln!("{words}");
        }
    }

    /// Makes room for what is told next.
    fn end(self) {
        if self.in_place {
            eprint!("\r\x1b[K");
        }
    }
}

/// Real time, for people.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopwatch(Instant);

#[expect(
    clippy::disallowed_methods,
    reason = "how long the simulation takes is no part of what it plays"
)]
impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
