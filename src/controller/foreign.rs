//! Other installations: who else keeps a list, and whether it is alive.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client};
use tokio::time::Instant;

use super::error::{ReconcileError, request};
use crate::domain::Snapshot;

/// More installations than this on one cluster are nobody's plan.
const SEEN_MAX: usize = 256;

/// What we saw of others' leases. A lease counts as alive until it has not changed for its own duration by our
/// clock: the clocks of two machines are never compared.
#[derive(Debug, Default)]
pub struct ForeignWriters {
    seen: Mutex<BTreeMap<String, (Option<String>, Instant)>>,
}

impl ForeignWriters {
    /// Leaves a namespace alone where its list is another living installation's.
    ///
    /// # Errors
    /// [`ReconcileError::ForeignWriter`] where it is, and whatever asking for its Lease ran into: who can't be told
    /// dead is not taken over.
    pub async fn yield_to(
        &self,
        client: &Client,
        snapshot: &Snapshot,
        own: &str,
    ) -> Result<(), ReconcileError> {
        let Some(writer) = snapshot.foreign_writer(own) else {
            return Ok(());
        };
        let Some((namespace, name)) = writer
            .split_once('/')
            .filter(|(namespace, name)| is_name(namespace) && is_name(name))
        else {
            return Ok(());
        };
        let api = Api::<Lease>::namespaced(client.clone(), namespace);
        let lease = request("get", &format!("Lease {writer}"), api.get_opt(name)).await?;
        if self.is_alive(writer, lease.as_ref()) {
            return Err(ReconcileError::ForeignWriter {
                writer: writer.to_owned(),
            });
        }
        Ok(())
    }

    fn is_alive(&self, writer: &str, lease: Option<&Lease>) -> bool {
        let Some(lease) = lease else { return false };
        let spec = lease.spec.as_ref();
        if spec
            .and_then(|spec| spec.holder_identity.as_deref())
            .unwrap_or_default()
            .is_empty()
        {
            return false;
        }
        let seconds = spec
            .and_then(|spec| spec.lease_duration_seconds)
            .and_then(|it| u64::try_from(it).ok());
        let duration = Duration::from_secs(seconds.unwrap_or(15));
        let version = lease.metadata.resource_version.clone();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= SEEN_MAX {
            // Whoever may write the record may name any writer; this only makes us wait anew.
            seen.clear();
        }
        let entry = seen
            .entry(writer.to_owned())
            .or_insert_with(|| (version.clone(), Instant::now()));
        if entry.0 != version {
            *entry = (version, Instant::now());
        }
        entry.1.elapsed() < duration
    }
}

/// Only what can be a name is put into a path.
fn is_name(text: &str) -> bool {
    crate::domain::node::NodeName::new(text).is_ok()
}
