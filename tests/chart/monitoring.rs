//! Alerts, dashboard and runbooks, against what the program exports.

#![expect(
    clippy::unwrap_used,
    reason = "files of this tree that are not as they should be are what these tests find"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use promql_parser::{
    label::{Labels, MatchOp},
    parser::{self, Expr, LabelModifier, VectorSelector},
};
use serde_json::{Value, json};
use stellar_peers::{
    api::{StatefulSetObject, names},
    controller::{lease::Leadership, stores::Stores},
    domain::{
        Memory, Moment, Now, Policy, Snapshot, decide, node::NodeName, rollout::Notice,
        snapshot::StatefulSetView,
    },
    observe::{Board, Metrics},
    tls::CertificateStore,
};

use super::read;

/// What Prometheus adds to every sample; `namespace` is the pod's where the program gives none.
const OF_TARGET: [&str; 3] = ["job", "instance", "namespace"];

/// The names on the wire, each with its labels and their values.
type Exported = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// A namespace with a validator that waits and of which a person should know something.
fn show(board: &Board) {
    let metadata = json!({
        "name": "v1", "uid": "u",
        "labels": {names::INJECT: "enabled"}, "annotations": {names::JOINED_AT: "2026-01-01T00:00:00Z"},
    });
    let object = json!({"metadata": metadata, "spec": {"replicas": 3}});
    let set = serde_json::from_value::<StatefulSetObject>(object).unwrap();
    let mut snapshot = Snapshot::default();
    Arc::make_mut(&mut snapshot.stateful_sets).insert(
        NodeName::new("v1").unwrap(),
        Arc::new(StatefulSetView::from(&set)),
    );
    let now = Now {
        moment: Moment::default(),
        wall: jiff::Timestamp::UNIX_EPOCH,
    };
    let decision = decide(&snapshot, &mut Memory::default(), &Policy::default(), now);
    board.show("stellar", &decision);
}

fn exported() -> Exported {
    let board = Arc::new(Board::default());
    show(&board);
    let metrics = Metrics::new(board, Leadership::fixed(true));
    metrics.tell_of(Arc::new(CertificateStore::default()));
    metrics.tell_of_stores(Arc::new(Stores::default()));
    let _ = metrics.webhook_connections();
    let text = metrics.encode().unwrap();
    let mut exported = Exported::new();
    for line in text.lines() {
        // Families without a sample are known by their types.
        if let Some(family) = line.strip_prefix("# TYPE ") {
            let (name, kind) = family.split_once(' ').unwrap();
            let suffix = if kind == "counter" { "_total" } else { "" };
            exported.entry(format!("{name}{suffix}")).or_default();
        } else if !line.starts_with('#') {
            let (name, labels) = line.split_once('{').unwrap_or((line, ""));
            let name = name.split(' ').next().unwrap();
            let of_sample = exported.entry(name.to_owned()).or_default();
            let labels = labels.split_once('}').map_or("", |(labels, _)| labels);
            for label in labels.split(',').filter(|label| !label.is_empty()) {
                let (label, value) = label.split_once('=').unwrap();
                let values = of_sample.entry(label.to_owned()).or_default();
                values.insert(value.trim_matches('"').to_owned());
            }
        }
    }
    // These sets are wider than one validator can show.
    let page = read("docs/restarts.md");
    let held = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let wide = [
        ("stellar_peers_held", held.collect::<Vec<_>>()),
        ("stellar_peers_notices", Notice::REASONS.to_vec()),
    ];
    for (family, reasons) in wide {
        let values = exported.get_mut(family).unwrap().get_mut("reason").unwrap();
        values.extend(reasons.into_iter().map(str::to_owned));
    }
    exported
}

/// One query with the place where it stands, and the labels that its words take from the result.
struct Query {
    place: String,
    text: String,
    told: Vec<String>,
}

fn alerts() -> Vec<Value> {
    let file: Value =
        serde_saphyr::from_str(&read("charts/stellar-peers/files/alerts.yaml")).unwrap();
    let rules = file["groups"][0]["rules"].as_array().unwrap();
    rules.clone()
}

fn between(text: &str, begin: &str, end: &str) -> Vec<String> {
    let parts = text.split(begin).skip(1);
    let parts = parts.filter_map(|part| Some(part.split_once(end)?.0.trim().to_owned()));
    parts.collect()
}

fn queries() -> Vec<Query> {
    let of_alerts = alerts().into_iter().map(|alert| {
        let words = alert["annotations"].to_string();
        Query {
            place: alert["alert"].as_str().unwrap().to_owned(),
            text: alert["expr"].as_str().unwrap().to_owned(),
            told: between(&words, "$labels.", " }}"),
        }
    });
    let dashboard: Value =
        serde_json::from_str(&read("charts/stellar-peers/files/dashboard.json")).unwrap();
    let of_panels = dashboard["panels"].as_array().unwrap().iter();
    let of_panels = of_panels.flat_map(|panel| {
        let targets = panel["targets"].as_array().unwrap().iter();
        targets.map(|target| Query {
            place: panel["title"].as_str().unwrap().to_owned(),
            text: target["expr"].as_str().unwrap().to_owned(),
            told: between(target["legendFormat"].as_str().unwrap(), "{{", "}}"),
        })
    });
    of_alerts.chain(of_panels).collect()
}

