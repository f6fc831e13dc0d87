//! Peers in stellar-core's own configuration: the one place where it reads them.
//!
//! [`choose`](choice::choose) says whom a validator is told about, and [`merge()`] writes them into `KNOWN_PEERS` of
//! its configuration.
//!
//! # Guarantees
//! - All bytes stay but those of the entries that are added, which are in one place (and the comma before them).
//! - Entries that are there stay as they stand, first and in their order.
//! - What is merged already is not merged again: merging into the outcome changes nothing.
//! - Where stellar-core would refuse the list as it is, nothing is changed: its message is the better one.
//!
//! # Assumptions
//! The text is what a person or a chart wrote, never an earlier outcome of ours: a peer that is gone goes only so.
//!
//! Source: stellar-core `Config::processConfig` and `readStringArray`: an array of texts at the top level. It reads
//! them with cpptoml, which knows TOML 0.5: basic strings, and comments, line breaks and a last comma in arrays.

pub mod choice;
mod merge;
#[cfg(any(test, feature = "sandbox"))]
pub mod reading;
#[cfg(test)]
mod tests;

pub use self::merge::{Merged, Unmergeable, merge};

/// The key of the list.
const KNOWN_PEERS: &str = "KNOWN_PEERS";
