//! AdmissionReview in, AdmissionReview out. Whether our own failure means allow or deny is decided here and
//! nowhere else: it means allow, with a warning.

use std::{borrow::Cow, cell::OnceCell, collections::BTreeSet, sync::Arc};

use serde_json::Value;
use tracing::{Level, debug, enabled, error_span, info, span::EnteredSpan, warn};

pub use super::answer::Answer;
use super::{keep, known::Cache};
use crate::{
    controller::stores::Stores,
    domain::{
        Policy,
        injection::{
            Admission, Knowledge, Outcome, Review, admit_stateful_set, admit_stellar_node,
        },
        node::NodeName,
    },
    json::review::{ObjectIn, RequestIn, uid},
    observe::AdmissionOutcome,
};

/// Decides reviews from what the stores hold.
#[derive(Debug)]
pub struct Admitter {
    namespaces: BTreeSet<String>,
    stores: Arc<Stores>,
    policy: Policy,
    dry_run: bool,
    known: Cache,
}

/// A body in which not even the uid of a request can be read.
#[derive(Debug, thiserror::Error)]
#[error("the body is no AdmissionReview with a request.uid: {0}")]
pub struct Unreadable(serde_json::Error);

impl Admitter {
    /// Decides by these flags, from what the watches saw. Only `namespaces` are looked after, all where there are none;
    /// with `dry_run` it decides and tells, and changes nothing.
    #[must_use]
    pub fn new(
        namespaces: BTreeSet<String>,
        stores: Arc<Stores>,
        policy: Policy,
        dry_run: bool,
    ) -> Self {
        Self {
            namespaces,
            stores,
            policy,
            dry_run,
            known: Cache::default(),
        }
    }

    /// The answer to the body of a review.
    ///
    /// # Errors
    /// [`Unreadable`] where there is no uid to answer to.
    pub fn answer(&self, body: &[u8]) -> Result<Answer, Unreadable> {
        let answer = RequestIn::read(body, &keep::CREATED).and_then(|request| {
            if is_nothing_to_us(&request) {
                let (uid, namespace, name) = (&request.uid, &request.namespace, &request.name);
                debug!(%uid, %namespace, %name, "Admitted a StatefulSet, with nothing to look at");
                return Ok(untouched(&request));
            }
            self.admit(&request)
        });
        answer.or_else(|error| {
            // Perhaps only a part is not as we know it: then the write goes on, and we say so.
            let Some(uid) = uid(body) else {
                return Err(Unreadable(error));
            };
            warn!(%uid, %error, "Could not read an AdmissionReview; allowed it as it is");
            let warning = format!(
                "stellar-peers: could not read the review, and left the object as it is: {error}"
            );
            let shortened = warning.chars().take(250).collect();
            let answer = Answer::allowed(uid.into_owned(), AdmissionOutcome::Unreadable);
            Ok(answer.warned([shortened]))
        })
    }

    fn admit(&self, request: &RequestIn<'_>) -> serde_json::Result<Answer> {
        let write = Write::of(request);
        if !self.namespaces.is_empty() && !self.namespaces.contains(&*request.namespace) {
            return Ok(untouched(request));
        }
        let is_whole = request
            .sub_resource
            .as_deref()
            .unwrap_or_default()
            .is_empty();
        let is_write = matches!(&*request.operation, "CREATE" | "UPDATE");
        let resource = (&*request.resource.group, &*request.resource.resource);
        let answer = match (resource, &request.object) {
            (("apps", "statefulsets"), Some(object)) if is_whole && is_write => {
                self.admit_stateful_set(&write, object)?
            }
            (("stellar.org", "stellarnodes"), Some(object)) if is_whole && is_write => {
                admit_node(&write, object)?
            }
            _ => untouched(request),
        };
        if self.dry_run && answer.changes_something() {
            write.enter_span();
            info!(outcome = ?answer.outcome(), "Would have changed the object; --dry-run leaves it as it is");
            return Ok(answer.without_change());
        }
        Ok(answer)
    }

