//! What is rendered, shared by all who read.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::{Mutex, watch},
    task::spawn_blocking,
    time::Instant,
};

use super::fragment;
use crate::{
    domain::digest::short_sha256,
    observe::{Overlook, Overview},
};

/// Nobody looks anew more often than this, however many read and whatever changes.
pub(super) const PACE: Duration = Duration::from_millis(500);
/// Where nothing changes, what was rendered is good for this long: ages are told in larger steps.
const GOOD_FOR: Duration = Duration::from_secs(4);
/// Pages of single namespaces that are kept beside that of all.
const KEPT_MAX: usize = 64;

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
    /// The count of changes that it shows, or a later one.
    pub(super) change: u64,
}

/// One look at everything, and the pages that were made of it.
#[derive(Debug)]
struct Look {
    taken: Instant,
    change: u64,
    overview: Arc<Overview>,
    /// All of it for machines, once somebody asked.
    json: Option<Bytes>,
    views: BTreeMap<Option<String>, Arc<View>>,
}

/// The pages as somebody asked for them lately.
#[derive(Debug)]
pub(super) struct Views {
    outlook: Arc<dyn Overlook>,
    changes: watch::Receiver<u64>,
    look: Mutex<Option<Look>>,
}

impl Views {
    pub(super) fn new(outlook: Arc<dyn Overlook>) -> Self {
        Self {
            changes: outlook.changes(),
            outlook,
            look: Mutex::default(),
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
        // Whoever comes meanwhile waits for the one that is being made, rather than making another.
        let mut kept = self.look.lock().await;
        let look = self.look(&mut kept).await?;
        if let Some(selected) = selection
            && look.overview.ready
            && !look.overview.has(selected)
        {
            return Ok(None);
        }
        let key = selection.map(str::to_owned);
        if let Some(view) = look.views.get(&key) {
            return Ok(Some(Arc::clone(view)));
        }
        let (overview, selected) = (Arc::clone(&look.overview), key.clone());
        let html = blocking(move || fragment::fragment(&overview, selected.as_deref()).0).await?;
        let view = Arc::new(View {
            id: short_sha256(html.as_bytes(), 6),
            at: look.overview.at.clone(),
            version: look.overview.version.clone(),
            html,
            change: look.change,
        });
        if look.views.len() >= KEPT_MAX {
            look.views.clear();
        }
        look.views.insert(key, Arc::clone(&view));
        Ok(Some(view))
    }

    /// All that there is to see, as JSON.
    pub(super) async fn json(&self) -> Result<Bytes, NotRendered> {
        let mut kept = self.look.lock().await;
        let look = self.look(&mut kept).await?;
        if let Some(json) = &look.json {
            return Ok(json.clone());
        }
        let overview = Arc::clone(&look.overview);
        let json = blocking(move || serde_json::to_vec(&*overview)).await?;
        let json = Bytes::from(json.map_err(|error| NotRendered::because(&error))?);
        look.json = Some(json.clone());
        Ok(json)
    }

    /// The look that is kept while it is good, else another.
    async fn look<'k>(&self, kept: &'k mut Option<Look>) -> Result<&'k mut Look, NotRendered> {
        let change = *self.changes.borrow();
        let good = kept.take().filter(|look| look.is_good(change));
        let look = if let Some(look) = good {
            look
        } else {
            let (outlook, taken) = (Arc::clone(&self.outlook), Instant::now());
            Look {
                taken,
                change,
                overview: Arc::new(blocking(move || outlook.overview()).await?),
                json: None,
                views: BTreeMap::new(),
            }
        };
        Ok(kept.insert(look))
    }
}

impl Look {
    fn is_good(&self, change: u64) -> bool {
        let age = self.taken.elapsed();
        age < PACE || (self.change == change && age < GOOD_FOR)
    }
}

impl Overview {
    fn has(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|it| it.namespace == namespace)
    }
}

/// Thousands of nodes take a while: admissions must not wait for that.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NotRendered> {
    let done = spawn_blocking(work).await;
    done.map_err(|error| NotRendered::because(&error))
}
