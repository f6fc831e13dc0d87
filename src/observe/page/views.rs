//! What is rendered, shared by all who read.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::{Mutex, watch},
    task::spawn_blocking,
    time::Instant,
};

use super::{document, fragment};
use crate::{
    domain::digest::short_sha256,
    observe::{Overlook, Overview},
};

/// Nobody looks anew more often than this, however many read and whatever changes.
pub(super) const PACE: Duration = Duration::from_millis(500);
/// Where nothing changes, what was rendered is good for this long: ages are told in larger steps.
const GOOD_FOR: Duration = Duration::from_secs(4);
/// Pages of single namespaces that are kept beside that of all.
const KEPT_MAX: usize = 16;

/// The rendering failed, which says that this program has a mistake.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("what there is to see could not be put into words; the log says why")]
pub(super) struct NotRendered;

impl NotRendered {
    fn because(error: &dyn std::error::Error) -> Self {
        tracing::error!(%error, "Could not say what there is to see");
        Self
    }
}

/// The changing part of a page.
#[derive(Debug)]
pub(super) struct View {
    /// The same where the content is the same.
    pub(super) id: String,
    /// When this was true, RFC 3339.
    pub(super) at: String,
    /// The version of this program.
    pub(super) version: String,
    /// The markup.
    pub(super) html: String,
    /// The whole page around it: made once, and shared by all who are sent it.
    pub(super) document: Bytes,
    /// The count of changes that it shows, or a later one.
    pub(super) change: u64,
}

/// One look at everything, and the pages that were made of it.
#[derive(Debug)]
struct Look {
    taken: Instant,
    change: u64,
    overview: Overview,
    /// All of it for machines, once somebody asked.
    json: Option<Bytes>,
    views: BTreeMap<Option<String>, Arc<View>>,
}

/// The pages as somebody asked for them lately.
#[derive(Debug)]
pub(super) struct Views {
    outlook: Arc<dyn Overlook>,
    changes: watch::Receiver<u64>,
    look: Arc<Mutex<Option<Look>>>,
}

impl Views {
    pub(super) fn new(outlook: Arc<dyn Overlook>) -> Self {
        Self {
            changes: outlook.changes(),
            outlook,
            look: Arc::default(),
        }
    }

    /// Counts the changes.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.clone()
    }

    /// The page of one namespace, or of all; [`None`] where there is no such namespace.
    pub(super) async fn view(
        &self,
        selection: Option<&str>,
    ) -> Result<Option<Arc<View>>, NotRendered> {
        let key = selection.map(str::to_owned);
        self.of_look(move |look| look.view(key)).await
    }

    /// All that there is to see, as JSON.
    pub(super) async fn json(&self) -> Result<Bytes, NotRendered> {
        let json = self.of_look(Look::json).await?;
        json.map_err(|error| NotRendered::because(&error))
    }

    /// Something of the look that is kept while it is good, else of another.
    ///
    /// Whoever comes meanwhile waits for the one that is being made, rather than making another; also where whoever
    /// had it made is gone. So the lock goes along with the work, which nobody calls off.
    async fn of_look<T: Send + 'static>(
        &self,
        wanted: impl FnOnce(&mut Look) -> T + Send + 'static,
    ) -> Result<T, NotRendered> {
        let mut kept = Arc::clone(&self.look).lock_owned().await;
        let change = *self.changes.borrow();
        let outlook = Arc::clone(&self.outlook);
        // Thousands of nodes take a while: admissions must not wait for that.
        let made = spawn_blocking(move || {
            let good = kept.take().filter(|look| look.is_good(change));
            wanted(kept.insert(good.unwrap_or_else(|| Look::at(&*outlook, change))))
        });
        made.await.map_err(|error| NotRendered::because(&error))
    }
}

impl Look {
    fn at(outlook: &dyn Overlook, change: u64) -> Self {
        Self {
            taken: Instant::now(),
            change,
            overview: outlook.overview(),
            json: None,
            views: BTreeMap::new(),
        }
    }

    fn is_good(&self, change: u64) -> bool {
        let age = self.taken.elapsed();
        age < PACE || (self.change == change && age < GOOD_FOR)
    }

    fn view(&mut self, key: Option<String>) -> Option<Arc<View>> {
        let overview = &self.overview;
        let is_unknown = |selected: &String| overview.ready && !overview.has(selected);
        if key.as_ref().is_some_and(is_unknown) {
            return None;
        }
        if let Some(view) = self.views.get(&key) {
            return Some(Arc::clone(view));
        }
        let html = fragment::fragment(overview, key.as_deref()).0;
        let mut view = View {
            id: short_sha256(html.as_bytes(), 6),
            at: overview.at.clone(),
            version: overview.version.clone(),
            html,
            document: Bytes::new(),
            change: self.change,
        };
        view.document = document::whole(&view, key.as_deref()).0.into();
        let view = Arc::new(view);
        if self.views.len() >= KEPT_MAX {
            self.views.clear();
        }
        self.views.insert(key, Arc::clone(&view));
        Some(view)
    }

    fn json(&mut self) -> Result<Bytes, serde_json::Error> {
        if let Some(json) = &self.json {
            return Ok(json.clone());
        }
        let json = Bytes::from(serde_json::to_vec(&self.overview)?);
        self.json = Some(json.clone());
        Ok(json)
    }
}

impl Overview {
    fn has(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|it| it.namespace == namespace)
    }
}
