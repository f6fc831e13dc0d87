//! What the certificates in the Secret need next, and why. Pure: the shell reads, asks here, and writes.
//!
//! A CA is replaced with an overlap: it joins the bundle ([`Step::AddAuthority`]), the registration is given the whole
//! bundle ([`bundle_for`]), and only once every webhook has been seen to trust the new CA for a while does it sign the
//! leaf ([`Step::IssueLeaf`] with [`Why::Published`]). The old one leaves ([`Step::DropAuthorities`]) when no replica
//! can serve its leaf any more, and leaves the registration with that.
//!
//! *Guarantees*, however steps of several replicas and crashes fall between each other: the leaf that is served is
//! signed by a CA that the registration trusts, and it has not ended. They end where nobody may write the registration,
//! or nobody looks for longer than a ninth of a leaf's life.
//!
//! *Assumptions*: replicas see a change of the Secret within a third of a leaf's life, and the API server takes up a
//! change of the registration within [`Lifetimes::grace`].

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use jiff::Timestamp;

use super::AuthorityId;
use crate::domain::{Moment, Now};

/// The longest that an API server takes to take up a changed registration.
const GRACE_MAX: Duration = Duration::from_secs(30);
/// Somebody may set the clock: look at it at least this often.
const LOOK_MAX: Duration = Duration::from_hours(1);

/// For how long certificates are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// The serving certificate's. It is renewed when a third is left.
    pub leaf: Duration,
    /// The CA's, at least three times that: what is left of it when it is renewed outlives any leaf of it.
    pub authority: Duration,
}

impl Lifetimes {
    /// How long a webhook must have been seen to trust a CA before that signs the leaf.
    #[must_use]
    pub fn grace(&self) -> Duration {
        GRACE_MAX.min(self.leaf / 6)
    }

    /// A leaf with less than this left is due.
    fn due(&self) -> Duration {
        self.leaf / 3
    }

    /// A leaf of this age has reached every replica.
    fn settled(&self) -> Duration {
        self.leaf / 3
    }

    /// With less than this left, a leaf that nobody trusts yet is better than one that ends.
    fn last_resort(&self) -> Duration {
        self.leaf / 9
    }
}

/// A leaf that can serve, signed by a CA of the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf {
    /// Who signed it.
    pub signer: AuthorityId,
    /// When it was made.
    pub issued: Timestamp,
    /// Its last instant.
    pub ends: Timestamp,
    /// Whether it is for all names by which the API server calls.
    pub has_names: bool,
}

/// What the Secret holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// The CAs of `ca.crt`, and the last instant of each.
    pub bundle: BTreeMap<AuthorityId, Timestamp>,
    /// The one whose key is `ca.key`.
    pub signer: Option<AuthorityId>,
    /// The one whose key is `ca-next.key`.
    pub next: Option<AuthorityId>,
    /// `tls.crt` with `tls.key`.
    pub leaf: Option<Leaf>,
    /// Whether there is anything at all in place of a leaf.
    pub is_empty: bool,
}

/// The CAs that every webhook of ours was seen to trust, without a break since when. Empty where nobody knows.
pub type Trust = BTreeMap<AuthorityId, Moment>;

/// What the Secret needs next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this instant, unless something changes.
    Keep {
        /// When to look again.
        look_again_at: Timestamp,
    },
    /// A new CA and a leaf of it: nothing that is there can be used.
    Found(Why),
    /// A new CA that signs nothing yet.
    AddAuthority(Why),
    /// A new leaf.
    IssueLeaf {
        /// Who signs this and the next ones.
        by: AuthorityId,
        /// What for.
        why: Why,
    },
    /// These CAs are trusted no longer.
    DropAuthorities(BTreeSet<AuthorityId>),
}

