//! What a phase looks like: a shape and a colour, so that neither is needed to tell it.

use maud::{Markup, html};

use crate::domain::status::Phase;

/// All phases, in the order in which a legend tells them.
pub(super) const PHASES: [Phase; 8] = [
    Phase::Ready,
    Phase::Restarting,
    Phase::Due,
    Phase::Waiting,
    Phase::Held,
    Phase::NotInjected,
    Phase::NotReady,
    Phase::LeftOut,
];

/// The class that colours it.
pub(super) const fn class(phase: Phase) -> &'static str {
    match phase {
        Phase::Ready => "ready",
        Phase::Restarting => "restarting",
        Phase::Due => "due",
        Phase::Waiting => "waiting",
        Phase::Held => "held",
        Phase::NotInjected => "not-injected",
        Phase::NotReady => "not-ready",
        Phase::LeftOut => "left-out",
    }
}

/// How soon somebody should look: 0 is never.
pub(super) const fn trouble(phase: Phase) -> u8 {
    match phase {
        Phase::Ready | Phase::LeftOut => 0,
        Phase::Waiting | Phase::Due | Phase::Restarting => 1,
        Phase::Held | Phase::NotInjected => 2,
        Phase::NotReady => 3,
    }
}

/// The shape, around the origin, at most 13 away from it.
pub(super) fn shape(phase: Phase) -> Markup {
    html! {
        @match phase {
            Phase::Ready => {
                circle.body r="12" {}
                path.glyph d="M-5.5 .5 -1.5 4.5 6 -4" {}
            },
            Phase::Restarting => {
                circle.body r="12" {}
                path.glyph d="M5.3 2A5.6 5.6 0 1 1 3.9 -4L6.6 -1.3M6.6 -5.4V-1.3H2.6" {}
            },
            Phase::Due => {
                path.body d="M-9 -12 13 0 -9 12Z" {}
                path.glyph d="M-5 0H3M0 -3.5 3.5 0 0 3.5" {}
            },
            Phase::Waiting => {
                circle.body.hollow r="11" {}
                circle.dot cx="-5" r="1.7" {}
                circle.dot r="1.7" {}
                circle.dot cx="5" r="1.7" {}
            },
            Phase::Held => {
                rect.body x="-11" y="-11" width="22" height="22" rx="4" {}
                path.glyph d="M-3.5 -5V5M3.5 -5V5" {}
            },
            Phase::NotInjected => {
                path.body d="M0 -13 13 0 0 13 -13 0Z" {}
                path.glyph d="M0 -6V1.5M0 5.4V5.6" {}
            },
            Phase::NotReady => {
                path.body d="M-5.2 -12.5H5.2L12.5 -5.2V5.2L5.2 12.5H-5.2L-12.5 5.2V-5.2Z" {}
                path.glyph d="M-4.5 -4.5 4.5 4.5M4.5 -4.5 -4.5 4.5" {}
            },
            Phase::LeftOut => { circle.body.hollow.dashed r="11" {} },
        }
    }
}

/// The shape beside a word that says the same.
pub(super) fn mark(phase: Phase) -> Markup {
    html! {
        svg class={ "mark " (class(phase)) } viewBox="-15 -15 30 30" width="18" height="18" aria-hidden="true" {
            (shape(phase))
        }
    }
}

/// The shape with its word.
pub(super) fn badge(phase: Phase) -> Markup {
    html! { span.badge { (mark(phase)) " " (phase.words()) } }
}
