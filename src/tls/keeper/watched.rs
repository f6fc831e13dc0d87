//! One object that is watched by its name.

use std::{fmt::Debug, time::Duration};

use futures::{StreamExt as _, stream::BoxStream};
use kube::{
    Api, Resource,
    runtime::{
        WatchStreamExt as _,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::{
    controller::watch::Retry,
    observe::{
        error_chain,
        outage::{Loudness, Outage},
    },
};

/// Longest wait after a watch failed: what somebody scribbled is to be repaired within seconds.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// What is known of an object.
#[derive(Clone, Debug)]
pub(super) enum Seen<K> {
    /// Nothing yet.
    Unknown,
    /// It is not there.
    Absent,
    /// It was like this.
    There(K),
}

impl<K> From<Option<K>> for Seen<K> {
    fn from(object: Option<K>) -> Self {
        object.map_or(Self::Absent, Self::There)
    }
}

/// An object as its watch shows it.
#[derive(Debug)]
pub(super) struct Watched<K> {
    pub(super) seen: Seen<K>,
    kind: &'static str,
    listed: Option<K>,
    fails: bool,
    outage: Outage,
}

impl<K> Watched<K> {
    pub(super) fn new(kind: &'static str) -> Self {
        Self {
            seen: Seen::Unknown,
            kind,
            listed: None,
            fails: false,
            outage: Outage::default(),
        }
    }

    /// Whether the last that the watch had to say is that it could not look.
    pub(super) const fn has_failed(&self) -> bool {
        self.fails
    }

    /// Carries an event in. An error changes nothing of what was seen.
    pub(super) fn take(&mut self, event: watcher::Result<Event<K>>) {
        let is_error = event.is_err();
        // A list is begun anew at each attempt: that alone is no success.
        let works = matches!(
            event,
            Ok(Event::InitDone | Event::Apply(_) | Event::Delete(_))
        );
        if works && self.outage.end(Instant::now()).is_some() {
            info!(kind = self.kind, "Watch is back");
        }
        match event {
            Ok(Event::Init) => self.listed = None,
            Ok(Event::InitApply(object)) => self.listed = Some(object),
            Ok(Event::InitDone) => self.seen = self.listed.take().into(),
            Ok(Event::Apply(object)) => self.seen = Seen::There(object),
            Ok(Event::Delete(_)) => self.seen = Seen::Absent,
            Err(error) => {
                let (kind, error) = (self.kind, error_chain(&error));
                let is_usual = !matches!(self.seen, Seen::Unknown);
                match self.outage.fail(Instant::now(), is_usual) {
                    Loudness::Quiet => debug!(kind, error, "Watch fails; retrying"),
                    Loudness::News | Loudness::Reminder => {
                        warn!(kind, error, "Watch fails; retrying");
                    }
                }
            }
        }
        self.fails = is_error;
    }
}

/// Watches the object of this name, as an account with rights to that name alone can.
pub(super) fn by_name<K>(api: Api<K>, name: &str) -> BoxStream<'static, watcher::Result<Event<K>>>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    watcher(api, config)
        .backoff(Retry::up_to(RETRY_MAX))
        .boxed()
}
