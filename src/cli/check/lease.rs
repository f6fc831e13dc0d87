//! Whether somebody leads: without a leader no list is written and nobody is restarted.

use std::time::Duration;

use http::Request;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use tokio::time::Instant;

use super::{
    ask::{Unseen, ask_raw},
    finding::{Check, Finding, Outcome},
    installation::Installation,
};
use crate::api::names::STELLAR_PEERS;

/// What a Lease lasts where it doesn't say.
const DURATION_SECONDS: u32 = 15;
/// Time between two looks. Replicas try every two seconds to get it.
const ANOTHER_LOOK: Duration = Duration::from_secs(2);
/// For how long replicas may be at it: a new one waits out the Lease that a former one has left, from when it first
/// saw it.
const CHANGES_HANDS_WITHIN: Duration = Duration::from_secs(20);
/// The same where no replica runs that could take it, or none is known.
const SETTLED_WITHIN: Duration = Duration::from_secs(3);

/// A Lease at an instant.
#[derive(Clone, Debug)]
pub(super) struct SeenLease {
    pub(super) lease: Option<Lease>,
    pub(super) at: Timestamp,
    /// By the API server's clock rather than this machine's.
    pub(super) is_servers_clock: bool,
}

/// Looks at the Lease, and again while nobody has it and some replica could still take it: after an installation, and
/// where a leader was lost, that takes as long as a Lease lasts.
pub(super) async fn look(
    client: &Client,
    installation: &Installation,
    replicas: Option<usize>,
    now: impl Fn() -> Timestamp,
) -> Finding {
    let namespace = &installation.namespace;
    let object = format!("Lease {namespace}/{STELLAR_PEERS}");
    let runs = installation.known();
    if runs.is_some_and(|runs| !runs.elects) {
        return Finding::skipped(
            Check::Lease,
            "its flags say that nobody stands for election",
        )
        .of(object);
    }
    let is_certain = runs.is_some();
    let patience = match replicas {
        Some(1..) => CHANGES_HANDS_WITHIN,
        Some(0) | None => SETTLED_WITHIN,
    };
    let began = Instant::now();
    loop {
        let finding = match read(client, namespace, &object, now()).await {
            Ok(seen) => finding(&seen, is_certain),
            Err(unseen) => Finding::unseen(Check::Lease, &unseen),
        };
        let is_final = matches!(finding.outcome, Outcome::Pass | Outcome::Skipped);
        if is_final || began.elapsed() >= patience {
            return finding.of(object);
        }
        tokio::time::sleep(ANOTHER_LOOK).await;
    }
}

async fn read(
    client: &Client,
    namespace: &str,
    object: &str,
    now: Timestamp,
) -> Result<SeenLease, Unseen> {
    let unreadable = |why: String| Unseen {
        verb: "get",
        what: object.to_owned(),
        code: 0,
        why,
    };
    let path =
        format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases/{STELLAR_PEERS}");
    let request = Request::get(path).body(Vec::new());
    let request = request.map_err(|error| unreadable(error.to_string()))?;
    match ask_raw(client, "get", object, request).await {
        Ok(answer) => {
            let lease = serde_json::from_slice(&answer.body);
            Ok(SeenLease {
                lease: Some(lease.map_err(|error| unreadable(error.to_string()))?),
                at: answer.date.unwrap_or(now),
                is_servers_clock: answer.date.is_some(),
            })
        }
        Err(unseen) if unseen.code == 404 => Ok(SeenLease {
            lease: None,
            at: now,
            is_servers_clock: false,
        }),
        Err(unseen) => Err(unseen),
    }
}

/// What a Lease says. Only where the service is known to elect, its absence is a failure.
pub(super) fn finding(seen: &SeenLease, elects: bool) -> Finding {
    let nobody = |text: String| {
        let found = if elects {
            Finding::failed(Check::Lease, text)
        } else {
            Finding::warning(Check::Lease, text)
        };
        found
            .means("nobody leads: no list follows its validators, and nobody is restarted")
            .fix("see whether its pods run, and their logs; with --leader-election=false there is none")
    };
    let Some(lease) = &seen.lease else {
        return nobody("there is no Lease".to_owned());
    };
    let spec = lease.spec.clone().unwrap_or_default();
    let holder = spec.holder_identity.filter(|holder| !holder.is_empty());
    let Some(holder) = holder else {
        return nobody("nobody holds the Lease".to_owned());
    };
    let duration = spec
        .lease_duration_seconds
        .map_or(i64::from(DURATION_SECONDS), i64::from);
    let Some(renewed) = spec.renew_time.map(|time| time.0) else {
        return nobody(format!("{holder} holds the Lease and has never renewed it"));
    };
    let age = seen.at.duration_since(renewed);
    let clock = if seen.is_servers_clock {
        "the API server's clock"
    } else {
        "this machine's clock"
    };
    let seconds = age.as_secs();
    if age > SignedDuration::from_secs(duration) {
        return nobody(format!(
            "{holder} has held the Lease, and renewed it {seconds} s ago by {clock}; it lasts {duration} s"
        ));
    }
    if age < SignedDuration::from_secs(-duration) {
        let early = -seconds;
        let ahead = Finding::warning(
            Check::Lease,
            format!("{holder} leads, and its clock is {early} s ahead of {clock}"),
        );
        return ahead
            .means("times in annotations and certificates are off by that")
            .fix("set the clock of its node, or of this machine");
    }
    let seconds = seconds.max(0);
    Finding::pass(
        Check::Lease,
        format!("{holder} leads, renewed {seconds} s ago by {clock}"),
    )
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        api::coordination::v1::LeaseSpec, apimachinery::pkg::apis::meta::v1::MicroTime,
    };

    use super::*;

    const NOON: Timestamp = Timestamp::constant(1_780_000_000, 0);

    fn seen(holder: &str, seconds_ago: i64) -> SeenLease {
        let renewed = NOON - SignedDuration::from_secs(seconds_ago);
        let spec = LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(15),
            renew_time: Some(MicroTime(renewed)),
            ..LeaseSpec::default()
        };
        SeenLease {
            lease: Some(Lease {
                spec: Some(spec),
                ..Lease::default()
            }),
            at: NOON,
            is_servers_clock: true,
        }
    }

    #[test]
    fn somebody_leads_who_has_renewed_within_the_leases_duration() {
        let outcome = |holder, ago| finding(&seen(holder, ago), true).outcome;
        assert_eq!(outcome("a", 0), Outcome::Pass);
        assert_eq!(outcome("a", 15), Outcome::Pass);
        assert_eq!(outcome("a", -2), Outcome::Pass);
        assert_eq!(outcome("a", 16), Outcome::Failed);
        assert_eq!(outcome("", 0), Outcome::Failed);
        assert_eq!(outcome("a", -60), Outcome::Warning);
    }

    #[test]
    fn that_nobody_leads_is_a_failure_only_where_somebody_is_to() {
        let none = SeenLease {
            lease: None,
            at: NOON,
            is_servers_clock: false,
        };
        assert_eq!(finding(&none, true).outcome, Outcome::Failed);
        assert_eq!(finding(&none, false).outcome, Outcome::Warning);
    }

    #[test]
    fn whose_clock_it_was_is_told() {
        let mut lease = seen("a", 60);
        assert!(finding(&lease, true).text.contains("API server's clock"));
        lease.is_servers_clock = false;
        assert!(finding(&lease, true).text.contains("this machine's clock"));
    }
}
