//! Text of somebody else's, and how much of it goes into a message.

use toml_edit::TomlError;

/// How much of a name or a message of somebody else's choosing is shown.
pub(super) const SHOWN_CHARS: usize = 63;

/// The first characters of foreign text, and nothing that could break a line.
pub(super) fn short(text: &str, chars_max: usize) -> String {
    let mut rest = text.chars();
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut shown: String = rest.by_ref().take(chars_max).map(plain).collect();
    if rest.next().is_some() {
        shown.push('…');
    }
    shown
}

/// Text that is not the language of stellar-core's configuration. No retry helps before somebody changes it.
///
/// It never repeats a value of the text: a configuration may hold a seed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is no TOML: {problem}")]
pub struct NotToml {
    /// Counted from 1.
    pub line: usize,
    /// In the parser's words.
    pub problem: String,
}

impl NotToml {
    pub(super) fn new(text: &str, error: &TomlError) -> Self {
        let before = error.span().map_or(0, |span| span.start.min(text.len()));
        let newlines = text.bytes().take(before).filter(|byte| *byte == b'\n');
        Self {
            line: newlines.count() + 1,
            problem: short(error.message(), 2 * SHOWN_CHARS),
        }
    }
}
