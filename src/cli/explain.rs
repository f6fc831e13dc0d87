//! `explain`: why a node is or isn't in the list, step by step.

use std::fmt::Write;

use super::{
    ConnectArgs, Failed,
    look::Looker,
    output::{BAD, BOLD, CAUTION, DIM, GOOD, Output, line, print, styled},
};
use crate::domain::{
    explain::{Explanation, explain},
    node::NodeName,
    status::{NodeStatus, Phase},
};

/// Whom to explain.
#[derive(Clone, Debug, clap::Args)]
pub struct ExplainArgs {
    /// The node: the name of its StellarNode or StatefulSet.
    #[arg(value_name = "NODE", value_parser = parse_name)]
    pub node: NodeName,
    /// The namespace; without it that of the context in use.
    #[arg(short, long, env = "STELLAR_PEERS_NAMESPACE", value_name = "NAME")]
    pub namespace: Option<String>,
    /// How to show it.
    #[arg(short, long, env = "STELLAR_PEERS_OUTPUT", value_enum, default_value_t)]
    pub output: Output,
    /// Access to the cluster.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

fn parse_name(text: &str) -> Result<NodeName, String> {
    NodeName::new(text).map_err(|error| error.to_string())
}

/// Explains it.
///
/// # Errors
/// [`Failed`] where something can't be read, and where there is no such node.
pub(super) async fn run(args: &ExplainArgs) -> Result<(), Failed> {
    let mut looker = Looker::connect(&args.connect).await?;
    let namespace = looker.namespace_or_default(args.namespace.as_deref());
    let seen = looker.look(&namespace).await?;
    let (status, policy) = (&seen.status, &seen.policy);
    let told = explain(&seen.snapshot, &seen.decision, status, policy, &args.node);
    print(&match args.output.of(&told)? {
        Some(text) => text,
        None => text(&told),
    })?;
    match told.status {
        Some(_) => Ok(()),
        None => Err(Failed(format!(
            "{} is no node of namespace {namespace}",
            args.node
        ))),
    }
}

fn text(told: &Explanation) -> String {
    let mut text = format!(
        "{} in namespace {}\n\n",
        styled(BOLD, &told.node),
        told.namespace
    );
    let widest = |of: fn(&crate::domain::explain::Step) -> &str| {
        let lengths = told.steps.iter().map(|step| line(of(step)).chars().count());
        lengths.max().unwrap_or(0)
    };
    let (claims, founds) = (widest(|it| &it.claim), widest(|it| &it.found).min(60));
    for step in &told.steps {
        let mark = if step.holds {
            styled(GOOD, "√")
        } else {
            styled(BAD, "×")
        };
        let (claim, found) = (&step.claim, line(&step.found));
        let place = styled(DIM, line(&step.place));
        say(
            &mut text,
            format!("{mark} {claim:claims$}   {found:founds$}   {place}"),
        );
    }
    text.push('\n');
    let because = told.because.as_ref().map(|because| line(&because.text));
    if told.is_peer() {
        let addresses = told.addresses.join(" ");
        let why = because.map_or_else(String::new, |because| format!(": {because}"));
        say(
            &mut text,
            styled(GOOD, format!("is a peer at {addresses}{why}")),
        );
    } else {
        let why = because.unwrap_or_default();
        say(&mut text, styled(BAD, format!("is not in the list: {why}")));
    }
    if let Some(fix) = &told.fix {
        say(&mut text, format!("fix: {}", line(fix)));
    }
    if let Some(problem) = &told.problem {
        say(
            &mut text,
            styled(
                BAD,
                format!("nothing is decided here: {}", line(&problem.text)),
            ),
        );
    }
    let counts = told.status.as_ref().filter(|it| it.phase != Phase::LeftOut);
    if let Some(status) = counts {
        more(&mut text, told, status);
    }
    text
}

/// Whether it counts, what it knows, and what becomes of it.
fn more(text: &mut String, told: &Explanation, status: &NodeStatus) {
    let since = |at: &Option<String>| {
        at.as_ref()
            .map_or_else(String::new, |at| format!(" since {}", line(at)))
    };
    text.push('\n');
    let member = if status.member {
        format!("yes{}", since(&status.member_since))
    } else {
        "no: it has not been Ready since its StatefulSet was made".to_owned()
    };
    say(text, format!("member     {member}"));
    let knows = match (&status.membership, &told.membership) {
        (None, _) => "nothing: its pod template carries no membership".to_owned(),
        (Some(knows), Some(present)) if knows == present => {
            format!("the present members, {}", line(knows))
        }
        (Some(knows), Some(present)) => {
            format!(
                "other members, {}; the present ones are {present}",
                line(knows)
            )
        }
        (Some(knows), None) => line(knows),
    };
    say(text, format!("knows      {knows}"));
    let restart = match (&status.stale, &status.held) {
        (None, _) => "not due".to_owned(),
        (Some(stale), None) => format!("due now ({stale})"),
        (Some(stale), Some(held)) => {
            format!(
                "due ({stale}), held ({}): {}",
                held.reason,
                line(&held.text)
            )
        }
    };
    let last = status.restarted.as_ref();
    let last = last.map_or_else(String::new, |at| format!("; the last was at {}", line(at)));
    say(text, format!("restart    {restart}{last}"));
    if status.held.is_some() {
        say(
            text,
            "           docs/restarts.md has what to do about each reason",
        );
    }
    for notice in &status.notices {
        let mark = styled(CAUTION, "‼");
        say(
            text,
            format!("{mark} {}: {}", notice.reason, line(&notice.text)),
        );
    }
}

fn say(text: &mut String, what: impl std::fmt::Display) {
    // What fills a column up is nothing at the end of a line.
    let what = what.to_string();
    writeln!(text, "{}", what.trim_end()).expect("writing to a String cannot fail");
}
