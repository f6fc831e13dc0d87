//! The stories, one topic a file.

pub(crate) mod charts;
pub(crate) mod cold;
pub(crate) mod held;
pub(crate) mod installing;
pub(crate) mod joining;
pub(crate) mod leaving;
pub(crate) mod moving;
pub(crate) mod odd;
pub(crate) mod outages;
pub(crate) mod policies;
pub(crate) mod ports;
pub(crate) mod quorum;
pub(crate) mod replicas;
pub(crate) mod restarts;
pub(crate) mod writers;

/// Three validators, for stories that don't care how many.
const THREE: [&str; 3] = ["validator-1", "validator-2", "validator-3"];

/// One more.
const FOUR: [&str; 4] = ["validator-1", "validator-2", "validator-3", "validator-4"];
