//! How what is seen is printed: tables and marks for people, JSON and YAML for machines.

use std::{fmt::Display, io::Write};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde::Serialize;

use super::Failed;
use crate::observe::is_harmful;

/// For people, or for machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people; colours only on a terminal.
    #[default]
    Table,
    /// JSON, in one piece.
    Json,
    /// YAML.
    Yaml,
}

pub(super) const PLAIN: Style = Style::new();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const BOLD: Style = Style::new().bold();
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const BUSY: Style = AnsiColor::Cyan.on_default();
pub(super) const CAUTION: Style = AnsiColor::Yellow.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default();

impl Output {
    /// A value for machines; [`None`] where it is for people.
    pub(super) fn of(self, value: &impl Serialize) -> Result<Option<String>, Failed> {
        match self {
            Self::Table => Ok(None),
            Self::Json => serde_json::to_string_pretty(value)
                .map(|text| Some(text + "\n"))
                .map_err(|error| Failed::from_error(&error)),
            Self::Yaml => serde_saphyr::to_string(value)
                .map(Some)
                .map_err(|error| Failed::from_error(&error)),
        }
    }
}

/// Prints a text. Styles in it show only on a terminal that knows them.
///
/// # Errors
/// [`Failed`] where nobody reads any more.
pub(super) fn print(text: &str) -> Result<(), Failed> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failed(format!("standard output: {error}")))
}

/// A text in a style.
pub(super) fn styled(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Rows under headings, each column as wide as its widest cell; the last one is as long as it is.
pub(super) fn table(headings: &[&str], rows: &[Vec<(Style, String)>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let cells = cells.map(|(_, text)| text.chars().count());
        cells
            .chain([headings[column].chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let headings = headings.iter().map(|text| (DIM, (*text).to_owned()));
    let mut table = String::new();
    for row in std::iter::once(headings.collect::<Vec<_>>()).chain(rows.iter().cloned()) {
        let mut line = String::new();
        // What fills a column up stands before the next cell, so that no line ends in blanks.
        let mut gap = 0;
        for ((style, text), width) in row.iter().zip(&widths) {
            if !text.is_empty() {
                line.push_str(&" ".repeat(gap));
                line.push_str(&styled(*style, text));
                gap = 0;
            }
            gap += width + 3 - text.chars().count();
        }
        table.push_str(&line);
        table.push('\n');
    }
    table
}

/// Text from the cluster, for one line of a terminal: nothing in it moves a cursor, begins a line, or turns the
/// direction of what follows.
pub(super) fn line(text: &str) -> String {
    text.chars()
        .map(|c| if is_harmful(c) { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_no_line_ends_in_blanks() {
        let cell = |text: &str| (PLAIN, text.to_owned());
        let rows = [
            vec![cell("a"), cell("long one"), cell("x")],
            vec![cell("bb"), cell("s"), cell("")],
        ];
        let text =
            anstream::adapter::strip_str(&table(&["N", "STATUS", "INFO"], &rows)).to_string();
        assert_eq!(text, "N    STATUS     INFO\na    long one   x\nbb   s\n");
    }

    #[test]
    fn what_moves_a_cursor_is_blank() {
        assert_eq!(line("a\u{1b}[2Jb\nc"), "a [2Jb c");
        assert_eq!(line("a\u{9b}b\u{202e}c\u{2028}d"), "a b c d");
    }
}