/// What a query rests on.
#[derive(Default)]
struct Used {
    selectors: Vec<VectorSelector>,
    /// Labels by which something is grouped or matched.
    grouped: BTreeSet<String>,
}

impl Used {
    fn labels(&mut self, labels: Option<&Labels>) {
        let labels = labels.iter().flat_map(|it| &it.labels);
        self.grouped.extend(labels.cloned());
    }

    fn walk(&mut self, expr: &Expr) {
        match expr {
            Expr::Aggregate(it) => {
                self.labels(it.modifier.as_ref().map(LabelModifier::labels));
                self.walk(&it.expr);
            }
            Expr::Binary(it) => {
                if let Some(modifier) = &it.modifier {
                    self.labels(modifier.matching.as_ref().map(LabelModifier::labels));
                    self.labels(modifier.card.labels());
                }
                self.walk(&it.lhs);
                self.walk(&it.rhs);
            }
            Expr::Unary(it) => self.walk(&it.expr),
            Expr::Paren(it) => self.walk(&it.expr),
            Expr::Subquery(it) => self.walk(&it.expr),
            Expr::VectorSelector(it) => self.selectors.push(it.clone()),
            Expr::MatrixSelector(it) => self.selectors.push(it.vs.clone()),
            Expr::Call(it) => it.args.args.iter().for_each(|arg| self.walk(arg)),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
        }
    }
}

fn used(query: &Query) -> Used {
    let text = query
        .text
        .replace("$__rate_interval", "5m")
        .replace("$namespace", ".*");
    let expr = parser::parse(&text)
        .unwrap_or_else(|error| panic!("{}: {text} is no PromQL: {error}", query.place));
    let mut used = Used::default();
    used.walk(&expr);
    used
}

#[test]
fn every_name_label_and_value_in_alerts_and_dashboard_is_one_that_is_exported() {
    let exported = exported();
    for query in queries() {
        let place = &query.place;
        let used = used(&query);
        let mut known: BTreeSet<&str> = OF_TARGET.into();
        for selector in &used.selectors {
            let name = selector.name.as_deref().unwrap();
            let labels = exported
                .get(name)
                .unwrap_or_else(|| panic!("{place}: {name} is not exported"));
            known.extend(labels.keys().map(String::as_str));
            for matcher in &selector.matchers.matchers {
                let values = labels.get(&matcher.name);
                let values =
                    values.unwrap_or_else(|| panic!("{place}: {name} has no {}", matcher.name));
                let wanted: Vec<&str> = match &matcher.op {
                    MatchOp::Equal | MatchOp::NotEqual => vec![&matcher.value],
                    MatchOp::Re(_) | MatchOp::NotRe(_) => matcher.value.split('|').collect(),
                };
                for value in wanted.into_iter().filter(|value| *value != ".*") {
                    let is_there = values.contains(value);
                    assert!(is_there, "{place}: {} is never {value}", matcher.name);
                }
            }
        }
        for label in used.grouped.iter().chain(&query.told) {
            assert!(known.contains(&**label), "{place}: nothing has {label}");
        }
    }
}

#[test]
fn the_dashboards_choice_of_namespaces_is_one_that_there_is() {
    let dashboard: Value =
        serde_json::from_str(&read("charts/stellar-peers/files/dashboard.json")).unwrap();
    let query = dashboard["templating"]["list"][1]["query"]
        .as_str()
        .unwrap();
    let (family, label) = query
        .strip_prefix("label_values(")
        .and_then(|rest| rest.strip_suffix(')')?.split_once(", "))
        .unwrap();
    assert!(exported()[family].contains_key(label));
}

#[test]
fn every_family_is_watched_by_an_alert_or_a_panel() {
    let all: BTreeSet<String> = queries()
        .iter()
        .flat_map(|query| used(query).selectors)
        .map(|selector| selector.name.unwrap())
        .collect();
    for name in exported().keys() {
        // Of a histogram the buckets are enough.
        let family = ["_count", "_sum"]
            .iter()
            .find_map(|it| name.strip_suffix(it));
        let bucket = format!("{}_bucket", family.unwrap_or(name));
        assert!(
            all.contains(name) || all.contains(&bucket),
            "nobody looks at {name}"
        );
    }
}

#[test]
fn every_alert_has_its_runbook_and_every_runbook_its_alert() {
    let page = read("docs/runbooks.md");
    let sections = page.lines().filter_map(|line| line.strip_prefix("## "));
    let mut named = Vec::new();
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        let runbook = format!("docs/runbooks.md#{}", name.to_lowercase());
        assert_eq!(alert["annotations"]["runbook"], runbook, "{name}");
        named.push(name.to_owned());
    }
    assert_eq!(named, sections.collect::<Vec<_>>(), "and in the same order");
}

#[test]
fn runbooks_name_events_that_there_are() {
    let page = read("docs/restarts.md") + &read("docs/events.md");
    for reason in between(&read("docs/runbooks.md"), "--field-selector reason=", "\n") {
        let is_told = reason == "REASON" || page.contains(&format!("`{reason}`"));
        assert!(is_told, "{reason}");
    }
}
