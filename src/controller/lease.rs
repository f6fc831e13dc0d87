//! Leadership: which replica runs the loop.
//!
//! A small elector on a Lease, built as client-go's is: writes carry the resourceVersion, another's lease runs out
//! by our own monotonic clock from when we saw it change (clocks of two machines are never compared), and the
//! holder stops deciding before it could have lost the lease.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{Api, Client, api::PostParams};
use tokio::{sync::watch, time::Instant};
use tracing::{debug, info, warn};

use crate::{
    api::names,
    clock::Clock,
    observe::{
        error_chain,
        outage::{Loudness, Outage, Over},
    },
};

/// A lease that is not renewed for this long may be taken by another replica.
const LEASE_DURATION: Duration = Duration::from_secs(15);
/// The holder stops deciding when it could not renew for this long.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// Time between two attempts.
const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// What the rest of the program sees: whether this replica leads.
#[derive(Clone, Debug)]
pub struct Leadership {
    leads: watch::Receiver<bool>,
    holder: Arc<ArcSwap<String>>,
    valid_until: Arc<AtomicU64>,
    start: Instant,
}

impl Leadership {
    /// Without election: this process always leads, or never does.
    #[must_use]
    pub fn fixed(leads: bool) -> Self {
        let (_, leads) = watch::channel(leads);
        Self {
            leads,
            holder: Arc::default(),
            valid_until: Arc::new(AtomicU64::new(u64::MAX)),
            start: Instant::now(),
        }
    }

    /// Whether this replica may write now. Exact to the instant: it says no as soon as the lease could be
    /// another's, even if no task has run since.
    #[must_use]
    pub fn is_held(&self) -> bool {
        let passed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        *self.leads.borrow() && passed < self.valid_until.load(Ordering::Acquire)
    }

    /// Who held the lease when it was last looked at; empty where nobody did, or without election.
    #[must_use]
    pub fn holder(&self) -> Arc<String> {
        self.holder.load_full()
    }

    /// Waits until this replica leads, or doesn't.
    pub async fn wait_until(&mut self, leads: bool) {
        if self.leads.wait_for(|now| *now == leads).await.is_err() && *self.leads.borrow() != leads
        {
            // The elector is gone: what it said last stays.
            std::future::pending::<()>().await;
        }
    }
}

/// Stands for election, for as long as [`Elector::run`] runs.
#[derive(Debug)]
pub struct Elector {
    api: Api<Lease>,
    identity: String,
    clock: Clock,
    leads: watch::Sender<bool>,
    holder: Arc<ArcSwap<String>>,
    valid_until: Arc<AtomicU64>,
    start: Instant,
    seen: Option<(String, Instant)>,
}

impl Elector {
    /// An elector on Lease `stellar-peers` in `namespace`. `identity` tells replicas apart.
    #[must_use]
    pub fn new(
        client: Client,
        namespace: &str,
        identity: String,
        clock: Clock,
    ) -> (Self, Leadership) {
        let (leads, receiver) = watch::channel(false);
        let (valid_until, start) = (Arc::new(AtomicU64::new(0)), Instant::now());
        let holder = Arc::<ArcSwap<String>>::default();
        let leadership = Leadership {
            leads: receiver,
            holder: Arc::clone(&holder),
            valid_until: Arc::clone(&valid_until),
            start,
        };
        let api = Api::namespaced(client, namespace);
        (
            Self {
                api,
                identity,
                clock,
                leads,
                holder,
                valid_until,
                start,
                seen: None,
            },
            leadership,
        )
    }

