//! What our program asked of the API server, from the server's own audit log.

use serde::Deserialize;
use serde_json::Value;

/// One request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AuditEntry {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub(crate) verb: String,
    /// `configmaps`, or with its subresource `statefulsets/scale`; empty for a path like `/version`.
    pub(crate) resource: String,
    /// Empty for cluster-wide requests.
    pub(crate) namespace: String,
    /// Empty for lists, watches and POSTs.
    pub(crate) name: String,
    pub(crate) user: String,
    pub(crate) user_agent: String,
    /// HTTP status.
    pub(crate) code: u16,
    /// Whether our account has no right to it; a 403 may have other reasons, such as a namespace that is on its way out.
    pub(crate) is_denied: bool,
    /// Path and query, which hold selectors, the field manager, `dryRun` and the like.
    pub(crate) uri: String,
}

impl AuditEntry {
    /// Whether the request was meant to change something, refused or not, dry or not.
    pub(crate) fn is_write(&self) -> bool {
        !matches!(self.verb.as_str(), "get" | "list" | "watch")
    }
}

/// The entries of an audit log, oldest first.
///
/// A watch appears when it ends. The line that is being written at this moment is left out.
pub(crate) fn parse_audit_log(log: &str) -> Vec<AuditEntry> {
    let whole_lines = log.rsplit_once('\n').map_or("", |(whole, _)| whole).lines();
    let parsed = whole_lines.filter_map(|line| serde_json::from_str::<Event>(line).ok());
    let answered = parsed.filter(|event| event.stage == "ResponseComplete");
    answered.map(AuditEntry::from).collect()
}

/// As `audit.k8s.io/v1` writes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    stage: String,
    verb: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    user: Value,
    #[serde(default)]
    user_agent: String,
    #[serde(default)]
    object_ref: Value,
    #[serde(default)]
    response_status: Value,
    #[serde(default)]
    annotations: Value,
}

impl From<Event> for AuditEntry {
    fn from(event: Event) -> Self {
        let text = |object: &Value, key: &str| object[key].as_str().unwrap_or_default().to_owned();
        let subresource = text(&event.object_ref, "subresource");
        let mut resource = text(&event.object_ref, "resource");
        if !subresource.is_empty() {
            resource = format!("{resource}/{subresource}");
        }
        let code = event.response_status["code"].as_u64();
        Self {
            verb: event.verb,
            resource,
            namespace: text(&event.object_ref, "namespace"),
            name: text(&event.object_ref, "name"),
            user: text(&event.user, "username"),
            user_agent: event.user_agent,
            code: code
                .and_then(|code| code.try_into().ok())
                .unwrap_or_default(),
            is_denied: event.annotations["authorization.k8s.io/decision"] == "forbid",
            uri: event.request_uri,
        }
    }
}
