//! What is sent back to the API server.

use k8s_openapi::ByteString;
use serde::Serialize;

use crate::{
    json::{Operation, to_bytes},
    observe::AdmissionOutcome,
};

/// The answer, ready to be sent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    api_version: &'static str,
    kind: &'static str,
    response: Response,
    #[serde(skip)]
    outcome: AdmissionOutcome,
}

#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    uid: String,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<ByteString>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Refusal>,
}

#[derive(Debug, Serialize)]
struct Refusal {
    code: u16,
    reason: &'static str,
    message: String,
}

impl Answer {
    pub(super) fn allowed(uid: String, outcome: AdmissionOutcome) -> Self {
        let response = Response {
            uid,
            allowed: true,
            ..Response::default()
        };
        Self {
            api_version: "admission.k8s.io/v1",
            kind: "AdmissionReview",
            response,
            outcome,
        }
    }

    pub(super) fn patched(mut self, operations: &[Operation<'_>]) -> Self {
        if !operations.is_empty() {
            let patch = to_bytes(operations).expect("a patch of JSON values always serializes");
            self.response.patch_type = Some("JSONPatch");
            self.response.patch = Some(ByteString(patch));
        }
        self
    }

    pub(super) fn warned(mut self, warnings: impl IntoIterator<Item = String>) -> Self {
        self.response.warnings.extend(warnings);
        self
    }

    pub(super) fn refused(uid: String, message: String) -> Self {
        let mut answer = Self::allowed(uid, AdmissionOutcome::Refused);
        answer.response.allowed = false;
        answer.response.status = Some(Refusal {
            code: 422,
            reason: "Invalid",
            message,
        });
        answer
    }

    /// The body of the response.
    #[must_use]
    #[expect(
        clippy::missing_panics_doc,
        reason = "nothing in an answer can fail to serialize"
    )]
    pub fn to_body(&self) -> Vec<u8> {
        let patch = self
            .response
            .patch
            .as_ref()
            .map_or(0, |patch| patch.0.len());
        // A patch is sent in four letters for three bytes; a longer answer only costs another allocation.
        let mut body = Vec::with_capacity(256 + patch / 3 * 4);
        serde_json::to_writer(&mut body, self).expect("text and bytes always serialize");
        body
    }

    /// Whether it is anything but a plain yes.
    pub(super) fn changes_something(&self) -> bool {
        self.response.patch.is_some() || !self.response.allowed
    }

    /// The same review, left as it is.
    pub(super) fn without_change(self) -> Self {
        Self::allowed(self.response.uid, AdmissionOutcome::Untouched)
    }

    /// How it ended, for the metrics.
    #[must_use]
    pub const fn outcome(&self) -> AdmissionOutcome {
        self.outcome
    }
}
