//! Peer discovery, injection and careful restarts for Stellar validators on Kubernetes.
//!
//! From the cluster to a decision and back:
//!
//! ```text
//! watches ──► stores ──► Snapshot ──► discovery ──► peer list ──► apply
//! (kube)      (kube)      (pure)  └─► rollout ────► restarts ───► patch
//! API server ──► admission ──► injection(old, new, what is known) ──► patch of the object
//! ```
//!
//! [`domain`] is the core: pure functions that know no client, no clock and no runtime. [`controller`] and
//! [`admission`] are the shell around it, [`engine`] is both without sockets, [`app`] puts it behind listeners.
//!
//! # Invariants
//! - An error never empties a list, and a decision is never made before every store is full.
//! - An admission never turns a write that would not have restarted a pod into one that does.
//! - A restart starts only where the number of members that are down stays within `--max-unavailable`.
//! - All state is in the cluster: a crash at any point loses nothing.

pub mod admission;
pub mod api;
pub mod app;
pub mod cli;
pub mod clock;
pub mod controller;
pub mod domain;
pub mod engine;
pub mod observe;
pub mod peer_discovery;
#[cfg(feature = "sandbox")]
pub mod sandbox;
pub mod tls;

pub use stellar_peers_json as json;
