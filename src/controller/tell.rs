//! What a pass says: in the log, and by Events.

use std::collections::{BTreeMap, BTreeSet};

use kube::runtime::events::EventType;
use tracing::{Span, debug, error, info, trace, warn};

use super::{error::ReconcileError, reconcile::Context};
use crate::domain::{
    Decision, Snapshot,
    node::NodeName,
    notes::Restart,
    peer_list::{PeerList, Record},
    rollout::Verdict,
    snapshot::ConfigMapView,
    survey::{Standing, candidates},
};

/// What was said last, by what it was about: nothing is said twice in a row.
pub(super) type Told = BTreeMap<String, String>;

/// Most addresses or names that a sentence lists.
const LISTED_MAX: usize = 5;

/// Shows the decision, and says each change of what holds a restart back once.
pub(super) fn tell(
    namespace: &str,
    snapshot: &Snapshot,
    decision: &Decision,
    told_before: &mut Told,
    context: &Context,
) {
    Span::current().record("peers", decision.list.as_ref().map_or(0, |list| list.peers));
    context.board.show(namespace, decision);
    for (name, standing) in &decision.survey {
        match standing {
            Standing::Candidate(node) => trace!(
                namespace, %name, network = %node.network, ready = node.is_ready(), pods = node.pods.len(),
                listing = ?decision.discovery.listings.get(name), "Looked at a candidate"
            ),
            Standing::Out(why) => {
                trace!(namespace, %name, reason = why.reason(), %why, "Left a node out");
            }
        }
    }
    let mut told = Told::new();
    for (name, verdict) in &decision.plan.verdicts {
        trace!(namespace, %name, ?verdict, "Looked at a validator that is due");
        let Verdict::Held(stale, held) = verdict else {
            continue;
        };
        let (key, reason) = (format!("{name} held"), held.reason());
        if told_before.get(&key).map(String::as_str) != Some(reason) {
            info!(namespace, %name, reason, stale = stale.reason(), %held, "Restart held");
            let note = format!("{}: held: {held}", stale.reason());
            // Waiting for one's turn is nothing to worry about.
            let kind = if held.is_only_a_turn() {
                EventType::Normal
            } else {
                EventType::Warning
            };
            context
                .events
                .on_node(namespace, name, snapshot, kind, reason, &note);
        }
        told.insert(key, reason.to_owned());
    }
    for notice in &decision.plan.notices {
        let (name, reason, note) = (&notice.node, notice.reason, &notice.note);
        let key = format!("{name} {reason}");
        if told_before.get(&key) != Some(note) {
            warn!(namespace, %name, reason, note, "Found something that a person should know");
            context
                .events
                .on_node(namespace, name, snapshot, EventType::Warning, reason, note);
        }
        told.insert(key, note.clone());
    }
    if context.dry_run {
        tell_what_would_be(namespace, decision, told_before, &mut told);
    }
    for (name, node) in candidates(&decision.survey).filter(|(_, node)| node.falls_back_to_ip) {
        let note = "no headless Service with publishNotReadyAddresses: listed by pod IP instead of by name";
        if !told_before.contains_key(&format!("{name} dns")) {
            warn!(namespace, %name, service = node.stateful_set.service_name, "Listed by pod IP instead of by name");
            context.events.on_node(
                namespace,
                name,
                snapshot,
                EventType::Warning,
                "NoDnsName",
                note,
            );
        }
        told.insert(format!("{name} dns"), note.to_owned());
    }
    let broken = snapshot
        .config_map
        .as_ref()
        .and_then(|map| map.record.as_ref()?.as_ref().err());
    if let Some(error) = broken {
        if told_before.get("members.json") != Some(error) {
            warn!(
                namespace,
                error, "The record of members is not readable; it is made anew"
            );
        }
        told.insert("members.json".to_owned(), error.clone());
    }
    *told_before = told;
}

/// With `--dry-run`, says once what would be written.
fn tell_what_would_be(namespace: &str, decision: &Decision, before: &Told, told: &mut Told) {
    for start in decision.plan.starts() {
        let (key, note) = (format!("{} start", start.node), start.hash.to_string());
        if before.get(&key) != Some(&note) {
            let reason = start.reason.reason();
            info!(namespace, name = %start.node, reason, membership = note, "Would restart");
        }
        told.insert(key, note);
    }
    if let Some(list) = decision.list.as_ref().filter(|_| decision.writes_list) {
        let key = "list".to_owned();
        if before.get(&key) != Some(&list.known_peers) {
            info!(namespace, peers = list.peers, "Would write the peer list");
        }
        told.insert(key, list.known_peers.clone());
    }
}

