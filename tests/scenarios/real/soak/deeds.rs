//! What is done to the cluster, one thing after the other, as the seed has it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    fields::{Field, NEW_AT_MOST},
    interruptions::Interruptions,
    log::Log,
    random::Random,
    samples,
};
use crate::real::{control_plane::eventually, helm::Installation, http};

/// Between two deeds.
const PAUSE: (Duration, Duration) = (Duration::from_millis(800), Duration::from_secs(4));
/// Between the end of one blow at the control plane, or at us, and the next.
const CALM: (Duration, Duration) = (Duration::from_secs(25), Duration::from_mins(1));
/// How long the API server or etcd is away; it starts for some seconds more. A certificate is renewed in time where
/// nobody is hindered for longer than a ninth of its life.
const OUTAGE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(8));
/// How long a killed replica takes to be started again.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// How long a pod is not Ready.
const NOT_READY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(14));
/// Pods of a namespace that are not Ready by our doing at once. Never all.
const NOT_READY_AT_MOST: usize = 2;
/// The API server serves kinds by definition some moments after it says that it is ready.
const SOON: Duration = Duration::from_secs(30);

/// What is done to the whole, in turn: each kind comes early, in whatever order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    ApiServer,
    Etcd,
    Leader,
}

/// Who does it.
pub(super) struct Director {
    pub(super) fields: Vec<Field>,
    pub(super) installation: Arc<Installation>,
    pub(super) interruptions: Arc<Interruptions>,
    pub(super) log: Arc<Log>,
    random: Random,
    next_blow: Instant,
    /// Nobody is killed in the second half: whoever leads then is looked at for as long.
    kills_until: Instant,
    blows: Vec<Blow>,
    /// Pods that are to be Ready again: when, in which field, and whose.
    not_ready: Vec<(Instant, usize, String)>,
    upgrades: usize,
    pub(super) done: BTreeMap<&'static str, usize>,
}

impl Director {
    pub(super) fn new(
        fields: Vec<Field>,
        installation: &Arc<Installation>,
        interruptions: &Arc<Interruptions>,
        log: &Arc<Log>,
        seed: u64,
    ) -> Self {
        let mut random = Random::new(seed);
        Self {
            fields,
            installation: Arc::clone(installation),
            interruptions: Arc::clone(interruptions),
            log: Arc::clone(log),
            next_blow: Instant::now() + random.time(CALM.0, CALM.1),
            kills_until: Instant::now(),
            random,
            blows: Vec::new(),
            not_ready: Vec::new(),
            upgrades: 0,
            done: BTreeMap::new(),
        }
    }

    /// Does things until then, or until something is wrong.
    pub(super) async fn act_until(&mut self, end: Instant) {
        let begin = Instant::now();
        self.kills_until = begin + end.saturating_duration_since(begin) / 2;
        while Instant::now() < end && self.log.is_clean() {
            tokio::time::sleep(self.random.time(PAUSE.0, PAUSE.1)).await;
            self.let_be_ready(false).await;
            if Instant::now() >= self.next_blow {
                self.strike().await;
                self.next_blow = Instant::now() + self.random.time(CALM.0, CALM.1);
            } else {
                self.churn().await;
            }
        }
    }

    /// Gives back what was taken, so that everything can come to rest.
    pub(super) async fn let_rest(&mut self) {
        self.let_be_ready(true).await;
    }

    fn count(&mut self, deed: &'static str, told: &str) {
        *self.done.entry(deed).or_default() += 1;
        self.log.deed(&format!("{deed}: {told}"));
    }

    async fn let_be_ready(&mut self, all: bool) {
        let now = Instant::now();
        let is_due = |(at, ..): &mut (Instant, usize, String)| all || *at <= now;
        let due: Vec<_> = self.not_ready.extract_if(.., is_due).collect();
        for (_, field, name) in due {
            let field = &self.fields[field];
            field.set_ready(&name, true).await;
            self.log
                .deed(&format!("Ready again: {}/{name}", field.name()));
        }
    }

