//! Writes for a try, many a second, each of which our webhook has to answer.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use kube::Client;
use serde_json::{Value, json};
use stellar_peers::{api::names, observe, sandbox::fixtures};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior},
};

use super::{
    interruptions::{Excuse, Interruptions},
    log::Log,
};

/// A write without an answer for this long has failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts where the API server has no time.
const AGAIN: Duration = Duration::from_millis(100);
/// As many are under way at once at most.
const WRITERS: u32 = 10;

/// The writers. They stop when this is dropped.
pub(super) struct Admissions {
    shared: Arc<Shared>,
    _writers: JoinSet<()>,
}

struct Shared {
    client: Client,
    /// Namespaces, each with a StatefulSet that stays.
    targets: Vec<(String, String)>,
    interruptions: Arc<Interruptions>,
    log: Arc<Log>,
    tried: AtomicUsize,
    without_api_server: AtomicUsize,
    cut_off: AtomicUsize,
}

/// What became of them so far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Figures {
    pub(super) tried: usize,
    /// Failed while there was no API server.
    pub(super) without_api_server: usize,
    /// Were in the hands of a replica that was killed, and succeeded when they were tried again at once.
    pub(super) cut_off: usize,
}

/// What is written.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A StatefulSet of SDF's chart, which has to get our volume.
    NewSet,
    /// An annotation of a StatefulSet that is there.
    OldSet,
    /// A validator without a port, which has to get one.
    NewNode,
    /// A validator with a port that there isn't, which has to be refused by us.
    WrongPort,
}

const ROUND: [Kind; 8] = [
    Kind::NewSet,
    Kind::OldSet,
    Kind::NewNode,
    Kind::OldSet,
    Kind::NewSet,
    Kind::NewNode,
    Kind::OldSet,
    Kind::WrongPort,
];

impl Admissions {
    pub(super) fn start(
        client: Client,
        targets: Vec<(String, String)>,
        a_second: u32,
        interruptions: &Arc<Interruptions>,
        log: &Arc<Log>,
    ) -> Self {
        let shared = Arc::new(Shared {
            client,
            targets,
            interruptions: Arc::clone(interruptions),
            log: Arc::clone(log),
            tried: AtomicUsize::new(0),
            without_api_server: AtomicUsize::new(0),
            cut_off: AtomicUsize::new(0),
        });
        let period = Duration::from_secs(1) * WRITERS / a_second.max(1);
        let mut writers = JoinSet::new();
        for number in 0..WRITERS {
            let shared = Arc::clone(&shared);
            writers.spawn(async move {
                let first = Instant::now() + period * number / WRITERS;
                let mut ticks = tokio::time::interval_at(first, period);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    ticks.tick().await;
                    shared.interruptions.until_back().await;
                    shared.try_one().await;
                }
            });
        }
        Self {
            shared,
            _writers: writers,
        }
    }

    pub(super) fn figures(&self) -> Figures {
        let read = |it: &AtomicUsize| it.load(Ordering::Relaxed);
        Figures {
            tried: read(&self.shared.tried),
            without_api_server: read(&self.shared.without_api_server),
            cut_off: read(&self.shared.cut_off),
        }
    }
}

/// Why a write did not go well.
#[derive(Debug)]
enum Failure {
    /// The API server has no time, or doesn't know a kind yet: nothing was asked of our webhook, and any client comes
    /// again.
    Busy,
    Told(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy => f.write_str("the API server had no time"),
            Self::Told(what) => f.write_str(what),
        }
    }
}

impl From<kube::Error> for Failure {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status)
                if [429, 503].contains(&status.code) && !status.message.contains("webhook") =>
            {
                Self::Busy
            }
            error => Self::Told(observe::error_chain(&error)),
        }
    }
}

impl Shared {
    async fn try_one(&self) {
        let number = self.tried.fetch_add(1, Ordering::Relaxed);
        let kind = ROUND[number % ROUND.len()];
        let (namespace, set) = &self.targets[number / ROUND.len() % self.targets.len()];
        let first = Instant::now();
        let mut was_cut_off = false;
        loop {
            let began = Instant::now();
            let written = tokio::time::timeout(PATIENCE, self.write(kind, namespace, set, number));
            let late = || Failure::Told(format!("no answer within {PATIENCE:?}"));
            let Err(failure) = written.await.unwrap_or_else(|_| Err(late())) else {
                return;
            };
            match (self.interruptions.excuse(began, Instant::now()), failure) {
                (Some(Excuse::NoApiServer), _) => {
                    self.without_api_server.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                (_, Failure::Busy) if first.elapsed() < PATIENCE => tokio::time::sleep(AGAIN).await,
                (Some(Excuse::Killed), Failure::Told(error))
                    if !was_cut_off && error.contains("failed calling webhook") =>
                {
                    was_cut_off = true;
                    self.cut_off.fetch_add(1, Ordering::Relaxed);
                }
                (_, failure) => {
                    let fault = format!("an admission failed ({kind:?} in {namespace}): {failure}");
                    return self.log.fault(&fault);
                }
            }
        }
    }

    async fn write(
        &self,
        kind: Kind,
        namespace: &str,
        set: &str,
        number: usize,
    ) -> Result<(), Failure> {
        let sets = format!("/apis/apps/v1/namespaces/{namespace}/statefulsets");
        let nodes = format!("/apis/stellar.org/v1alpha1/namespaces/{namespace}/stellarnodes");
        let node = |port: Value| {
            let mut node = fixtures::stellar_node(namespace, "a-try", &["validator-1"]);
            let port = json!({"validatorConfig": {"peerPort": port}});
            json_patch::merge(&mut node["spec"], &port);
            node
        };
        let unless = |is_right: bool, told: String| {
            if is_right {
                Ok(())
            } else {
                Err(Failure::Told(told))
            }
        };
        match kind {
            Kind::NewSet => {
                let set = fixtures::chart_stateful_set(namespace, "a-try");
                let written = self.send("POST", &sets, &set).await?;
                let volumes = written["spec"]["template"]["spec"]["volumes"].as_array();
                let is_ours = |it: &Value| it["name"] == names::STELLAR_PEERS;
                unless(
                    volumes.is_some_and(|it| it.iter().any(is_ours)),
                    "it was not injected".to_owned(),
                )
            }
            Kind::OldSet => {
                let patch = json!({"metadata": {"annotations": {"a-try": number.to_string()}}});
                self.send("PATCH", &format!("{sets}/{set}"), &patch).await?;
                Ok(())
            }
            Kind::NewNode => {
                let written = self.send("POST", &nodes, &node(Value::Null)).await?;
                let port = &written["spec"]["validatorConfig"]["peerPort"];
                unless(*port == 11625, format!("its port is {port}"))
            }
            Kind::WrongPort => match self.send("POST", &nodes, &node(json!(70_000))).await {
                Ok(_) => unless(false, "a port that there isn't was taken".to_owned()),
                Err(kube::Error::Api(status)) if status.message.contains("peerPort") => Ok(()),
                Err(error) => Err(error.into()),
            },
        }
    }

    async fn send(&self, verb: &str, path: &str, body: &Value) -> kube::Result<Value> {
        let kind = if verb == "PATCH" {
            "application/merge-patch+json"
        } else {
            "application/json"
        };
        let request = http::Request::builder()
            .method(verb)
            .uri(format!("{path}?dryRun=All&fieldManager=a-person"))
            .header(http::header::CONTENT_TYPE, kind)
            .body(body.to_string().into_bytes());
        self.client
            .request(request.map_err(kube::Error::HttpError)?)
            .await
    }
}