/// Says how a pass failed; in full only where the last one failed otherwise.
pub(super) fn tell_error(
    namespace: &str,
    error: &ReconcileError,
    is_news: bool,
    context: &Context,
) {
    let problem = error.problem();
    let (reason, text) = (error.reason(), problem.text.clone());
    context.board.set_problem(namespace, Some(problem));
    if !is_news {
        debug!(
            namespace,
            reason,
            error = text,
            "Peer discovery failed again"
        );
    } else if error.needs_a_person() {
        error!(namespace, reason, error = text, "Peer discovery failed");
        context.events.on_list(
            namespace,
            context.list_uid(namespace),
            EventType::Warning,
            reason,
            &error.to_string(),
        );
    } else {
        warn!(namespace, reason, error = text, "Peer discovery failed");
    }
}

/// Says what a list that was written just now changed.
pub(super) fn tell_list(
    namespace: &str,
    snapshot: &Snapshot,
    decision: &Decision,
    list: &PeerList,
    context: &Context,
) {
    let stored = snapshot.config_map.as_deref();
    let on_list = |reason, note: &str| {
        let uid = context.list_uid(namespace);
        let events = &context.events;
        events.on_list(namespace, uid, EventType::Normal, reason, note);
    };
    if decision.changes_peers(snapshot) {
        context.metrics.list_changes.inc();
        let change = change_of(stored, list);
        info!(
            namespace,
            peers = list.peers,
            active_validators = list.active_validators,
            change,
            "Peer discovery detected changes"
        );
        let (peers, validators) = (list.peers, list.active_validators);
        let note = format!("{peers} peers of {validators} validators: {change}");
        on_list("ListChanged", &note);
    } else {
        debug!(namespace, "Wrote the record; the list is the same");
    }
    if list.bootstrap && !stored.is_some_and(ConfigMapView::is_bootstrap) {
        on_list(
            "Bootstrap",
            "No validator was ever Ready: those that run are listed, so that they can find each other",
        );
    }
    let on_node = |name: &NodeName, reason, note: &str| {
        let events = &context.events;
        events.on_node(namespace, name, snapshot, EventType::Normal, reason, note);
    };
    for (name, why) in left(stored, decision) {
        info!(namespace, %name, why, "Left the membership");
        on_node(&name, "Left", &format!("no member any more: {why}"));
    }
    for name in finished(stored, list) {
        info!(namespace, %name, "Restart finished");
        on_node(
            &name,
            "RestartFinished",
            "all its pods are Ready on the new template",
        );
    }
}

/// Which addresses came and went, in words.
fn change_of(stored: Option<&ConfigMapView>, list: &PeerList) -> String {
    let before = stored.map(ConfigMapView::known_peers).unwrap_or_default();
    let now: BTreeSet<&str> = list.known_peers.lines().collect();
    let words = |sign: char, addresses: Vec<&&str>| {
        let more = addresses.len().saturating_sub(LISTED_MAX);
        let shown = addresses.into_iter().take(LISTED_MAX);
        let mut words: Vec<String> = shown.map(|address| format!("{sign}{address}")).collect();
        if more > 0 {
            words.push(format!("and {more} more {sign}"));
        }
        words
    };
    let mut change = words('+', now.difference(&before).collect());
    change.extend(words('-', before.difference(&now).collect()));
    if change.is_empty() {
        "the same addresses, written as they should be".to_owned()
    } else {
        change.join(" ")
    }
}

/// Who was a member by the record and is none now, each with why.
fn left(stored: Option<&ConfigMapView>, decision: &Decision) -> Vec<(NodeName, String)> {
    let record = stored.and_then(ConfigMapView::readable_record);
    let members = |record: &Record| {
        let members = record.nodes.iter().filter(|node| node.member);
        members.map(|node| node.name.clone()).collect::<Vec<_>>()
    };
    let is_member = |name: &NodeName| {
        let mut networks = decision.discovery.networks.values();
        networks.any(|network| network.members().contains_key(name))
    };
    let why = |name: &NodeName| match decision.survey.get(name) {
        Some(Standing::Out(why)) => why.to_string(),
        Some(Standing::Candidate(_)) => "its StatefulSet was made anew".to_owned(),
        None => "it is gone".to_owned(),
    };
    let before = record.map(members).unwrap_or_default().into_iter();
    before
        .filter(|name| !is_member(name))
        .map(|name| (name.clone(), why(&name)))
        .collect()
}

/// Whose restart the list notes as come to its end, which the stored one did not.
fn finished(stored: Option<&ConfigMapView>, list: &PeerList) -> Vec<NodeName> {
    let before = stored.map(|stored| &stored.notes.restarts.0);
    let was_under_way = |name: &String, restart: &Restart| {
        let before = before.and_then(|before| before.get(name));
        // A restart that is done by the time it is noted down was a turn before.
        before.is_none_or(|before| !before.came_up || before.hash != restart.hash)
    };
    let restarts = list.notes.restarts.0.iter();
    restarts
        .filter(|(name, restart)| restart.came_up && was_under_way(name, restart))
        .filter_map(|(name, _)| NodeName::new(name).ok())
        .collect()
}
