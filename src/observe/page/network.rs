//! One namespace, and its networks.

use std::collections::BTreeSet;

use maud::{Markup, html};

use super::{
    drawing,
    fragment::{Scope, trouble},
    mark, nodes, text,
};
use crate::domain::status::{ListStatus, NetworkStatus, NodeStatus, Phase, Status, Tolerates};

/// Networks of one namespace. A name is any text, so that somebody could make thousands.
const NETWORKS_MAX: usize = 20;

/// A namespace in detail.
pub(super) fn namespace(status: &Status, scope: Scope) -> Markup {
    let id = text::id("namespace", &[&status.namespace]);
    // Of a node that is left out, the network may be one that has no others.
    let names: BTreeSet<&str> = status.network_names();
    html! {
        section.namespace aria-labelledby=(id) {
            h2 #(id) {
                @if scope.is_one { "The list" }
                @else {
                    a href=(text::link(&status.namespace)) { (text::name(&status.namespace)) }
                }
            }
            @if let Some(problem) = &status.problem {
                p.notice.bad {
                    strong { "Nothing is written here (" (text::name(&problem.reason)) "). " }
                    (text::sentence(&problem.text))
                }
            }
            @if status.paused {
                p.notice.warn {
                    strong { "Paused. " }
                    "The ConfigMap " code { "stellar-peers" } " carries the annotation: nobody here is restarted."
                }
            }
            p.list { (list(status.list.as_ref(), scope)) }
            @for name in names.iter().take(NETWORKS_MAX) { (network(status, name, scope)) }
            @if names.len() > NETWORKS_MAX {
                p.more {
                    "And " (names.len() - NETWORKS_MAX) " more networks: "
                    a href="api/v1/status" { "/api/v1/status" } " has all."
                }
            }
            @if names.is_empty() && trouble(status) == 0 { p.empty { "No validators." } }
        }
    }
}

fn list(list: Option<&ListStatus>, scope: Scope) -> Markup {
    let Some(list) = list else {
        return html! { "No list has been written yet." };
    };
    html! {
        "The list has " strong { (list.peers) @if list.peers == 1 { " address" } @else { " addresses" } }
        ", revision " code { (text::name(&list.revision)) }
        @if let Some(written) = &list.written { ", written " (text::time(written, scope.now)) }
        @if let Some(writer) = &list.writer { ", by " (text::name(writer)) }
        ". "
        @if !list.up_to_date { strong { "It is not up to date: it would say something else now. " } }
        @if list.bootstrap { strong { "Bootstrap: published though nobody in some network was ever Ready." } }
    }
}

fn network(status: &Status, name: &str, scope: Scope) -> Markup {
    let id = text::id("network", &[&status.namespace, name]);
    let network = status.networks.iter().find(|it| it.name == name);
    let nodes: Vec<&NodeStatus> = status.nodes_of(name).collect();
    html! {
        section.network aria-labelledby=(id) {
            h3 #(id) { "Network " (text::network_name(name)) }
            div.overview {
                div.said {
                    @if let Some(network) = network {
                        p.next {
                            strong { "Next: " }
                            @match &network.next {
                                Some(next) => { (text::sentence(next)) }
                                None => { "nothing is to be done" }
                            }
                            "."
                        }
                        (figures(network))
                    } @else {
                        p.next { "Nobody here counts: all are left out." }
                    }
                    (legend(&nodes, network))
                }
                (drawing::drawing(network, &nodes, &id))
            }
            (nodes::table(network, &nodes, &status.namespace, scope))
        }
    }
}

fn figures(network: &NetworkStatus) -> Markup {
    let of = |count: usize| html! { strong { (count) } " of " (network.members) };
    let tolerates = match network.tolerates {
        Some(Tolerates::All) => "any one may go down",
        Some(Tolerates::Some) => "some may go down",
        Some(Tolerates::None) => "nobody may go down",
        None => "none declared",
    };
    html! {
        dl.figures {
            div { dt { "Members" } dd { strong { (network.members) } } }
            div { dt { "Ready" } dd { (of(network.ready)) } }
            div { dt { "Current" } dd { (of(network.current)) } }
            div { dt { "Due for a restart" } dd { strong { (network.due) } } }
            div { dt { "Down at once" } dd { "at most " (network.max_unavailable) } }
            div { dt { "Quorum sets" } dd { (tolerates) } }
            div { dt { "Membership" } dd { code { (text::name(&network.membership)) } } }
        }
    }
}

/// The shapes that occur, with their words.
fn legend(nodes: &[&NodeStatus], network: Option<&NetworkStatus>) -> Markup {
    let phases: BTreeSet<Phase> = nodes.iter().map(|node| node.phase).collect();
    let has_edges = network.is_some() && drawing::has_edges(nodes.len());
    html! {
        ul.legend aria-label="Legend of the drawing" {
            @for phase in mark::PHASES.into_iter().filter(|phase| phases.contains(phase)) {
                @let count = nodes.iter().filter(|node| node.phase == phase).count();
                li { (mark::mark(phase)) " " (phase.words()) " (" (count) ")" }
            }
            @if has_edges {
                li { (drawing::line("knows")) " both started for this membership" }
                li { (drawing::line("learns")) " one was not started for this membership yet" }
            }
        }
    }
}
