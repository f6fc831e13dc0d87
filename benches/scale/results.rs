//! Where the figures go besides the terminal: tables, pictures, and a part of the page about benchmarks.
//!
//! Where that is tells [`page`].

use std::{
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    herd::Shape,
    page,
    passes::Pass,
    plot::{Axis, Bars, Line, Lines},
};

const DRAWN: &str = "pictures can be written";

/// What a figure is held against.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    None,
    AtMost(f64),
}

impl Goal {
    fn is_met(self, value: f64) -> Option<bool> {
        match self {
            Self::None => None,
            Self::AtMost(most) => Some(value <= most),
        }
    }

    pub(crate) fn words(self, value: f64) -> String {
        match (self, self.is_met(value)) {
            (Self::AtMost(most), Some(is_met)) => {
                format!("goal {most}: {}", if is_met { "met" } else { "missed" })
            }
            _ => String::new(),
        }
    }
}

#[derive(Clone, Debug)]
struct Figure {
    shape: String,
    name: String,
    value: f64,
    unit: &'static str,
    goal: Goal,
}

/// All that was measured.
#[derive(Debug, Default)]
pub(crate) struct Results {
    figures: Vec<Figure>,
    pub(crate) passes: Vec<Pass>,
    pub(crate) round: Vec<(usize, f64)>,
}

impl Results {
    pub(crate) fn add(
        &mut self,
        shape: Shape,
        name: &str,
        value: f64,
        unit: &'static str,
        goal: Goal,
    ) {
        self.add_of(&shape.to_string(), name, value, unit, goal);
    }

    pub(crate) fn add_of(
        &mut self,
        shape: &str,
        name: &str,
        value: f64,
        unit: &'static str,
        goal: Goal,
    ) {
        self.figures.push(Figure {
            shape: shape.to_owned(),
            name: name.to_owned(),
            value,
            unit,
            goal,
        });
    }

    /// Writes everything that was measured.
    pub(crate) fn write(&self) {
        let folder = page::folder().expect("a folder for the results");
        self.tables(&folder);
        self.pictures(&folder);
        let page = page::write("scale", &self.block()).expect("the page can be written");
        println!("\nWritten to {} and {}", folder.display(), page.display());
    }

    fn tables(&self, folder: &Path) {
        let mut text = "shape,figure,value,unit,goal,met\n".to_owned();
        for it in &self.figures {
            let (goal, met) = match (it.goal, it.goal.is_met(it.value)) {
                (Goal::AtMost(most), Some(met)) => (most.to_string(), met.to_string()),
                _ => (String::new(), String::new()),
            };
            let Figure {
                shape,
                name,
                value,
                unit,
                ..
            } = it;
            line(
                &mut text,
                format_args!("{shape},{name},{value:.3},{unit},{goal},{met}"),
            );
        }
        save(folder.join("scale.csv"), !self.figures.is_empty(), &text);
        let mut text = "validators,what,median_us,p99_us\n".to_owned();
        for it in &self.passes {
            let Pass {
                validators,
                what,
                median_us,
                p99_us,
            } = it;
            line(
                &mut text,
                format_args!("{validators},{what},{median_us:.1},{p99_us:.1}"),
            );
        }
        save(
            folder.join("scale-passes.csv"),
            !self.passes.is_empty(),
            &text,
        );
        let mut text = "restart,passes_ms\n".to_owned();
        for (restart, ms) in &self.round {
            line(&mut text, format_args!("{restart},{ms:.3}"));
        }
        save(
            folder.join("scale-round.csv"),
            !self.round.is_empty(),
            &text,
        );
    }

    fn pictures(&self, folder: &Path) {
        if !self.passes.is_empty() {
            let mut series: Vec<Line> = Vec::new();
            for it in &self.passes {
                let point = (
                    f64::from(u32::try_from(it.validators).unwrap_or(u32::MAX)),
                    it.median_us / 1e3,
                );
                match series.iter_mut().find(|line| line.name == it.what) {
                    Some(line) => line.points.push(point),
                    None => series.push(Line {
                        name: it.what.to_owned(),
                        points: vec![point],
                    }),
                }
            }
            let picture = Lines {
                title: "One pass over one namespace".to_owned(),
                x: "validators".to_owned(),
                y: "median, ms".to_owned(),
                axis: Axis::Logarithmic,
                series,
            };
            picture
                .write(&folder.join("scale-passes.svg"))
                .expect(DRAWN);
        }
        let groups: Vec<_> = self
            .of("memory")
            .map(|it| {
                let of_shape = |name| self.find(&it.shape, name);
                (
                    it.shape.clone(),
                    vec![
                        Some(it.value),
                        of_shape("memory_peak"),
                        of_shape("memory_after_all"),
                    ],
                )
            })
            .collect();
        bars(
            &folder.join("scale-memory.svg"),
            "Resident memory, by namespaces x validators",
            "MB",
            &["after the start", "peak of the start", "after all changes"],
            groups,
        );
        let groups: Vec<_> = self
            .of("change_p50")
            .map(|it| {
                (
                    it.shape.clone(),
                    vec![Some(it.value), self.find(&it.shape, "change_p99")],
                )
            })
            .collect();
        bars(
            &folder.join("scale-latency.svg"),
            "From a pod's change to the list stored, by namespaces x validators",
            "ms",
            &["median", "p99"],
            groups,
        );
    }