    /// Acquires and renews until `stop` completes, then gives the lease up.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut renewed = None;
        let mut outage = Outage::default();
        loop {
            let attempt_at = Instant::now();
            let attempt = tokio::select! {
                biased;
                () = &mut stop => break,
                attempt = tokio::time::timeout(RENEW_DEADLINE / 2, self.attempt()) => attempt,
            };
            match attempt {
                Ok(Ok(is_ours)) => {
                    tell_success(&mut outage);
                    renewed = is_ours.then_some(attempt_at);
                    if is_ours {
                        self.lead(attempt_at);
                    } else {
                        self.follow();
                    }
                }
                Ok(Err(error)) => tell_failure(&mut outage, &error_chain(&error)),
                Err(_) => tell_failure(&mut outage, "the API server did not answer in time"),
            }
            if renewed.is_some_and(|renewed| renewed.elapsed() >= RENEW_DEADLINE) {
                renewed = None;
                self.follow();
            }
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = tokio::time::sleep(RETRY_PERIOD) => {}
            }
        }
        let led = *self.leads.borrow();
        self.follow();
        if led
            && tokio::time::timeout(RETRY_PERIOD, self.release())
                .await
                .is_err()
        {
            debug!("Could not give the lease up in time; it runs out by itself");
        }
    }

    fn lead(&self, renewed: Instant) {
        let until = renewed + RENEW_DEADLINE - self.start;
        self.valid_until.store(
            u64::try_from(until.as_millis()).unwrap_or(u64::MAX),
            Ordering::Release,
        );
        self.holder.store(Arc::new(self.identity.clone()));
        if !self.leads.send_replace(true) {
            info!(
                identity = self.identity,
                "Leading: this replica keeps the peer lists and restarts validators"
            );
        }
    }

    fn follow(&self) {
        self.valid_until.store(0, Ordering::Release);
        if self.leads.send_replace(false) {
            info!(identity = self.identity, "Not leading any more");
        }
    }

    /// One attempt; true where the lease is ours afterwards.
    async fn attempt(&mut self) -> kube::Result<bool> {
        let now = self.clock.now().wall;
        let Some(lease) = self.api.get_opt(names::STELLAR_PEERS).await? else {
            let lease = self.claim(now, None);
            return outcome(false, self.api.create(&PostParams::default(), &lease).await);
        };
        let holder = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.holder_identity.clone())
            .unwrap_or_default();
        let holds = holder == self.identity;
        if **self.holder.load() != holder {
            self.holder.store(Arc::new(holder.clone()));
        }
        if !holds && !holder.is_empty() && !self.has_expired(&lease) {
            return Ok(false);
        }
        let claim = self.claim(now, Some(&lease));
        outcome(
            holds,
            self.api
                .replace(names::STELLAR_PEERS, &PostParams::default(), &claim)
                .await,
        )
    }

    /// Whether another's lease has not changed for its duration, by our clock from when we saw it.
    fn has_expired(&mut self, lease: &Lease) -> bool {
        let version = lease.metadata.resource_version.clone().unwrap_or_default();
        let duration = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.lease_duration_seconds)
            .unwrap_or(15);
        let duration = Duration::from_secs(u64::try_from(duration).unwrap_or(15));
        match &self.seen {
            Some((seen, since)) if *seen == version => since.elapsed() >= duration,
            _ => {
                self.seen = Some((version, Instant::now()));
                false
            }
        }
    }

    fn claim(&self, now: Timestamp, lease: Option<&Lease>) -> Lease {
        let before = lease
            .and_then(|lease| lease.spec.clone())
            .unwrap_or_default();
        let is_ours = before.holder_identity.as_deref() == Some(&self.identity);
        let transitions = before.lease_transitions.unwrap_or(0);
        Lease {
            metadata: lease.map_or_else(
                || ObjectMeta {
                    name: Some(names::STELLAR_PEERS.to_owned()),
                    ..ObjectMeta::default()
                },
                |lease| lease.metadata.clone(),
            ),
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
                acquire_time: if is_ours {
                    before.acquire_time
                } else {
                    Some(MicroTime(now))
                },
                renew_time: Some(MicroTime(now)),
                lease_transitions: Some(if is_ours || lease.is_none() {
                    transitions
                } else {
                    transitions + 1
                }),
                ..before
            }),
        }
    }

    /// Gives the lease up, so that the next replica need not wait until it runs out.
    async fn release(&self) {
        let Ok(mut lease) = self.api.get(names::STELLAR_PEERS).await else {
            return;
        };
        let Some(spec) = lease
            .spec
            .as_mut()
            .filter(|spec| spec.holder_identity.as_deref() == Some(&self.identity))
        else {
            return;
        };
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        if let Err(error) = self
            .api
            .replace(names::STELLAR_PEERS, &PostParams::default(), &lease)
            .await
        {
            debug!(
                error = error_chain(&error),
                "Could not give the lease up; it runs out by itself"
            );
        }
    }
}

/// Says that the lease can be reached, where people were told that it can't.
fn tell_success(outage: &mut Outage) {
    if let Some(Over { lasted, failures }) = outage.end(Instant::now()) {
        info!(
            lasted_seconds = lasted.as_secs(),
            failures, "The lease can be reached again"
        );
    }
}

/// Says that the lease can't be reached, at the beginning and once a minute.
fn tell_failure(outage: &mut Outage, error: &str) {
    const MESSAGE: &str = "Could not renew or acquire the lease";
    let loudness = outage.fail(Instant::now(), false);
    let failures = outage.failures();
    match loudness {
        Loudness::News | Loudness::Reminder => warn!(error, failures, "{MESSAGE}"),
        Loudness::Quiet => debug!(error, failures, "{MESSAGE}"),
    }
}

/// Another replica's write in between is no error: it leads then, or nobody does for one more round. Where we hold the
/// lease, it is somebody who touched it, and the next round renews.
fn outcome(holds: bool, result: kube::Result<Lease>) -> kube::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 && !holds => Ok(false),
        Err(error) => Err(error),
    }
}
