//! Whether one more validator may go down, by what all the others declare.

use std::collections::{BTreeMap, BTreeSet};

use super::{Directory, Entry, Fingerprint, Level, NodeName, QuorumSet};

/// The quorum sets of a network's members, matched with the validators that they mean.
///
/// Made once a pass. Sets that are equal are matched, and later judged, once for all their members.
///
/// # Assumptions
/// Whoever declares a set is in the directory; one who isn't never counts as down.
#[derive(Clone, Debug)]
pub struct Resolved<'a> {
    directory: &'a Directory<'a>,
    /// Sorted by name.
    members: Vec<Member<'a>>,
    sets: Vec<Set>,
}

/// Who declares which set.
#[derive(Clone, Debug)]
struct Member<'a> {
    name: &'a NodeName,
    /// Its place in the directory.
    place: Option<usize>,
    /// Its set's place among the different ones.
    set: usize,
}

#[derive(Clone, Debug)]
struct Set {
    top: Level<Slot>,
    /// `$self` occurs in it.
    names_own: bool,
    unmapped: BTreeSet<String>,
}

/// Whom an entry means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    /// Whoever declares the set.
    Own,
    /// A validator, by its place in the directory.
    Place(usize),
    /// We can't tell: counts as up.
    Nobody,
}

/// The quorum sets while some are down, for many questions about one more.
#[derive(Clone, Debug)]
pub struct WhileDown<'a> {
    directory: &'a Directory<'a>,
    /// By place in the directory.
    is_down: Vec<bool>,
    alike: Vec<Alike<'a>>,
}

/// Members whose sets are equal and are met, or not, together: they are judged once for all.
#[derive(Clone, Debug)]
struct Alike<'a> {
    set: &'a Set,
    /// Whether `$self` is up.
    is_own_up: bool,
    /// By name.
    first: &'a NodeName,
    second: Option<&'a NodeName>,
}

/// Whether the others' quorum sets bear it that a validator goes down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tolerance {
    /// All of them.
    Tolerated,
    /// Not now: with those that are down already it would be too many for at least this member, the first by name.
    Exceeded {
        /// Whose set it is.
        of: NodeName,
    },
    /// Never: even with all others up at least this member, the first by name, can't go on without that validator.
    Zero {
        /// Whose set it is.
        of: NodeName,
    },
}

/// [`Tolerance`] by one set.
#[derive(Clone, Copy)]
enum Judgement {
    Tolerated,
    Exceeded,
    Zero,
}

impl Set {
    fn new(set: &QuorumSet, directory: &Directory<'_>) -> Self {
        let mut unmapped = BTreeSet::new();
        let mut last = 0;
        let top = set.top.map(&mut |entry| {
            let slot = match entry {
                Entry::Own => Slot::Own,
                Entry::Named(name) => directory
                    .position_after(&mut last, name)
                    .map_or(Slot::Nobody, Slot::Place),
                Entry::Key(_) => Slot::Nobody,
            };
            if slot == Slot::Nobody {
                unmapped.insert(entry.to_string());
            }
            slot
        });
        Self {
            names_own: top.any(&|slot| *slot == Slot::Own),
            top,
            unmapped,
        }
    }

    /// `is_down` by place; `is_own_up` is about the member that declares the set, another than the restarted one.
    fn judge(&self, restarted: Option<usize>, is_down: &[bool], is_own_up: bool) -> Judgement {
        let holds_now = self.top.is_satisfied(&|slot| match *slot {
            Slot::Own => is_own_up,
            Slot::Place(place) => !is_down[place] && Some(place) != restarted,
            Slot::Nobody => true,
        });
        // Whoever can do without all of these can do without one of them.
        if holds_now {
            return Judgement::Tolerated;
        }
        let holds_alone = self.top.is_satisfied(&|slot| match *slot {
            Slot::Place(place) => Some(place) != restarted,
            Slot::Own | Slot::Nobody => true,
        });
        if holds_alone {
            Judgement::Exceeded
        } else {
            Judgement::Zero
        }
    }
}

impl<'a> Resolved<'a> {
    /// Matches the declared sets, each by who declares it, with the validators of the directory.
    #[must_use]
    pub fn new(
        directory: &'a Directory<'a>,
        declared: impl IntoIterator<Item = (&'a NodeName, &'a QuorumSet)>,
    ) -> Self {
        let mut known: BTreeMap<&Fingerprint, usize> = BTreeMap::new();
        let mut sets = Vec::new();
        let members = declared.into_iter().map(|(name, set)| Member {
            name,
            place: directory.place(name),
            set: *known.entry(&set.fingerprint).or_insert_with(|| {
                sets.push(Set::new(set, directory));
                sets.len() - 1
            }),
        });
        let mut members: Vec<Member<'_>> = members.collect();
        members.sort_by_key(|member| member.name);
        Self {
            directory,
            members,
            sets,
        }
    }

