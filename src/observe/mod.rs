//! What people and monitoring see: logs, metrics, Events, health.

mod board;
pub mod events;
pub mod health;
pub mod logs;
mod metrics;
pub mod outage;
mod overview;
pub mod page;
mod timeline;

pub use board::{Board, SharedMemory, Summary};
pub use metrics::{AdmissionOutcome, LostEvent, Metrics};
pub use overview::{Overlook, Overview};
pub use timeline::{Happening, Timeline};

/// An error and its sources in one line, each once.
#[must_use]
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let next = error.to_string();
        // Some libraries repeat their source in their own words.
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = error.source();
    }
    text
}

/// What breaks a line, moves a cursor, or orders the text around it in another direction: no text of others may hold it
/// where people read it.
pub(crate) const fn is_harmful(char: char) -> bool {
    matches!(
        char,
        '\0'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
    )
}
