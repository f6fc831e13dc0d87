//! The table.

use std::time::Duration;

use anstyle::Style;
use jiff::Timestamp;

use super::{Namespace, Report};
use crate::{
    cli::{
        look::{FlagsFrom, Leader, ServiceStatus},
        output::{BAD, BOLD, BUSY, CAUTION, DIM, GOOD, PLAIN, line, styled, table},
        program,
    },
    domain::{
        snapshot::parse_time,
        status::{ListStatus, NetworkStatus, NodeStatus, Phase, Status, Tolerates},
        time::plain,
    },
};

/// All namespaces, one after the other.
pub(super) fn report(report: &Report, now: Timestamp) -> String {
    if report.namespaces.is_empty() {
        return "no namespace has validators\n".to_owned();
    }
    let namespaces = report.namespaces.iter();
    let texts: Vec<String> = namespaces.map(|it| namespace(it, now)).collect();
    texts.join("\n")
}

fn namespace(namespace: &Namespace, now: Timestamp) -> String {
    let status = &namespace.status;
    let mut text = String::new();
    let mut say = |key: &str, value: String| {
        let key = styled(BOLD, format!("{:<12}", format!("{key}:")));
        text.extend([key, value, "\n".to_owned()]);
    };
    say("Namespace", status.namespace.clone());
    if status.nodes.is_empty() && status.list.is_none() {
        let program = program();
        say(
            "Validators",
            format!("none here; `{program} status -A` looks everywhere"),
        );
        return text;
    }
    if let Some(service) = &namespace.service {
        say("Leader", leader(service, now));
        if let FlagsFrom::Defaults { why } = &service.flags {
            say(
                "Flags",
                styled(DIM, format!("the defaults are assumed: {}", line(why))),
            );
        }
        if service.dry_run {
            say(
                "Dry run",
                styled(CAUTION, "it decides and tells, and writes nothing"),
            );
        }
        if !service.looks_after {
            let other = "its --namespaces don't name this one: nobody keeps this list";
            say("Not kept", styled(BAD, other));
        }
    }
    say("Peer list", list(status.list.as_ref(), now));
    if let Some(problem) = &status.problem {
        say("Problem", styled(BAD, line(&problem.text)));
    }
    if status.paused {
        let how = format!(
            "by annotation on ConfigMap stellar-peers; `{} resume` ends it",
            program()
        );
        say("Paused", styled(CAUTION, how));
    }
    for network in &status.networks {
        say("Network", members(network));
        say("Restarts", restarts(network));
        if let Some(next) = &network.next {
            say("Next", line(next));
        }
    }
    text.push_str(&nodes(status, now));
    text.push_str(&notices(status));
    text
}

fn leader(service: &ServiceStatus, now: Timestamp) -> String {
    match &service.leader {
        Leader::Alive { holder } => line(holder),
        Leader::Silent { holder, since } => {
            let ago = ago(since, now).unwrap_or_default();
            let holder = line(holder);
            styled(
                BAD,
                format!(
                    "nobody: {holder} was last heard of {ago} ago; list and restarts stand still"
                ),
            )
        }
        Leader::Nobody => styled(
            BAD,
            "nobody: list and restarts stand still, validators run on",
        ),
        Leader::Unknown { why } => styled(CAUTION, format!("unknown: {}", line(why))),
    }
}

fn list(list: Option<&ListStatus>, now: Timestamp) -> String {
    let Some(list) = list else {
        return styled(CAUTION, "none was written yet");
    };
    let written = list.written.as_deref().and_then(|at| ago(at, now));
    let written = written.map_or_else(String::new, |ago| format!(", written {ago} ago"));
    let bootstrap = if list.bootstrap {
        ", before anybody was ever Ready"
    } else {
        ""
    };
    let peers = counted(list.peers, "peer");
    let mut text = format!("{peers}, {}{written}{bootstrap}", list.revision);
    if !list.up_to_date {
        text.push_str(&styled(BAD, "; not as it should be now"));
    }
    text
}

