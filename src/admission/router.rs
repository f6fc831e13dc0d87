//! The route of the webhook.

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use tracing::debug;

use super::review::Admitter;
use crate::observe::{AdmissionOutcome, Metrics};

/// A review carries an object and its old form, about 3 MiB each at most; controller-runtime takes as much.
const BODY_BYTES_MAX: usize = 7 << 20;

/// What the route needs.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Decides.
    pub admitter: Arc<Admitter>,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

/// `POST /mutate`.
pub fn router(webhook: Webhook) -> Router {
    Router::new()
        .route("/mutate", post(mutate))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(webhook)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a duration for a metric, on which nothing is decided"
)]
async fn mutate(State(webhook): State<Webhook>, body: Bytes) -> Response {
    let started = Instant::now();
    match webhook.admitter.answer(&body) {
        Ok(answer) => {
            webhook
                .metrics
                .admitted(answer.outcome(), started.elapsed());
            let json = HeaderValue::from_static("application/json");
            ([(header::CONTENT_TYPE, json)], answer.to_body()).into_response()
        }
        Err(error) => {
            webhook
                .metrics
                .admitted(AdmissionOutcome::Unreadable, started.elapsed());
            debug!(%error, bytes = body.len(), "Refused a body that is no review");
            (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response()
        }
    }
}
