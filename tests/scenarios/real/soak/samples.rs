//! What each replica holds, every few seconds: memory, descriptors, threads and tasks; and whether that grows.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path, sync::Arc, time::Duration};

use super::{log::clock, plot};
use crate::real::{helm::Pod, http};

/// What a replica that lived this share of the soak long is judged by; of a shorter life too little is seen.
const SHARE_JUDGED: f64 = 0.25;
/// Too few samples make no fifths.
const LEAST_SAMPLES: usize = 12;

/// One look at one replica.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sample {
    pub(super) at: Duration,
    pub(super) leads: bool,
    pub(super) memory_bytes: f64,
    pub(super) descriptors: f64,
    pub(super) threads: f64,
    pub(super) tasks: f64,
    /// Since it was started.
    pub(super) admissions: f64,
    pub(super) certificates: f64,
}

/// What may grow, and by how much it may differ.
struct Figure {
    name: &'static str,
    unit: &'static str,
    scale: f64,
    read: fn(&Sample) -> f64,
    /// From the second fifth of a life to its last. The first fifth is for caches and pools to fill.
    allowed: fn(f64) -> f64,
}

const MIB: f64 = 1024.0 * 1024.0;

const FIGURES: [Figure; 4] = [
    Figure {
        name: "memory",
        unit: "MiB",
        scale: MIB,
        read: |it| it.memory_bytes,
        // A replica that begins to lead in between decides and writes for the first time, and the allocator keeps what
        // a burst took. Between the two medians lie some ten thousand admissions in half an hour: 200 bytes lost with
        // each are found.
        allowed: |before| before * 0.15 + 2.0 * MIB,
    },
    Figure {
        name: "descriptors",
        unit: "",
        scale: 1.0,
        read: |it| it.descriptors,
        // Connections of the API server, and to it: a pool holds some more or fewer.
        allowed: |_| 10.0,
    },
    Figure {
        name: "threads",
        unit: "",
        scale: 1.0,
        read: |it| it.threads,
        // Threads for what blocks come and go.
        allowed: |_| 10.0,
    },
    Figure {
        name: "tasks",
        unit: "",
        scale: 1.0,
        read: |it| it.tasks,
        // A leader has some more than a follower, and each connection one or two.
        allowed: |_| 20.0,
    },
];

/// Replicas by the order in which they were first seen, each with all that was seen of it.
#[derive(Debug, Default)]
pub(super) struct Samples {
    lives: Vec<(u32, Vec<Sample>)>,
}

impl Samples {
    pub(super) fn add(&mut self, process: u32, sample: Sample) {
        match self.lives.iter_mut().find(|(id, _)| *id == process) {
            Some((_, life)) => life.push(sample),
            None => self.lives.push((process, vec![sample])),
        }
    }

    /// Admissions that were answered, and certificates taken into use, by all replicas together.
    pub(super) fn totals(&self) -> (f64, f64) {
        let last = self.lives.iter().filter_map(|(_, life)| life.last());
        last.fold((0.0, 0.0), |sum, it| {
            (sum.0 + it.admissions, sum.1 + it.certificates)
        })
    }

    /// Whether any replica took a certificate into use while it was looked at.
    pub(super) fn saw_a_renewal(&self) -> bool {
        let mut lives = self.lives.iter();
        lives.any(|(_, life)| {
            life.first().map(|it| it.certificates) < life.last().map(|it| it.certificates)
        })
    }

    /// What grew that must not.
    pub(super) fn judge(&self, whole: Duration) -> Vec<String> {
        let mut faults = Vec::new();
        for (number, (_, life)) in self.lives.iter().enumerate() {
            if !is_judged(life, whole) {
                continue;
            }
            for figure in &FIGURES {
                let (before, after) = medians(life, figure.read);
                let allowed = (figure.allowed)(before);
                if after - before > allowed {
                    let told = |value: f64| format!("{:.1} {}", value / figure.scale, figure.unit);
                    faults.push(format!(
                        "replica {}: {} grew from {} to {}, by more than {}",
                        number + 1,
                        figure.name,
                        told(before).trim(),
                        told(after).trim(),
                        told(allowed).trim(),
                    ));
                }
            }
        }
        faults
    }

    /// One line a replica.
    pub(super) fn summary(&self, whole: Duration) -> String {
        let mut told = String::new();
        for (number, (_, life)) in self.lives.iter().enumerate() {
            let (Some(first), Some(last)) = (life.first(), life.last()) else {
                continue;
            };
            let leads = if life.iter().any(|it| it.leads) {
                ", led"
            } else {
                ""
            };
            let judged = if is_judged(life, whole) {
                ""
            } else {
                ", too short to be judged"
            };
            write!(
                told,
                "  replica {} ({} to {}{leads}{judged}):",
                number + 1,
                clock(first.at),
                clock(last.at)
            )
            .expect("text takes text");
            for figure in &FIGURES {
                let (before, after) = medians(life, figure.read);
                let value = |it: f64| it / figure.scale;
                write!(
                    told,
                    " {} {:.1} first, {:.1} last, medians {:.1} and {:.1}{}{};",
                    figure.name,
                    value((figure.read)(first)),
                    value((figure.read)(last)),
                    value(before),
                    value(after),
                    if figure.unit.is_empty() { "" } else { " " },
                    figure.unit,
                )
                .expect("text takes text");
            }
            told.push('\n');
        }
        told
    }