fn members(network: &NetworkStatus) -> String {
    let name = match network.name.as_str() {
        "" => "(none named)".to_owned(),
        name => line(name),
    };
    let members = counted(network.members, "member");
    format!("{name}, {members}, {} Ready", network.ready)
}

fn restarts(network: &NetworkStatus) -> String {
    let NetworkStatus {
        members,
        current,
        max_unavailable,
        ..
    } = network;
    let most = if *max_unavailable == 1 {
        "one at a time".to_owned()
    } else {
        format!("at most {max_unavailable} down at once")
    };
    let tolerates = match network.tolerates {
        None => "",
        Some(Tolerates::All) => "; any one that is up may go down by the quorum sets",
        Some(Tolerates::Some) => "; not each that is up may go down by the quorum sets",
        Some(Tolerates::None) => "; nobody that is up may go down by the quorum sets",
    };
    format!("{current} of {members} know the present members, {most}{tolerates}")
}

fn nodes(status: &Status, now: Timestamp) -> String {
    let several = status.network_names().len() > 1;
    let mut headings = vec![
        "NAME",
        "STATUS",
        "ADDRESS",
        "KNOWS",
        "MEMBER",
        "RESTARTED",
        "INFO",
    ];
    if several {
        headings.insert(1, "NETWORK");
    }
    let rows: Vec<Vec<(Style, String)>> = status
        .nodes
        .iter()
        .map(|node| {
            let mut row = row(node, now);
            if several {
                row.insert(1, (PLAIN, line(&node.network)));
            }
            row
        })
        .collect();
    format!("\n{}", table(&headings, &rows))
}

fn row(node: &NodeStatus, now: Timestamp) -> Vec<(Style, String)> {
    let style = match node.phase {
        Phase::Ready => GOOD,
        Phase::Restarting | Phase::Due => BUSY,
        Phase::Waiting => PLAIN,
        Phase::Held | Phase::NotInjected => CAUTION,
        Phase::NotReady => BAD,
        Phase::LeftOut => DIM,
    };
    let age = |at: &Option<String>| at.as_deref().and_then(|at| ago(at, now));
    let dash = |text: Option<String>| (PLAIN, text.unwrap_or_else(|| "-".to_owned()));
    let more = node.addresses.len().saturating_sub(1);
    let address = node.addresses.first().map(|first| match more {
        0 => first.clone(),
        more => format!("{first} +{more}"),
    });
    let knows = node.membership.as_deref().map(|hash| {
        let digits = hash.split_once(':').map_or(hash, |(_, digits)| digits);
        line(&digits.chars().take(6).collect::<String>())
    });
    vec![
        (PLAIN, node.name.clone()),
        (style, node.phase.words().to_owned()),
        dash(address),
        (
            if node.current { PLAIN } else { CAUTION },
            knows.unwrap_or_else(|| "-".to_owned()),
        ),
        dash(age(&node.member_since)),
        dash(age(&node.restarted)),
        (PLAIN, info(node)),
    ]
}

/// What there is to say besides the other columns.
fn info(node: &NodeStatus) -> String {
    match (node.phase, node.left_out.as_ref()) {
        (Phase::Ready, _) => String::new(),
        (Phase::NotReady, Some(why)) => line(&why.text),
        (Phase::NotReady, None) => "not Ready, and listed all the same".to_owned(),
        _ => line(&node.info),
    }
}

fn notices(status: &Status) -> String {
    let of = |node: &NodeStatus| {
        let name = node.name.clone();
        let notices = node.notices.clone().into_iter();
        notices.map(move |notice| {
            let text = line(&notice.text);
            format!(
                "{} {name}: {}: {text}\n",
                styled(CAUTION, "‼"),
                notice.reason
            )
        })
    };
    let notices: Vec<String> = status.nodes.iter().flat_map(of).collect();
    if notices.is_empty() {
        String::new()
    } else {
        format!("\n{}", notices.concat())
    }
}

fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {what}{plural}")
}

/// How long ago that was; nothing where it is no time.
fn ago(at: &str, now: Timestamp) -> Option<String> {
    let passed = now.duration_since(parse_time(at)?);
    Some(plain(Duration::try_from(passed).unwrap_or_default()))
}
