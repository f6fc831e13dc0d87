//! Text for people, one line an event, whatever is in it.
//!
//! Names of networks, quorum sets, annotations and others' error messages come from whoever may write them. The
//! formatter beneath keeps escape sequences of theirs from the terminal, but not line breaks: a text with one would look
//! like a line of ours.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Full, Writer},
    },
    registry::LookupSpan,
};

use crate::observe::is_harmful;

/// The format.
#[derive(Debug)]
pub(super) struct OneLine {
    inner: Format<Full>,
    is_coloured: bool,
}

impl OneLine {
    pub(super) fn new(is_coloured: bool) -> Self {
        Self {
            inner: Format::default().with_ansi(is_coloured),
            is_coloured,
        }
    }
}

impl<S, N> FormatEvent<S, N> for OneLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut text = String::new();
        self.inner
            .format_event(context, Writer::new(&mut text), event)?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        for char in text.chars() {
            match char {
                // Our own colours: the formatter has escaped those of others.
                '\x1b' if self.is_coloured => writer.write_char(char)?,
                harmful if is_harmful(harmful) => write!(writer, "{}", harmful.escape_default())?,
                harmless => writer.write_char(harmless)?,
            }
        }
        writer.write_char('\n')
    }
}
