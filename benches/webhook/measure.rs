//! The measuring itself: each round asks all servers, one after the other, so that what else the machine does meets them
//! all alike; each round begins with another one.

use std::{fs, path::Path, process, time::Duration};

use tokio::time::Instant;

use crate::{
    answers,
    cases::Case,
    figures::Samples,
    load::{Client, Connection, OpenLoop, closed_loop, open_loop, reconnect},
    process::Resident,
    servers::Server,
    surroundings::Look,
};

/// As an API server has it with a busy operator or two.
pub(crate) const CONNECTIONS: usize = 2;
pub(crate) const STREAMS: usize = 8;
/// Requests a second in the open loop.
pub(crate) const RATE: u32 = 500;
/// Connections that are opened side by side.
pub(crate) const RECONNECTS: usize = 4;
/// In `/proc/PID/stat` times are in hundredths of a second, whatever the kernel's own tick is.
const TICK: Duration = Duration::from_millis(10);

/// How often and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) rounds: usize,
    warm_up: Duration,
    closed: Duration,
    open: Duration,
    reconnects: Duration,
}

impl Pace {
    pub(crate) const WHOLE: Self = Self {
        rounds: 5,
        warm_up: Duration::from_millis(300),
        closed: Duration::from_secs(2),
        open: Duration::from_secs(3),
        reconnects: Duration::from_secs(1),
    };
    /// To see that it works. The figures mean little.
    pub(crate) const QUICK: Self = Self {
        rounds: 3,
        warm_up: Duration::from_millis(50),
        closed: Duration::from_millis(300),
        open: Duration::from_millis(400),
        reconnects: Duration::from_millis(200),
    };

    /// For the reader of the figures.
    pub(crate) fn describe(self) -> String {
        let Self {
            rounds,
            closed,
            open,
            reconnects,
            ..
        } = self;
        let quick = if closed < Self::WHOLE.closed {
            "; BENCH_QUICK: the figures mean little"
        } else {
            ""
        };
        format!(
            "{rounds} of {closed:?} in the closed loop, {open:?} in the open one, {reconnects:?} of new connections{quick}"
        )
    }
}

/// One round of one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Round {
    pub(crate) per_second: f64,
    /// Time of a core that one request took, at the server and at the load.
    pub(crate) server_cpu: Duration,
    pub(crate) load_cpu: Duration,
    /// Shares of a core.
    pub(crate) server_busy: f64,
    pub(crate) load_busy: f64,
}

/// A server's rounds of one case.
#[derive(Clone, Debug)]
pub(crate) struct Series<T> {
    pub(crate) case: &'static str,
    pub(crate) server: &'static str,
    pub(crate) rounds: Vec<T>,
}

/// A server's resident memory in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub(crate) server: &'static str,
    pub(crate) idle: u64,
    pub(crate) after: u64,
    pub(crate) highest: u64,
}

/// All that the load found out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Measured {
    pub(crate) throughput: Vec<Series<Round>>,
    pub(crate) latency: Vec<Series<OpenLoop>>,
    pub(crate) connections: Vec<Series<Round>>,
    /// Of the connections that were to take up a session, the share that did.
    pub(crate) resumed: f64,
    pub(crate) memory: Vec<Memory>,
    /// What else ran.
    pub(crate) meanwhile: String,
}

