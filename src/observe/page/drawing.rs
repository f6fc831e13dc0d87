//! A network as a drawing: who knows whom, who is down, who restarts.
//!
//! It says nothing that the table beside it doesn't, so that nobody needs to see it.

use std::f64::consts::{FRAC_PI_2, TAU};

use maud::{Markup, html};

use super::{mark, text};
use crate::domain::status::{NetworkStatus, NodeStatus, Phase};

/// So many stand on a circle, each tied to each other: 780 lines.
const CIRCLE_MAX: usize = 40;
/// So many have their name below or above them; more have it beside them, along the radius.
const UPRIGHT_MAX: usize = 8;
/// In a grid.
const GRID_MAX: usize = 1_000;
const GRID_COLUMNS: usize = 25;
const CELL: usize = 18;

/// Whether lines are drawn among so many.
pub(super) const fn has_edges(nodes: usize) -> bool {
    nodes > 1 && nodes <= CIRCLE_MAX
}

/// A piece of line for the legend.
pub(super) fn line(class: &str) -> Markup {
    html! {
        svg.sample viewBox="0 0 30 10" width="30" height="10" aria-hidden="true" {
            line class={ "edge " (class) } x1="1" y1="5" x2="29" y2="5" {}
        }
    }
}

/// The drawing; `id` is that of the network's heading.
pub(super) fn drawing(network: Option<&NetworkStatus>, nodes: &[&NodeStatus], id: &str) -> Markup {
    html! {
        figure.drawing.wide[nodes.len() > UPRIGHT_MAX] {
            @if nodes.len() <= CIRCLE_MAX { (circle(network, nodes, id)) } @else { (grid(nodes, id)) }
        }
    }
}

#[derive(Clone, Copy)]
struct Place {
    /// From the middle to the right, in radians clockwise.
    angle: f64,
    x: f64,
    y: f64,
}

fn circle(network: Option<&NetworkStatus>, nodes: &[&NodeStatus], id: &str) -> Markup {
    let is_upright = nodes.len() <= UPRIGHT_MAX;
    let (radius, width, height): (f64, f64, f64) = if is_upright {
        (108.0, 360.0, 310.0)
    } else {
        (150.0, 600.0, 600.0)
    };
    let places: Vec<Place> = (0..nodes.len())
        .map(|place| {
            #[expect(clippy::cast_precision_loss, reason = "forty at most")]
            let angle = place as f64 / nodes.len() as f64 * TAU - FRAC_PI_2;
            let radius = if nodes.len() == 1 { 0.0 } else { radius };
            Place {
                angle,
                x: radius * angle.cos(),
                y: radius * angle.sin(),
            }
        })
        .collect();
    let (left, top) = (-width / 2.0, -height / 2.0);
    html! {
        svg role="img" aria-labelledby={ (id) " " (id) "-drawn" } viewBox=(format!("{left} {top} {width} {height}"))
            width=(width) height=(height)
        {
            desc id={ (id) "-drawn" } { (told(nodes)) }
            @if network.is_some() {
                g { (edges(nodes, &places, "learns")) (edges(nodes, &places, "knows")) }
            }
            @for (node, place) in nodes.iter().zip(&places) {
                g class={ "mark " (mark::class(node.phase)) }
                    transform=(format!("translate({:.1} {:.1})", place.x, place.y))
                {
                    title { (hint(node)) }
                    @if matches!(node.phase, Phase::Restarting | Phase::Due) { circle.now r="18" {} }
                    (mark::shape(node.phase))
                    @if is_upright { (upright(node, *place)) } @else { (along(node, *place)) }
                }
            }
        }
    }
}

/// Both started for the present membership: each was made to use the other. Or one was not.
fn edges(nodes: &[&NodeStatus], places: &[Place], class: &str) -> Markup {
    let counts = |node: &NodeStatus| node.phase != Phase::LeftOut;
    let ends: Vec<_> = nodes
        .iter()
        .zip(places)
        .filter(|(node, _)| counts(node))
        .collect();
    html! {
        @for (place, (one, from)) in ends.iter().enumerate() {
            @for (other, to) in &ends[place + 1..] {
                @if (one.current && other.current) == (class == "knows") {
                    line class={ "edge " (class) } x1=(format!("{:.1}", from.x)) y1=(format!("{:.1}", from.y))
                        x2=(format!("{:.1}", to.x)) y2=(format!("{:.1}", to.y)) {}
                }
            }
        }
    }
}

fn upright(node: &NodeStatus, place: Place) -> Markup {
    let y = if place.y < -1.0 { -24 } else { 33 };
    html! { text.label text-anchor="middle" y=(y) { (text::short(&node.name, 16)) } }
}

fn along(node: &NodeStatus, place: Place) -> Markup {
    let degrees = place.angle.to_degrees();
    let (turn, x, anchor) = if place.x < -0.1 {
        (degrees + 180.0, -22, "end")
    } else {
        (degrees, 22, "start")
    };
    html! {
        text.label text-anchor=(anchor) x=(x) y="4" transform=(format!("rotate({turn:.1})")) {
            (text::short(&node.name, 14))
        }
    }
}

fn grid(nodes: &[&NodeStatus], id: &str) -> Markup {
    let shown = nodes.len().min(GRID_MAX);
    let (width, height) = (GRID_COLUMNS * CELL, shown.div_ceil(GRID_COLUMNS) * CELL);
    html! {
        svg role="img" aria-labelledby={ (id) " " (id) "-drawn" } viewBox=(format!("0 0 {width} {height}"))
            width=(width) height=(height)
        {
            desc id={ (id) "-drawn" } { (told(nodes)) }
            @for (place, node) in nodes.iter().take(shown).enumerate() {
                @let (x, y) = (place % GRID_COLUMNS * CELL + CELL / 2, place / GRID_COLUMNS * CELL + CELL / 2);
                g class={ "mark " (mark::class(node.phase)) } transform={ "translate(" (x) " " (y) ") scale(.55)" } {
                    title { (hint(node)) }
                    (mark::shape(node.phase))
                }
            }
        }
        figcaption {
            "Too many to tie to each other. "
            @if nodes.len() > shown { "The first " (shown) " of " (nodes.len()) " by name are drawn." }
        }
    }
}

fn hint(node: &NodeStatus) -> String {
    format!("{}: {}", text::shown(&node.name, 253), node.phase.words())
}

/// The drawing in a sentence.
fn told(nodes: &[&NodeStatus]) -> String {
    let counts = mark::PHASES.into_iter().filter_map(|phase| {
        let count = nodes.iter().filter(|node| node.phase == phase).count();
        (count > 0).then(|| format!("{count} {}", phase.words()))
    });
    let counts: Vec<String> = counts.collect();
    format!(
        "{} nodes: {}. The table says which.",
        nodes.len(),
        counts.join(", ")
    )
}
