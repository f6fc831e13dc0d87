//! The table of a network's nodes.

use std::cmp::Reverse;

use maud::{Markup, html};

use super::{fragment::Scope, mark, text};
use crate::domain::status::{NetworkStatus, NodeStatus};

/// Nodes on the page of all namespaces.
const NODES_MAX: usize = 100;
/// Nodes on a namespace's own page.
const NODES_OF_ONE_MAX: usize = 1_000;
/// Addresses and notices of one node.
const LINES_MAX: usize = 8;

/// The nodes by name; where there are too many, those that need somebody first.
pub(super) fn table(
    network: Option<&NetworkStatus>,
    nodes: &[&NodeStatus],
    namespace: &str,
    scope: Scope,
) -> Markup {
    let max = if scope.is_one {
        NODES_OF_ONE_MAX
    } else {
        NODES_MAX
    };
    let mut sorted = nodes.to_vec();
    if sorted.len() > max {
        sorted.sort_by_key(|node| Reverse(mark::trouble(node.phase)));
    }
    let heads = [
        "Node",
        "Status",
        "Address",
        "Started for",
        "Ready since",
        "Member since",
        "Last restart",
        "What to know",
    ];
    html! {
        @if nodes.len() > max {
            p.more {
                "The table has " (max) " of " (nodes.len()) " nodes, those that need somebody first. "
                @if scope.is_one { a href="api/v1/status" { "/api/v1/status" } " has all." }
                @else { a href=(text::link(namespace)) { "More of them" } }
            }
        }
        table.nodes role="table" {
            caption.unseen { "Nodes of network " (text::network_name(network.map_or("", |it| &it.name))) }
            thead role="rowgroup" {
                tr role="row" { @for head in heads { th role="columnheader" scope="col" { (head) } } }
            }
            tbody role="rowgroup" { @for node in sorted.iter().take(max) { (row(node, scope)) } }
        }
    }
}

fn row(node: &NodeStatus, scope: Scope) -> Markup {
    let time = |at: &Option<String>| match at {
        Some(at) => text::time(at, scope.now),
        None => nothing(),
    };
    html! {
        tr.(mark::class(node.phase)) role="row" {
            th role="rowheader" scope="row" { (text::name(&node.name)) }
            td role="cell" data-label="Status" {
                (mark::badge(node.phase))
                @if !node.member && node.left_out.is_none() { div.aside { "not a member yet" } }
            }
            td role="cell" data-label="Address" {
                @for address in node.addresses.iter().take(LINES_MAX) { div { code { (text::name(address)) } } }
                @if node.addresses.len() > LINES_MAX { div.aside { (node.addresses.len()) " in all" } }
                @if node.addresses.is_empty() { (nothing()) }
                @if let Some(basis) = node.basis.as_deref().filter(|basis| *basis != "Ready") {
                    div.aside { "listed by " (text::name(basis)) }
                }
            }
            td role="cell" data-label="Started for" {
                @match &node.membership {
                    Some(carried) if node.current => {
                        code { (text::short_hash(carried)) } div.aside { "present" }
                    }
                    Some(carried) => { code { (text::short_hash(carried)) } div.aside { "another" } }
                    None => { (nothing()) }
                }
            }
            td role="cell" data-label="Ready since" { (time(&node.ready_since)) }
            td role="cell" data-label="Member since" { (time(&node.member_since)) }
            td role="cell" data-label="Last restart" { (time(&node.restarted)) }
            td.know role="cell" data-label="What to know" { (know(node)) }
        }
    }
}

/// What holds it back, and what else there is: each sentence once.
fn know(node: &NodeStatus) -> Markup {
    let held = node.held.iter().chain(&node.left_out);
    let mut reasons: Vec<_> = held.chain(&node.notices).collect();
    let mut seen = std::collections::BTreeSet::new();
    reasons.retain(|reason| seen.insert(&reason.text));
    // While it is plainly Ready, what there is to know first is its address, which stands in its own column.
    let is_said = seen.contains(&node.info) || node.info == node.addresses.join(" ");
    let has_more = !is_said && !node.info.is_empty();
    html! {
        @if has_more { div { (text::sentence(&node.info)) } }
        @if let Some(stale) = &node.stale { div.aside { "due: " (text::name(stale)) } }
        @for reason in reasons.iter().take(LINES_MAX) {
            div { (text::sentence(&reason.text)) " " span.aside { "(" (text::name(&reason.reason)) ")" } }
        }
        @if reasons.is_empty() && !has_more && node.stale.is_none() { (nothing()) }
    }
}

fn nothing() -> Markup {
    html! { span.nothing aria-label="none" { "-" } }
}
