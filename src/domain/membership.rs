//! The membership of a network and its hash, the key by which restarts are due.
//!
//! The key is who the members are and on which port, never at which address: with addresses in it each
//! restart would change the key and cause the next one.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
};

use super::{digest::short_sha256_of, node::NodeName, peer::PeerPort};

/// The members of one network of one namespace, each with its port.
pub type Members = BTreeMap<NodeName, PeerPort>;

/// `v1:` and the first 12 hex digits of SHA-256 over the members' sorted lines `name:port\n`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MembershipHash(String);

const VERSION: &str = "v1:";

/// The members of a network and their hash, for many who ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    members: Members,
    /// What a newcomer's hash is made of: of a cold network all are newcomers.
    lines: Lines,
    hash: MembershipHash,
}

impl Membership {
    /// Of these members.
    #[must_use]
    pub fn of(members: Members) -> Self {
        let lines = Lines::of(&members);
        let hash = lines.hash();
        Self {
            members,
            lines,
            hash,
        }
    }

    /// The hash once this node is one of them, on this port.
    #[must_use]
    pub fn hash_with(&self, name: &NodeName, port: PeerPort) -> MembershipHash {
        match self.members.get(name) {
            Some(present) if *present == port => self.hash.clone(),
            Some(_) => {
                let others = self.members.iter().filter(|(other, _)| *other != name);
                Lines::of(others.chain([(name, &port)])).hash()
            }
            None => self.lines.hash_with(name, port),
        }
    }

    /// The members, each with its port.
    #[must_use]
    pub const fn members(&self) -> &Members {
        &self.members
    }

    /// The hash as it is.
    #[must_use]
    pub const fn hash(&self) -> &MembershipHash {
        &self.hash
    }
}

impl Default for Membership {
    fn default() -> Self {
        Self::of(Members::new())
    }
}

impl MembershipHash {
    /// The hash of these members.
    #[must_use]
    pub fn of(members: &Members) -> Self {
        Lines::of(members).hash()
    }

    fn of_text(parts: &[&str]) -> Self {
        let hex = short_sha256_of(parts, 6);
        Self([VERSION, &hex].concat())
    }

    /// Reads a hash of a version that we know.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        text.starts_with(VERSION).then(|| Self(text.to_owned()))
    }

    /// The hash as it stands in annotations.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a pod that carries `annotation` was started for another membership than this.
    ///
    /// A version that we don't know may mean the same members: it never makes anybody restart.
    #[must_use]
    pub fn differs_from(&self, annotation: &str) -> bool {
        annotation.starts_with(VERSION) && annotation != self.0
    }
}

/// The sorted lines of a membership: what they and those of one newcomer come to, for many newcomers.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lines {
    /// All of them, one after the other.
    text: String,
    /// Where each begins.
    starts: Vec<usize>,
}

impl Lines {
    /// The lines of these members.
    fn of<'a>(members: impl IntoIterator<Item = (&'a NodeName, &'a PeerPort)>) -> Self {
        let mut members: Vec<_> = members.into_iter().collect();
        // By name, but for the colon that ends it: it sorts after digits, dots and hyphens.
        members.sort_by(|(a, _), (b, _)| until_port(a).cmp(until_port(b)));
        let mut text = String::new();
        let starts = members.into_iter().map(|(name, port)| {
            let start = text.len();
            add_line(&mut text, name, *port);
            start
        });
        Self {
            starts: starts.collect(),
            text,
        }
    }

    /// The hash of these members.
    fn hash(&self) -> MembershipHash {
        MembershipHash::of_text(&[&self.text])
    }

    /// The hash of these members and one who is not among them.
    fn hash_with(&self, name: &NodeName, port: PeerPort) -> MembershipHash {
        let mut new = String::with_capacity(name.as_str().len() + ":65535\n".len());
        add_line(&mut new, name, port);
        // What begins with a smaller line is smaller: no line begins another.
        let before = |start: &usize| self.text[*start..] < *new;
        let next = self.starts.partition_point(before);
        let cut = self.starts.get(next).copied().unwrap_or(self.text.len());
        let (head, tail) = self.text.split_at(cut);
        MembershipHash::of_text(&[head, &new, tail])
    }
}

