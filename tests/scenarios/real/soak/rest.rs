//! What must have come when nothing more is done.

use std::{any::Any, collections::BTreeSet, panic::AssertUnwindSafe};

use futures::{FutureExt, future::join_all};

use super::{deeds::Director, log::Log};
use crate::real::control_plane::AuditEntry;

/// Kinds that are written when certificates are renewed, which goes on for ever.
const OF_CERTIFICATES: [&str; 2] = ["secrets", "mutatingwebhookconfigurations"];

/// Waits for it; a panic is a fault.
pub(super) async fn caught(log: &Log, what: impl Future<Output = ()>) {
    if let Err(panic) = AssertUnwindSafe(what).catch_unwind().await {
        log.fault(&message(&*panic));
    }
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

/// Everything comes to rest, though the writers and the admissions for a try go on: each list is who is Ready, each
/// validator runs with the membership of all, and then nobody is restarted and nothing is written.
///
/// # Panics
/// Where something does not come, or does not end.
pub(super) async fn comes(director: &mut Director) {
    director.let_rest().await;
    let log = director.log.clone();
    log.deed("Nothing more is done");
    let fields = &director.fields;
    join_all(fields.iter().map(|field| async move {
        field.world.everyone_knows(&field.validators()).await;
    }))
    .await;
    log.deed("All lists are who is Ready, and nobody is stale");
    let before = director.installation.audit().len();
    join_all(fields.iter().map(|field| async move {
        let validators = field.validators();
        let (restarts, writes) = (
            field.world.nobody_restarts(&validators),
            field.world.nothing_is_written(),
        );
        futures::join!(restarts, writes);
    }))
    .await;
    let requests = director.installation.audit();
    let at_rest = requests.iter().skip(before);
    let costly: Vec<_> = at_rest.filter(|it| is_costly(it)).collect();
    assert!(costly.is_empty(), "at rest our program sent {costly:#?}");
    log.deed("At rest nobody is restarted and nothing is written");
    let denied = never_allowed(&requests);
    assert!(denied.is_empty(), "our account has no right to {denied:?}");
    for replica in director.installation.replicas() {
        assert!(
            !replica.log().contains("panicked at"),
            "a replica panicked:\n{}",
            replica.log()
        );
    }
    for field in fields {
        field.world.no_ready_pod_was_deleted();
    }
}

fn is_costly(request: &AuditEntry) -> bool {
    let may_be =
        request.resource == "leases" || OF_CERTIFICATES.contains(&request.resource.as_str());
    !may_be && (request.is_write() || request.verb == "list")
}

/// What was refused for want of a right, and never allowed. An API server that starts refuses all for a moment.
fn never_allowed(requests: &[AuditEntry]) -> BTreeSet<(&str, &str)> {
    let asks = |it: &'_ AuditEntry| (it.verb.clone(), it.resource.clone());
    let allowed: BTreeSet<_> = requests
        .iter()
        .filter(|it| !it.is_denied)
        .map(asks)
        .collect();
    let denied = requests
        .iter()
        .filter(|it| it.is_denied && !allowed.contains(&asks(it)));
    denied
        .map(|it| (it.verb.as_str(), it.resource.as_str()))
        .collect()
}
