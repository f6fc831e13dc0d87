//! Many times of the same thing, and the rows in which they are shown.

use std::time::Duration;

use tokio::time::Instant;

/// How long the same thing took, each time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<Duration>);

impl Samples {
    /// Does something again and again: at least `at_least` times, and then until `budget` is spent.
    pub(crate) fn of<T>(at_least: usize, budget: Duration, mut run: impl FnMut() -> T) -> Self {
        let (mut samples, began) = (Self::default(), Instant::now());
        while samples.0.len() < at_least || began.elapsed() < budget {
            let started = Instant::now();
            let result = std::hint::black_box(run());
            samples.add(started.elapsed());
            drop(result);
        }
        samples
    }

    pub(crate) fn add(&mut self, took: Duration) {
        self.0.push(took);
    }

    pub(crate) fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    /// How many would fit into a second, one after the other.
    pub(crate) fn per_second(&self) -> f64 {
        let count = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
        f64::from(count) / self.0.iter().sum::<Duration>().as_secs_f64()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The least time that `percent` of all did not exceed (nearest rank).
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        self.per_mille(percent * 10)
    }

    /// The same in thousandths.
    pub(crate) fn per_mille(&self, thousandths: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let rank = (sorted.len() * thousandths).div_ceil(1000).max(1);
        sorted.get(rank - 1).copied().unwrap_or_default()
    }
}

/// Begins a table.
pub(crate) fn title(text: &str) {
    println!(
        "\n{text:<62} {:>7} {:>10} {:>10} {:>10}",
        "n", "median", "p99", "max"
    );
}

/// A row of it.
pub(crate) fn row(what: &str, samples: &Samples) {
    row_and(what, samples, "");
}

/// A row with something behind it.
pub(crate) fn row_and(what: &str, samples: &Samples, more: &str) {
    let count = samples.count();
    let [median, p99, max] = [50, 99, 100].map(|percent| short(samples.percentile(percent)));
    let row = format!("  {what:<60} {count:>7} {median:>10} {p99:>10} {max:>10}  {more}");
    println!("{}", row.trim_end());
}

/// A row that is not about times.
pub(crate) fn fact(what: &str, value: &str) {
    println!("  {what:<60} {value}");
}

/// Three digits or so, and the unit that suits them.
pub(crate) fn short(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match duration.as_micros() {
        0..1_000 => format!("{:.1} µs", seconds * 1e6),
        1_000..1_000_000 => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{seconds:.2} s"),
    }
}
