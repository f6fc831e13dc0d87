//! Requests of the checks: each has its time, and each that is refused says what was asked for.

use std::{fmt, time::Duration};

use http::{HeaderMap, Request, header};
use http_body_util::BodyExt;
use jiff::{Timestamp, fmt::rfc2822};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::Client;
use tokio::time::timeout;

use crate::{controller::error::ReconcileError, observe::error_chain};

/// The longest that an answer may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Something that could not be read or written, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unseen {
    pub(super) verb: &'static str,
    pub(super) what: String,
    /// The HTTP status; 0 where there was no answer.
    pub(super) code: u16,
    pub(super) why: String,
}

impl Unseen {
    /// The account in use may not do that; or somebody else's admission refused, which has the same status.
    pub(super) const fn is_forbidden(&self) -> bool {
        self.code == 403
    }
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            verb, what, why, ..
        } = self;
        if self.is_forbidden() {
            write!(f, "may not {verb} {what}")
        } else {
            write!(f, "could not {verb} {what}: {why}")
        }
    }
}

impl From<ReconcileError> for Unseen {
    fn from(error: ReconcileError) -> Self {
        let why = error_chain(&error);
        let (verb, what, code) = match error {
            ReconcileError::Forbidden { verb, what, .. } => (verb, what, 403),
            ReconcileError::Silent { verb, what } | ReconcileError::Api { verb, what, .. } => {
                (verb, what, 0)
            }
            _ => ("read", "the namespace".to_owned(), 0),
        };
        Self {
            verb,
            what,
            code,
            why,
        }
    }
}

/// Awaits one request.
///
/// # Errors
/// [`Unseen`].
pub(super) async fn ask<T>(
    verb: &'static str,
    what: &str,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, Unseen> {
    let unseen = |code, why| Unseen {
        verb,
        what: what.to_owned(),
        code,
        why,
    };
    match timeout(PATIENCE, request).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(kube::Error::Api(status))) => Err(unseen(status.code, status.message.clone())),
        Ok(Err(error)) => Err(unseen(0, error_chain(&error))),
        Err(_) => Err(unseen(0, format!("no answer within {PATIENCE:?}"))),
    }
}

/// An answer with the headers that a typed one loses.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// The API server's clock, where it tells.
    pub(super) date: Option<Timestamp>,
    /// What admissions warned of.
    pub(super) warnings: Vec<String>,
    pub(super) body: Vec<u8>,
}

/// Awaits one request whose headers count.
///
/// # Errors
/// [`Unseen`].
pub(super) async fn ask_raw(
    client: &Client,
    verb: &'static str,
    what: &str,
    request: Request<Vec<u8>>,
) -> Result<Answer, Unseen> {
    let unseen = |code, why| Unseen {
        verb,
        what: what.to_owned(),
        code,
        why,
    };
    let asking = async {
        let (parts, body) = request.into_parts();
        let request = Request::from_parts(parts, kube::client::Body::from(body));
        let answer = client.send(request).await?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes().to_vec();
        Ok::<_, kube::Error>((parts, body))
    };
    let (parts, body) = match timeout(PATIENCE, asking).await {
        Ok(Ok(answered)) => answered,
        Ok(Err(error)) => return Err(unseen(0, error_chain(&error))),
        Err(_) => return Err(unseen(0, format!("no answer within {PATIENCE:?}"))),
    };
    if !parts.status.is_success() {
        let status = serde_json::from_slice::<Status>(&body).ok();
        let message = status.and_then(|status| status.message);
        let message = message.unwrap_or_else(|| parts.status.to_string());
        return Err(unseen(parts.status.as_u16(), message));
    }
    Ok(Answer {
        date: date(&parts.headers),
        warnings: warnings(&parts.headers),
        body,
    })
}

fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(header::DATE)?.to_str().ok()?;
    rfc2822::DateTimeParser::new().parse_timestamp(text).ok()
}

/// The texts of `Warning: 299 - "text"`.
fn warnings(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::WARNING).iter();
    let texts = values.filter_map(|value| {
        let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
        let (_, quoted) = text.split_once('"')?;
        let (text, _) = quoted.rsplit_once('"')?;
        Some(text.replace("\\\"", "\""))
    });
    texts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_tell_the_servers_clock_and_what_was_warned_of() {
        let mut headers = HeaderMap::new();
        let value = |text: &'static str| http::HeaderValue::from_static(text);
        headers.append(header::DATE, value("Wed, 25 Nov 2026 13:27:53 GMT"));
        headers.append(header::WARNING, value("299 - \"say \\\"a\\\"\""));
        headers.append(header::WARNING, value("nonsense"));
        assert_eq!(date(&headers).unwrap().to_string(), "2026-11-25T13:27:53Z");
        assert_eq!(warnings(&headers), ["say \"a\""]);
        assert_eq!(date(&HeaderMap::new()), None);
    }
}
