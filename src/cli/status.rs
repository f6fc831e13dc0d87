//! `status`: the validators of a namespace, what restarts next and what holds it back.

#[cfg(test)]
mod tests;
mod text;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{
    ConnectArgs, Failed,
    look::{Looker, Seen, ServiceStatus},
    output::{Output, print},
};
use crate::{clock::Clock, domain::status::Status};

/// How often `--watch` looks.
const PERIOD: Duration = Duration::from_secs(2);

/// What to look at, and how to show it.
#[derive(Clone, Debug, clap::Args)]
pub struct StatusArgs {
    /// The namespace; without it that of the context in use.
    #[arg(short, long, env = "STELLAR_PEERS_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,
    /// All namespaces with validators, whatever --namespace says.
    #[arg(short = 'A', long, env = "STELLAR_PEERS_ALL_NAMESPACES")]
    pub all_namespaces: bool,
    /// Look every 2 s, and show what changed, until Ctrl-C.
    #[arg(short, long, env = "STELLAR_PEERS_WATCH")]
    pub watch: bool,
    /// How to show it.
    #[arg(short, long, env = "STELLAR_PEERS_OUTPUT", value_enum, default_value_t)]
    pub output: Output,
    /// Access to the cluster.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// What is shown: for machines as it stands here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    /// When it was seen, RFC 3339.
    at: String,
    namespaces: Vec<Namespace>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Namespace {
    /// The installation that keeps its list.
    service: Option<ServiceStatus>,
    #[serde(flatten)]
    status: Status,
}

impl From<Seen> for Namespace {
    fn from(seen: Seen) -> Self {
        Self {
            service: seen.service,
            status: seen.status,
        }
    }
}

/// Shows it, once or for as long as somebody watches.
///
/// # Errors
/// [`Failed`] where something can't be read. While watching, such a thing is said, and looked at again.
pub(super) async fn run(args: &StatusArgs) -> Result<(), Failed> {
    let mut looker = Looker::connect(&args.connect).await?;
    let clock = Clock::system();
    let first = look(&mut looker, args, &clock).await?;
    show(args, &clock, &first)?;
    if !args.watch {
        return Ok(());
    }
    let mut last = first;
    loop {
        tokio::time::sleep(PERIOD).await;
        looker.look_again();
        match look(&mut looker, args, &clock).await {
            Ok(report) => {
                // A terminal shows time going by; whatever else reads wants to hear of changes.
                if is_terminal() || report.is_news_after(&last) {
                    show(args, &clock, &report)?;
                }
                last = report;
            }
            Err(failed) => eprintln!("error: {failed}; looking again"),
        }
    }
}

fn is_terminal() -> bool {
    std::io::IsTerminal::is_terminal(&std::io::stdout())
}

async fn look(looker: &mut Looker, args: &StatusArgs, clock: &Clock) -> Result<Report, Failed> {
    let names = if args.all_namespaces {
        looker.namespaces().await?.into_iter().collect()
    } else {
        vec![looker.namespace_or_default(args.namespace.as_deref())]
    };
    let mut namespaces = Vec::new();
    for name in names {
        namespaces.push(looker.look(&name).await?.into());
    }
    Ok(Report {
        at: crate::domain::time::rfc3339(clock.now().wall),
        namespaces,
    })
}

fn show(args: &StatusArgs, clock: &Clock, report: &Report) -> Result<(), Failed> {
    let clear = args.watch && args.output == Output::Table && is_terminal();
    if let Some(text) = args.output.of(report)? {
        return print(&text);
    }
    let text = text::report(report, clock.now().wall);
    print(&if clear {
        format!("\u{1b}[2J\u{1b}[H{text}")
    } else if args.watch {
        format!("{}\n{text}\n", report.at)
    } else {
        text
    })
}

impl Report {
    /// Something else than the time is another.
    fn is_news_after(&self, before: &Self) -> bool {
        let timeless = |report: &Self| {
            let mut namespaces = report.namespaces.clone();
            for namespace in &mut namespaces {
                for network in &mut namespace.status.networks {
                    network.next = None;
                }
                for node in &mut namespace.status.nodes {
                    node.info.clear();
                }
                if let Some(service) = &mut namespace.service
                    && let super::look::Leader::Silent { since, .. } = &mut service.leader
                {
                    since.clear();
                }
            }
            namespaces
        };
        timeless(self) != timeless(before)
    }
}
