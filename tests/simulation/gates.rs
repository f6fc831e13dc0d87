//! What the program doesn't do, and is not asked to. The simulation found it: open its gate with the fix.

/// R7, R23: one whose pod started with nothing but addresses that are gone by now, and that nobody else knows, is
/// helped though others are Ready.
pub(crate) const THE_CUT_OFF_ARE_HELPED: bool = false;
