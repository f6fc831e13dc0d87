use jiff::Timestamp;

use super::*;
use crate::{
    cli::look::{FlagsFrom, Leader},
    domain::status::{ListStatus, NetworkStatus, NodeStatus, Phase, Reason},
};

const NOON: Timestamp = Timestamp::constant(1_780_000_000, 0);

fn quiet() -> Namespace {
    let hash = || "v1:49d712fb14ff".to_owned();
    Namespace {
        service: Some(ServiceStatus {
            writer: "stellar-peers/stellar-peers".to_owned(),
            leader: Leader::Alive {
                holder: "stellar-peers-1".to_owned(),
            },
            flags: FlagsFrom::Deployment {
                name: "stellar-peers/stellar-peers".to_owned(),
            },
            dry_run: false,
            looks_after: true,
        }),
        status: Status {
            namespace: "stellar".to_owned(),
            list: Some(ListStatus {
                peers: 1,
                revision: "0573ac".to_owned(),
                up_to_date: true,
                ..ListStatus::default()
            }),
            networks: vec![NetworkStatus {
                name: "testnet".to_owned(),
                membership: hash(),
                members: 1,
                ready: 1,
                current: 1,
                max_unavailable: 1,
                ..NetworkStatus::default()
            }],
            nodes: vec![NodeStatus {
                name: "validator-1".to_owned(),
                network: "testnet".to_owned(),
                phase: Phase::Ready,
                addresses: vec!["10.0.0.1:11625".to_owned()],
                membership: Some(hash()),
                current: true,
                ..NodeStatus::default()
            }],
            ..Status::default()
        },
    }
}

/// As it is without a terminal.
fn text(namespace: Namespace) -> String {
    let report = Report {
        at: "2026-05-28T20:26:40Z".to_owned(),
        namespaces: vec![namespace],
    };
    let text = text::report(&report, NOON);
    anstream::adapter::strip_str(&text).to_string()
}

#[test]
fn a_quiet_namespace_takes_few_words() {
    let wanted = "\
Namespace:  stellar
Leader:     stellar-peers-1
Peer list:  1 peer, 0573ac
Network:    testnet, 1 member, 1 Ready
Restarts:   1 of 1 know the present members, one at a time

NAME          STATUS   ADDRESS          KNOWS    MEMBER   RESTARTED   INFO
validator-1   Ready    10.0.0.1:11625   49d712   -        -
";
    assert_eq!(text(quiet()), wanted);
}

#[test]
fn whatever_keeps_it_from_its_work_is_said() {
    type Change = fn(&mut Namespace);
    let changes: [(Change, &str); 9] = [
        (|it| it.service.as_mut().unwrap().dry_run = true, "Dry run:"),
        (
            |it| it.service.as_mut().unwrap().looks_after = false,
            "nobody keeps this list",
        ),
        (
            |it| it.service.as_mut().unwrap().leader = Leader::Nobody,
            "nobody: list and restarts stand still",
        ),
        (
            |it| {
                it.service.as_mut().unwrap().leader = Leader::Silent {
                    holder: "a".to_owned(),
                    since: "2026-05-28T20:21:40Z".to_owned(),
                }
            },
            "nobody: a was last heard of 5m ago",
        ),
        (
            |it| {
                it.service.as_mut().unwrap().flags = FlagsFrom::Defaults {
                    why: "no rights".to_owned(),
                }
            },
            "the defaults are assumed: no rights",
        ),
        (
            |it| it.status.paused = true,
            "`stellar-peers resume` ends it",
        ),
        (|it| it.status.list = None, "none was written yet"),
        (
            |it| it.status.list.as_mut().unwrap().up_to_date = false,
            "not as it should be now",
        ),
        (
            |it| {
                it.status.problem = Some(Reason {
                    reason: "KindMissing".to_owned(),
                    text: "no kind".to_owned(),
                });
            },
            "Problem:    no kind",
        ),
    ];
    for (change, wanted) in changes {
        let mut namespace = quiet();
        change(&mut namespace);
        let text = text(namespace);
        assert!(text.contains(wanted), "{wanted}: {text}");
    }
}

#[test]
fn nothing_from_the_cluster_moves_a_cursor_or_begins_a_line() {
    let mut namespace = quiet();
    let evil = || "\u{1b}[2Jevil\nline".to_owned();
    namespace.status.networks[0].name = evil();
    namespace.status.networks[0].next = Some(evil());
    let node = &mut namespace.status.nodes[0];
    (node.network, node.phase, node.info) = (evil(), Phase::Held, evil());
    node.membership = Some(evil());
    node.notices = vec![Reason {
        reason: "NotRendered".to_owned(),
        text: evil(),
    }];
    let report = Report {
        at: String::new(),
        namespaces: vec![namespace],
    };
    let text = text::report(&report, NOON);
    assert!(
        !text.contains("\u{1b}[2J") && !text.lines().any(|line| line.starts_with("line")),
        "{text:?}"
    );
}

#[test]
fn only_time_going_by_is_no_news() {
    let report = |change: fn(&mut Namespace)| {
        let mut namespace = quiet();
        change(&mut namespace);
        Report {
            at: String::new(),
            namespaces: vec![namespace],
        }
    };
    let before = report(|_| {});
    let later = report(|it| it.status.nodes[0].info = "Ready for 7s of 1m".to_owned());
    assert!(!later.is_news_after(&before));
    let held = report(|it| it.status.nodes[0].phase = Phase::Held);
    assert!(held.is_news_after(&before));
}

#[test]
fn a_report_reads_back_from_json_and_is_yaml_too() {
    let report = Report {
        at: "2026-05-28T20:26:40Z".to_owned(),
        namespaces: vec![quiet()],
    };
    let json = Output::Json.of(&report).unwrap().unwrap();
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    let yaml = Output::Yaml.of(&report).unwrap().unwrap();
    assert!(yaml.contains("holder: stellar-peers-1"), "{yaml}");
    assert_eq!(Output::Table.of(&report).unwrap(), None);
}