    /// Something happens to one validator.
    async fn churn(&mut self) {
        let index =
            usize::try_from(self.random.below(self.fields.len() as u64)).unwrap_or_default();
        let field = &mut self.fields[index];
        let everybody: Vec<String> = field.validators().into_iter().map(str::to_owned).collect();
        let (Some(anybody), newcomer) = (
            self.random.pick(&everybody).cloned(),
            self.random.pick(&field.new).cloned(),
        ) else {
            return;
        };
        let told = format!("{}/{anybody}", field.name());
        match self.random.below(100) {
            0..30 => {
                field.lose_pod(&anybody).await;
                self.count("pod deleted", &told);
            }
            30..60 => {
                let here = self.not_ready.iter().filter(|(_, at, _)| *at == index);
                if here.count() < NOT_READY_AT_MOST {
                    let how_long = self.random.time(NOT_READY.0, NOT_READY.1);
                    field.set_ready(&anybody, false).await;
                    self.not_ready
                        .push((Instant::now() + how_long, index, anybody));
                    self.count("pod not Ready", &format!("{told} for {how_long:?}"));
                }
            }
            60..76 if field.new.len() < NEW_AT_MOST => {
                let name = field.create().await;
                field.new.push(name.clone());
                let told = format!("{}/{name}", field.name());
                self.count("validator created", &told);
            }
            60..88 => {
                if let Some(name) = newcomer {
                    field.remove(&name).await;
                    let told = format!("{}/{name}", field.name());
                    self.count("validator removed", &told);
                }
            }
            88..94 => {
                self.upgrades += 1;
                field.upgrade(&anybody, self.upgrades).await;
                self.count("template changed", &told);
            }
            _ => {
                if let Some(name) = newcomer {
                    field.lose_set(&name).await;
                    let told = format!("{}/{name}", field.name());
                    self.count("StatefulSet deleted", &told);
                }
            }
        }
    }

    async fn strike(&mut self) {
        if self.blows.is_empty() {
            self.blows = vec![Blow::ApiServer, Blow::Leader, Blow::Etcd, Blow::ApiServer];
        }
        let mut blows = std::mem::take(&mut self.blows);
        let blow = self.random.take(&mut blows);
        self.blows = blows;
        match blow {
            Some(Blow::Leader) if Instant::now() < self.kills_until => self.kill_the_leader().await,
            Some(Blow::Leader) => self.take_away(Blow::ApiServer).await,
            Some(blow) => self.take_away(blow).await,
            None => {}
        }
    }

    async fn take_away(&mut self, blow: Blow) {
        let how_long = self.random.time(OUTAGE.0, OUTAGE.1);
        let plane = Arc::clone(&self.installation.plane);
        let name = match blow {
            Blow::Etcd => "etcd killed",
            _ => "API server killed",
        };
        self.count(name, &format!("for {how_long:?} and its start"));
        self.interruptions.begins();
        let back = if blow == Blow::Etcd {
            plane.stop_etcd();
            tokio::time::sleep(how_long).await;
            plane.start_etcd().await
        } else {
            plane.stop_api_server();
            tokio::time::sleep(how_long).await;
            plane.start_api_server().await
        };
        back.unwrap_or_else(|error| panic!("the control plane did not come back: {error}"));
        let nodes = self.fields[0].world.client.clone();
        eventually("all kinds are served again", SOON, async || {
            let list = http::Request::get("/apis/stellar.org/v1alpha1/stellarnodes?limit=1")
                .body(Vec::new());
            nodes
                .request_text(list.expect("the path is valid"))
                .await
                .is_ok()
        })
        .await;
        self.interruptions.ends();
        self.log.deed("The control plane is back");
    }

    /// Kills whoever leads; where nobody does just now, any replica.
    async fn kill_the_leader(&mut self) {
        let replicas = self.installation.replicas();
        let mut victim = replicas.first().cloned();
        for replica in &replicas {
            let metrics = http(replica.http_port, "/metrics")
                .await
                .unwrap_or_default();
            if samples::values(&metrics)
                .get("stellar_peers_leader")
                .is_some_and(|leads| *leads > 0.0)
            {
                victim = Some(Arc::clone(replica));
            }
        }
        let victim = victim.expect("there are replicas");
        let told = format!("process {:?}", victim.process_id());
        self.count("leader killed", &told);
        self.interruptions.kills();
        self.installation.kill(&victim).await;
        self.interruptions.kills();
        tokio::time::sleep(self.random.time(BACK_OFF.0, BACK_OFF.1)).await;
        self.installation.start_another().await;
        self.log.deed("A replica was started in its place");
    }
}