fn add_line(text: &mut String, name: &NodeName, port: PeerPort) {
    writeln!(text, "{name}:{port}").expect("a String takes all");
}

/// The beginning of a member's line, up to its port.
fn until_port(name: &NodeName) -> impl Iterator<Item = u8> {
    name.as_str().bytes().chain([b':'])
}

impl fmt::Display for MembershipHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members(names: &[(&str, i64)]) -> Members {
        let member = |&(name, port)| (NodeName::new(name).unwrap(), PeerPort::new(port).unwrap());
        names.iter().map(member).collect()
    }

    #[test]
    fn the_hash_is_the_one_of_the_contract() {
        // printf 'validator-1:11625\nvalidator-2:11625\n' | sha256sum
        let two = members(&[("validator-2", 11625), ("validator-1", 11625)]);
        assert_eq!(MembershipHash::of(&two).as_str(), "v1:ede2544d62b9");
        // printf '' | sha256sum
        assert_eq!(
            MembershipHash::of(&Members::new()).as_str(),
            "v1:e3b0c44298fc"
        );
    }

    #[test]
    fn lines_are_sorted_as_lines_where_one_name_begins_another() {
        // printf 'a-b:1\na:1\n' | sha256sum: '-' sorts before ':'.
        assert_eq!(
            MembershipHash::of(&members(&[("a", 1), ("a-b", 1)])).as_str(),
            "v1:16b86d883248"
        );
    }

    #[test]
    fn a_hash_of_an_unknown_version_is_never_another() {
        let hash = MembershipHash::of(&Members::new());
        assert!(!hash.differs_from("v2:000000000000"));
        assert!(!hash.differs_from(hash.as_str()));
        assert!(hash.differs_from("v1:000000000000"));
    }

    proptest! {
        #[test]
        fn a_newcomer_is_hashed_as_if_it_had_been_among_them(names in prop::collection::btree_set("[a-c]([.-]?[a-c]){0,2}", 1..8)) {
            let all: Vec<_> = names.iter().map(|name| (name.as_str(), 11625)).collect();
            for newcomer in &all {
                let others: Vec<_> = all.iter().copied().filter(|it| it != newcomer).collect();
                let (name, port) = (NodeName::new(newcomer.0).unwrap(), PeerPort::DEFAULT);
                let hash = Lines::of(&members(&others)).hash_with(&name, port);
                prop_assert_eq!(hash, MembershipHash::of(&members(&all)));
            }
        }

        #[test]
        fn a_membership_with_one_more_has_the_hash_of_all_of_them(ports in prop::collection::vec(1_i64..4, 1..5), port in 1_i64..4) {
            let names = ["a", "b", "c", "d"];
            let mut all: Vec<(&str, i64)> = names.into_iter().zip(ports).collect();
            let membership = Membership::of(members(&all));
            prop_assert_eq!(membership.hash(), &MembershipHash::of(&members(&all)));
            let (name, number) = (NodeName::new("b").unwrap(), PeerPort::new(port).unwrap());
            let hash = membership.hash_with(&name, number);
            all.push(("b", port));
            prop_assert_eq!(hash, MembershipHash::of(&members(&all)));
        }

        #[test]
        fn a_membership_is_hashed_over_its_sorted_lines(names in prop::collection::btree_set("[a-b0-1]([.-]?[a-b0-1]){0,3}", 0..12)) {
            let named: Vec<_> = names.iter().map(|name| (name.as_str(), 11625)).collect();
            let mut lines: Vec<_> = names.iter().map(|name| format!("{name}:11625\n")).collect();
            lines.sort();
            prop_assert_eq!(Lines::of(&members(&named)).text, lines.concat());
        }

        #[test]
        fn another_port_or_another_member_is_another_hash(port in 1_i64..65535) {
            let one = MembershipHash::of(&members(&[("a", port)]));
            prop_assert_ne!(&one, &MembershipHash::of(&members(&[("a", port + 1)])));
            prop_assert_ne!(&one, &MembershipHash::of(&members(&[("a", port), ("b", port)])));
        }
    }
}
