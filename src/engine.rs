//! The service without its sockets: watches, stores, the loop, the webhook's route.
//!
//! What `run` puts behind listeners, what the library runs, and what tests run on an in-memory cluster.

#[cfg(test)]
#[cfg(feature = "sandbox")]
mod tests;

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use kube::{Client, runtime::events::EventType};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    admission::{
        review::Admitter,
        router::{Webhook, router},
    },
    api::names,
    clock::Clock,
    controller::{
        adoption::Adoptions,
        foreign::ForeignWriters,
        lease::{Elector, Leadership},
        overlook::Outlook,
        reconcile::Context,
        stores::Stores,
        watch::{self as watches, Dirty},
        workers,
    },
    domain::Policy,
    observe::{Board, Metrics, Timeline, events::Events},
};

/// Who stands for election, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Election {
    /// Namespace of the Lease.
    pub namespace: String,
    /// Tells this replica from others.
    pub identity: String,
}

/// What the engine is to do.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Only these namespaces; all where empty.
    pub namespaces: Vec<String>,
    /// The flags of the core.
    pub policy: Policy,
    /// Decide and tell, write nothing.
    pub dry_run: bool,
    /// Longest time between two looks at a namespace.
    pub recheck: Duration,
    /// Run the loop; without it only the webhook's stores are kept.
    pub runs_loop: bool,
    /// Stand for election; without it this process always leads.
    pub election: Option<Election>,
    /// Name of this process in Events and turns, which no other process has.
    pub instance: String,
}

/// A running engine. Dropping it stops everything at once, which is as safe as a crash.
#[derive(Debug)]
pub struct Engine {
    /// What the watches saw.
    pub stores: Arc<Stores>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The webhook's route.
    pub webhook: axum::Router,
    /// What there is to see.
    pub outlook: Arc<Outlook>,
    /// What sends Events where the loop runs, and whether it does.
    voice: Option<(Events, Leadership)>,
    tasks: JoinSet<&'static str>,
    elector: JoinSet<()>,
    give_up: watch::Sender<bool>,
}

impl Engine {
    /// Starts everything. Returns at once; [`Stores::are_full`] tells when decisions begin. The lease is given
    /// up by [`Engine::stop`].
    #[must_use]
    pub fn start(client: Client, settings: Settings, clock: Clock) -> Self {
        let (give_up, giving_up) = watch::channel(false);
        let (mut tasks, mut elector) = (JoinSet::new(), JoinSet::new());
        let Settings {
            namespaces,
            policy,
            dry_run,
            recheck,
            runs_loop,
            election,
            instance,
        } = settings;
        let leadership = match election.filter(|_| runs_loop && !dry_run) {
            None => Leadership::fixed(runs_loop),
            Some(election) => stand(&client, &election, clock, giving_up, &mut elector),
        };
        let leads = leadership.clone();
        let board = Arc::new(Board::default());
        let metrics = Arc::new(Metrics::new(Arc::clone(&board), leadership.clone()));
        let dirty = Arc::new(Dirty::default());
        let stores = watches::spawn(
            &client,
            &namespaces,
            &policy.address_mode,
            &dirty,
            &metrics,
            &mut tasks,
        );
        metrics.tell_of_stores(Arc::clone(&stores));
        let (adoptions, timeline) = (Arc::<Adoptions>::default(), Arc::<Timeline>::default());
        let outlook = Arc::new(Outlook {
            stores: Arc::clone(&stores),
            board: Arc::clone(&board),
            adoptions: Arc::clone(&adoptions),
            timeline: Arc::clone(&timeline),
            leadership: leadership.clone(),
            policy: policy.clone(),
            dry_run,
            clock,
            instance: instance.clone(),
        });
        let admitter = Admitter::new(
            namespaces.into_iter().collect(),
            Arc::clone(&stores),
            policy.clone(),
            dry_run,
        );
        let webhook = router(Webhook {
            admitter: Arc::new(admitter),
            metrics: Arc::clone(&metrics),
        });
        let mut voice = None;
        if runs_loop {
            let (events, sending) = Events::new(
                client.clone(),
                instance.clone(),
                timeline,
                Arc::clone(&metrics),
                clock,
            );
            // A dry run writes nothing, and so neither Events nor the Lease.
            if !dry_run {
                voice = Some(events.clone());
                tasks.spawn(async move {
                    sending.await;
                    "the sender of Events"
                });
            }
            let context = Context {
                adoptions,
                client,
                stores: Arc::clone(&stores),
                policy,
                dry_run,
                clock,
                leadership,
                foreign: ForeignWriters::default(),
                board,
                metrics: Arc::clone(&metrics),
                events,
                instance,
                tokens: AtomicU64::new(0),
            };
            tasks.spawn(async move {
                workers::run(Arc::new(context), dirty, recheck).await;
                "the loop"
            });
        }
        Self {
            stores,
            metrics,
            webhook,
            outlook,
            voice: voice.map(|events| (events, leads)),
            tasks,
            elector,
            give_up,
        }
    }

    /// Warns of something about the service itself, by an Event on this Service; tells whether it did. Of all replicas
    /// only the one that leads does, and in a dry run none.
    pub fn announcer(
        &self,
        (namespace, service): (String, String),
        reason: &'static str,
    ) -> impl Fn(&str) -> bool + Send + use<> {
        let voice = self.voice.clone();
        move |note| {
            let leading = voice.as_ref().filter(|(_, leads)| leads.is_held());
            let Some((events, _)) = leading else {
                return false;
            };
            events.on_service(&namespace, &service, EventType::Warning, reason, note);
            true
        }
    }

    /// Waits until some task ends, which none does by itself; gives its name.
    pub async fn ended(&mut self) -> &'static str {
        match self.tasks.join_next().await {
            Some(Ok(name)) => name,
            Some(Err(_)) => "a task that panicked",
            None => std::future::pending().await,
        }
    }

    /// Ends the loop first, and then gives the lease up: nobody else may lead while a write of ours is under way.
    pub async fn stop(mut self) {
        self.tasks.shutdown().await;
        self.give_up.send_replace(true);
        while self.elector.join_next().await.is_some() {}
    }
}

/// Stands for election until `giving_up` says so, and then gives the lease up.
fn stand(
    client: &Client,
    election: &Election,
    clock: Clock,
    mut giving_up: watch::Receiver<bool>,
    elector: &mut JoinSet<()>,
) -> Leadership {
    let Election {
        namespace,
        identity,
    } = election;
    let (candidate, leadership) = Elector::new(client.clone(), namespace, identity.clone(), clock);
    elector.spawn(candidate.run(async move {
        // A closed channel means that the engine is gone: then this is over as well.
        let _ = giving_up.wait_for(|gives_up| *gives_up).await;
    }));
    leadership
}

/// The pod's name where there is one, and something that no other process has.
#[must_use]
pub fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| names::STELLAR_PEERS.to_owned());
    let mut salt = [0; 4];
    // Without randomness the process's number still tells two processes of one host apart.
    if aws_lc_rs::rand::fill(&mut salt).is_err() {
        salt = std::process::id().to_be_bytes();
    }
    format!("{host}_{:08x}", u32::from_be_bytes(salt))
}
