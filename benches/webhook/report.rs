//! The figures as tables, as files for other programs, and as pictures.

use std::{fmt::Write as _, fs, io, path::Path};

use crate::{
    about::About,
    figures::{Samples, short},
    load::OpenLoop,
    measure::{CONNECTIONS, Measured, Memory, RATE, RECONNECTS, Round, STREAMS, Series, all},
    page, plot, program,
    servers::{CONTROLLER_RUNTIME, LIMIT, OURS},
    table::Table,
};

/// The name of our block on the page.
const BLOCK: &str = "webhook";
/// A core that is busier than this is full: starting and ending a round takes a little.
const FULL: f64 = 0.95;

/// The middle of some figures, the least and the greatest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    /// Nothing where there are no figures.
    fn of(figures: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let at = |index: usize| figures.get(index).copied();
        let upper = at(figures.len() / 2)?;
        let lower = at((figures.len() - 1) / 2)?;
        Some(Self {
            median: f64::midpoint(lower, upper),
            min: at(0)?,
            max: at(figures.len() - 1)?,
        })
    }

    fn show(self, digits: usize) -> String {
        let Self { median, min, max } = self;
        format!("{median:.digits$} ({min:.digits$} to {max:.digits$})")
    }
}

fn shown(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or_else(|| "-".to_owned(), |spread| spread.show(digits))
}

/// How a server did in the same rounds as another one.
fn against<T>(
    series: &[Series<T>],
    (case, server, other): (&str, &str, &str),
    figure: impl Fn(&T) -> f64,
) -> Option<Spread> {
    let rounds = |server| {
        let found = series
            .iter()
            .find(|it| it.case == case && it.server == server);
        found.map(|it| &it.rounds)
    };
    let pairs = rounds(server)?.iter().zip(rounds(other)?);
    Spread::of(pairs.map(|(ours, other)| figure(ours) / figure(other)))
}

