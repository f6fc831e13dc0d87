//! Reading the stellar-core configuration that a StellarNode declares.
//!
//! Source of what counts: stellar-core `Config::loadQset`, `Config::parseNodeID` and `isQuorumSetSane`. We take more
//! than it does, a bare name as an entry, because the operator's own examples have them.

use std::collections::BTreeMap;

use toml_edit::{Document, Item, Table, TableLike};

use super::{Entry, Level, QuorumSet, SHOWN_CHARS, short};
use crate::domain::foreign::NotToml;

/// A whole Kubernetes object is hardly larger.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Levels below the outermost. Source: stellar-core `MAXIMUM_QUORUM_NESTING_LEVEL`.
const NESTING_MAX: usize = 4;

/// Validators in all levels together. Source: stellar-core `QuorumSetSanityChecker`.
const ENTRIES_MAX: usize = 1000;

/// Source: stellar-core `Config::loadQset`.
const THRESHOLD_PERCENT_DEFAULT: usize = 67;

const QUORUM_SET: &str = "QUORUM_SET";
const VALIDATORS: &str = "VALIDATORS";
const THRESHOLD_PERCENT: &str = "THRESHOLD_PERCENT";

/// Why a declared quorum set can't be known. Nothing helps before somebody changes the StellarNode.
///
/// It never repeats a value of the text: a configuration may hold a seed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableQuorumSet {
    /// The field holds something else.
    #[error("it is not text")]
    NotText,
    /// Larger than any configuration is.
    #[error("it is longer than 1 MiB")]
    TooLong,
    /// Not the language of stellar-core's configuration.
    #[error(transparent)]
    NotToml(#[from] NotToml),
    /// `THRESHOLD_PERCENT` or a list `VALIDATORS` before any table, where stellar-core refuses them.
    #[error("it has no [QUORUM_SET] line above THRESHOLD_PERCENT and VALIDATORS")]
    NoHeader,
    /// stellar-core makes the set itself, from more than this text says.
    #[error(
        "stellar-core makes it from [[VALIDATORS]] and [[HOME_DOMAINS]]; declare [QUORUM_SET] to have it respected"
    )]
    Generated,
    /// A key of a set is neither of the two that there are nor an inner set.
    #[error("{0} is no table")]
    NotATable(String),
    /// stellar-core refuses it as well.
    #[error("THRESHOLD_PERCENT of {0} is no whole number from 1 to 100")]
    InvalidThreshold(String),
    /// `VALIDATORS` is something else.
    #[error("VALIDATORS of {0} is no list")]
    NotAList(String),
    /// An empty entry, or one that is no text.
    #[error("an entry in VALIDATORS of {0} is no name and no public key")]
    InvalidEntry(String),
    /// It could never be satisfied.
    #[error("{0} names no validator and has no inner set")]
    Empty(String),
    /// stellar-core refuses it as well.
    #[error("{0} is nested deeper than 4 levels")]
    TooDeep(String),
    /// stellar-core refuses it as well.
    #[error("it names more than 1000 validators")]
    TooManyEntries,
}

/// The quorum set that a stellar-core configuration declares.
///
/// [`None`] where it declares none.
///
/// # Errors
/// [`UnreadableQuorumSet`] where there is a set, and we can't know it.
pub fn parse(text: &str) -> Result<Option<QuorumSet>, UnreadableQuorumSet> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(UnreadableQuorumSet::TooLong);
    }
    let document = Document::parse(text).map_err(|error| NotToml::new(text, &error))?;
    let config = document.as_table();
    let Some(item) = config.get(QUORUM_SET) else {
        return without_header(config);
    };
    let mut reader = Reader {
        names: names_of_keys(config),
        entries: 0,
    };
    let top = reader.level(item, QUORUM_SET, 0)?;
    Ok(Some(QuorumSet::new(
        top.map(&mut |entry| reader.named(entry)),
    )))
}

/// What a configuration without a `QUORUM_SET` means.
fn without_header(config: &Table) -> Result<Option<QuorumSet>, UnreadableQuorumSet> {
    let validators = config.get(VALIDATORS);
    if config.contains_key(THRESHOLD_PERCENT) || validators.is_some_and(|it| tables(it).is_none()) {
        Err(UnreadableQuorumSet::NoHeader)
    } else if validators.is_some() || config.contains_key("HOME_DOMAINS") {
        Err(UnreadableQuorumSet::Generated)
    } else {
        Ok(None)
    }
}

/// An array of tables in either of its two spellings. An empty array is one as well.
fn tables(item: &Item) -> Option<Vec<&dyn TableLike>> {
    if let Some(tables) = item.as_array_of_tables() {
        return Some(tables.iter().map(|table| table as &dyn TableLike).collect());
    }
    let tables = item.as_array()?.iter().map(|value| {
        let table = value.as_inline_table()?;
        Some(table as &dyn TableLike)
    });
    tables.collect()
}

