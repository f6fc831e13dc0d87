//! What goes wrong with single requests of ours, drawn by the seed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use stellar_peers::sandbox::{Fault, RequestInfo, WatchFault};
use tokio::sync::Notify;

use crate::{
    observer::{OURS, Shared},
    plan::{HELD_MAX, Plan},
    random::Random,
};

/// Longer than any run: a request that is answered then never is.
const NEVER: Duration = Duration::from_hours(24);

/// Something that is wrong with all requests of a kind for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) verbs: &'static [&'static str],
    /// The status; none for a broken connection.
    pub(crate) code: Option<u16>,
}

/// The faults of a run.
#[derive(Clone)]
pub(crate) struct Faults {
    state: Arc<Mutex<State>>,
    /// Tells that some process is to crash.
    pub(crate) crash: Arc<Notify>,
}

struct State {
    plan: Arc<Plan>,
    observer: Shared,
    random: Random,
    is_over: bool,
    trouble: Option<Trouble>,
    /// Users whose requests all fail.
    cut_off: Vec<String>,
    /// Users whose processes are to crash.
    crashing: Vec<String>,
    /// How late each kind's events are.
    late: BTreeMap<String, Duration>,
}

impl Faults {
    pub(crate) fn new(plan: Arc<Plan>, observer: Shared, random: Random) -> Self {
        let state = State {
            plan,
            observer,
            random,
            is_over: false,
            trouble: None,
            cut_off: Vec::new(),
            crashing: Vec::new(),
            late: BTreeMap::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            crash: Arc::new(Notify::new()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What happens to a request.
    pub(crate) fn draw(&self, request: &RequestInfo) -> Fault {
        if !request.user.starts_with(OURS) {
            return Fault::None;
        }
        let fault = self.lock().draw(request);
        if !self.lock().crashing.is_empty() {
            self.crash.notify_one();
        }
        fault
    }

    /// From now on nothing goes wrong.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.is_over = true;
        state.trouble = None;
        state.cut_off.clear();
    }

    pub(crate) fn set_trouble(&self, trouble: Option<Trouble>) {
        self.lock().trouble = trouble;
    }

    pub(crate) fn cut_off(&self, user: &str) {
        self.lock().cut_off.push(user.to_owned());
    }

    pub(crate) fn reconnect(&self, user: &str) {
        self.lock().cut_off.retain(|cut_off| cut_off != user);
    }

    /// The processes that are to crash now.
    pub(crate) fn take_crashing(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().crashing)
    }
}

impl State {
    fn draw(&mut self, request: &RequestInfo) -> Fault {
        if self.is_over {
            return Fault::None;
        }
        if self.cut_off.contains(&request.user) {
            return Fault::LoseRequest;
        }
        if let Some(trouble) = self.trouble.filter(|it| it.verbs.contains(&request.verb)) {
            return trouble.code.map_or(Fault::LoseRequest, Fault::Status);
        }
        let fault = if request.verb == "watch" {
            self.draw_watch(request)
        } else {
            self.draw_other(request)
        };
        let (name, fault) = fault;
        if !name.is_empty() {
            let mut observer = self.observer.lock();
            observer.figures.count(name);
            // Events are called by the machine's clock.
            let about = if request.resource == "events" {
                ""
            } else {
                &request.name
            };
            let RequestInfo {
                user,
                verb,
                resource,
                ..
            } = request;
            observer.tell(
                user,
                format_args!("{name}: {verb} {resource} {about} {fault:?}"),
            );
        }
        fault
    }

    fn draw_watch(&mut self, request: &RequestInfo) -> (&'static str, Fault) {
        let rates = self.plan.watches;
        let random = &mut self.random;
        let late = *self
            .late
            .entry(request.resource.clone())
            .or_insert_with(|| random.time(Duration::ZERO, rates.late));
        let second = Duration::from_secs(1);
        let breaks_after = random
            .percent(rates.breaks)
            .then(|| random.time(second / 2, second * 30));
        let repeats = random.percent(rates.repeats);
        let name = match (breaks_after, repeats, late.is_zero()) {
            (Some(_), ..) => "watch breaks",
            (_, true, _) => "events twice",
            (_, _, false) => "events late",
            _ => "",
        };
        (
            name,
            Fault::Watch(WatchFault {
                late,
                breaks_after,
                repeats,
            }),
        )
    }

    fn draw_other(&mut self, request: &RequestInfo) -> (&'static str, Fault) {
        let rates = self.plan.rates;
        let random = &mut self.random;
        let is_write = matches!(request.verb, "create" | "update" | "patch" | "delete");
        // Events tell people, and Leases have no second chance: late writes of these are of no interest.
        let is_of_interest = is_write && !matches!(request.resource.as_str(), "events" | "leases");
        let second = Duration::from_secs(1);
        if random.permille(rates.error) {
            let code = *random.pick(&[500, 503, 429, 403]).expect("there are some");
            return ("error", Fault::Status(code));
        }
        if random.permille(rates.lost) {
            return ("request lost", Fault::LoseRequest);
        }
        if is_write && random.permille(rates.conflict) {
            return ("conflict", Fault::Status(409));
        }
        if is_write && random.permille(rates.answer_lost) {
            return ("answer lost", Fault::LoseAnswer);
        }
        if is_of_interest && random.permille(rates.held) {
            let time = random.time(second, HELD_MAX);
            let fault = if random.percent(50) {
                Fault::Delay(time)
            } else {
                Fault::DelayAnswer(time)
            };
            return ("write held", fault);
        }
        if is_of_interest && random.permille(rates.late) {
            return ("write late", Fault::Late(random.time(second, second * 120)));
        }
        if is_of_interest && random.permille(rates.repeated) {
            return (
                "write repeated",
                Fault::Repeat(random.time(second / 10, second * 20)),
            );
        }
        if random.permille(rates.crash) {
            self.crashing.push(request.user.clone());
            let fault = if random.percent(50) {
                Fault::Delay(NEVER)
            } else {
                Fault::DelayAnswer(NEVER)
            };
            return ("crash", fault);
        }
        // Only the answers of writes are late: a reading that is answered is as old as its answer then.
        let latency = random.time(Duration::from_millis(1), self.plan.latency);
        let fault = if is_write && random.percent(50) {
            Fault::DelayAnswer(latency)
        } else {
            Fault::Delay(latency)
        };
        ("", fault)
    }
}
