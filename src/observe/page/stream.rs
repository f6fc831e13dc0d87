//! One reader who is kept up to date.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::response::sse::Event;
use futures::{Stream, stream};
use serde_json::json;
use tokio::{
    sync::{OwnedSemaphorePermit, watch},
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Page,
    views::{PACE, View},
};

/// Where nothing changes, ages do.
const TICK: Duration = Duration::from_secs(5);
/// A stream that says nothing for longer looks dead to proxies.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// The listener closes a connection that asks for nothing for three minutes; a reader asks anew before that.
const LIFE: Duration = Duration::from_mins(2);
/// How long a browser waits before it asks anew.
const RETRY: Duration = Duration::from_secs(1);
/// A page of more bytes is sent once a tick at most.
const LARGE: usize = 256 * 1024;

/// A stream's state.
#[derive(Debug)]
pub(super) struct Reader {
    page: Arc<Page>,
    selection: Option<String>,
    changes: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    ends: Instant,
    sent: Option<Arc<View>>,
    last_said: Instant,
    _room: OwnedSemaphorePermit,
}

impl Reader {
    pub(super) fn new(
        page: Arc<Page>,
        selection: Option<String>,
        room: OwnedSemaphorePermit,
    ) -> Self {
        let now = Instant::now();
        Self {
            changes: page.views.changes(),
            stopping: page.stopping.clone(),
            page,
            selection,
            ends: now + LIFE,
            sent: None,
            last_said: now,
            _room: room,
        }
    }

    /// The page at once, and again whenever it is another one. Ends when this process does, when the namespace is gone,
    /// and after a while.
    pub(super) fn events(self) -> impl Stream<Item = Result<Event, Infallible>> {
        stream::unfold(self, |mut reader| async {
            let event = reader.next().await?;
            Some((Ok(event), reader))
        })
    }

    async fn next(&mut self) -> Option<Event> {
        let mut stopping = self.stopping.clone();
        let ends = self.ends;
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => None,
            () = sleep_until(ends) => None,
            event = self.news() => event,
        }
    }

    async fn news(&mut self) -> Option<Event> {
        loop {
            if let Some(sent) = self.sent.clone() {
                self.wait(&sent).await;
            }
            // An error is logged where it is made; asked anew, the browser is told so by the status.
            let selection = self.selection.as_deref();
            let view = self.page.views.view(selection).await.ok().flatten()?;
            let before = self.sent.replace(Arc::clone(&view));
            let now = Instant::now();
            if before.is_none_or(|before| before.id != view.id) {
                self.last_said = now;
                return Some(event(&view));
            }
            if now.duration_since(self.last_said) >= SILENCE_MAX {
                self.last_said = now;
                return Some(Event::default().comment("nothing new"));
            }
        }
    }

    /// Until there may be something new, and not sooner than this reader may be told.
    async fn wait(&mut self, sent: &View) {
        sleep(if sent.html.len() > LARGE { TICK } else { PACE }).await;
        let seen = *self.changes.borrow_and_update();
        // What was shared may have been made a moment before the change that woke us.
        if seen == sent.change && matches!(timeout(TICK, self.changes.changed()).await, Ok(Err(_)))
        {
            // Nobody is left who could change anything.
            sleep(TICK).await;
        }
    }
}

/// In JSON, whose text has no line breaks of its own: one line of data, whatever the page says.
fn event(view: &View) -> Event {
    let data = json!({"at": view.at, "html": view.html});
    Event::default()
        .event("page")
        .id(&view.id)
        .retry(RETRY)
        .data(data.to_string())
}