/// Millions of bytes.
fn megabytes(bytes: u64) -> String {
    format!("{}.{}", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

fn micros(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

fn p99(round: &OpenLoop) -> f64 {
    micros(round.latencies.percentile(99))
}

/// Prints everything, and writes the files.
pub(crate) fn show(about: &About, measured: &Measured) -> io::Result<()> {
    let tables = [
        goals(about, measured),
        rounds(
            &format!("Closed loop: {CONNECTIONS} connections with {STREAMS} requests at once each"),
            "requests/s",
            &measured.throughput,
        ),
        latencies(&measured.latency),
        rounds(
            &format!("New connections, {RECONNECTS} side by side: TCP, TLS, one CREATE, the end"),
            "connections/s",
            &measured.connections,
        ),
        memory(&measured.memory),
    ];
    let notes = notes(measured);
    tables.iter().for_each(Table::print);
    println!();
    for note in &notes {
        println!("  {note}");
    }
    let folder = page::folder()?;
    write_csv(&folder, about, measured)?;
    write_pictures(&folder, measured)?;
    let mut block = String::new();
    for (what, value) in &about.facts {
        let _ = writeln!(block, "- {what}: {value}");
    }
    for note in &notes {
        let _ = writeln!(block, "- {note}");
    }
    for table in &tables {
        let _ = write!(block, "\n{}", table.markdown());
    }
    block.push_str("\n![Closed loop](benchmarks/webhook-throughput.svg)\n");
    block.push_str("\n![Open loop](benchmarks/webhook-latency.svg)\n");
    let page = page::write(BLOCK, &block)?;
    println!(
        "  written: {}, and what stands in {}",
        page.display(),
        folder.display()
    );
    Ok(())
}

fn goals(about: &About, measured: &Measured) -> Table {
    let mut table = Table::new("Goals", &["what", "goal", "figure", "met"]);
    let mut goal = |what: &str, goal: &str, figure: Option<String>, is_met: Option<bool>| {
        let met = is_met.map_or("-", |met| if met { "yes" } else { "no" });
        let figure = figure.unwrap_or_else(|| "not measured".to_owned());
        table.row([what, goal, &figure, met].map(str::to_owned));
    };
    let throughput = |case, other| {
        against(
            &measured.throughput,
            (case, OURS, other),
            |round: &Round| round.per_second,
        )
    };
    for (what, case, other, least) in [
        ("CREATE, of the limit's throughput", "CREATE", LIMIT, 0.40),
        (
            "CREATE, times controller-runtime's",
            "CREATE",
            CONTROLLER_RUNTIME,
            40.0,
        ),
        (
            "UPDATE, template unchanged, of the limit's",
            "UPDATE, template unchanged",
            LIMIT,
            0.35,
        ),
    ] {
        let found = throughput(case, other);
        let met = found.map(|it| it.median >= least);
        goal(
            what,
            &format!("at least {least}"),
            found.map(|it| it.show(2)),
            met,
        );
    }
    let tail = against(&measured.latency, ("CREATE", OURS, LIMIT), p99);
    let what = format!("CREATE at {RATE}/s, p99 by the limit's");
    goal(
        &what,
        "at most 1.25",
        tail.map(|it| it.show(2)),
        tail.map(|it| it.median <= 1.25),
    );
    let start = about.starts.percentile(50);
    let what = format!("start to ready, median of {}", about.starts.count());
    goal(
        &what,
        "under 0.5 s",
        Some(short(start)),
        Some(start.as_millis() < 500),
    );
    let memory = about.empty_memory;
    let met = memory.map(|bytes| bytes < 20_000_000);
    goal(
        "resident memory with an empty cluster",
        "under 20 MB",
        memory.map(|bytes| format!("{} MB", megabytes(bytes))),
        met,
    );
    let size = program::size();
    let figure = format!("{} MB, with the sandbox in it", megabytes(size));
    goal(
        "stripped binary",
        "under 15 MB",
        Some(figure),
        Some(size < 15_000_000),
    );
    table
}

fn rounds(title: &str, unit: &str, series: &[Series<Round>]) -> Table {
    let head = [
        "case",
        "server",
        unit,
        "of the limit",
        "by controller-runtime",
        "of the limit by CPU",
        "server CPU, µs each",
        "load CPU, µs each",
        "server busy",
        "load busy",
    ];
    let mut table = Table::new(title, &head);
    for of in series {
        let spread = |figure: fn(&Round) -> f64| Spread::of(of.rounds.iter().map(figure));
        let ratio = |other| {
            let ratio = || against(series, (of.case, of.server, other), |it| it.per_second);
            let ratio = (of.server != other).then(ratio).flatten();
            shown(ratio, 2)
        };
        // What a core could do for each of them, whether it was full or not.
        let by_cpu = (of.server != LIMIT).then(|| {
            let of_limit = (of.case, LIMIT, of.server);
            against(series, of_limit, |it| micros(it.server_cpu))
        });
        let by_cpu = shown(by_cpu.flatten(), 2);
        let middle = |spread: Option<Spread>| {
            spread.map_or("-".to_owned(), |it| format!("{:.1}", it.median))
        };
        let share = |spread: Option<Spread>| {
            spread.map_or("-".to_owned(), |it| format!("{:.0} %", it.median * 100.0))
        };
        table.row([
            of.case.to_owned(),
            of.server.to_owned(),
            shown(spread(|it| it.per_second), 0),
            ratio(LIMIT),
            ratio(CONTROLLER_RUNTIME),
            by_cpu,
            middle(spread(|it| micros(it.server_cpu))),
            middle(spread(|it| micros(it.load_cpu))),
            share(spread(|it| it.server_busy)),
            share(spread(|it| it.load_busy)),
        ]);
    }
    table
}

fn latencies(series: &[Series<OpenLoop>]) -> Table {
    let title = format!(
        "Open loop: {RATE} requests/s on {CONNECTIONS} connections, times from when a request was due"
    );
    let head = [
        "case",
        "server",
        "n",
        "p50",
        "p99",
        "p99.9",
        "max",
        "p99 by the limit's",
        "sent late, p99",
    ];
    let mut table = Table::new(&title, &head);
    for of in series {
        let times = all(of.rounds.iter().map(|round| &round.latencies));
        let late = all(of.rounds.iter().map(|round| &round.late));
        let ratio = || against(series, (of.case, of.server, LIMIT), p99);
        let ratio = (of.server != LIMIT).then(ratio).flatten();
        let [p50, p99, p999, max] = QUANTILES.map(|it| short(times.per_mille(it.1)));
        table.row([
            of.case.to_owned(),
            of.server.to_owned(),
            times.count().to_string(),
            p50,
            p99,
            p999,
            max,
            shown(ratio, 2),
            short(late.percentile(99)),
        ]);
    }
    table
}

const QUANTILES: [(&str, usize); 4] = [("p50", 500), ("p99", 990), ("p99.9", 999), ("max", 1000)];

fn memory(all: &[Memory]) -> Table {
    let head = ["server", "idle", "after the load", "at its highest"];
    let mut table = Table::new(
        "Resident memory in MB, six validators in the cluster",
        &head,
    );
    for of in all {
        let figures = [of.idle, of.after, of.highest].map(megabytes);
        table.row([of.server.to_owned()].into_iter().chain(figures));
    }
    table
}

/// What a reader has to know to trust the figures, or not to.
fn notes(measured: &Measured) -> Vec<String> {
    let mut notes = Vec::new();
    let not_full = |is_load_full: bool| {
        let is_it = |of: &&Series<Round>| {
            let is_full = |figure: fn(&Round) -> f64| {
                let spread = Spread::of(of.rounds.iter().map(figure));
                spread.is_some_and(|it| it.median >= FULL)
            };
            !is_full(|it| it.server_busy) && is_full(|it| it.load_busy) == is_load_full
        };
        let all = measured.throughput.iter().chain(&measured.connections);
        let names = all
            .filter(is_it)
            .map(|of| format!("{} ({})", of.case, of.server));
        names.collect::<Vec<_>>().join("; ")
    };
    for (is_load_full, why) in [
        (
            true,
            "the load's core was full and the server's was not, so the server could do more; go by its CPU",
        ),
        (
            false,
            "neither core was full, so the machine did something else as well; go by the CPU",
        ),
    ] {
        let names = not_full(is_load_full);
        if !names.is_empty() {
            notes.push(format!("{why}: {names}"));
        }
    }
    notes.push(measured.meanwhile.clone());
    let share = measured.resumed * 100.0;
    notes.push(format!(
        "of the connections that were to resume a session, {share:.1} % did"
    ));
    notes
}

fn write_csv(folder: &Path, about: &About, measured: &Measured) -> io::Result<()> {
    for (file, series) in [
        ("webhook-throughput.csv", &measured.throughput),
        ("webhook-connections.csv", &measured.connections),
    ] {
        let head = "case,server,round,per_second,server_cpu_us,load_cpu_us,server_busy,load_busy\n";
        let mut text = head.to_owned();
        for of in series {
            for (index, round) in of.rounds.iter().enumerate() {
                let _ = writeln!(
                    text,
                    "\"{}\",{},{},{:.1},{:.2},{:.2},{:.3},{:.3}",
                    of.case,
                    of.server,
                    index + 1,
                    round.per_second,
                    micros(round.server_cpu),
                    micros(round.load_cpu),
                    round.server_busy,
                    round.load_busy
                );
            }
        }
        fs::write(folder.join(file), text)?;
    }
    let mut text = "case,server,round,n,p50_us,p99_us,p999_us,max_us,late_p99_us\n".to_owned();
    for of in &measured.latency {
        for (index, round) in of.rounds.iter().enumerate() {
            let figures = QUANTILES.map(|it| micros(round.latencies.per_mille(it.1)));
            let figures = figures.map(|it| format!("{it:.1}")).join(",");
            let (count, late) = (round.latencies.count(), micros(round.late.percentile(99)));
            let (case, server, round) = (of.case, of.server, index + 1);
            let _ = writeln!(
                text,
                "\"{case}\",{server},{round},{count},{figures},{late:.1}"
            );
        }
    }
    fs::write(folder.join("webhook-latency.csv"), text)?;
    let mut text = "what,server,value,unit\n".to_owned();
    let start = about.starts.percentile(50).as_secs_f64() * 1e3;
    let _ = writeln!(text, "start to ready,{OURS},{start:.1},ms");
    let _ = writeln!(text, "binary,{OURS},{},bytes", program::size());
    if let Some(bytes) = about.empty_memory {
        let _ = writeln!(text, "memory with an empty cluster,{OURS},{bytes},bytes");
    }
    for of in &measured.memory {
        for (what, bytes) in [
            ("idle", of.idle),
            ("after", of.after),
            ("highest", of.highest),
        ] {
            let _ = writeln!(text, "memory {what},{},{bytes},bytes", of.server);
        }
    }
    fs::write(folder.join("webhook-process.csv"), text)
}

fn write_pictures(folder: &Path, measured: &Measured) -> io::Result<()> {
    let throughput = bars(&measured.throughput, |rounds: &[Round]| {
        Spread::of(rounds.iter().map(|it| it.per_second)).map(|it| it.median)
    });
    plot::Bars {
        title: "Admission reviews, one core for the server".to_owned(),
        y: "requests/s".to_owned(),
        ..throughput
    }
    .write(&folder.join("webhook-throughput.svg"))?;
    let created: Vec<_> = measured
        .latency
        .iter()
        .filter(|it| it.case == "CREATE")
        .collect();
    let times: Vec<Samples> = created
        .iter()
        .map(|of| all(of.rounds.iter().map(|round| &round.latencies)))
        .collect();
    let quantiles = QUANTILES[..3].iter().map(|(name, thousandths)| {
        let heights = times
            .iter()
            .map(|it| Some(micros(it.per_mille(*thousandths))));
        ((*name).to_owned(), heights.collect())
    });
    plot::Bars {
        title: format!("CREATE at {RATE} requests/s, from when it was due"),
        y: "µs".to_owned(),
        members: created.iter().map(|it| it.server.to_owned()).collect(),
        groups: quantiles.collect(),
    }
    .write(&folder.join("webhook-latency.svg"))
}

/// A group for each case, a bar for each server.
fn bars<T>(series: &[Series<T>], height: impl Fn(&[T]) -> Option<f64>) -> plot::Bars {
    let mut bars = plot::Bars {
        title: String::new(),
        y: String::new(),
        members: Vec::new(),
        groups: Vec::new(),
    };
    for of in series {
        if !bars.members.iter().any(|it| it == of.server) {
            bars.members.push(of.server.to_owned());
        }
        let height = height(&of.rounds);
        match bars.groups.last_mut() {
            Some((case, heights)) if case == of.case => heights.push(height),
            _ => bars.groups.push((of.case.to_owned(), vec![height])),
        }
    }
    bars
}