/// Why a step is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The Secret is missing or empty.
    FirstStart,
    /// The pair is not readable, its halves do not belong together, or no CA of the bundle signed it.
    Unusable,
    /// It is past its end.
    Ended,
    /// It is not for the names by which the API server calls.
    NamesMissing,
    /// Its end is near.
    Due,
    /// There is no key that could sign the next one.
    NoKey,
    /// Its CA is trusted by every webhook now.
    Published,
    /// Its CA is not trusted everywhere yet, and the old leaf ends.
    LastResort,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FirstStart => "there was none",
            Self::Unusable => "what was there cannot be used",
            Self::Ended => "the old one ended",
            Self::NamesMissing => "the old one lacks a name by which the API server calls",
            Self::Due => "the old one ends soon",
            Self::NoKey => "the key of the old one is not there",
            Self::Published => "every webhook trusts its CA now",
            Self::LastResort => {
                "the old one ends, though not every webhook trusts the CA of the new one"
            }
        })
    }
}

/// Decides. `trust` may be older than the Secret, but never the other way round where it counts: what it misses is
/// waited for.
#[must_use]
pub fn next_step(held: &Held, trust: &Trust, lifetimes: &Lifetimes, now: Now) -> Step {
    let rotation = Rotation {
        held,
        trust,
        lifetimes,
        now,
    };
    match held.leaf.and_then(|leaf| rotation.alive(leaf)) {
        None => rotation.replace_leaf(),
        Some((leaf, _)) if !leaf.has_names => rotation.reissue(Why::NamesMissing),
        Some((leaf, ends)) => match rotation.heir() {
            None => Step::AddAuthority(Why::NoKey),
            Some(heir) if heir == leaf.signer => rotation.settled(leaf, ends, heir),
            Some(heir) => rotation.overlap(leaf, ends, heir),
        },
    }
}

/// What one webhook is to trust, given what it trusts: the whole bundle, and where a replica could still serve a leaf
/// from before, as after the Secret was lost, what was trusted before.
#[must_use]
pub fn bundle_for(
    held: &Held,
    published: &BTreeMap<AuthorityId, Timestamp>,
    lifetimes: &Lifetimes,
    now: Timestamp,
) -> BTreeSet<AuthorityId> {
    let is_settled = held
        .leaf
        .is_some_and(|leaf| after(leaf.issued, lifetimes.settled()) <= now);
    let kept = published
        .iter()
        .filter(|(_, ends)| !is_settled && now < **ends);
    held.bundle
        .keys()
        .chain(kept.map(|(id, _)| id))
        .copied()
        .collect()
}

/// Whether a replica that serves one leaf takes up another: at once, unless the registration trusts the first and not
/// the second, or the second one has ended, as after a rollback.
#[must_use]
pub fn is_taken_up(
    serving: Option<&Leaf>,
    candidate: &Leaf,
    trust: &Trust,
    lifetimes: &Lifetimes,
    now: Now,
) -> bool {
    serving.is_none_or(|serving| {
        let is_better = serving.signer == candidate.signer
            || !trust.contains_key(&serving.signer)
            || is_trusted(trust, candidate.signer, lifetimes, now);
        now.wall >= serving.ends || (is_better && now.wall < candidate.ends)
    })
}

fn is_trusted(trust: &Trust, id: AuthorityId, lifetimes: &Lifetimes, now: Now) -> bool {
    trust
        .get(&id)
        .is_some_and(|since| now.moment.since(*since) >= lifetimes.grace())
}

struct Rotation<'a> {
    held: &'a Held,
    trust: &'a Trust,
    lifetimes: &'a Lifetimes,
    now: Now,
}

