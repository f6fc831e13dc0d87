//! From an HTTP request to what it asks for.

use std::time::Duration;

use http::{HeaderMap, Method, Uri, header};

use super::{error::ApiError, selector::Selector, store::Author};

/// What a request asks for, in the words of RBAC.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// Who asks.
    pub user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: &'static str,
    /// The API group; empty for core.
    pub group: String,
    /// The API version.
    pub version: String,
    /// The resource's plural name; empty for requests that are not about objects, such as `/version`.
    pub resource: String,
    /// `status` or `scale`; else empty.
    pub subresource: String,
    /// The namespace; empty for all, and for cluster-wide resources.
    pub namespace: String,
    /// The object's name; for list and watch, the one that a field selector asks for; else empty.
    pub name: String,
    /// The field manager that a write names; empty where it names none.
    pub field_manager: String,
}

/// A request, parsed but for its body.
#[derive(Debug)]
pub(super) struct ApiRequest {
    pub(super) info: RequestInfo,
    pub(super) query: Query,
    pub(super) content_type: String,
    /// The client wants `PartialObjectMetadata`.
    pub(super) metadata_only: bool,
    pub(super) path: String,
    /// When it arrived, since the sandbox was made.
    pub(super) issued: Duration,
}

impl ApiRequest {
    pub(super) fn parse(
        user: &str,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Self, ApiError> {
        let query = Query::parse(uri.query().unwrap_or_default());
        let text = |name| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let mut info = parse_path(uri.path());
        user.clone_into(&mut info.user);
        query
            .get("fieldManager")
            .clone_into(&mut info.field_manager);
        info.verb = verb(method, &info, &query).ok_or_else(ApiError::method_not_allowed)?;
        if info.name.is_empty() && matches!(info.verb, "list" | "watch") {
            let selector = Selector::parse("", query.get("fieldSelector"))?;
            selector
                .name()
                .unwrap_or_default()
                .clone_into(&mut info.name);
        }
        Ok(Self {
            content_type: text(header::CONTENT_TYPE)
                .split(';')
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned(),
            metadata_only: text(header::ACCEPT).contains("as=PartialObjectMetadata"),
            path: uri.path().to_owned(),
            issued: Duration::ZERO,
            info,
            query,
        })
    }
}

impl ApiRequest {
    /// Whose request this is.
    pub(super) fn author(&self) -> Author {
        Author {
            user: self.info.user.clone(),
            issued: self.issued,
        }
    }
}

fn verb(method: &Method, info: &RequestInfo, query: &Query) -> Option<&'static str> {
    Some(match (method, info.name.is_empty()) {
        (&Method::GET, _) if query.is_true("watch") => "watch",
        (&Method::GET, false) => "get",
        (&Method::GET, true) if info.resource.is_empty() => "get",
        (&Method::GET, true) => "list",
        (&Method::POST, true) => "create",
        (&Method::PUT, false) => "update",
        (&Method::PATCH, false) => "patch",
        (&Method::DELETE, false) => "delete",
        (&Method::DELETE, true) => "deletecollection",
        _ => return None,
    })
}

/// `/api/v1/namespaces/ns/pods/name/status`, `/apis/group/version/…`. Other paths name no resource.
fn parse_path(path: &str) -> RequestInfo {
    let mut info = RequestInfo::default();
    let steps: Vec<String> = path
        .split('/')
        .filter(|step| !step.is_empty())
        .map(decode)
        .collect();
    let mut steps = steps.into_iter();
    match steps.next().as_deref() {
        Some("api") => {}
        Some("apis") => info.group = steps.next().unwrap_or_default(),
        _ => return info,
    }
    info.version = steps.next().unwrap_or_default();
    let rest: Vec<String> = steps.collect();
    let (namespace, rest) = match rest.as_slice() {
        // `/namespaces/ns` and its subresources are about the namespace itself.
        [first, namespace, rest @ ..]
            if first == "namespaces"
                && !matches!(rest, [])
                && !matches!(rest, [only] if only == "status" || only == "finalize") =>
        {
            (namespace.clone(), rest)
        }
        rest => (String::new(), rest),
    };
    let mut rest = rest.iter().cloned();
    info.namespace = namespace;
    info.resource = rest.next().unwrap_or_default();
    info.name = rest.next().unwrap_or_default();
    info.subresource = rest.next().unwrap_or_default();
    info
}

/// The query's parameters, decoded.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    fn parse(query: &str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(k, v)| (decode(k), decode(v)))
                .collect(),
        )
    }

    /// The value of a parameter; empty where it is absent.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map_or("", |(_, value)| value)
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        matches!(self.get(name), "true" | "1")
    }

    /// A number, where the parameter is there.
    pub(super) fn number(&self, name: &str) -> Result<Option<u64>, ApiError> {
        match self.get(name) {
            "" => Ok(None),
            text => text
                .parse()
                .map(Some)
                .map_err(|_| ApiError::bad_request(format!("{name}: Invalid value: {text:?}"))),
        }
    }
}

/// Percent-decodes, with `+` as a space.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let (byte, tail) = match (first, tail) {
            (b'%', [high, low, tail @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high * 16 + low, tail),
                _ => (b'%', &rest[1..]),
            },
            (b'+', tail) => (b' ', tail),
            (other, tail) => (*other, tail),
        };
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: &Method, uri: &str) -> RequestInfo {
        ApiRequest::parse("me", method, &uri.parse().unwrap(), &HeaderMap::new())
            .unwrap()
            .info
    }

    #[test]
    fn a_request_is_named_as_rbac_would_name_it() {
        let info = parse(
            &Method::GET,
            "/apis/apps/v1/namespaces/ns/statefulsets/a/status?",
        );
        assert_eq!(
            (
                info.verb,
                info.namespace.as_str(),
                info.subresource.as_str()
            ),
            ("get", "ns", "status")
        );
        let info = parse(&Method::GET, "/api/v1/pods?watch=true&labelSelector=a%3Db");
        assert_eq!((info.verb, info.resource.as_str()), ("watch", "pods"));
        let info = parse(&Method::DELETE, "/api/v1/namespaces/ns");
        assert_eq!(
            (info.verb, info.resource.as_str(), info.name.as_str()),
            ("delete", "namespaces", "ns")
        );
        let info = parse(&Method::GET, "/api/v1/namespaces/ns/pods");
        assert_eq!(
            (info.verb, info.resource.as_str(), info.namespace.as_str()),
            ("list", "pods", "ns")
        );
    }

    #[test]
    fn percent_encoding_is_undone() {
        assert_eq!(decode("a%3Db+c%2"), "a=b c%2");
    }
}
