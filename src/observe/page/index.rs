//! All namespaces in a line each: those that need somebody first, the quiet ones folded.

use maud::{Markup, html};

use super::{fragment::trouble, mark, text};
use crate::domain::status::{Phase, Status};

/// Lines with figures.
const TROUBLED_MAX: usize = 200;
/// Links to quiet ones.
const QUIET_MAX: usize = 2_000;
/// So few quiet ones are not folded.
const FEW: usize = 12;

/// `namespaces` with the most trouble first.
pub(super) fn index(namespaces: &[&Status]) -> Markup {
    let troubled = namespaces.partition_point(|status| trouble(status) > 0);
    let (troubled, quiet) = namespaces.split_at(troubled);
    html! {
        nav.index aria-labelledby="index" {
            h2 #index {
                (namespaces.len()) " namespaces, "
                @if troubled.is_empty() { "all quiet" } @else { (troubled.len()) " with something going on" }
            }
            @if !troubled.is_empty() {
                table role="table" {
                    thead role="rowgroup" {
                        tr role="row" {
                            @for head in ["Namespace", "What", "Members", "Ready", "Current", "Due"] {
                                th role="columnheader" scope="col" { (head) }
                            }
                        }
                    }
                    tbody role="rowgroup" { @for status in troubled.iter().take(TROUBLED_MAX) { (line(status)) } }
                }
                (more(troubled.len(), TROUBLED_MAX))
            }
            @if !quiet.is_empty() {
                details #quiet open[quiet.len() <= FEW] {
                    summary { (quiet.len()) " quiet" }
                    ul.quiet {
                        @for status in quiet.iter().take(QUIET_MAX) {
                            li { a href=(text::link(&status.namespace)) { (text::name(&status.namespace)) } }
                        }
                    }
                    (more(quiet.len(), QUIET_MAX))
                }
            }
        }
    }
}

fn line(status: &Status) -> Markup {
    let sum = |figure: fn(&crate::domain::status::NetworkStatus) -> usize| {
        status.networks.iter().map(figure).sum::<usize>()
    };
    html! {
        tr role="row" {
            th role="rowheader" scope="row" {
                a href=(text::link(&status.namespace)) { (text::name(&status.namespace)) }
            }
            td role="cell" data-label="What" {
                @if status.problem.is_some() { span.flag.bad { "fails" } " " }
                @if status.paused { span.flag { "paused" } " " }
                @if let Some(list) = &status.list && !list.up_to_date { span.flag { "list not up to date" } " " }
                @for phase in mark::PHASES.into_iter().filter(|phase| mark::trouble(*phase) > 0) {
                    @let count = status.nodes.iter().filter(|node| node.phase == phase).count();
                    @if count > 0 { span.badge { (mark::mark(phase)) " " (count) " " (lower(phase)) } " " }
                }
            }
            td role="cell" data-label="Members" { (sum(|network| network.members)) }
            td role="cell" data-label="Ready" { (sum(|network| network.ready)) }
            td role="cell" data-label="Current" { (sum(|network| network.current)) }
            td role="cell" data-label="Due" { (sum(|network| network.due)) }
        }
    }
}

/// In the middle of a line.
fn lower(phase: Phase) -> String {
    phase.words().to_lowercase().replace("ready", "Ready")
}

fn more(all: usize, shown: usize) -> Markup {
    html! {
        @if all > shown {
            p.more { "And " (all - shown) " more: " a href="api/v1/status" { "/api/v1/status" } " has all." }
        }
    }
}
