//! The status page at `/`, `/events` that keeps it up to date, and `/api/v1/status` with the same for machines.
//!
//! Read-only: nothing that anybody sends is kept, and nothing here reaches the cluster. Whatever comes from the cluster
//! is text that others wrote: it gets on the page through `text` alone, and the browser is told by the policy of
//! `headers` to run and to load nothing that is not this program's own.
//!
//! What it costs is bounded: all readers share what is rendered (`views`), twice a second at most, however many ask;
//! [`STREAMS_MAX`] of them are kept up to date, the others ask again.

mod assets;
mod document;
mod drawing;
mod fragment;
mod happenings;
mod headers;
mod index;
mod mark;
mod network;
mod nodes;
mod stream;
mod text;
mod views;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::{
    Router,
    extract::{RawQuery, State},
    http::{StatusCode, header},
    middleware::map_response,
    response::{Html, IntoResponse, Response, Sse},
    routing::get,
};
use tokio::sync::{Semaphore, watch};

use self::{stream::Reader, views::Views};
use super::Overlook;

/// Readers that are kept up to date at once.
pub const STREAMS_MAX: usize = 64;

/// What all readers share.
#[derive(Debug)]
struct Page {
    views: Views,
    room: Arc<Semaphore>,
    stopping: watch::Receiver<bool>,
}

/// The page, what belongs to it, and its stream. Streams end once `stopping` is true, or nobody can make it so.
pub fn router(outlook: Arc<dyn Overlook>, stopping: watch::Receiver<bool>) -> Router {
    let page = Arc::new(Page {
        views: Views::new(outlook),
        room: Arc::new(Semaphore::new(STREAMS_MAX)),
        stopping,
    });
    Router::new()
        .route("/", get(whole))
        .route("/events", get(events))
        .route("/api/v1/status", get(status))
        .route(assets::STYLE.path(), get(|| async { &assets::STYLE }))
        .route(assets::SCRIPT.path(), get(|| async { &assets::SCRIPT }))
        .layer(map_response(|response: Response| async {
            headers::add(response)
        }))
        .with_state(page)
}

/// The namespace that a query asks for; all where it asks for none.
fn selection(query: Option<&str>) -> Option<String> {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let mut named = pairs.filter(|(key, _)| key == "namespace");
    named
        .next()
        .map(|(_, value)| value.into_owned())
        .filter(|value| !value.is_empty())
}

async fn whole(State(page): State<Arc<Page>>, RawQuery(query): RawQuery) -> Response {
    let selection = selection(query.as_deref());
    match page.views.view(selection.as_deref()).await {
        Ok(Some(view)) => Html(view.document.clone()).into_response(),
        Ok(None) => {
            let why = document::unknown(selection.as_deref().unwrap_or_default());
            (StatusCode::NOT_FOUND, Html(why.0)).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// The same for machines.
async fn status(State(page): State<Arc<Page>>) -> Response {
    match page.views.json().await {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

async fn events(State(page): State<Arc<Page>>, RawQuery(query): RawQuery) -> Response {
    const FULL: &str = "as many readers as there may be are kept up to date; reload the page\n";
    let selection = selection(query.as_deref());
    let Ok(room) = Arc::clone(&page.room).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, FULL).into_response();
    };
    match page.views.view(selection.as_deref()).await {
        Ok(Some(_)) => Sse::new(Reader::new(page, selection, room).events()).into_response(),
        Ok(None) => (StatusCode::NOT_FOUND, "no such namespace\n").into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
