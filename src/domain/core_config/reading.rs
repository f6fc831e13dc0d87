//! Reads a configuration for its peers as stellar-core does: what tests hold a rendered file against.
//!
//! It shares nothing with the code that merges but the parser of TOML, which is stricter than stellar-core's cpptoml in
//! what a list may hold and more lenient in nothing that a list of texts needs.
//!
//! Source: stellar-core `Config::processConfig`, `readStringArray` and `PeerBareAddress::resolve`. Unlike stellar-core
//! it looks at no other key, resolves no name and doesn't add the `ADDRESS` of `[[VALIDATORS]]`.

use std::net::Ipv4Addr;

use toml_edit::{Document, Item, TableLike, Value};

use crate::domain::NotToml;

/// Why stellar-core would not start with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No TOML. A key that stands twice is no TOML either.
    #[error(transparent)]
    NotToml(#[from] NotToml),
    /// `KNOWN_PEERS` is something else than a list.
    #[error("KNOWN_PEERS must be an array")]
    NotAnArray,
    /// An entry is no text.
    #[error("invalid element of KNOWN_PEERS")]
    InvalidElement,
    /// No table has such a key, so it is an unknown one there.
    #[error("unknown entry KNOWN_PEERS in {0}")]
    Unknown(String),
}

/// The peers that stellar-core dials by `KNOWN_PEERS`, in its order, each as `host:port`. What it would log and skip
/// is left out. A text without the key has none.
///
/// # Errors
/// [`Refused`] where stellar-core would not start.
pub fn read_known_peers(config: &str) -> Result<Vec<String>, Refused> {
    let document = Document::parse(config).map_err(|error| NotToml::new(config, &error))?;
    let mut found = None;
    for (key, item) in document.iter() {
        if key == "KNOWN_PEERS" {
            found = Some(item);
        } else if has_the_key(item) {
            return Err(Refused::Unknown(key.to_owned()));
        }
    }
    let Some(item) = found else {
        return Ok(Vec::new());
    };
    let Item::Value(Value::Array(array)) = item else {
        return Err(Refused::NotAnArray);
    };
    let mut peers = Vec::new();
    for entry in array {
        let Value::String(text) = entry else {
            return Err(Refused::InvalidElement);
        };
        peers.extend(dialled(text.value()));
    }
    Ok(peers)
}

fn has_the_key(item: &Item) -> bool {
    let in_table = |table: &dyn TableLike| {
        let mut keys = table.iter();
        keys.any(|(key, item)| key == "KNOWN_PEERS" || has_the_key(item))
    };
    match item {
        Item::ArrayOfTables(tables) => tables.iter().any(|table| in_table(table)),
        item => item.as_table_like().is_some_and(in_table),
    }
}

/// stellar-core's pattern is an IPv4 address or a name of ASCII letters, digits, `.` and `-`, and a port of up to five
/// digits where there is one.
fn dialled(entry: &str) -> Option<String> {
    let (host, port) = entry.split_once(':').unwrap_or((entry, "11625"));
    let in_name = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    if host.is_empty() || !host.chars().all(in_name) {
        return None;
    }
    let quad =
        host.chars().all(|c| c.is_ascii_digit() || c == '.') && host.matches('.').count() == 3;
    if quad && host.parse::<Ipv4Addr>().is_err() {
        return None;
    }
    let has_digits = (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
    let port = port.parse::<u16>().ok().filter(|_| has_digits)?;
    (port != 0).then(|| format!("{host}:{port}"))
}