    fn admit_stateful_set(
        &self,
        write: &Write<'_>,
        object: &ObjectIn<'_>,
    ) -> serde_json::Result<Answer> {
        let request = write.request;
        let answer = |outcome| Answer::allowed(request.uid.to_string(), outcome);
        let old = match (&*request.operation, &request.old_object) {
            ("UPDATE", Some(old)) => Some(old.read()?),
            ("UPDATE", None) => {
                let warning = "stellar-peers: the review has no old object, and so the object is left as it is";
                return Ok(answer(AdmissionOutcome::Unreadable).warned([warning.to_owned()]));
            }
            _ => None,
        };
        // The name is in the object where the request leaves it to the server.
        let name = if request.name.is_empty() {
            object.name().unwrap_or_default()
        } else {
            Cow::Borrowed(&*request.name)
        };
        let review = Review {
            name: &name,
            object: &*object.read()?,
            old: old.as_deref(),
            field_manager: request.field_manager(),
        };
        let Admission {
            outcome,
            operations,
            warnings,
        } = admit_stateful_set(review, || self.knowledge(&request.namespace, &name));
        debug!(
            ?outcome,
            operations = operations.len(),
            "Admitted a StatefulSet"
        );
        if outcome == Outcome::NotInjected {
            write.enter_span();
            info!(?warnings, "Let a StatefulSet through without the list");
        }
        let outcome = match outcome {
            Outcome::Untouched => AdmissionOutcome::Untouched,
            Outcome::Injected => AdmissionOutcome::Injected,
            Outcome::Kept => AdmissionOutcome::Kept,
            Outcome::Removed => AdmissionOutcome::Removed,
            Outcome::NotInjected => AdmissionOutcome::NotInjected,
        };
        Ok(answer(outcome).patched(&operations).warned(warnings))
    }

    /// What the stores know about a StatefulSet's namespace; nothing before they are full, or while validators are
    /// out of their sight.
    fn knowledge(&self, namespace: &str, name: &str) -> Option<Knowledge> {
        let known = self.known.get(&self.stores, &self.policy, namespace)?;
        let node = NodeName::new(name).ok();
        Some(Knowledge {
            stellar_node: node.and_then(|node| self.stores.stellar_nodes.get(namespace, &node)),
            networks: Arc::clone(&known.networks),
            inject: self.policy.inject.clone(),
            kept_by_another: known.kept_by_another,
            has_orphans: known.has_orphans(name),
        })
    }
}

/// A write, and the span of its admission. A span costs a tenth of all the rest: one is made where somebody reads it.
struct Write<'a> {
    request: &'a RequestIn<'a>,
    span: OnceCell<EnteredSpan>,
}

impl<'a> Write<'a> {
    /// With a span from the beginning where all admissions are told of, in lines or to a collector.
    fn of(request: &'a RequestIn<'a>) -> Self {
        let write = Self {
            request,
            span: OnceCell::new(),
        };
        if enabled!(Level::DEBUG) {
            write.enter_span();
        }
        write
    }

    /// What is logged from here on tells of which write it is.
    fn enter_span(&self) {
        let request = self.request;
        let span = || {
            error_span!(
                "admit",
                uid = &*request.uid,
                kind = &*request.kind.kind,
                namespace = &*request.namespace,
                name = &*request.name,
                operation = &*request.operation,
                object_uid = object_uid(request).as_deref(),
            )
        };
        self.span.get_or_init(|| span().entered());
    }
}

/// An update of a StatefulSet that changes neither its template nor its annotations: most of all writes, and nothing of it
/// can be ours. It has no span, which would cost as much as the rest.
fn is_nothing_to_us(request: &RequestIn<'_>) -> bool {
    let is_update = request.operation == "UPDATE"
        && request.resource.group == "apps"
        && request.resource.resource == "statefulsets";
    let objects = request.object.as_ref().zip(request.old_object.as_ref());
    is_update && objects.is_some_and(|(object, old)| object.is_like(old))
}

fn untouched(request: &RequestIn<'_>) -> Answer {
    Answer::allowed(request.uid.to_string(), AdmissionOutcome::Untouched)
}

fn admit_node(write: &Write<'_>, object: &ObjectIn<'_>) -> serde_json::Result<Answer> {
    let request = write.request;
    let old = request.old_object.as_ref();
    let old = old.filter(|_| request.operation == "UPDATE");
    let old = old.map(ObjectIn::read).transpose()?;
    let old = old.map(|old| Value::from(old.into_owned()));
    let object = Value::from(object.read()?.into_owned());
    let uid = request.uid.to_string();
    Ok(match admit_stellar_node(&object, old.as_ref()) {
        Ok(operations) if operations.is_empty() => {
            Answer::allowed(uid, AdmissionOutcome::Untouched)
        }
        Ok(operations) => Answer::allowed(uid, AdmissionOutcome::PortSet).patched(&operations),
        Err(message) => {
            write.enter_span();
            info!(why = message, "Refused a StellarNode");
            Answer::refused(uid, message)
        }
    })
}

/// The object's, where it has one already: by it a line leads to the object.
fn object_uid<'a>(request: &'a RequestIn<'_>) -> Option<Cow<'a, str>> {
    let objects = [&request.object, &request.old_object];
    objects.into_iter().flatten().find_map(ObjectIn::uid)
}
