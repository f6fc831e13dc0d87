//! Requests to the API server, and how they fail.

use std::time::Duration;

use crate::{
    domain::{
        Snapshot, injection::CannotInject, node::NodeName, status::Reason, survey::unaccounted,
    },
    observe::error_chain,
};

/// No request may take longer: a silent API server must not hold a namespace up for ever.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Why one namespace could not be brought in line.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// RBAC forbids the request. No retry helps before a person acts.
    #[error("may not {verb} {what}; grant it to this service's account")]
    Forbidden {
        /// What was tried.
        verb: &'static str,
        /// On which object.
        what: String,
        /// The API server's answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// Somebody made the ConfigMap immutable.
    #[error(
        "ConfigMap stellar-peers is immutable and cannot follow the validators; delete it, and it is made anew"
    )]
    Immutable,
    /// The list does not fit into a ConfigMap.
    #[error("the peer list is too large for ConfigMap stellar-peers; the last one stays")]
    TooLarge(#[source] Box<kube::Error>),
    /// The namespace is going away. Nothing is to be done.
    #[error("the namespace is being deleted")]
    Terminating,
    /// Somebody else wrote first. The next pass decides on what is there then.
    #[error("{what} changed in between; it is read and decided again")]
    Conflict {
        /// Which object.
        what: String,
    },
    /// The API server serves no StellarNodes, and validators that had one still run.
    #[error(
        "the API server serves no StellarNodes, and these were validators of an operator: {0}; list and validators \
         of the namespace stay as they are until the CustomResourceDefinition is back, or each of these opts out by \
         label peers.stellar.org/inject=disabled or is gone"
    )]
    KindMissing(String),
    /// What a restart was decided on is too old by now, or we lead no more. It is read and decided again.
    #[error(
        "the decision to restart {0} got too old before it was carried out; it is decided again"
    )]
    Outdated(NodeName),
    /// Another installation keeps this namespace.
    #[error(
        "{writer} keeps the peer list of this namespace, and is alive; run one of the two with other --namespaces"
    )]
    ForeignWriter {
        /// Its lease, as `namespace/name`.
        writer: String,
    },
    /// The template changed so that our parts no longer fit.
    #[error("could not restart {node}: {why}")]
    CannotInject {
        /// Whom.
        node: NodeName,
        /// Why.
        why: CannotInject,
    },
    /// A policy of the cluster refuses the write, though the object is as we saw it.
    #[error(
        "the API server refuses to {verb} {what}; see who refuses, and exempt this service's account"
    )]
    Refused {
        /// What was tried.
        verb: &'static str,
        /// On which object.
        what: String,
        /// The API server's answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// The API server took the patch and stored something else.
    #[error("the restart of {0} did not take: another admission webhook changes its template back")]
    NotTaken(NodeName),
    /// The API server was silent for ten seconds.
    #[error("no answer from the API server to {verb} {what}; the next attempt is scheduled")]
    Silent {
        /// What was tried.
        verb: &'static str,
        /// On which object.
        what: String,
    },
    /// Any other answer.
    #[error("could not {verb} {what}")]
    Api {
        /// What was tried.
        verb: &'static str,
        /// On which object.
        what: String,
        /// The API server's answer.
        #[source]
        source: Box<kube::Error>,
    },
}

impl ReconcileError {
    /// Every [`reason`](Self::reason).
    pub const REASONS: [&str; 13] = [
        "Forbidden",
        "Immutable",
        "TooLarge",
        "Terminating",
        "Conflict",
        "KindMissing",
        "Outdated",
        "ForeignWriter",
        "CannotInject",
        "Refused",
        "NotTaken",
        "Silent",
        "Api",
    ];

    /// Event reason and metric label: a closed set.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Forbidden { .. } => "Forbidden",
            Self::Immutable => "Immutable",
            Self::TooLarge(_) => "TooLarge",
            Self::Terminating => "Terminating",
            Self::Conflict { .. } => "Conflict",
            Self::KindMissing(_) => "KindMissing",
            Self::Outdated(_) => "Outdated",
            Self::ForeignWriter { .. } => "ForeignWriter",
            Self::CannotInject { .. } => "CannotInject",
            Self::Refused { .. } => "Refused",
            Self::NotTaken(_) => "NotTaken",
            Self::Silent { .. } => "Silent",
            Self::Api { .. } => "Api",
        }
    }

    /// The same for people who look at the namespace.
    #[must_use]
    pub fn problem(&self) -> Reason {
        Reason {
            reason: self.reason().to_owned(),
            text: error_chain(self),
        }
    }

    /// Whether trying the same again soon is of no use, for this object alone.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. }
                | Self::Forbidden { .. }
                | Self::CannotInject { .. }
                | Self::NotTaken(_)
        )
    }

    /// Whether a person has to act before this ends.
    #[must_use]
    pub const fn needs_a_person(&self) -> bool {
        matches!(
            self,
            Self::Forbidden { .. }
                | Self::Immutable
                | Self::TooLarge(_)
                | Self::ForeignWriter { .. }
                | Self::KindMissing(_)
                | Self::NotTaken(_)
                | Self::Refused { .. }
        )
    }
}

/// Whether a snapshot is one to decide on: nobody in it is out of sight only because the kind isn't served.
///
/// # Errors
/// [`ReconcileError::KindMissing`] with the names, ten at most.
pub fn accounted(snapshot: Snapshot) -> Result<Snapshot, ReconcileError> {
    let names = unaccounted(&snapshot);
    if names.is_empty() {
        return Ok(snapshot);
    }
    let shown: Vec<&str> = names.iter().take(10).map(|name| name.as_str()).collect();
    let more = if names.len() > shown.len() {
        ", …"
    } else {
        ""
    };
    Err(ReconcileError::KindMissing(shown.join(", ") + more))
}

/// Awaits one request to the API server, and says in our words how it failed.
///
/// # Errors
/// The variant of [`ReconcileError`] that the answer stands for.
pub async fn request<T>(
    verb: &'static str,
    what: &str,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, ReconcileError> {
    let what = || what.to_owned();
    let error = match tokio::time::timeout(REQUEST_TIMEOUT, request).await {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error,
        Err(_) => return Err(ReconcileError::Silent { verb, what: what() }),
    };
    let (code, message) = match &error {
        kube::Error::Api(status) => (status.code, status.message.as_str()),
        _ => (0, ""),
    };
    Err(match code {
        403 if message.contains("being terminated") => ReconcileError::Terminating,
        403 => ReconcileError::Forbidden {
            verb,
            what: what(),
            source: Box::new(error),
        },
        409 => ReconcileError::Conflict { what: what() },
        _ => ReconcileError::Api {
            verb,
            what: what(),
            source: Box::new(error),
        },
    })
}

/// A patch that names another object than the one that is there now: of another uid, or changed in between. The API
/// server calls that invalid; reading again tells.
pub(crate) fn moved_on(error: ReconcileError) -> ReconcileError {
    match error {
        ReconcileError::Api { source, what, .. } if is_invalid(&source) => {
            ReconcileError::Conflict { what }
        }
        other => other,
    }
}

/// An apply that names the uid of an object that was made anew since. The API server calls that invalid.
pub(crate) fn another_is_there(error: ReconcileError) -> ReconcileError {
    let is_other = |source: &kube::Error| {
        matches!(source, kube::Error::Api(status)
            if status.code == 422 && status.message.contains("metadata.uid"))
    };
    match error {
        ReconcileError::Api { source, what, .. } if is_other(&source) => {
            ReconcileError::Conflict { what }
        }
        other => other,
    }
}

pub(super) fn is_invalid(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 422)
}
