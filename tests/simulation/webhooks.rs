//! The way from the API server to our webhook, and to one of somebody else.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use stellar_peers::sandbox::InProcess;
use tower::{BoxError, ServiceExt};

use crate::observer::Shared;

/// After this time the API server goes on without an answer.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The host of the other webhook.
pub(crate) const OTHER: &str = "other";

/// Our webhooks: one a process, asked in turn.
#[derive(Clone, Default)]
pub(crate) struct Webhooks(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    routes: Vec<(String, axum::Router)>,
    calls: usize,
    is_away: bool,
    delay: Duration,
}

impl Webhooks {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, user: &str, route: axum::Router) {
        self.lock().routes.push((user.to_owned(), route));
    }

    pub(crate) fn remove(&self, user: &str) {
        self.lock().routes.retain(|(of, _)| of != user);
    }

    pub(crate) fn set_away(&self, is_away: bool) {
        self.lock().is_away = is_away;
    }

    pub(crate) fn set_delay(&self, delay: Duration) {
        self.lock().delay = delay;
    }

    /// Who is asked next, and how long that takes.
    fn next(&self) -> Option<(axum::Router, Duration)> {
        let mut state = self.lock();
        state.calls += 1;
        let index = state.calls % state.routes.len().max(1);
        let (_, route) = state.routes.get(index).filter(|_| !state.is_away)?;
        Some((route.clone(), state.delay))
    }

    pub(crate) fn transport(&self, observer: Shared) -> InProcess {
        let webhooks = self.clone();
        InProcess::new(move |request: Request<Bytes>| {
            let is_other = request.uri().host() == Some(OTHER);
            let next = if is_other { None } else { webhooks.next() };
            let is_missed = next.as_ref().is_none_or(|(_, delay)| *delay >= TIMEOUT);
            if !is_other && is_missed {
                let mut observer = observer.lock();
                let delay = next.as_ref().map_or(Duration::ZERO, |_| TIMEOUT);
                observer.missed = Some(observer.now() + delay);
            }
            async move {
                if is_other {
                    return Ok(Response::new(mark(&request)?));
                }
                let (route, delay) = next.ok_or("connection refused")?;
                tokio::time::sleep(delay).await;
                call(route, request).await
            }
        })
    }
}

async fn call(route: axum::Router, request: Request<Bytes>) -> Result<Response<Bytes>, BoxError> {
    let answer = route.oneshot(request.map(Body::from)).await?;
    let (head, body) = answer.into_parts();
    Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
}

/// Puts a label on whatever is written.
fn mark(request: &Request<Bytes>) -> Result<Bytes, BoxError> {
    let review: Value = serde_json::from_slice(request.body())?;
    let is_marked = !review["request"]["object"]["metadata"]["labels"]["other/seen"].is_null();
    let mut response = json!({"uid": review["request"]["uid"], "allowed": true});
    if !is_marked {
        let patch = json!([{"op": "add", "path": "/metadata/labels/other~1seen", "value": "true"}])
            .to_string();
        response["patchType"] = "JSONPatch".into();
        response["patch"] = patch.bytes().collect::<Vec<u8>>().into();
    }
    let answer = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    Ok(answer.to_string().into())
}

/// The registration of the other webhook, which is asked after ours.
pub(crate) fn other_registration() -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "zz-other"},
        "webhooks": [{
            "name": "other.example.com", "admissionReviewVersions": ["v1"], "sideEffects": "None",
            "failurePolicy": "Ignore", "clientConfig": {"url": format!("https://{OTHER}/mutate")},
            "rules": [{
                "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                "resources": ["statefulsets"],
            }],
        }],
    })
}
