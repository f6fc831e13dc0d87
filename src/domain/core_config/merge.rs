//! Adds entries to a list in TOML without touching another byte.

use std::{collections::BTreeSet, fmt, ops::Range};

use toml_edit::{Array, Document, Item, Table, TableLike};

use super::KNOWN_PEERS;
use crate::api::names::DEFAULT_PEER_PORT;
use crate::domain::{
    NotToml,
    foreign::{SHOWN_CHARS, short},
    peer::PeerAddress,
};

const BYTE_ORDER_MARK: &str = "\u{feff}";

/// A configuration with peers in it. It may hold the node's seed.
#[derive(Clone, PartialEq, Eq)]
pub struct Merged {
    /// The whole configuration.
    pub text: String,
    /// How many peers it did not have before.
    pub added: usize,
}

/// Without the text, which may hold a seed.
impl fmt::Debug for Merged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Merged")
            .field("bytes", &self.text.len())
            .field("added", &self.added)
            .finish()
    }
}

/// Why a configuration has to be left as it is. stellar-core refuses each of these as well, and nothing helps before
/// somebody changes it.
///
/// It never repeats a value of the text, which may hold a seed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unmergeable {
    /// Not the language of stellar-core's configuration.
    #[error(transparent)]
    NotToml(#[from] NotToml),
    /// `KNOWN_PEERS` is something else.
    #[error("KNOWN_PEERS is no list")]
    NotAList,
    /// An entry of the list is a number, or a list.
    #[error("entry {0} of KNOWN_PEERS is no text")]
    NotText(
        /// Counted from 1.
        usize,
    ),
    /// Below a table's header a key belongs to that table.
    #[error("KNOWN_PEERS stands in table {0}; move it above the first table")]
    InTable(String),
}

/// The configuration with `peers` in its top-level `KNOWN_PEERS`, after those that are there, sorted, none twice.
///
/// A list that is missing is put after the last key of the top level, and so before the first table and the comments
/// above that; where there is no such key, at the very beginning. With nothing to add the text comes back as it is.
///
/// # Errors
/// [`Unmergeable`] where stellar-core would refuse the text as it is.
pub fn merge(config: &str, peers: &BTreeSet<PeerAddress>) -> Result<Merged, Unmergeable> {
    let document = Document::parse(config).map_err(|error| NotToml::new(config, &error))?;
    let root = document.as_table();
    if let Some(table) = table_with_list(root) {
        return Err(Unmergeable::InTable(table));
    }
    let list = match root.get(KNOWN_PEERS) {
        Some(item) => Some(item.as_array().ok_or(Unmergeable::NotAList)?),
        None => None,
    };
    let known = known(list)?;
    let new: Vec<&PeerAddress> = peers.iter().filter(|peer| !known.contains(peer)).collect();
    let text = match list {
        _ if new.is_empty() => config.to_owned(),
        Some(list) => extended(config, list, &new),
        None => inserted(config, root, &new),
    };
    let added = new.len();
    Ok(Merged { text, added })
}

/// The first table below the top level that has a list, as its header names it.
fn table_with_list(table: &dyn TableLike) -> Option<String> {
    table.iter().find_map(|(key, item)| {
        let has_list = |table: &dyn TableLike| {
            let own = table.contains_key(KNOWN_PEERS).then(|| shown(key));
            own.or_else(|| Some(format!("{}.{}", shown(key), table_with_list(table)?)))
        };
        match item {
            Item::ArrayOfTables(tables) => tables.iter().find_map(|table| has_list(table)),
            item => has_list(item.as_table_like()?),
        }
    })
}

fn shown(key: &str) -> String {
    short(key, SHOWN_CHARS)
}

/// What the list has already, as stellar-core understands it. What it skips is none of our addresses.
fn known(list: Option<&Array>) -> Result<BTreeSet<PeerAddress>, Unmergeable> {
    let entries = list.into_iter().flat_map(Array::iter).enumerate();
    let texts = entries.map(|(index, entry)| entry.as_str().ok_or(Unmergeable::NotText(index + 1)));
    texts
        .filter_map(|text| text.map(address_of).transpose())
        .collect()
}

/// An entry by hand may leave the port out. One that stellar-core would skip is not that peer: it has at most five
/// digits for a port, and no sign.
fn address_of(entry: &str) -> Option<PeerAddress> {
    let Some((_, port)) = entry.rsplit_once(':') else {
        return PeerAddress::parse(&format!("{entry}:{DEFAULT_PEER_PORT}")).ok();
    };
    let is_port = port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    PeerAddress::parse(entry).ok().filter(|_| is_port)
}