impl Rotation<'_> {
    /// Leaf and its real end, which is its CA's where that comes first; none where that is over.
    fn alive(&self, leaf: Leaf) -> Option<(Leaf, Timestamp)> {
        let ends = leaf.ends.min(*self.held.bundle.get(&leaf.signer)?);
        (self.now.wall < ends).then_some((leaf, ends))
    }

    fn ends(&self, id: AuthorityId) -> Timestamp {
        self.held.bundle.get(&id).copied().unwrap_or(Timestamp::MIN)
    }

    /// A CA that has enough of its life left to sign anything.
    fn able(&self, id: Option<AuthorityId>) -> Option<AuthorityId> {
        id.filter(|id| !self.is_within(self.ends(*id), self.lifetimes.last_resort()))
    }

    /// The CA that is to sign from now on.
    fn heir(&self) -> Option<AuthorityId> {
        self.able(self.held.next).or(self.able(self.held.signer))
    }

    /// Whether this instant is past, or not further away than this.
    fn is_within(&self, at: Timestamp, time: Duration) -> bool {
        at <= after(self.now.wall, time)
    }

    /// Whether a leaf of this CA would end notably later than this.
    fn extends(&self, by: AuthorityId, ends: Timestamp) -> bool {
        let new = after(self.now.wall, self.lifetimes.leaf).min(self.ends(by));
        new >= after(ends, self.lifetimes.last_resort())
    }

    fn replace_leaf(&self) -> Step {
        self.reissue(match self.held.leaf {
            Some(_) => Why::Ended,
            None if self.held.is_empty => Why::FirstStart,
            None => Why::Unusable,
        })
    }

    /// A leaf at once, by a CA that is trusted already where there is one.
    fn reissue(&self, why: Why) -> Step {
        let able = [self.able(self.held.signer), self.able(self.held.next)];
        let mut able = able.into_iter().flatten();
        let first = able.clone().next();
        let trusted = able.find(|id| self.trust.contains_key(id));
        match trusted.or(first) {
            Some(by) => Step::IssueLeaf { by, why },
            None => Step::Found(why),
        }
    }

    /// The CA that signs has signed the leaf.
    fn settled(&self, leaf: Leaf, ends: Timestamp, heir: AuthorityId) -> Step {
        let Lifetimes { authority, .. } = *self.lifetimes;
        if self.is_within(self.ends(heir), authority / 3) {
            return Step::AddAuthority(Why::Due);
        }
        if self.is_within(ends, self.lifetimes.due()) && self.extends(heir, ends) {
            let why = Why::Due;
            return Step::IssueLeaf { by: heir, why };
        }
        let reached_all = after(leaf.issued, self.lifetimes.settled());
        let others = self.held.bundle.iter().filter(|(id, _)| **id != heir);
        let old: BTreeSet<_> = others
            .clone()
            .filter(|(_, ends)| self.now.wall >= reached_all.min(**ends))
            .map(|(id, _)| *id)
            .collect();
        if !old.is_empty() {
            return Step::DropAuthorities(old);
        }
        let drop_at = others.map(|(_, ends)| reached_all.min(*ends));
        self.keep(drop_at.chain([
            before(ends, self.lifetimes.due()),
            before(self.ends(heir), authority / 3),
        ]))
    }

    /// Another CA is to sign than has signed the leaf.
    fn overlap(&self, leaf: Leaf, ends: Timestamp, heir: AuthorityId) -> Step {
        let issue = |by, why| Step::IssueLeaf { by, why };
        if is_trusted(self.trust, heir, self.lifetimes, self.now) {
            return issue(heir, Why::Published);
        }
        let signer = self.held.signer.filter(|signer| *signer == leaf.signer);
        if let Some(signer) = signer
            && self.is_within(ends, self.lifetimes.due())
            && self.extends(signer, ends)
        {
            return issue(signer, Why::Due);
        }
        if self.is_within(ends, self.lifetimes.last_resort()) {
            return issue(heir, Why::LastResort);
        }
        let published_at = self.trust.get(&heir).map(|since| {
            let passed = self.now.moment.since(*since);
            after(self.now.wall, self.lifetimes.grace().saturating_sub(passed))
        });
        self.keep(published_at.into_iter().chain([
            before(ends, self.lifetimes.due()),
            before(ends, self.lifetimes.last_resort()),
        ]))
    }

    fn keep(&self, times: impl IntoIterator<Item = Timestamp>) -> Step {
        let to_come = times.into_iter().filter(|at| *at > self.now.wall);
        let latest = after(self.now.wall, LOOK_MAX);
        Step::Keep {
            look_again_at: to_come.fold(latest, Timestamp::min),
        }
    }
}

fn after(at: Timestamp, time: Duration) -> Timestamp {
    at.checked_add(time).unwrap_or(Timestamp::MAX)
}

fn before(at: Timestamp, time: Duration) -> Timestamp {
    at.checked_sub(time).unwrap_or(Timestamp::MIN)
}

#[cfg(test)]
mod tests;
