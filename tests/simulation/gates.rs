//! What the program can't do yet. Each of these is a weakness that the simulation found: open its gate with the fix.

/// R22: whoever is deleted counts as down for all quorum sets that name it, also for those of validators that are no
/// members at that moment.
pub(crate) const DELETED_ARE_REMEMBERED: bool = false;
/// R18: a restart whose membership the template carries no more is forgotten, also where an admission renewed it to
/// what it had carried before, and where its parts went and came with opting out and in.
pub(crate) const RENEWALS_COUNT: bool = false;
/// R7, R23: one whose pod started with nothing but addresses that are gone by now, and that nobody else knows, is
/// helped though others are Ready.
pub(crate) const THE_CUT_OFF_ARE_HELPED: bool = false;
