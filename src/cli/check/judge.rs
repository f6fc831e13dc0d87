//! What one look at a namespace comes to, as values.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    finding::{Check, Finding},
    list,
};
use crate::domain::{
    Decision, Policy, Snapshot,
    node::NodeName,
    rollout::{Held, Verdict},
    snapshot::parse_time,
    survey::{Candidate, PodReport, Skipped, Standing, candidates},
};

/// Names that are told of one kind of finding; of the rest their number.
const NAMES_MAX: usize = 5;

/// What of the installation its lists depend on.
#[derive(Clone, Debug)]
pub(super) struct Ours {
    /// What its decisions depend on.
    pub(super) policy: Policy,
    /// It runs the loop, and writes.
    pub(super) writes_lists: bool,
    /// Its addresses are DNS names.
    pub(super) uses_names: bool,
    /// The above is how it runs, and not what is assumed.
    pub(super) is_known: bool,
    /// Under which name it writes is certain.
    pub(super) is_writer_known: bool,
}

/// One look at a namespace.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) namespace: String,
    pub(super) snapshot: Snapshot,
    /// As a service decides that has seen all of this for as long as the list is old.
    pub(super) decision: Decision,
    /// As one decides that has seen it just now.
    pub(super) young: Decision,
    /// StatefulSets that look like stellar-core and that nobody opted in or out.
    pub(super) strangers: BTreeSet<NodeName>,
}

impl Judged {
    /// Those that count.
    pub(super) fn candidates(&self) -> BTreeMap<&NodeName, &Candidate> {
        candidates(&self.decision.survey).collect()
    }

    fn node(&self, name: &NodeName) -> String {
        format!("{}/{name}", self.namespace)
    }

    fn object(&self, name: &NodeName) -> String {
        let is_stellar_node = self.snapshot.stellar_nodes.contains_key(name);
        let kind = if is_stellar_node {
            "StellarNode"
        } else {
            "StatefulSet"
        };
        format!("{kind} {}", self.node(name))
    }
}

/// The first few, and how many more.
pub(super) fn some(names: &[impl ToString]) -> String {
    let shown: Vec<String> = names
        .iter()
        .take(NAMES_MAX)
        .map(ToString::to_string)
        .collect();
    let more = names.len().saturating_sub(NAMES_MAX);
    let shown = shown.join(", ");
    if more == 0 {
        shown
    } else {
        format!("{shown} and {more} more")
    }
}

/// All that there is to say about a namespace. `is_settled`: the list's difference was the same twice.
pub(super) fn findings(
    judged: &Judged,
    ours: &Ours,
    is_settled: bool,
    now: Timestamp,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if judged.decision.list.is_some() {
        findings.push(whole(judged));
        findings.extend(list::findings(judged, ours, is_settled));
    }
    findings.extend(not_listed(judged));
    findings.extend(not_ready(judged));
    findings.extend(shared_seed(judged));
    findings.extend(noticed(judged));
    findings.extend(stuck(judged, ours, now));
    findings.extend(not_opted_in(judged));
    if findings.is_empty() {
        let namespace = &judged.namespace;
        let none = Finding::pass(Check::Namespace, format!("{namespace}: no validators"));
        findings.push(none.of(format!("Namespace {namespace}")));
    }
    findings
}

fn whole(judged: &Judged) -> Finding {
    let candidates = judged.candidates();
    let ready = candidates.values().filter(|node| node.is_ready()).count();
    let (namespace, count) = (&judged.namespace, candidates.len());
    let plural = if count == 1 { "" } else { "s" };
    let text = format!("{namespace}: {count} validator{plural}, {ready} Ready");
    Finding::pass(Check::Namespace, text).of(format!("Namespace {namespace}"))
}

/// Those that never will be a peer as they are. Who is down, or new, is no fault.
fn not_listed(judged: &Judged) -> Vec<Finding> {
    let survey = judged.decision.survey.iter();
    let told = survey.filter_map(|(name, standing)| {
        let why = match standing {
            Standing::Out(Skipped::NoStellarNode) => Skipped::NoStellarNode,
            Standing::Out(_) => return None,
            Standing::Candidate(node) => never_listed(node)?,
        };
        Some((name, why))
    });
    told.map(|(name, why)| {
        let text = format!("{} is in no list: {why}", judged.node(name));
        Finding::warning(Check::NotListed, text)
            .of(judged.object(name))
            .means("no other validator is told of it")
            .fix("what the reason says")
    })
    .collect()
}

/// Whatever the list remembers of it meanwhile.
fn never_listed(node: &Candidate) -> Option<Skipped> {
    if let Err(invalid) = &node.port {
        return Some(Skipped::InvalidPort(invalid.clone()));
    }
    let has_only_ipv6 = |pod: &PodReport| pod.host == Err(Skipped::OnlyIpv6);
    let is_so = !node.pods.is_empty() && node.pods.iter().all(has_only_ipv6);
    is_so.then_some(Skipped::OnlyIpv6)
}