/// The names that a configuration gives public keys outside of its quorum set.
fn names_of_keys(config: &Table) -> BTreeMap<String, String> {
    let listed = config
        .get("NODE_NAMES")
        .and_then(Item::as_array)
        .into_iter()
        .flatten()
        .filter_map(|value| key_and_name(value.as_str()?));
    let text = |table: &dyn TableLike, key| Some(table.get(key)?.as_str()?.to_owned());
    let validators = config.get(VALIDATORS).and_then(tables);
    let validators = validators
        .into_iter()
        .flatten()
        .filter_map(|table| Some((text(table, "PUBLIC_KEY")?, text(table, "NAME")?)));
    let listed = listed.map(|(key, name)| (key.to_owned(), name.to_owned()));
    validators.chain(listed).collect()
}

/// `GABC… alias`; stellar-core takes the second word, whatever follows.
fn key_and_name(text: &str) -> Option<(&str, &str)> {
    let mut words = text.split_whitespace();
    Some((words.next()?, words.next()?))
}

struct Reader {
    /// Public key to common name.
    names: BTreeMap<String, String>,
    entries: usize,
}

impl Reader {
    fn level(
        &mut self,
        item: &Item,
        path: &str,
        depth: usize,
    ) -> Result<Level<Entry>, UnreadableQuorumSet> {
        if depth > NESTING_MAX {
            return Err(UnreadableQuorumSet::TooDeep(path.to_owned()));
        }
        let Some(table) = item.as_table_like() else {
            return Err(UnreadableQuorumSet::NotATable(path.to_owned()));
        };
        let mut percent = THRESHOLD_PERCENT_DEFAULT;
        let mut entries = Vec::new();
        let mut inner = Vec::new();
        for (key, item) in table.iter() {
            match key {
                THRESHOLD_PERCENT => percent = threshold_percent(item, path)?,
                VALIDATORS => entries = self.validators(item, path)?,
                _ => {
                    let path = format!("{path}.{}", short(key, SHOWN_CHARS));
                    inner.push(self.level(item, &path, depth + 1)?);
                }
            }
        }
        let count = entries.len() + inner.len();
        if count == 0 {
            return Err(UnreadableQuorumSet::Empty(path.to_owned()));
        }
        Ok(Level {
            threshold: (count * percent).div_ceil(100),
            entries,
            inner,
        })
    }

    fn validators(&mut self, item: &Item, path: &str) -> Result<Vec<Entry>, UnreadableQuorumSet> {
        let Some(list) = item.as_array() else {
            return Err(UnreadableQuorumSet::NotAList(path.to_owned()));
        };
        self.entries += list.len();
        if self.entries > ENTRIES_MAX {
            return Err(UnreadableQuorumSet::TooManyEntries);
        }
        let entry = |value: &toml_edit::Value| self.entry(value.as_str()?);
        let entries = list.iter().map(entry).collect::<Option<_>>();
        entries.ok_or_else(|| UnreadableQuorumSet::InvalidEntry(path.to_owned()))
    }

    fn entry(&mut self, text: &str) -> Option<Entry> {
        if let Some((key, name)) = key_and_name(text).filter(|_| !text.starts_with('$')) {
            self.names.insert(key.to_owned(), name.to_owned());
            return Some(named(name));
        }
        let text = text.trim();
        let name = text.strip_prefix('$').unwrap_or(text);
        (!name.is_empty()).then(|| {
            if is_public_key(text) {
                Entry::Key(text.to_owned())
            } else {
                named(name)
            }
        })
    }

    /// A key by the name that any line of the text gives it.
    fn named(&self, entry: &Entry) -> Entry {
        match entry {
            Entry::Key(key) => self
                .names
                .get(key)
                .map_or_else(|| entry.clone(), |it| named(it)),
            Entry::Own | Entry::Named(_) => entry.clone(),
        }
    }
}

/// stellar-core has `$self` because a node's own line is, by convention, `NODE_SEED="S… self"`.
fn named(name: &str) -> Entry {
    if name == "self" {
        Entry::Own
    } else {
        Entry::Named(name.to_owned())
    }
}

/// The shape of a strkey (SEP-23) of an account; its checksum is stellar-core's affair.
fn is_public_key(text: &str) -> bool {
    let in_alphabet = |byte: u8| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte);
    text.len() == 56 && text.starts_with('G') && text.bytes().all(in_alphabet)
}

fn threshold_percent(item: &Item, path: &str) -> Result<usize, UnreadableQuorumSet> {
    item.as_integer()
        .and_then(|percent| usize::try_from(percent).ok())
        .filter(|percent| (1..=100).contains(percent))
        .ok_or_else(|| UnreadableQuorumSet::InvalidThreshold(path.to_owned()))
}
