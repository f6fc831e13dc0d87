//! The loop: watches fill stores, a change wakes its namespace's worker, a pass reads, decides and writes.
//!
//! # Guarantees
//! - No pass before every store is full, and none while this replica doesn't hold the Lease.
//! - One pass at a time a namespace; namespaces side by side.
//! - At rest nothing is listed and nothing is written but the Lease.

pub mod adoption;
pub mod apply;
pub mod args;
pub mod error;
pub mod foreign;
pub mod fresh;
pub mod lease;
pub mod overlook;
pub mod reconcile;
mod restart;
pub mod stores;
mod tell;
pub(crate) mod turn;
pub mod watch;
pub mod workers;