/// Asks all servers in all ways.
pub(crate) async fn measure(
    servers: &[Server],
    cases: &[Case],
    tls: &Path,
    pace: Pace,
) -> Measured {
    let full = Client::new(tls, false);
    let mut connections = Vec::new();
    for server in servers {
        let mut of_server = vec![full.connect_in_time(server.address).await];
        for _ in 1..CONNECTIONS {
            of_server.push(full.connect(server.address).await);
        }
        connections.push(of_server);
    }
    check(servers, &mut connections, cases).await;
    let idle: Vec<_> = servers.iter().map(memory).collect();
    let mut measured = Measured::default();
    let ids: Vec<_> = servers.iter().map(|it| it.process.id()).collect();
    let before = Look::now(&ids);
    for case in cases {
        let mut rounds = vec![Vec::new(); servers.len()];
        for index in turns(pace.rounds, servers.len()) {
            let (server, connections) = (&servers[index], &connections[index]);
            closed_loop(connections, STREAMS, &case.body, pace.warm_up).await;
            let asked = closed_loop(connections, STREAMS, &case.body, pace.closed);
            rounds[index].push(round(server, asked).await);
        }
        measured.throughput.extend(series(case, servers, rounds));
    }
    // A template that changes is rare, and costs about what a new one does.
    for case in &cases[..2] {
        let mut rounds = vec![Vec::new(); servers.len()];
        for index in turns(pace.rounds, servers.len()) {
            let connections = &connections[index];
            closed_loop(connections, 1, &case.body, pace.warm_up).await;
            rounds[index].push(open_loop(connections, &case.body, RATE, pace.open).await);
        }
        measured.latency.extend(series(case, servers, rounds));
    }
    let resuming: Vec<_> = servers.iter().map(|_| Client::new(tls, true)).collect();
    let (mut made, mut resumed) = (0, 0);
    for (name, resumes) in [("full handshake", false), ("resumed", true)] {
        let mut rounds = vec![Vec::new(); servers.len()];
        for index in turns(pace.rounds, servers.len()) {
            let (address, body) = (servers[index].address, &cases[0].body);
            let client = if resumes { &resuming[index] } else { &full };
            let mut connecting = async |how_long: Duration| -> u64 {
                let (all, taken_up) = reconnect(client, address, RECONNECTS, body, how_long).await;
                if resumes {
                    made += all;
                    resumed += taken_up;
                }
                all
            };
            // Also fetches the sessions to take up.
            connecting(pace.warm_up).await;
            rounds[index].push(round(&servers[index], connecting(pace.reconnects)).await);
        }
        let case = Case {
            name,
            ..cases[0].clone()
        };
        measured.connections.extend(series(&case, servers, rounds));
    }
    measured.meanwhile = Look::now(&ids).told_since(&before);
    measured.resumed = ratio(resumed, made);
    measured.memory = servers
        .iter()
        .zip(idle)
        .filter_map(|(server, idle)| {
            let (idle, loaded) = (idle?, memory(server)?);
            Some(Memory {
                server: server.name,
                idle: idle.now,
                after: loaded.now,
                highest: loaded.peak,
            })
        })
        .collect();
    measured
}

/// Looks at one answer of each server to each case. The limit server answers nothing that could be looked at.
async fn check(servers: &[Server], connections: &mut [Vec<Connection>], cases: &[Case]) {
    for case in cases {
        let mut parts = Vec::new();
        for (server, connections) in servers.iter().zip(&mut *connections).skip(1) {
            let answer = connections[0].asking.ask(case.body.clone()).await;
            parts.push((server.name, answers::parts(server.name, case, &answer)));
        }
        answers::check(case, &parts);
    }
}

/// Who is asked, in this order.
fn turns(rounds: usize, servers: usize) -> impl Iterator<Item = usize> {
    (0..rounds).flat_map(move |round| (0..servers).map(move |turn| (round + turn) % servers))
}

fn series<T>(
    case: &Case,
    servers: &[Server],
    rounds: Vec<Vec<T>>,
) -> impl Iterator<Item = Series<T>> {
    let case = case.name;
    servers
        .iter()
        .zip(rounds)
        .map(move |(server, rounds)| Series {
            case,
            server: server.name,
            rounds,
        })
}

/// What a time of asking was like. `asking` tells how many were answered.
async fn round(server: &Server, asking: impl Future<Output = u64>) -> Round {
    let (server, load) = (server.process.id(), process::id());
    let (began, server_before, load_before) = (Instant::now(), cpu_time(server), cpu_time(load));
    let answered = asking.await;
    let took = began.elapsed();
    let spent = |id, before| cpu_time(id).saturating_sub(before);
    let (server, load) = (spent(server, server_before), spent(load, load_before));
    let each =
        |spent: Duration| Duration::from_secs_f64(spent.as_secs_f64() / number(answered.max(1)));
    let busy = |spent: Duration| spent.as_secs_f64() / took.as_secs_f64();
    Round {
        per_second: number(answered) / took.as_secs_f64(),
        server_cpu: each(server),
        load_cpu: each(load),
        server_busy: busy(server),
        load_busy: busy(load),
    }
}

/// What a process has had of the cores so far.
pub(crate) fn cpu_time(id: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // The name before may hold anything, even a parenthesis.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u32 = ticks.filter_map(|ticks| ticks.parse::<u32>().ok()).sum();
    TICK * ticks
}

fn memory(server: &Server) -> Option<Resident> {
    Resident::of(server.process.id())
}

fn number(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn ratio(part: u64, all: u64) -> f64 {
    number(part) / number(all.max(1))
}

/// All samples of all rounds.
pub(crate) fn all<'a>(rounds: impl Iterator<Item = &'a Samples>) -> Samples {
    let mut all = Samples::default();
    rounds.for_each(|samples| all.extend(samples.clone()));
    all
}
