//! The part of a page that changes.

use jiff::Timestamp;
use maud::{Markup, html};

use super::{happenings, index, mark, network, text};
use crate::{
    domain::{
        snapshot::parse_time,
        status::{NetworkStatus, NodeStatus, Phase, Status},
    },
    observe::Overview,
};

/// Namespaces in detail on the page of all.
const DETAILED_MAX: usize = 8;
/// So few are shown in detail though they are quiet.
const FEW: usize = 3;
/// Nodes in detail on the page of all. The first namespace is shown however many it has.
const DETAILED_NODES_MAX: usize = 300;
/// Networks that a listener is told of.
const NEWS_MAX: usize = 3;

/// What is shown, and how much of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope {
    /// When it was true.
    pub(super) now: Option<Timestamp>,
    /// One namespace alone: all of it.
    pub(super) is_one: bool,
}

/// All namespaces, or the selected one.
pub(super) fn fragment(overview: &Overview, selected: Option<&str>) -> Markup {
    let scope = Scope {
        now: parse_time(&overview.at),
        is_one: selected.is_some(),
    };
    let mut namespaces: Vec<&Status> = overview
        .namespaces
        .iter()
        .filter(|it| selected.is_none_or(|selected| selected == it.namespace))
        .collect();
    namespaces.sort_by_key(|it| (std::cmp::Reverse(trouble(it)), &it.namespace));
    let detailed = detailed(&namespaces);
    html! {
        div.page data-news=(news(detailed)) {
            (facts(overview))
            main #content tabindex="-1" {
                @match selected {
                    Some(selected) => {
                        p.back { a href="." { "All namespaces" } }
                        h1 { "Namespace " (text::name(selected)) }
                    }
                    None => { h1 { "Validators" } }
                }
                (notices(overview))
                @if namespaces.is_empty() && overview.ready {
                    p.empty { "No namespace has validators, or a list of them." }
                }
                @if !scope.is_one && namespaces.len() > 1 { (index::index(&namespaces)) }
                @for status in detailed { (network::namespace(status, scope)) }
                (happenings::timeline(overview, selected, scope))
            }
        }
    }
}

/// How much a namespace needs somebody: 0 is not at all.
pub(super) fn trouble(status: &Status) -> u8 {
    let nodes = status.nodes.iter().map(|node| mark::trouble(node.phase));
    let nodes = nodes.max().unwrap_or_default();
    let list = status.list.as_ref().is_some_and(|list| !list.up_to_date);
    let own = match status {
        Status {
            problem: Some(_), ..
        } => 4,
        Status { paused: true, .. } => 2,
        _ if list => 1,
        _ => 0,
    };
    own.max(nodes)
}

fn detailed<'a>(sorted: &'a [&'a Status]) -> &'a [&'a Status] {
    let mut nodes = 0;
    let fits = sorted.iter().enumerate().take_while(|(place, status)| {
        nodes += status.nodes.len();
        let is_wanted = sorted.len() <= FEW || trouble(status) > 0;
        *place == 0 || (is_wanted && nodes <= DETAILED_NODES_MAX)
    });
    let count = fits.take(DETAILED_MAX).count();
    let is_quiet = sorted.first().is_some_and(|first| trouble(first) == 0);
    if is_quiet && sorted.len() > FEW {
        return &[];
    }
    &sorted[..count]
}

/// Who says all this.
fn facts(overview: &Overview) -> Markup {
    html! {
        header.facts aria-label="This service" {
            dl {
                div {
                    dt { "Leader" }
                    dd {
                        @match &overview.leader {
                            Some(leader) => { (text::name(leader)) }
                            None => { "nobody is known to lead" }
                        }
                    }
                }
                div {
                    dt { "This replica" }
                    dd {
                        (text::name(&overview.instance))
                        @if overview.leads { " (leads)" } @else { " (stands by)" }
                    }
                }
                div {
                    dt { "Mode" }
                    dd { @if overview.dry_run { "dry run: writes nothing" } @else { "at work" } }
                }
                div {
                    dt { "Caches" }
                    dd { @if overview.ready { "full" } @else { "filling" } }
                }
            }
        }
    }
}

fn notices(overview: &Overview) -> Markup {
    html! {
        @if !overview.ready {
            p.notice.warn {
                strong { "Caches are filling. " }
                "Until every watch has listed its objects, nothing is decided and some of what follows is missing."
            }
        }
        @if overview.dry_run {
            p.notice { strong { "Dry run. " } "This is what would be done; nothing is written or restarted." }
        }
        @if !overview.leads {
            p.notice {
                strong { "This replica does not lead. " }
                "It shows what one look tells; how long things have been so, and the timeline, is known to the leader"
                @if let Some(leader) = &overview.leader { ", " (text::name(leader)) }
                "."
            }
        }
    }
}

/// What somebody who listens is told when it changes: no ages.
fn news(detailed: &[&Status]) -> String {
    let networks = detailed.iter().flat_map(|status| {
        let networks = status.networks.iter();
        networks.map(move |network| news_of(status, network))
    });
    let news: Vec<String> = networks.take(NEWS_MAX).collect();
    news.join(" ")
}

fn news_of(status: &Status, network: &NetworkStatus) -> String {
    let restarting: Vec<String> = status
        .nodes_of(&network.name)
        .filter(|node| node.phase == Phase::Restarting)
        .take(3)
        .map(|node: &NodeStatus| text::shown(&node.name, 63))
        .collect();
    let restarting = if restarting.is_empty() {
        String::new()
    } else {
        format!(", restarting {}", restarting.join(" and "))
    };
    format!(
        "{} {}: {} of {} Ready, {} current{restarting}.",
        text::shown(&status.namespace, 63),
        text::shown(&network.name, 63),
        network.ready,
        network.members,
        network.current
    )
}
