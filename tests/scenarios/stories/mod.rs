//! The stories, one topic a file.

pub(crate) mod installing;
pub(crate) mod joining;
pub(crate) mod leaving;
pub(crate) mod moving;
pub(crate) mod odd;
pub(crate) mod outages;
pub(crate) mod ports;
pub(crate) mod writers;

/// Three validators, for stories that don't care how many.
const THREE: [&str; 3] = ["validator-1", "validator-2", "validator-3"];
