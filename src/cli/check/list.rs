//! The list of a namespace: whether it says what it should, and can go on doing so.

use std::collections::BTreeSet;

use super::{
    finding::{Check, Finding},
    judge::{Judged, Ours, some},
};
use crate::{api::names::STELLAR_PEERS, domain::node::NodeName};

/// How the stored list differs from what is there: addresses that are missing, and those too many. What only time can
/// tell may be either way.
pub(super) fn difference(judged: &Judged) -> Option<String> {
    let wanted = judged.decision.list.as_ref()?;
    let Some(stored) = &judged.snapshot.config_map else {
        return Some("there is no list yet".to_owned());
    };
    let Some(text) = &stored.known_peers else {
        return Some("it has no KNOWN_PEERS".to_owned());
    };
    let young = judged.young.list.as_ref().map(|list| &list.known_peers);
    if *text == wanted.known_peers || Some(text) == young {
        return None;
    }
    let (wanted, stored) = (lines(&wanted.known_peers), lines(text));
    let told = |these: Vec<&str>, what: &str| {
        (!these.is_empty()).then(|| format!("{what} {}", some(&these)))
    };
    let missing = told(wanted.difference(&stored).copied().collect(), "without");
    let surplus = told(stored.difference(&wanted).copied().collect(), "with");
    let parts: Vec<String> = [missing, surplus].into_iter().flatten().collect();
    if parts.is_empty() {
        return Some("its lines are not in order".to_owned());
    }
    Some(parts.join(", and "))
}

fn lines(text: &str) -> BTreeSet<&str> {
    text.lines().collect()
}

/// All that there is to say about the list of a namespace.
pub(super) fn findings(judged: &Judged, ours: &Ours, is_settled: bool) -> Vec<Finding> {
    let namespace = &judged.namespace;
    let stored = judged.snapshot.config_map.as_deref();
    let mut findings = vec![current(judged, ours, is_settled)];
    if stored.is_some_and(|stored| stored.immutable) {
        let text = format!("{namespace}: the list is immutable");
        let fix =
            format!("kubectl -n {namespace} delete configmap {STELLAR_PEERS}; it is made anew");
        let finding = Finding::failed(Check::ListImmutable, text);
        findings.push(finding.means("it can't follow the validators").fix(fix));
    }
    if let Some(Err(why)) = stored.and_then(|stored| stored.record.as_ref()) {
        let finding = Finding::failed(Check::ListRecord, format!("{namespace}: {why}"));
        findings.push(
            finding
                .means("who is a member is not known: no running member is restarted until all are Ready")
                .fix("nothing where it was edited: it is written anew; a newer stellar-peers where that wrote it"),
        );
    }
    if let Some(writer) = foreign_writer(judged, ours) {
        let own = &ours.policy.writer;
        let text = format!("{namespace}: the list was written by {writer}, not by {own}");
        findings.push(
            Finding::warning(Check::ListWriter, text)
                .means("while that installation is alive, this one leaves the namespace alone")
                .fix("one of the two with other --namespaces, or uninstalled"),
        );
    }
    findings.extend(nobody_listed(judged, ours));
    let object = format!("ConfigMap {namespace}/{STELLAR_PEERS}");
    findings.into_iter().map(|it| it.of(&object)).collect()
}

/// Who else has written the list, where it is certain that it was somebody else.
fn foreign_writer<'a>(judged: &'a Judged, ours: &Ours) -> Option<&'a str> {
    let writer = judged.snapshot.foreign_writer(&ours.policy.writer)?;
    ours.is_writer_known.then_some(writer)
}

fn current(judged: &Judged, ours: &Ours, is_settled: bool) -> Finding {
    let namespace = &judged.namespace;
    let skipped = |why: &str| Finding::skipped(Check::ListCurrent, format!("{namespace}: {why}"));
    let Some(difference) = difference(judged) else {
        let peers = judged.decision.list.as_ref().map_or(0, |list| list.peers);
        let plural = if peers == 1 { "" } else { "s" };
        let text = format!("{namespace}: the list is what is there, {peers} peer{plural}");
        return Finding::pass(Check::ListCurrent, text);
    };
    if !ours.writes_lists {
        return skipped("the service writes no list, by its flags");
    }
    if foreign_writer(judged, ours).is_some() {
        return skipped("the list is another installation's");
    }
    if !ours.is_known && has_names(judged) {
        return skipped("the list has DNS names, and the service's flags are not known");
    }
    if !is_settled {
        return skipped("the list is changing just now");
    }
    let text = format!("{namespace}: the list is not current: {difference}");
    let finding = if ours.is_known {
        Finding::failed(Check::ListCurrent, text)
    } else {
        // As far as it can be told without knowing how the service runs.
        Finding::warning(Check::ListCurrent, text)
    };
    finding
        .means("validators that start now are told of other peers than there are")
        .fix("see whether somebody leads, and the service's log about this namespace")
}

/// The stored list has addresses that are no IPs.
fn has_names(judged: &Judged) -> bool {
    let stored = judged.snapshot.config_map.as_deref();
    let stored = stored
        .and_then(|it| it.known_peers.as_deref())
        .unwrap_or_default();
    stored.contains(|c: char| c.is_ascii_alphabetic())
}

fn nobody_listed(judged: &Judged, ours: &Ours) -> Option<Finding> {
    let stored = judged.snapshot.config_map.as_deref()?;
    let candidates = judged.candidates().into_iter();
    let ready: Vec<&NodeName> = candidates
        .filter(|(_, node)| node.is_ready())
        .map(|(name, _)| name)
        .collect();
    let is_empty = stored.known_peers.as_deref() == Some("");
    if !is_empty || ready.is_empty() || !ours.writes_lists {
        return None;
    }
    let namespace = &judged.namespace;
    let verb = if ready.len() == 1 { "is" } else { "are" };
    let text = format!(
        "{namespace}: nobody is listed, though {} {verb} Ready",
        some(&ready)
    );
    let finding = Finding::failed(Check::ListEmpty, text);
    Some(
        finding
            .means("validators that start now know of nobody")
            .fix("see why each is left out under `not-listed`, and the service's log"),
    )
}
