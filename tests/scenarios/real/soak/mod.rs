//! Everything at once, for as long as `SOAK_MINUTES` says: `make soak`.
//!
//! Helm has installed us, in three replicas, with certificates and CAs of minutes and a webhook that refuses what it
//! can't answer. Three namespaces have writers that never stop. Validators come, go, move, lose Ready and are upgraded;
//! the API server, etcd and the leader are killed; and all the while writes for a try ask our webhook.
//!
//! Watched all along: no admission fails ([`admissions`]), restarts and lists are as they must be at each change
//! ([`judge`]), and nothing that a replica holds grows ([`samples`]). At the end everything comes to rest.

mod admissions;
mod deeds;
mod fields;
mod interruptions;
mod judge;
mod log;
mod observer;
#[expect(dead_code, reason = "bars are for measurements")]
#[path = "../../../../benches/plot.rs"]
mod plot;
#[expect(dead_code, reason = "the simulation needs all of it")]
#[path = "../../../simulation/random.rs"]
mod random;
mod rest;
mod samples;
mod webhook;

use std::{
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{task::JoinSet, time::Instant};

use self::{
    admissions::Admissions,
    deeds::Director,
    fields::{Field, Writer},
    interruptions::Interruptions,
    log::{Log, clock},
    observer::Observer,
    samples::Samples,
    webhook::Calls,
};
use super::{control_plane::User, helm::Installation};

/// Between two looks at each replica.
const LOOK: Duration = Duration::from_secs(5);
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(30);
/// Admissions a second by writes for a try. The writers of the namespaces add as many again.
const ADMISSIONS: u32 = 50;
/// A certificate is renewed when a third of its life is left.
const CERTIFICATE_IS_RENEWED: Duration = Duration::from_secs(150);
const VALUES: [&str; 6] = [
    // A call that fails refuses the write then.
    "webhook.failurePolicy=Fail",
    "replicaCount=3",
    "tls.mode=self",
    "tls.lifetime=150s",
    "tls.caLifetime=450s",
    "log.filter=info",
];

/// Not a story: `make e2e` leaves it out, and without a time it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes as long as it is told to: make soak"]
async fn everything_at_once() {
    let Some(minutes) = number::<f64>("SOAK_MINUTES") else {
        eprintln!("SOAK_MINUTES says for how long: make soak MINUTES=30");
        return;
    };
    let seed = number("SOAK_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    let time = Duration::from_secs_f64(minutes * 60.0);
    eprintln!(
        "soak for {} with SOAK_SEED={seed}; what is done stands in target/soak/log.txt",
        clock(time)
    );
    let mut soak = Soak::prepare(seed).await;
    soak.run(time).await;
    let faults = soak.end().await;
    assert!(
        faults.is_empty(),
        "faults, with SOAK_SEED={seed}:\n{}",
        faults.join("\n")
    );
}

fn number<T: FromStr>(variable: &str) -> Option<T> {
    let text = std::env::var(variable)
        .ok()
        .filter(|text| !text.is_empty())?;
    let number = text.parse().ok();
    Some(number.unwrap_or_else(|| panic!("{variable}={text} is no number")))
}

struct Soak {
    folder: PathBuf,
    log: Arc<Log>,
    director: Director,
    observer: Observer,
    admissions: Admissions,
    samples: Arc<Mutex<Samples>>,
    calls: Arc<Calls>,
    /// Looks at replicas and at the API server's own figures.
    looking: JoinSet<()>,
}

impl Soak {
    async fn prepare(seed: u64) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/soak");
        std::fs::create_dir_all(&folder).expect("a folder");
        let installation = Arc::new(Installation::prepare().await);
        installation.apply("install", &VALUES).await;
        installation.roll_out().await;
        installation.injects("default").await;
        let mut fields = Vec::new();
        for writer in [Writer::Applies, Writer::Replaces, Writer::Puts] {
            fields.push(Field::prepare(writer, &installation).await);
        }
        let log = Arc::new(Log::create(&folder.join("log.txt")));
        log.deed(&format!("It begins, with SOAK_SEED={seed}"));
        let interruptions = Arc::new(Interruptions::none());
        let client = installation.admin.clone();
        let names: Vec<&str> = fields.iter().map(Field::name).collect();
        let observer = Observer::start(&client, &names, &log);
        let targets = fields
            .iter()
            .map(|it| (it.name().to_owned(), it.old[0].clone()));
        let admissions = Admissions::start(
            installation.plane.client_that_tries_once(User::Admin).await,
            targets.collect(),
            ADMISSIONS,
            &interruptions,
            &log,
        );
        let calls = Arc::new(Calls::new(client, &interruptions, &log));
        let mut soak = Self {
            folder,
            director: Director::new(fields, &installation, &interruptions, &log, seed),
            log,
            observer,
            admissions,
            samples: Arc::default(),
            calls,
            looking: JoinSet::new(),
        };
        soak.look(&installation);
        soak
    }

    fn look(&mut self, installation: &Arc<Installation>) {
        let (samples, log) = (Arc::clone(&self.samples), Arc::clone(&self.log));
        let installation = Arc::clone(installation);
        self.looking.spawn(async move {
            let mut ticks = tokio::time::interval(LOOK);
            loop {
                ticks.tick().await;
                for pod in installation.replicas() {
                    if let Some((process, sample)) = samples::look(&pod, log.elapsed()).await {
                        lock(&samples).add(process, sample);
                    }
                    if let Some(end) = pod.end() {
                        log.fault(&format!("a replica ended by itself: {end}"));
                    }
                }
            }
        });
        let calls = Arc::clone(&self.calls);
        self.looking.spawn(async move { calls.watch().await });
    }

    /// Everything at once, and then nothing more.
    async fn run(&mut self, time: Duration) {
        let log = Arc::clone(&self.log);
        self.act(time).await;
        if log.is_clean() {
            eprintln!("nothing more is done: everything has to come to rest");
            rest::caught(&log, rest::comes(&mut self.director)).await;
        }
    }

    /// Everything at once. What panics meanwhile is a fault like any other.
    async fn act(&mut self, time: Duration) {
        let end = Instant::now() + time;
        let acting = rest::caught(&self.log, self.director.act_until(end));
        tokio::pin!(acting);
        let mut progress = tokio::time::interval(PROGRESS);
        progress.tick().await;
        loop {
            tokio::select! {
                () = &mut acting => break,
                _ = progress.tick() => {
                    let left = clock(end.saturating_duration_since(Instant::now()));
                    let tried = self.admissions.figures().tried;
                    let (restarts, changes) = self.observer.figures();
                    let (deeds, faults) = (self.log.deeds(), self.log.faults());
                    eprintln!(
                        "{left} left: {tried} admissions tried, {restarts} restarts for {changes} memberships, {deeds} \
                         deeds, {faults} faults",
                    );
                }
            }
        }
    }

    /// Judges what can be judged at the end, and tells all.
    async fn end(mut self) -> Vec<String> {
        let (whole, figures) = (self.log.elapsed(), self.admissions.figures());
        // Before the control plane ends, and each of them would take that for a fault.
        drop(self.admissions);
        self.calls.look().await;
        self.looking.shutdown().await;
        let samples = lock(&self.samples);
        samples.write(&self.folder);
        for fault in samples.judge(whole) {
            self.log.fault(&fault);
        }
        if whole >= CERTIFICATE_IS_RENEWED && !samples.saw_a_renewal() {
            self.log.fault("no replica took a new certificate into use");
        }
        let (restarts, changes) = self.observer.figures();
        let faults = self.log.told();
        let (answered, certificates) = samples.totals();
        let a_second = |count: f64| count / whole.as_secs_f64();
        let tried = f64::from(u32::try_from(figures.tried).unwrap_or(u32::MAX));
        let (away, cut_off) = (figures.without_api_server, figures.cut_off);
        eprintln!("soaked for {}: {} faults", clock(whole), self.log.faults());
        eprintln!(
            "  writes for a try: {tried} ({:.1} a second); {away} were under way when the API server went away, {cut_off} \
             were in the hands of a killed replica and went well when tried again at once",
            a_second(tried)
        );
        eprintln!(
            "  admissions that our webhook answered: {answered} ({:.1} a second)",
            a_second(answered)
        );
        eprintln!(
            "  calls that the API server counts as failed: {}",
            self.calls.told()
        );
        let deeds = self
            .director
            .done
            .iter()
            .map(|(deed, times)| format!("{deed} {times}"));
        eprintln!("  deeds: {}", deeds.collect::<Vec<_>>().join(", "));
        eprintln!(
            "  restarts of validators by us: {restarts}, for {changes} memberships of three namespaces"
        );
        eprintln!("  certificates taken into use: {certificates}");
        eprint!("{}", samples.summary(whole));
        faults
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