fn not_ready(judged: &Judged) -> Option<Finding> {
    let down: Vec<&NodeName> = judged
        .candidates()
        .into_iter()
        .filter(|(_, node)| !node.is_ready())
        .map(|(name, _)| name)
        .collect();
    if down.is_empty() {
        return None;
    }
    let namespace = &judged.namespace;
    let verb = if down.len() == 1 { "is" } else { "are" };
    let text = format!("{namespace}: {} {verb} not Ready", some(&down));
    let finding = Finding::warning(Check::NotReady, text)
        .of(format!("Namespace {namespace}"))
        .means("while a member is down, the restart of others waits")
        .fix(format!("kubectl -n {namespace} describe pod, and its log"));
    Some(finding)
}

fn shared_seed(judged: &Judged) -> Vec<Finding> {
    let candidates = judged.candidates().into_iter();
    let shared = candidates.filter(|(_, node)| node.stateful_set.replicas > 1);
    shared
        .map(|(name, node)| {
            let replicas = node.stateful_set.replicas;
            let pods = if replicas == 2 {
                "both".to_owned()
            } else {
                format!("all {replicas}")
            };
            let text = format!(
                "{}: {replicas} replicas, one seed: {pods} pods would validate as the same node",
                judged.node(name)
            );
            Finding::failed(Check::SharedSeed, text)
                .of(format!("StatefulSet {}", judged.node(name)))
                .means("it contradicts itself, and others count that as a fault of the node")
                .fix("one release, or one StellarNode, for each validator")
        })
        .collect()
}

/// What the planner tells as Events.
fn noticed(judged: &Judged) -> Vec<Finding> {
    let notices = judged.decision.plan.notices.iter();
    notices
        .filter_map(|notice| {
            let (check, means, fix) = match notice.reason {
                "NotRendered" => (
                    Check::NotRendered,
                    "stellar-core reads its own file alone, and so knows nothing of the list",
                    "docs/injection.md has the way out for each reason",
                ),
                "QuorumUnreadable" => (
                    Check::QuorumUnreadable,
                    "its restart is not held back for what its quorum set tolerates",
                    "a quorum set as stellar-core reads it",
                ),
                _ => return None,
            };
            let text = format!("{}: {}", judged.node(&notice.node), notice.note);
            let finding = Finding::warning(check, text).of(judged.object(&notice.node));
            Some(finding.means(means).fix(fix))
        })
        .collect()
}

/// Restarts of ours that have not come to their end in time: everybody else of the network waits for them.
fn stuck(judged: &Judged, ours: &Ours, now: Timestamp) -> Vec<Finding> {
    let named = judged
        .decision
        .plan
        .verdicts
        .values()
        .filter_map(|it| match it {
            Verdict::Held(_, Held::Stuck(name)) => Some(name),
            _ => None,
        });
    let mut names: BTreeSet<&NodeName> = named.collect();
    let after = SignedDuration::try_from(ours.policy.stuck_after).unwrap_or(SignedDuration::MAX);
    let notes = judged
        .snapshot
        .config_map
        .as_deref()
        .map(|it| &it.notes.restarts.0);
    for (name, node) in judged.candidates() {
        let set = &node.stateful_set;
        let restarted = set.template.restarted_at.as_deref().and_then(parse_time);
        let is_late = restarted.is_some_and(|at| now.duration_since(at) > after);
        let record = notes.and_then(|notes| notes.get(name.as_str()));
        let is_open = record.is_some_and(|it| it.is_of(&set.uid) && !it.came_up);
        if is_late && is_open && !node.is_settled() {
            names.insert(name);
        }
    }
    names
        .into_iter()
        .map(|name| {
            let text = format!(
                "{}: its restart does not come to its end",
                judged.node(name)
            );
            Finding::failed(Check::StuckRestart, text)
                .of(format!("StatefulSet {}", judged.node(name)))
                .means("nobody else of its network is restarted before it is repaired")
                .fix(format!(
                    "kubectl -n {} describe pod, and its log",
                    judged.namespace
                ))
        })
        .collect()
}

/// No fault: nobody asked for them.
fn not_opted_in(judged: &Judged) -> Option<Finding> {
    let strangers: Vec<&NodeName> = judged.strangers.iter().collect();
    let namespace = &judged.namespace;
    let first = strangers.first()?;
    let (looks, are) = if strangers.len() == 1 {
        ("looks", "is")
    } else {
        ("look", "are")
    };
    let text = format!(
        "{namespace}: {} {looks} like stellar-core and {are} not opted in",
        some(&strangers)
    );
    let finding = Finding::skipped(Check::NotOptedIn, text)
        .of(format!("StatefulSet {namespace}/{first}"))
        .fix(
            "label peers.stellar.org/inject: enabled on its pod template, where it is a validator",
        );
    Some(finding)
}
