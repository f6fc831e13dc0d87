//! How many bytes of requests' bodies are in memory at once, over all connections of a listener.
//!
//! A body is bounded by the router, but not how many of them somebody begins. Where they would be more than
//! [`body_bytes_max`](super::ConnectionLimits::body_bytes_max) together, the one that has been on its way the longest is
//! given up, as with connections: who holds bytes back only crowds out himself. One that is whole is never given up.
//!
//! What a body becomes once it is read may take many times its own bytes: a list of numbers some twenty times. So large
//! ones are handled one after the other, and memory is bounded by the largest alone.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use futures::{FutureExt as _, future::BoxFuture};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tracing::warn;

use super::Seldom;

/// From this size on a body is handled alone. Reviews that an API server sends are mostly a hundredth of it.
pub(super) const LARGE_BYTES: usize = 1 << 20;

/// All bodies of a listener.
#[derive(Debug)]
pub(super) struct Bodies {
    bytes_max: usize,
    state: Mutex<State>,
    told: Seldom,
    large: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    bytes: usize,
    /// By age.
    bodies: BTreeMap<u64, Entry>,
}

#[derive(Debug)]
struct Entry {
    bytes: usize,
    is_arriving: bool,
    given_up: Arc<Notify>,
}

impl Bodies {
    pub(super) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            state: Mutex::default(),
            told: Seldom::default(),
            large: Arc::new(Semaphore::new(1)),
        })
    }

    /// A body begins.
    pub(super) fn begin(self: &Arc<Self>) -> Share {
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        let given_up = Arc::new(Notify::new());
        let entry = Entry {
            bytes: 0,
            is_arriving: true,
            given_up: Arc::clone(&given_up),
        };
        state.bodies.insert(id, entry);
        Share {
            bodies: Arc::clone(self),
            id,
            given_up,
            alone: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is complete at once, so a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One body's part; dropping it gives the bytes back.
#[derive(Debug)]
pub(super) struct Share {
    bodies: Arc<Bodies>,
    id: u64,
    given_up: Arc<Notify>,
    /// Held by a large one until it was handled.
    alone: Mutex<Option<OwnedSemaphorePermit>>,
}

impl Share {
    /// So many bytes more have come. `false` where this is the body that has to be given up.
    pub(super) fn grow(&self, bytes: usize) -> bool {
        let mut state = self.bodies.state();
        let State {
            bytes: all, bodies, ..
        } = &mut *state;
        let Some(own) = bodies.get_mut(&self.id).filter(|own| own.is_arriving) else {
            return false;
        };
        own.bytes += bytes;
        *all += bytes;
        let mut stays = true;
        while *all > self.bodies.bytes_max {
            let mut arriving = bodies
                .iter_mut()
                .filter(|(_, entry)| entry.is_arriving && entry.bytes > 0);
            // This one is among them as long as it stays.
            let Some((id, oldest)) = arriving.next() else {
                break;
            };
            *all -= std::mem::take(&mut oldest.bytes);
            oldest.is_arriving = false;
            oldest.given_up.notify_one();
            stays &= *id != self.id;
            if self.bodies.told.is_due() {
                warn!(
                    bytes_max = self.bodies.bytes_max,
                    "Gave up a request whose body is slow, since bodies take too much memory"
                );
            }
        }
        stays
    }

    /// The body is whole.
    pub(super) fn complete(&self) {
        if let Some(own) = self.bodies.state().bodies.get_mut(&self.id) {
            own.is_arriving = false;
        }
    }

    /// Where the body, now whole, is a large one: ready once it may be handled.
    pub(super) fn turn(self: &Arc<Self>) -> Option<BoxFuture<'static, ()>> {
        let bytes = |state: MutexGuard<'_, State>| state.bodies.get(&self.id).map(|own| own.bytes);
        if bytes(self.bodies.state()).unwrap_or_default() < LARGE_BYTES {
            return None;
        }
        let share = Arc::clone(self);
        let turn = async move {
            // It is never closed.
            let permit = Arc::clone(&share.bodies.large).acquire_owned().await.ok();
            *share.alone.lock().unwrap_or_else(PoisonError::into_inner) = permit;
        };
        Some(turn.boxed())
    }

    /// Ready once the body was given up.
    pub(super) async fn given_up(&self) {
        self.given_up.notified().await;
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.bodies.state();
        if let Some(own) = state.bodies.remove(&self.id) {
            state.bytes -= own.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_is_on_its_way_is_given_up_and_one_that_is_whole_is_not() {
        let bodies = Bodies::new(10);
        let [whole, old, empty, new] = [(); 4].map(|()| bodies.begin());
        assert!(whole.grow(4) && old.grow(4));
        whole.complete();
        assert!(new.grow(4), "room is made");
        assert!(!old.grow(1), "for it was given up");
        assert!(empty.grow(2), "who has sent nothing was not in the way");
        assert!(new.grow(2), "and goes first now");
        assert!(!empty.grow(1));
        assert!(!new.grow(1), "nobody else is left");
        drop((whole, old, empty, new));
        assert_eq!(bodies.state().bytes, 0);
        assert!(bodies.state().bodies.is_empty());
        assert!(bodies.begin().grow(10));
        assert!(!bodies.begin().grow(11));
    }
}