/// A statement of its own.
fn inserted(config: &str, root: &Table, new: &[&PeerAddress]) -> String {
    let newline = newline_of(config);
    let mut statement = format!("{KNOWN_PEERS} = [{newline}");
    for peer in new {
        statement.extend(["  \"", &peer.to_string(), "\",", newline]);
    }
    statement.push(']');
    let rest_of_line = |end: usize| config[end..].find('\n').map(|newline| end + newline + 1);
    match last_value_of_top_level(root).map(rest_of_line) {
        None => {
            let has_mark = config.starts_with(BYTE_ORDER_MARK);
            let at = if has_mark { BYTE_ORDER_MARK.len() } else { 0 };
            spliced(config, &[(at, format!("{statement}{newline}"))])
        }
        Some(Some(at)) => spliced(config, &[(at, format!("{statement}{newline}"))]),
        Some(None) => spliced(config, &[(config.len(), format!("{newline}{statement}"))]),
    }
}

/// Where the last value ends that stands before all tables. A dotted key makes a table without a header.
fn last_value_of_top_level(table: &Table) -> Option<usize> {
    let end = |(_, item): (&str, &Item)| match item {
        Item::Value(value) => value.span().map(|span| span.end),
        Item::Table(table) if table.is_dotted() => last_value_of_top_level(table),
        _ => None,
    };
    table.iter().filter_map(end).max()
}

/// Entries behind those of a list: on lines of their own where its last bracket stands on one.
fn extended(config: &str, list: &Array, new: &[&PeerAddress]) -> String {
    let bracket = list.span().expect("a parsed list has its place").end - 1;
    let last = list.iter().filter_map(toml_edit::Value::span).last();
    let tail = tail_of(list, last.as_ref(), bracket);
    let mut splices = Vec::new();
    if let Some(line_break) = config[tail.clone()].rfind('\n') {
        let newline = newline_of(config);
        let at = tail.start + line_break;
        let at = if config[..at].ends_with('\r') {
            at - 1
        } else {
            at
        };
        let indent = last
            .as_ref()
            .map_or("  ", |last| indent_of(config, last.start));
        let entries: Vec<String> = new
            .iter()
            .map(|it| format!("{newline}{indent}\"{it}\""))
            .collect();
        let mut text = entries.join(",");
        if list.trailing_comma() {
            text.push(',');
        } else if let Some(last) = last {
            splices.push((last.end, ",".to_owned()));
        }
        splices.push((at, text));
    } else {
        let entries: Vec<String> = new.iter().map(|it| format!("\"{it}\"")).collect();
        let entries = entries.join(", ");
        splices.push(match last {
            Some(last) => (last.end, format!(", {entries}")),
            None => (tail.start, entries),
        });
    }
    spliced(config, &splices)
}

/// What stands between the last entry, and a comma behind it, and the closing bracket: white space and comments.
fn tail_of(list: &Array, last: Option<&Range<usize>>, bracket: usize) -> Range<usize> {
    let opening = list.span().map_or(bracket, |span| span.start + 1);
    let start = match last {
        None => opening,
        Some(_) if list.trailing_comma() => list.trailing().span().map_or(bracket, |it| it.start),
        Some(last) => last.end,
    };
    start..bracket
}

/// What stands before an entry on its line, where that is white space alone.
fn indent_of(config: &str, entry: usize) -> &str {
    let before = &config[..entry];
    let line = before
        .rfind('\n')
        .map_or(before, |newline| &before[newline + 1..]);
    let is_space = |c: char| c == ' ' || c == '\t';
    if line.chars().all(is_space) {
        line
    } else {
        "  "
    }
}

/// The line break that the text uses; where it has none, that of Unix.
fn newline_of(config: &str) -> &'static str {
    let first = config.find('\n');
    if first.is_some_and(|at| config[..at].ends_with('\r')) {
        "\r\n"
    } else {
        "\n"
    }
}

/// The text with others put in at these places, which are in order.
fn spliced(text: &str, splices: &[(usize, String)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for (at, new) in splices {
        out.push_str(&text[from..*at]);
        out.push_str(new);
        from = *at;
    }
    out.push_str(&text[from..]);
    out
}