    /// `samples.csv`, and a picture of each figure.
    pub(super) fn write(&self, folder: &Path) {
        let mut csv =
            "seconds,replica,process,leads,memory_bytes,descriptors,threads,tasks,admissions\n"
                .to_owned();
        for (number, (process, life)) in self.lives.iter().enumerate() {
            for it in life {
                writeln!(
                    csv,
                    "{},{},{process},{},{},{},{},{},{}",
                    it.at.as_secs(),
                    number + 1,
                    u8::from(it.leads),
                    it.memory_bytes,
                    it.descriptors,
                    it.threads,
                    it.tasks,
                    it.admissions,
                )
                .expect("text takes text");
            }
        }
        fs::write(folder.join("samples.csv"), csv).expect("the folder is writable");
        for figure in &FIGURES {
            let path = folder.join(format!("{}.svg", figure.name));
            self.lines(figure)
                .write(&path)
                .expect("the folder is writable");
        }
    }

    fn lines(&self, figure: &Figure) -> plot::Lines {
        // A picture has colours for six: those that lived longest.
        let mut longest: Vec<_> = self.lives.iter().enumerate().collect();
        longest.sort_by_key(|(_, (_, life))| std::cmp::Reverse(life.len()));
        longest.truncate(6);
        longest.sort_by_key(|(number, _)| *number);
        let line = |(number, (_, life)): (usize, &(u32, Vec<Sample>))| plot::Line {
            name: format!("replica {}", number + 1),
            points: life
                .iter()
                .map(|it| (it.at.as_secs_f64() / 60.0, (figure.read)(it) / figure.scale))
                .collect(),
        };
        let y = if figure.unit.is_empty() {
            figure.name.to_owned()
        } else {
            format!("{}, {}", figure.name, figure.unit)
        };
        plot::Lines {
            title: format!("{} of each replica", figure.name),
            x: "minutes".to_owned(),
            y,
            axis: plot::Axis::Linear,
            series: longest.into_iter().map(line).collect(),
        }
    }
}

fn is_judged(life: &[Sample], whole: Duration) -> bool {
    let (Some(first), Some(last)) = (life.first(), life.last()) else {
        return false;
    };
    life.len() >= LEAST_SAMPLES && last.at.saturating_sub(first.at) >= whole.mul_f64(SHARE_JUDGED)
}

/// Of the second fifth, and of the last.
fn medians(life: &[Sample], read: fn(&Sample) -> f64) -> (f64, f64) {
    let fifth = (life.len() / 5).max(1);
    let median = |part: &[Sample]| {
        let mut values: Vec<f64> = part.iter().map(read).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    let second = life.get(fifth..2 * fifth).unwrap_or(life);
    (median(second), median(&life[life.len() - fifth..]))
}

/// A look at a replica, where it runs and answers.
pub(super) async fn look(pod: &Arc<Pod>, at: Duration) -> Option<(u32, Sample)> {
    let process = pod.process_id()?;
    let metrics = http(pod.http_port, "/metrics").await?;
    let folder = Path::new("/proc").join(process.to_string());
    let status = fs::read_to_string(folder.join("status")).ok()?;
    let of_status = |key: &str| {
        let rest = status.lines().find_map(|line| line.strip_prefix(key))?;
        rest.split_ascii_whitespace().next()?.parse::<f64>().ok()
    };
    let descriptors = u32::try_from(fs::read_dir(folder.join("fd")).ok()?.count()).ok()?;
    let values = values(&metrics);
    let value = |name: &str| values.get(name).copied();
    let sample = Sample {
        at,
        leads: value("stellar_peers_leader")? > 0.0,
        memory_bytes: of_status("VmRSS:")? * 1024.0,
        descriptors: f64::from(descriptors),
        threads: of_status("Threads:")?,
        tasks: value("stellar_peers_tasks")?,
        admissions: value("stellar_peers_admissions_total")?,
        certificates: value("stellar_peers_certificate_loads_total").unwrap_or_default(),
    };
    Some((process, sample))
}

/// The sum of each family of metrics.
pub(super) fn values(metrics: &str) -> BTreeMap<&str, f64> {
    let mut values = BTreeMap::new();
    for line in metrics.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let value = line
            .rsplit(' ')
            .next()
            .and_then(|it| it.parse::<f64>().ok());
        *values.entry(name).or_default() += value.unwrap_or_default();
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    /// A life of 30 minutes whose memory is as the function says, in MiB, of the share of the time that has passed.
    fn life(memory: impl Fn(f64) -> f64) -> Samples {
        let mut samples = Samples::default();
        for number in 0..=360_u32 {
            let share = f64::from(number) / 360.0;
            let sample = Sample {
                at: number * Duration::from_secs(5),
                memory_bytes: memory(share) * MIB,
                ..Sample::default()
            };
            samples.add(7, sample);
        }
        samples
    }

    #[test]
    fn what_fills_at_first_and_then_swings_is_flat() {
        let flat = life(|share| {
            if share < 0.1 {
                20.0 + 100.0 * share
            } else {
                30.0 + (share * 40.0).sin()
            }
        });
        assert_eq!(flat.judge(30 * MINUTE), Vec::<String>::new());
    }

    #[test]
    fn what_grows_all_the_time_is_told() {
        let faults = life(|share| 30.0 + 15.0 * share).judge(30 * MINUTE);
        let expected = "replica 1: memory grew from 34.5 MiB to 43.5 MiB, by more than 7.2 MiB";
        assert_eq!(faults, [expected]);
        let short = life(|share| 30.0 + 15.0 * share).judge(240 * MINUTE);
        assert_eq!(
            short,
            Vec::<String>::new(),
            "it lived for an eighth of the soak"
        );
    }
}
