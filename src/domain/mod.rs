//! The core: who is a peer, what the list says, whom to restart, what an admission adds.
//!
//! Everything here is a pure function over data. No client, no clock, no randomness, no runtime: time comes
//! in as [`Now`], the cluster as a [`Snapshot`], and what is to be done goes out as plain values that say why.
//! A test of the source keeps it so.
//!
//! The way of the data: [`Snapshot`] → [`survey`](survey::survey) (what each node is) →
//! [`discover`](discovery::discover) (its peers, its networks) → [`peer_list`] (the ConfigMap) and
//! [`rollout`] (restarts). [`Memory`] holds what only time can tell. [`decide`] is all of it in one call.
//!
//! Beside that way stands [`core_config`]: the list as a validator's own configuration has it.

pub mod core_config;
pub mod discovery;
pub mod explain;
pub mod injection;
pub mod membership;
pub mod memory;
pub mod node;
pub mod notes;
pub mod patch;
pub mod peer;
pub mod peer_list;
pub mod policy;
pub mod quorum;
pub mod render_wait;
pub mod rollout;
pub mod snapshot;
pub mod status;
pub mod survey;
pub mod time;
pub mod turn;

mod decision;
pub(crate) mod digest;
#[cfg(test)]
mod fixtures;
mod foreign;

pub use decision::{Decision, decide};
pub use foreign::NotToml;
pub use memory::Memory;
pub use policy::Policy;
pub use snapshot::Snapshot;
pub use time::{Moment, Now};