    /// The sets while those are down that `down` names: everybody who is not up for whatever reason.
    #[must_use]
    pub fn while_down<'d>(&self, down: impl IntoIterator<Item = &'d NodeName>) -> WhileDown<'_> {
        let mut is_down = vec![false; self.directory.len()];
        for place in down.into_iter().filter_map(|it| self.directory.place(it)) {
            is_down[place] = true;
        }
        let mut alike: BTreeMap<(usize, bool), Alike<'_>> = BTreeMap::new();
        for Member { name, place, set } in &self.members {
            let is_own_up = place.is_none_or(|place| !is_down[place]) || !self.sets[*set].names_own;
            let alike = alike.entry((*set, is_own_up)).or_insert_with(|| Alike {
                set: &self.sets[*set],
                is_own_up,
                first: name,
                second: None,
            });
            if alike.first != *name {
                alike.second.get_or_insert(name);
            }
        }
        WhileDown {
            directory: self.directory,
            is_down,
            alike: alike.into_values().collect(),
        }
    }

    /// The entries of a member's set that mean nobody whom we know, sorted, each short enough for an Event.
    pub fn unmapped(&self, member: &NodeName) -> impl Iterator<Item = &str> {
        let set = self.member(member).map(|it| &self.sets[it.set]);
        set.into_iter()
            .flat_map(|set| set.unmapped.iter().map(String::as_str))
    }

    /// The validators that a member's set names, itself by `$self` included.
    #[must_use]
    pub fn names_of(&self, member: &NodeName) -> BTreeSet<&'a NodeName> {
        self.named_by(self.member(member).into_iter())
    }

    /// The validators that any member's set names: who is to be remembered when it goes.
    #[must_use]
    pub fn names(&self) -> BTreeSet<&'a NodeName> {
        self.named_by(self.members.iter())
    }

    fn named_by<'s>(
        &'s self,
        members: impl Iterator<Item = &'s Member<'a>>,
    ) -> BTreeSet<&'a NodeName> {
        let mut is_done = vec![false; self.sets.len()];
        let mut is_named = vec![false; self.directory.len()];
        let mut own = Vec::new();
        for member in members {
            let set = &self.sets[member.set];
            own.extend(set.names_own.then_some(member.name));
            if !std::mem::replace(&mut is_done[member.set], true) {
                set.top.mark(&mut is_named);
            }
        }
        let named = is_named
            .iter()
            .enumerate()
            .filter(|(_, is_named)| **is_named);
        let named = named.map(|(place, _)| self.directory.name(place));
        named.chain(own).collect()
    }

    fn member(&self, name: &NodeName) -> Option<&Member<'a>> {
        let at = self.members.binary_search_by_key(&name, |it| it.name);
        Some(&self.members[at.ok()?])
    }
}

impl WhileDown<'_> {
    /// Whether `restarted` may go down as well, by what all *other* members declare. It may be down already.
    ///
    /// That a set can't hold now outweighs that another never can.
    #[must_use]
    pub fn tolerance(&self, restarted: &NodeName) -> Tolerance {
        let place = self.directory.place(restarted);
        let (mut exceeded, mut zero) = (None, None);
        for alike in &self.alike {
            let names = [Some(alike.first), alike.second];
            let Some(other) = names.into_iter().flatten().find(|it| *it != restarted) else {
                continue;
            };
            let first_of = match alike.set.judge(place, &self.is_down, alike.is_own_up) {
                Judgement::Tolerated => continue,
                Judgement::Exceeded => &mut exceeded,
                Judgement::Zero => &mut zero,
            };
            *first_of = Some(first_of.map_or(other, |first: &NodeName| first.min(other)));
        }
        match (exceeded, zero) {
            (Some(of), _) => Tolerance::Exceeded { of: of.clone() },
            (None, Some(of)) => Tolerance::Zero { of: of.clone() },
            (None, None) => Tolerance::Tolerated,
        }
    }
}

impl Level<Slot> {
    fn mark(&self, is_named: &mut [bool]) {
        for slot in &self.entries {
            if let Slot::Place(place) = *slot {
                is_named[place] = true;
            }
        }
        self.inner.iter().for_each(|level| level.mark(is_named));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{fixtures::name, quorum::parse};

    #[test]
    fn equal_sets_are_matched_once_for_all_their_members() {
        let known = ["a", "b", "c"].map(name);
        let directory = Directory::new(&known);
        let sets = ["\"a\", \"$self\"", "\"$self\", \"a\"", "\"b\""]
            .map(|list| parse(&format!("[QUORUM_SET]\nVALIDATORS = [{list}]")));
        let sets = sets.map(|set| set.unwrap().unwrap());
        let resolved = Resolved::new(&directory, known.iter().zip(&sets));
        assert_eq!(resolved.sets.len(), 2);
    }
}
