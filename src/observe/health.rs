//! The plain HTTP endpoints: `/livez`, `/readyz`, `/metrics`, and those of the status page.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};

use tokio::sync::watch;

use super::{Metrics, Overlook, page};

/// One condition of readiness: what it is called, and whether it holds.
pub struct Condition {
    /// For people, in a few words.
    pub name: &'static str,
    /// Asked at each request.
    pub holds: Box<dyn Fn() -> bool + Send + Sync>,
}

impl std::fmt::Debug for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Condition")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What the endpoints show.
#[derive(Debug)]
pub struct Health {
    /// Ready is when all of these hold.
    pub conditions: Vec<Condition>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// What there is to see.
    pub outlook: Arc<dyn Overlook>,
    /// True once this process ends: what is kept open for news is closed then.
    pub stopping: watch::Receiver<bool>,
}

/// The endpoints. Alive is whoever answers; ready is only who can do the work.
pub fn router(health: Arc<Health>) -> Router {
    let page = page::router(Arc::clone(&health.outlook), health.stopping.clone());
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(health)
        .merge(page)
}

async fn readyz(State(health): State<Arc<Health>>) -> Response {
    let missing: Vec<&str> = health
        .conditions
        .iter()
        .filter(|it| !(it.holds)())
        .map(|it| it.name)
        .collect();
    if missing.is_empty() {
        "ok\n".into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {}\n", missing.join(", ")),
        )
            .into_response()
    }
}

async fn metrics(State(health): State<Arc<Health>>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match health.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
