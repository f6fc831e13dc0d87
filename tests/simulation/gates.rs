//! What the program is expected to do yet. Each of these turns faults and checks on with the feature they need.

/// R24: turns. Two leaders, and writes that arrive minutes late.
pub(crate) const TURNS: bool = true;
/// R23: who is down goes first, and its pod is deleted where its StatefulSet would keep it.
pub(crate) const DOWN_FIRST: bool = true;
/// R7c: a network of which nobody is Ready is restarted, one after the other.
pub(crate) const COLD_RESTART: bool = true;
/// R22: what declared quorum sets tolerate.
pub(crate) const QUORUM: bool = true;
