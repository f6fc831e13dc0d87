//! One seed: a time in which things go wrong, a time in which nothing does, and what has to be true then.

use std::{cell::Cell, panic, sync::Once, time::Duration};

use tokio::time::Instant;

use crate::{
    checks::{Violation, quiet},
    figures::Figures,
    people::What,
    plan::Plan,
    world::World,
};

/// Longest time until everything is as it should be once nothing goes wrong any more.
const QUIET_MAX: Duration = Duration::from_mins(20);
/// Between two rounds of the operator at quiet.
const OPERATOR_AT_QUIET: Duration = Duration::from_secs(8);

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) figures: Figures,
    pub(crate) violation: Option<Violation>,
    pub(crate) trace: String,
}

thread_local! {
    static PANICS: Cell<u32> = const { Cell::new(0) };
}

/// Counts panics by thread: one in a task of ours is a violation even where somebody catches it.
fn count_panics() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            PANICS.set(PANICS.get() + 1);
            print(info);
        }));
    });
}

/// Plays a seed.
pub(crate) fn play(seed: u64, traces: bool) -> Outcome {
    count_panics();
    PANICS.set(0);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    let runtime = runtime.expect("a runtime without sockets");
    runtime.block_on(live(Plan::draw(seed), traces))
}

async fn live(plan: Plan, traces: bool) -> Outcome {
    let mut world = World::new(plan, traces).await;
    if world.be_active().await {
        world.calm_down().await;
    }
    let mut observer = world.observer.lock();
    if PANICS.get() > 0 {
        observer.fail(Violation {
            rule: "R16",
            asks: "nothing panics",
            found: "see above".to_owned(),
        });
    }
    let mut figures = observer.figures.clone();
    figures.seeds = 1;
    figures.virtual_time = observer.now();
    Outcome {
        figures,
        violation: observer.violation.clone(),
        trace: observer.take_trace(),
    }
}

impl World {
    /// The time in which things go wrong. False where something was violated.
    async fn be_active(&mut self) -> bool {
        let start = Instant::now();
        let (end, arrival) = (start + self.plan.activity, start + self.plan.arrival);
        let mut has_arrived = false;
        let mut next_deed = start + self.pause();
        while Instant::now() < end {
            if !has_arrived && Instant::now() >= arrival {
                has_arrived = true;
                self.processes.arrive();
            }
            let coming = self.processes.start_due();
            let next = [
                Some(next_deed),
                Some(end),
                coming,
                self.next_undo(),
                Some(arrival).filter(|_| !has_arrived),
            ];
            let next = next.into_iter().flatten().min().unwrap_or(end);
            if !self.wait_until(next).await {
                return false;
            }
            self.undo_due(false).await;
            if Instant::now() >= next_deed {
                self.act().await;
                // Somebody looks, whatever there is to see: nothing that is shown may fail.
                drop(self.processes.overviews());
                next_deed = Instant::now() + self.pause();
            }
        }
        true
    }

    fn pause(&mut self) -> Duration {
        let pace = self.plan.pace;
        self.random.time(pace / 10, pace * 2)
    }

    /// Waits, and kills whoever is to be killed. False where something was violated.
    async fn wait_until(&mut self, until: Instant) -> bool {
        let alarm = std::sync::Arc::clone(&self.observer.lock().alarm);
        tokio::select! {
            biased;
            () = alarm.notified() => {}
            () = self.faults.crash.notified() => self.processes.crash_chosen(),
            what = self.processes.ended() => {
                let violation = Violation { rule: "R29", asks: "a process never ends by itself", found: what };
                self.observer.lock().fail(violation);
            }
            () = tokio::time::sleep_until(until) => {}
        }
        self.observer.lock().violation.is_none()
    }

    /// Nothing goes wrong any more: everything has to be as it should in time.
    async fn calm_down(&mut self) {
        self.repair().await;
        let end = Instant::now() + QUIET_MAX;
        loop {
            self.undo_due(false).await;
            self.processes.start_due();
            if !self
                .wait_until(Instant::now() + Duration::from_secs(2))
                .await
            {
                return;
            }
            let mut observer = self.observer.lock();
            let unrest = quiet::unrest(&observer, observer.now());
            let verdict = match unrest {
                None => quiet::too_many_restarts(&observer)
                    .or_else(|| quiet::untrue_status(&observer, &self.processes.overviews())),
                Some(_) if Instant::now() < end => continue,
                unrest => unrest,
            };
            if let Some(violation) = verdict {
                observer.fail(violation);
            }
            return;
        }
    }

    async fn repair(&mut self) {
        {
            let mut observer = self.observer.lock();
            observer.tell("-", "nothing goes wrong from now on");
            // Rest is counted from here: whoever starts now has yet to look at what there is.
            observer.last_write = observer.now();
        }
        self.faults.end();
        self.undo_due(true).await;
        self.processes.crash_chosen();
        self.processes.repair();
        self.start_operator(OPERATOR_AT_QUIET);
        let orphans: Vec<String> = {
            let observer = self.observer.lock();
            let truth = &observer.truth;
            let is_owned = |owner: &str| truth.sets.values().any(|set| set.uid == owner);
            let pods = truth
                .pods
                .iter()
                .filter(|(_, pod)| !is_owned(&pod.view.owner));
            pods.map(|(name, _)| name.clone()).collect()
        };
        for pod in orphans {
            self.people.delete(What::Pod(&pod), "Background").await;
        }
    }
}
