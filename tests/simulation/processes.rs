//! Our processes: started, killed, come back.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use stellar_peers::{
    clock::Clock,
    engine::{Election, Engine, Settings},
    observe::{Overlook, Overview},
    sandbox::Sandbox,
};
use tokio::time::Instant;

use crate::{
    faults::Faults,
    observer::{OURS, Shared},
    plan::{NAMESPACE, Plan, Replicas},
    random::Random,
    webhooks::Webhooks,
};

/// One process of ours.
struct Process {
    user: String,
    engine: Engine,
    /// It believes that it leads, whoever else does.
    is_rogue: bool,
}

/// A process that will come.
#[derive(Clone, Copy, Debug)]
struct Coming {
    at: Instant,
    is_rogue: bool,
}

/// All processes of ours in a run.
pub(crate) struct Processes {
    plan: Arc<Plan>,
    sandbox: Sandbox,
    observer: Shared,
    faults: Faults,
    webhooks: Webhooks,
    random: Random,
    running: Vec<Process>,
    coming: Vec<Coming>,
    started: u64,
    /// When the run began.
    began: Instant,
    /// The wall clock of all of ours.
    step: &'static AtomicI64,
}

impl Processes {
    pub(crate) fn new(
        plan: Arc<Plan>,
        sandbox: Sandbox,
        observer: Shared,
        faults: Faults,
        webhooks: Webhooks,
        random: Random,
    ) -> Self {
        Self {
            plan,
            sandbox,
            observer,
            faults,
            webhooks,
            random,
            running: Vec::new(),
            coming: Vec::new(),
            started: 0,
            began: Instant::now(),
            // Eight bytes a run that stay: a clock is copied everywhere, and can't own what it reads.
            step: Box::leak(Box::new(AtomicI64::new(0))),
        }
    }

    /// The processes of the plan begin.
    pub(crate) fn arrive(&mut self) {
        let count = if self.plan.replicas == Replicas::Two {
            2
        } else {
            1
        };
        for _ in 0..count {
            self.coming.push(Coming {
                at: Instant::now(),
                is_rogue: false,
            });
        }
    }

    /// Starts whoever is due; gives back when the next one is.
    pub(crate) fn start_due(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let due: Vec<Coming> = self
            .coming
            .iter()
            .filter(|it| it.at <= now)
            .copied()
            .collect();
        self.coming.retain(|it| it.at > now);
        for it in &due {
            self.start(it.is_rogue);
        }
        self.coming.iter().map(|it| it.at).min()
    }

    fn start(&mut self, is_rogue: bool) {
        self.started += 1;
        let user = format!("{OURS}{}", self.started);
        let is_elected = !is_rogue && self.plan.replicas != Replicas::One;
        let settings = Settings {
            namespaces: vec![NAMESPACE.to_owned()],
            policy: self.plan.policy.clone(),
            dry_run: false,
            recheck: self.plan.recheck,
            runs_loop: true,
            election: is_elected.then(|| Election {
                namespace: NAMESPACE.to_owned(),
                identity: user.clone(),
            }),
            instance: user.clone(),
        };
        // The wall clock goes on from one process to the next.
        let begin: jiff::Timestamp = "2027-01-15T08:00:00Z".parse().expect("a date");
        let clock = Clock::of_runtime(begin + self.began.elapsed()).stepping(self.step);
        self.observer.lock().tell(
            &user,
            if is_rogue {
                "starts, and leads whoever else does"
            } else {
                "starts"
            },
        );
        let engine = Engine::start(self.sandbox.client(&user), settings, clock);
        self.webhooks.add(&user, engine.webhook.clone());
        self.running.push(Process {
            user,
            engine,
            is_rogue,
        });
    }

    /// A second one that believes it leads, for as long as this.
    pub(crate) fn start_rogue(&mut self) {
        if !self.running.iter().any(|it| it.is_rogue) {
            self.observer.lock().two_led_until = Some(Duration::MAX);
            self.start(true);
        }
    }

    /// Kills, as by kill -9, one of these users; it comes back after a while.
    pub(crate) fn crash(&mut self, user: &str) {
        let Some(index) = self.running.iter().position(|it| it.user == user) else {
            return;
        };
        let process = self.running.remove(index);
        self.webhooks.remove(user);
        let mut observer = self.observer.lock();
        observer.tell(user, "is killed");
        if process.is_rogue {
            observer.two_led_until = Some(observer.now());
        }
        drop(observer);
        if !process.is_rogue {
            let pause = self
                .random
                .time(Duration::from_millis(10), Duration::from_secs(15));
            self.coming.push(Coming {
                at: Instant::now() + pause,
                is_rogue: false,
            });
        }
    }

    /// Kills those that faults have chosen.
    pub(crate) fn crash_chosen(&mut self) {
        for user in self.faults.take_crashing() {
            self.crash(&user);
        }
    }

    /// Some process that runs.
    pub(crate) fn any(&mut self) -> Option<String> {
        let users: Vec<String> = self.running.iter().map(|it| it.user.clone()).collect();
        self.random.pick(&users).cloned()
    }

    /// No second one that believes it leads is left, and the plan's run.
    pub(crate) fn repair(&mut self) {
        let rogues: Vec<String> = self
            .running
            .iter()
            .filter(|it| it.is_rogue)
            .map(|it| it.user.clone())
            .collect();
        for user in &rogues {
            self.crash(user);
        }
        for coming in &mut self.coming {
            coming.at = Instant::now();
        }
    }

    /// What those that run show to whoever looks.
    pub(crate) fn overviews(&self) -> Vec<Overview> {
        let running = self.running.iter();
        running.map(|it| it.engine.outlook.overview()).collect()
    }

    /// Sets the wall clock of ours.
    pub(crate) fn step_clock(&self, seconds: i64) {
        self.step.store(seconds, Ordering::Relaxed);
    }

    /// Waits until a process ends by itself, which none does.
    pub(crate) async fn ended(&mut self) -> String {
        let ends = self
            .running
            .iter_mut()
            .map(|it| Box::pin(it.engine.ended()));
        let ends: Vec<_> = ends.collect();
        if ends.is_empty() {
            return std::future::pending().await;
        }
        let (what, index, _) = futures::future::select_all(ends).await;
        format!("{what} of {}", self.running[index].user)
    }
}
