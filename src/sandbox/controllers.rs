//! The control plane's loop: what happened, what is due, and whose business it is.
//!
//! One task runs all controllers, one after the other, so that a run with a paused clock has one order of events.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use tokio::{task::JoinHandle, time::Instant};

use super::{
    clock::Clock,
    garbage,
    kubelet::{self, PodId},
    object::{Key, Object},
    server::{Inner, State},
    stateful_set::{self, Revisions},
    store::{Event, TableId},
};

/// How long the control plane and the kubelets take for things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From a change to the controller's reaction.
    pub reaction: Duration,
    /// From a pod's creation until it runs and has an address.
    pub pod_start: Duration,
    /// From then until it is Ready, unless its annotations say otherwise.
    pub pod_ready: Duration,
    /// From a pod's deletion until it is gone, at most its grace.
    pub pod_stop: Duration,
    /// From an owner's removal to that of what it owned.
    pub garbage: Duration,
    /// Between two looks at a running pod's readiness, where a readiness check is set.
    pub probe: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            reaction: Duration::from_millis(20),
            pod_start: Duration::from_millis(200),
            pod_ready: Duration::from_millis(500),
            pod_stop: Duration::from_millis(500),
            garbage: Duration::from_millis(100),
            probe: Duration::from_secs(1),
        }
    }
}

/// Something to be done at its time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Task {
    SyncStatefulSet(Key),
    StartPod(PodId),
    ProbePod(PodId),
    RemovePod(PodId),
    /// Delete it if all its owners are gone.
    Collect(TableId, Key),
    /// See to the dependents of an object that is being deleted.
    Finalize(TableId, Key),
    EmptyNamespace(String),
}

/// What is to be done when, each thing once.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    due: BTreeMap<(Instant, u64), Task>,
    planned: BTreeSet<Task>,
    count: u64,
}

impl Agenda {
    /// Plans a task, unless it is planned already.
    pub(super) fn plan(&mut self, at: Instant, task: Task) {
        if self.planned.insert(task.clone()) {
            self.count += 1;
            self.due.insert((at, self.count), task);
        }
    }

    fn next_at(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    fn pop_due(&mut self, now: Instant) -> Option<Task> {
        let task = self
            .due
            .first_entry()
            .filter(|entry| entry.key().0 <= now)?
            .remove();
        self.planned.remove(&task);
        Some(task)
    }
}

/// What a controller works with for one task.
pub(super) struct Work<'a> {
    pub(super) inner: &'a Inner,
    pub(super) state: &'a mut State,
    pub(super) agenda: &'a mut Agenda,
    pub(super) clock: &'a Clock,
    pub(super) timing: &'a Timing,
    pub(super) now: Instant,
}

impl Work<'_> {
    /// An object, if it is there.
    pub(super) fn object(&self, table: TableId, key: &Key) -> Option<Arc<Object>> {
        self.state.store.table(table).get(key).cloned()
    }

    /// Plans a task for later.
    pub(super) fn plan(&mut self, after: Duration, task: Task) {
        self.agenda.plan(self.now + after, task);
    }

    /// Changes an object, and stores it if that made a difference.
    pub(super) fn update(
        &mut self,
        table: TableId,
        object: &Object,
        change: impl FnOnce(&mut Value),
    ) {
        let mut value = object.value().clone();
        change(&mut value);
        if value != *object.value() {
            self.state.put(table, value);
        }
    }
}

/// The StatefulSet controller, the garbage collector, the namespace controller and the kubelet.
///
/// [`super::Sandbox::start`] runs them as a task; [`Controllers::step`] lets a simulation drive them itself.
pub struct Controllers {
    inner: Arc<Inner>,
    agenda: Agenda,
    revisions: Revisions,
}

impl fmt::Debug for Controllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controllers")
            .field("agenda", &self.agenda)
            .finish_non_exhaustive()
    }
}

impl Controllers {
    pub(super) fn new(inner: Arc<Inner>) -> Self {
        inner.state().store.open_journal();
        Self {
            inner,
            agenda: Agenda::default(),
            revisions: Revisions::default(),
        }
    }

    /// Does everything that is due by now; gives back when the next thing is.
    pub fn step(&mut self) -> Option<Instant> {
        let inner = Arc::clone(&self.inner);
        let mut state = inner.state();
        let now = Instant::now();
        let mut work = Work {
            inner: &inner,
            state: &mut state,
            agenda: &mut self.agenda,
            clock: &inner.clock,
            timing: &inner.options.timing,
            now,
        };
        loop {
            while let Some((table, event)) = work.state.store.next_in_journal() {
                observe(&mut work, table, &event);
            }
            kubelet::look_again(&mut work);
            let Some(task) = work.agenda.pop_due(now) else {
                break;
            };
            match task {
                Task::SyncStatefulSet(key) => {
                    stateful_set::sync(&mut work, &mut self.revisions, &key);
                }
                Task::StartPod(pod) => kubelet::start(&mut work, &pod),
                Task::ProbePod(pod) => kubelet::probe(&mut work, &pod),
                Task::RemovePod(pod) => kubelet::remove(&mut work, &pod),
                Task::Collect(table, key) => garbage::collect(&mut work, table, &key),
                Task::Finalize(table, key) => garbage::finalize(&mut work, table, &key),
                Task::EmptyNamespace(name) => garbage::empty_namespace(&mut work, &name),
            }
        }
        self.agenda.next_at()
    }

    /// Runs for ever. While the server is cut off, nothing happens.
    pub async fn run(mut self) {
        loop {
            let next = if self.inner.is_available() {
                self.step()
            } else {
                None
            };
            let far = Instant::now() + Duration::from_hours(24);
            tokio::select! {
                biased;
                () = self.inner.work.notified() => {}
                () = tokio::time::sleep_until(next.unwrap_or(far)), if next.is_some() => {}
            }
        }
    }
}

impl Drop for Controllers {
    fn drop(&mut self) {
        self.inner.state().store.close_journal();
    }
}

fn observe(work: &mut Work<'_>, table: TableId, event: &Event) {
    let kind = Arc::clone(&work.state.store.table(table).kind);
    if kind.is("apps", "statefulsets") {
        stateful_set::observe_set(work, event);
    } else if kind.is("", "pods") {
        stateful_set::observe_pod(work, event);
        kubelet::observe(work, event);
    } else if kind.is("", "namespaces") {
        garbage::observe_namespace(work, event);
    }
    garbage::observe(work, table, event);
}

/// The running controllers. They stop when this is dropped.
#[derive(Debug)]
pub struct RunningControllers(JoinHandle<()>);

impl RunningControllers {
    pub(super) fn spawn(controllers: Controllers) -> Self {
        Self(tokio::spawn(controllers.run()))
    }
}

impl Drop for RunningControllers {
    fn drop(&mut self) {
        self.0.abort();
    }
}
