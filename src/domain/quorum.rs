//! What each validator's quorum set says: who has to be up so that it goes on.
//!
//! A set is read from the text that its StellarNode declares ([`parse()`]), its entries are matched with the
//! namespace's validators by a [`Directory`], and [`Resolved`] answers whether one more validator may go down.
//!
//! # Guarantees
//! - Whatever we can't match counts as up: we know nothing of it, and it must not stop the network's upkeep. The
//!   caller tells of it ([`Resolved::unmapped`]).
//! - Depth and number of entries are bounded as stellar-core bounds them, so no text can exhaust the stack.

mod directory;
mod parse;
mod resolved;
#[cfg(test)]
mod tests;

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};

pub use self::{
    directory::Directory,
    parse::{UnreadableQuorumSet, parse},
    resolved::{Resolved, Tolerance, WhileDown},
};
use super::{
    foreign::{SHOWN_CHARS, short},
    node::NodeName,
};

/// How much of a public key does.
const SHOWN_KEY_CHARS: usize = 8;

/// Whom an entry of a quorum set means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entry {
    /// `$self`: the node that declares the set.
    Own,
    /// A name (`validator-2`), an alias (`$validator2`), or a public key by the name that the text gives it.
    Named(String),
    /// A public key that the text gives no name.
    Key(String),
}

/// Short enough for an Event: a public key as its first 8 characters.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("$self"),
            Self::Named(name) => f.write_str(&short(name, SHOWN_CHARS)),
            Self::Key(key) => f.write_str(&short(key, SHOWN_KEY_CHARS)),
        }
    }
}

/// A quorum set as stellar-core reads it.
///
/// Two sets are equal where they name the same with the same thresholds, in whatever order; which is compared by
/// their fingerprint, so that a thousand large sets cost no more than a thousand small ones.
#[derive(Clone, Debug)]
pub struct QuorumSet {
    top: Level<Entry>,
    fingerprint: Fingerprint,
}

/// SHA-256 over all that a set says.
type Fingerprint = [u8; 32];

impl QuorumSet {
    fn new(mut top: Level<Entry>) -> Self {
        top.sort();
        let mut sum = Context::new(&SHA256);
        top.feed(&mut sum);
        let mut fingerprint = Fingerprint::default();
        fingerprint.copy_from_slice(sum.finish().as_ref());
        Self { top, fingerprint }
    }

    /// Whether node `own`, which declares this set, can go on while those are up that `is_up` says.
    ///
    /// An entry that means nobody in the directory counts as up. For many questions about many sets, see [`Resolved`].
    #[must_use]
    pub fn is_satisfied(
        &self,
        own: &NodeName,
        directory: &Directory<'_>,
        is_up: impl Fn(&NodeName) -> bool,
    ) -> bool {
        self.top.is_satisfied(&|entry| match entry {
            Entry::Own => is_up(own),
            Entry::Named(name) => directory.find(name).is_none_or(&is_up),
            Entry::Key(_) => true,
        })
    }
}

impl PartialEq for QuorumSet {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for QuorumSet {}

/// One level of a set: so many of its entries and inner sets have to hold.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Level<T> {
    threshold: usize,
    entries: Vec<T>,
    inner: Vec<Level<T>>,
}

impl<T> Level<T> {
    /// Source: stellar-core `LocalNode::isQuorumSliceInternal`.
    fn is_satisfied(&self, is_up: &impl Fn(&T) -> bool) -> bool {
        let up = self.entries.iter().filter(|entry| is_up(entry)).count();
        let holds = |level: &&Self| level.is_satisfied(is_up);
        up >= self.threshold || up + self.inner.iter().filter(holds).count() >= self.threshold
    }

    /// The same shape with other entries.
    fn map<'a, U>(&'a self, entry: &mut impl FnMut(&'a T) -> U) -> Level<U> {
        Level {
            threshold: self.threshold,
            entries: self.entries.iter().map(&mut *entry).collect(),
            inner: self.inner.iter().map(|level| level.map(entry)).collect(),
        }
    }

    fn any(&self, is_it: &impl Fn(&T) -> bool) -> bool {
        self.entries.iter().any(is_it) || self.inner.iter().any(|level| level.any(is_it))
    }
}

impl Level<Entry> {
    /// The order in which things are listed means nothing.
    fn sort(&mut self) {
        self.entries.sort_unstable();
        self.inner.iter_mut().for_each(Self::sort);
        self.inner.sort_unstable();
    }

    /// Everything with its length before it, so that no two sets read alike.
    fn feed(&self, sum: &mut Context) {
        for count in [self.threshold, self.entries.len(), self.inner.len()] {
            sum.update(&count.to_le_bytes());
        }
        for entry in &self.entries {
            let (kind, text) = match entry {
                Entry::Own => (b"o", ""),
                Entry::Named(name) => (b"n", name.as_str()),
                Entry::Key(key) => (b"k", key.as_str()),
            };
            sum.update(kind);
            sum.update(&text.len().to_le_bytes());
            sum.update(text.as_bytes());
        }
        self.inner.iter().for_each(|level| level.feed(sum));
    }
}
