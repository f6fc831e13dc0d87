//! Responses: JSON bodies, statuses, warnings and watch streams.

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use serde_json::Value;
use tower::BoxError;

use super::error::ApiError;

/// A response's body: bytes at once, or a watch's stream.
pub type AnswerBody = UnsyncBoxBody<Bytes, BoxError>;

/// What a request gets, before it is made into HTTP.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) body: Bytes,
    pub(super) warnings: Vec<String>,
}

impl Answer {
    pub(super) fn ok(body: Bytes) -> Self {
        Self {
            code: 200,
            body,
            warnings: Vec::new(),
        }
    }

    pub(super) fn json(body: &Value) -> Self {
        Self::ok(body.to_string().into())
    }

    pub(super) fn into_response(self) -> Response<AnswerBody> {
        let mut response = respond(self.code, "application/json", full(self.body));
        for warning in &self.warnings {
            let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
            if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
                response.headers_mut().append(header::WARNING, value);
            }
        }
        response
    }
}

impl ApiError {
    pub(super) fn into_response(self) -> Response<AnswerBody> {
        let (body, content_type) = self.body();
        let mut response = respond(self.code, content_type, full(body.into()));
        if self.code == 429 {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// A watch: lines as they come.
pub(super) fn stream(
    lines: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
) -> Response<AnswerBody> {
    respond(
        200,
        "application/json",
        BodyExt::boxed_unsync(StreamBody::new(lines.map_ok(Frame::data))),
    )
}

fn full(bytes: Bytes) -> AnswerBody {
    Full::new(bytes)
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn respond(code: u16, content_type: &'static str, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
