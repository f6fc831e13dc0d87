//! The invariants, each a function of its own, checked against the truth at every write.

pub(crate) mod lists;
pub(crate) mod pods;
pub(crate) mod quiet;
pub(crate) mod restarts;
pub(crate) mod templates;

use std::{fmt, time::Duration};

use stellar_peers::{api::names, sandbox::Change};

use crate::{
    observer::{OURS, Observer},
    view::{ListView, SetView},
};

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// Its number in the contract.
    pub(crate) rule: &'static str,
    /// What it asks for.
    pub(crate) asks: &'static str,
    /// What was there instead.
    pub(crate) found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, asks, found } = self;
        write!(f, "{rule} violated: {asks}: {found}")
    }
}

/// What a check gives back.
pub(crate) type Check = Result<(), Violation>;

/// The violation, unless it holds.
pub(crate) fn ensure(
    holds: bool,
    rule: &'static str,
    asks: &'static str,
    found: impl FnOnce() -> String,
) -> Check {
    if holds {
        Ok(())
    } else {
        Err(Violation {
            rule,
            asks,
            found: found(),
        })
    }
}

/// Everything that is wrong with a write. The truth is still that before it.
pub(crate) fn of_change(
    observer: &mut Observer,
    change: &Change<'_>,
    now: Duration,
) -> Vec<Violation> {
    let name = change
        .after
        .or(change.before)
        .and_then(|it| it["metadata"]["name"].as_str());
    let name = name.unwrap_or_default();
    let ours = change.author.filter(|author| author.user.starts_with(OURS));
    let checks = match (change.resource, change.before, change.after, ours) {
        ("pods", Some(before), after, Some(_)) => {
            vec![pods::no_ready_pod_is_deleted(name, before, after)]
        }
        ("configmaps", before, Some(after), Some(author)) if name == names::STELLAR_PEERS => {
            observer.figures.lists += 1;
            if before.is_some_and(|before| before["data"] == after["data"]) {
                // Notes alone: nothing new is said of anybody.
                return Vec::new();
            }
            let (before, after) = (before.map(ListView::of), ListView::of(after));
            let write = lists::ListWrite {
                observer,
                before: before.as_ref(),
                after: &after,
                issued: author.issued,
                now,
            };
            lists::all(&write)
        }
        ("statefulsets", Some(before), Some(after), ours) => {
            if before["metadata"]["generation"] == after["metadata"]["generation"] {
                return Vec::new();
            }
            match ours {
                None => vec![templates::no_write_of_others_restarts(
                    observer, change, before, after, now,
                )],
                Some(author) => {
                    let (old, new) = (SetView::of(before), SetView::of(after));
                    if old.restarted_at == new.restarted_at {
                        return Vec::new();
                    }
                    restarts::all(observer, name, &old, &new, author, now)
                }
            }
        }
        _ => Vec::new(),
    };
    checks.into_iter().filter_map(Result::err).collect()
}
