//! The timeline: what was done and found lately, and why.

use maud::{Markup, html};

use super::{fragment::Scope, text};
use crate::observe::{Happening, Overview};

/// Shown at once.
const FIRST: usize = 20;
/// Shown in all, on the page of all namespaces; a namespace's own page has all that are kept.
const MAX: usize = 100;

/// Newest first; of the selected namespace, where one is.
pub(super) fn timeline(overview: &Overview, selected: Option<&str>, scope: Scope) -> Markup {
    let happenings: Vec<&Happening> = overview
        .timeline
        .iter()
        .filter(|it| selected.is_none_or(|selected| selected == it.namespace))
        .take(if scope.is_one { usize::MAX } else { MAX })
        .collect();
    let (first, older) = happenings.split_at(happenings.len().min(FIRST));
    html! {
        section.timeline aria-labelledby="timeline" {
            h2 #timeline { "Timeline" }
            p.list {
                "What this replica did and found since it started, newest first; its Events say the same. "
                @if selected.is_some() { a href="." { "All namespaces" } "." }
                @else { "A namespace's name leads to its own." }
            }
            @if !overview.leads {
                p.empty { "This replica does not lead: the timeline is the leader's." }
            } @else if first.is_empty() {
                p.empty { "Nothing yet." }
            } @else {
                (table(first, scope))
                @if !older.is_empty() {
                    details #older { summary { (older.len()) " older" } (table(older, scope)) }
                }
            }
        }
    }
}

fn table(happenings: &[&Happening], scope: Scope) -> Markup {
    html! {
        table.happenings role="table" {
            thead role="rowgroup" {
                tr role="row" {
                    @for head in ["Time", "Namespace", "Node", "Reason", "What happened"] {
                        th role="columnheader" scope="col" { (head) }
                    }
                }
            }
            tbody role="rowgroup" { @for happening in happenings { (row(happening, scope)) } }
        }
    }
}

fn row(happening: &Happening, scope: Scope) -> Markup {
    html! {
        tr class=[happening.warning.then_some("warning")] role="row" {
            td role="cell" data-label="Time" { (text::time(&happening.at, scope.now)) }
            td role="cell" data-label="Namespace" {
                a href=(text::link(&happening.namespace)) { (text::name(&happening.namespace)) }
            }
            td role="cell" data-label="Node" {
                @match &happening.node { Some(node) => { (text::name(node)) } None => { "the list" } }
            }
            td role="cell" data-label="Reason" {
                @if happening.warning { span.flag.bad { "warning" } " " }
                (text::name(&happening.reason))
            }
            td role="cell" data-label="What happened" { (text::sentence(&happening.note)) }
        }
    }
}