    fn of(&self, name: &str) -> impl Iterator<Item = &Figure> {
        self.figures.iter().filter(move |it| it.name == name)
    }

    fn find(&self, shape: &str, name: &str) -> Option<f64> {
        self.of(name)
            .find(|it| it.shape == shape)
            .map(|it| it.value)
    }

    /// The part of the page: a row for each figure that people ask for, a column for each shape.
    fn block(&self) -> String {
        let mut shapes: Vec<&str> = Vec::new();
        for it in &self.figures {
            if !shapes.contains(&it.shape.as_str()) {
                shapes.push(&it.shape);
            }
        }
        let mut text = format!("| namespaces x validators | {} |\n", shapes.join(" | "));
        line(
            &mut text,
            format_args!("|---|{}", "---|".repeat(shapes.len())),
        );
        for (name, words, unit) in ROWS {
            if self.of(name).next().is_none() {
                continue;
            }
            let cells = shapes.iter().map(|shape| {
                let of_shape = self.of(name).find(|it| it.shape == *shape);
                of_shape.map_or_else(String::new, |it| short(it.value))
            });
            let cells: Vec<_> = cells.collect();
            let unit = if unit.is_empty() {
                String::new()
            } else {
                format!(", {unit}")
            };
            line(
                &mut text,
                format_args!("| {words}{unit} | {} |", cells.join(" | ")),
            );
        }
        text
    }
}

const ROWS: [(&str, &str, &str); 18] = [
    ("memory", "memory, goal 60", "MB"),
    (
        "memory_peak",
        "memory at its highest during the start",
        "MB",
    ),
    ("memory_after_all", "memory after all changes", "MB"),
    (
        "installed_memory_peak",
        "memory at its highest when it is installed",
        "MB",
    ),
    ("rest_core_share", "of a core at rest, goal 0.2", "%"),
    (
        "rest_writes",
        "writes in 30 s of rest but for the Lease, goal 0",
        "",
    ),
    ("start_to_ready", "start to ready", "ms"),
    (
        "start_to_all_passed",
        "start to a pass over each namespace",
        "ms",
    ),
    (
        "installed_start_to_last_list",
        "start to the last list, when it is installed",
        "s",
    ),
    (
        "change_p50",
        "a pod's change to the list stored, median",
        "ms",
    ),
    ("change_p99", "the same, p99, goal 100", "ms"),
    ("change_max", "the same, max", "ms"),
    (
        "burst_max",
        "100 pods move at once, until the last list",
        "ms",
    ),
    (
        "writes_a_change",
        "writes a change but for Events, goal 1",
        "",
    ),
    ("events_a_change", "Events a change", ""),
    (
        "idle_write_time_on_core",
        "a write of others that changes nothing for us, on a core",
        "µs",
    ),
    ("get_metrics", "`/metrics`", "ms"),
    ("get_page", "the status page", "ms"),
];

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a String cannot fail");
}

fn short(value: f64) -> String {
    let digits = match value {
        it if it >= 100.0 => 0,
        it if it >= 1.0 => 1,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

fn save(path: PathBuf, is_measured: bool, text: &str) {
    if is_measured {
        fs::write(path, text).expect("results can be written");
    }
}

/// A picture of bars, where there is anything to show.
fn bars(
    path: &Path,
    title: &str,
    y: &str,
    members: &[&str],
    groups: Vec<(String, Vec<Option<f64>>)>,
) {
    if groups.is_empty() {
        return;
    }
    let picture = Bars {
        title: title.to_owned(),
        y: y.to_owned(),
        members: members.iter().map(|it| (*it).to_owned()).collect(),
        groups,
    };
    picture.write(path).expect(DRAWN);
}
