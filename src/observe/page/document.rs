//! The frame around what changes.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{assets, text, views::View};

/// Three nodes that know each other.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E\
                    %3Cg stroke='%230b5cad' stroke-width='1.5'%3E%3Cpath d='M8 3 3 12h10z' fill='none'/%3E\
                    %3Cg fill='%230b5cad'%3E%3Ccircle cx='8' cy='3' r='2'/%3E%3Ccircle cx='3' cy='12' r='2'/%3E\
                    %3Ccircle cx='13' cy='12' r='2'/%3E%3C/g%3E%3C/g%3E%3C/svg%3E";

/// The whole page.
pub(super) fn whole(view: &View, selection: Option<&str>) -> Markup {
    let events = selection.map_or_else(
        || "events".to_owned(),
        |namespace| format!("events{}", text::link(namespace)),
    );
    let body = html! {
        a.skip href="#content" { "Skip to the validators" }
        div.bar {
            p.brand {
                a href="." { "stellar-peers" }
                " " span.version { (text::name(&view.version)) }
            }
            p #state .state data-state="still" {
                "As of " (text::time(&view.at, None)) ". " a href="" { "Reload" } " for news."
            }
        }
        p #news .unseen role="status" aria-live="polite" {}
        div #live data-events=(events) { (PreEscaped(&view.html)) }
        footer {
            p {
                "Read-only. The same for machines: " a href="api/v1/status" { "/api/v1/status" }
                ", " a href="metrics" { "/metrics" } "."
            }
        }
    };
    let title = selection.map(|namespace| text::shown(namespace, 63));
    document(title.as_deref(), &body, true)
}

/// The page of a namespace that isn't there.
pub(super) fn unknown(namespace: &str) -> Markup {
    let body = html! {
        main #content .plain {
            h1 { "No such namespace" }
            p {
                "This replica knows no validators, and no list, in namespace " strong { (text::name(namespace)) } "."
            }
            p { a href="." { "All namespaces" } }
        }
    };
    document(Some("No such namespace"), &body, false)
}

fn document(title: Option<&str>, body: &Markup, is_live: bool) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { @if let Some(title) = title { (title) " - " } "stellar-peers" }
                link rel="icon" href=(ICON);
                link rel="stylesheet" href=(assets::STYLE.link());
                @if is_live { script src=(assets::SCRIPT.link()) defer {} }
            }
            body { (body) }
        }
    }
}
