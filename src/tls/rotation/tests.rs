use proptest::prelude::*;

use super::*;

const NOON: Timestamp = Timestamp::constant(1_800_000_000, 0);
const LIFETIMES: Lifetimes = Lifetimes {
    leaf: Duration::from_mins(15),
    authority: Duration::from_mins(45),
};

fn id(number: u8) -> AuthorityId {
    AuthorityId::numbered(number)
}

fn at(seconds: u64) -> Now {
    let passed = Duration::from_secs(seconds);
    Now {
        moment: Moment(passed),
        wall: NOON + passed,
    }
}

/// The cluster: the Secret, the registration, and what the API server has taken up of that.
#[derive(Debug, Default)]
struct Cluster {
    held: Held,
    made: u8,
    /// The ends of all CAs that ever were.
    ends: BTreeMap<AuthorityId, Timestamp>,
    published: BTreeSet<AuthorityId>,
    in_force: BTreeSet<AuthorityId>,
    published_at: Duration,
    steps: Vec<Step>,
}

impl Cluster {
    fn add(&mut self, now: Now) -> AuthorityId {
        self.made += 1;
        let (added, ends) = (id(self.made), now.wall + LIFETIMES.authority);
        self.ends.insert(added, ends);
        self.held.bundle.insert(added, ends);
        added
    }

    fn issue(&mut self, by: AuthorityId, now: Now) {
        self.held.is_empty = false;
        self.held.leaf = Some(Leaf {
            signer: by,
            issued: now.wall,
            ends: (now.wall + LIFETIMES.leaf).min(self.ends[&by]),
            has_names: true,
        });
    }

    /// What the shell does with a step.
    fn write(&mut self, step: &Step, now: Now) {
        match step {
            Step::Keep { .. } => return,
            Step::Found(_) => {
                self.held.bundle.retain(|_, ends| now.wall < *ends);
                let by = self.add(now);
                (self.held.signer, self.held.next) = (Some(by), None);
                self.issue(by, now);
            }
            Step::AddAuthority(_) => self.held.next = Some(self.add(now)),
            Step::IssueLeaf { by, .. } => {
                if self.held.next == Some(*by) {
                    self.held.signer = self.held.next.take();
                }
                self.issue(*by, now);
            }
            Step::DropAuthorities(old) => self.held.bundle.retain(|id, _| !old.contains(id)),
        }
        self.steps.push(step.clone());
    }

    fn publish(&mut self, wanted: BTreeSet<AuthorityId>, now: Now) {
        if self.published != wanted {
            self.take_up(now);
            self.published = wanted;
            self.published_at = now.moment.0;
        }
    }

    /// The API server works with a registration some time after it was written.
    fn take_up(&mut self, now: Now) {
        if now.moment.0 >= self.published_at + LIFETIMES.grace() / 2 {
            self.in_force.clone_from(&self.published);
        }
    }
}

/// One process.
#[derive(Debug, Default)]
struct Replica {
    trust: Trust,
    serving: Option<Leaf>,
}

impl Replica {
    /// One pass: looks, serves, writes what is due, unless it dies before the one or the other write.
    fn pass(&mut self, cluster: &mut Cluster, now: Now, writes: bool, publishes: bool) {
        self.trust.retain(|id, _| cluster.published.contains(id));
        for id in &cluster.published {
            self.trust.entry(*id).or_insert(now.moment);
        }
        if let Some(leaf) = cluster.held.leaf
            && is_taken_up(self.serving.as_ref(), &leaf, &self.trust, &LIFETIMES, now)
        {
            self.serving = Some(leaf);
        }
        if writes {
            let step = next_step(&cluster.held, &self.trust, &LIFETIMES, now);
            cluster.write(&step, now);
        }
        if publishes {
            let known = |id: &AuthorityId| (*id, cluster.ends[id]);
            let published = cluster.published.iter().map(known).collect();
            let wanted = bundle_for(&cluster.held, &published, &LIFETIMES, now.wall);
            cluster.publish(wanted, now);
        }
    }
}

#[derive(Clone, Debug)]
struct Event {
    after: u64,
    replica: usize,
    writes: bool,
    publishes: bool,
    restarts: bool,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let one = (
        1..8_u64,
        0..3_usize,
        prop::bool::weighted(0.8),
        prop::bool::weighted(0.8),
    );
    let one = (one, prop::bool::weighted(0.02));
    let event = one.prop_map(|((after, replica, writes, publishes), restarts)| Event {
        after,
        replica,
        writes,
        publishes,
        restarts,
    });
    prop::collection::vec(event, 1500..2500)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However passes, crashes and restarts of three replicas fall between each other.
    #[test]
    fn the_served_leaf_is_trusted_and_never_ends(events in events()) {
        let mut cluster = Cluster { held: Held { is_empty: true, ..Held::default() }, ..Cluster::default() };
        let mut replicas: [Replica; 3] = Default::default();
        let mut seconds = 0;
        for event in events {
            seconds += event.after;
            let now = at(seconds);
            cluster.take_up(now);
            let replica = &mut replicas[event.replica];
            if event.restarts {
                *replica = Replica::default();
            }
            replica.pass(&mut cluster, now, event.writes, event.publishes);
            cluster.take_up(now);
            // The first registration is filled in within moments.
            if seconds < 120 {
                continue;
            }
            for replica in &replicas {
                if let Some(leaf) = &replica.serving {
                    prop_assert!(cluster.in_force.contains(&leaf.signer), "{leaf:?} at {seconds}: {cluster:#?}");
                    prop_assert!(now.wall < leaf.ends, "{leaf:?} at {seconds}");
                }
            }
        }
        // A CA that is due is replaced, and the old ones go.
        let founded = cluster.steps.iter().filter(|step| matches!(step, Step::Found(_))).count();
        prop_assert_eq!(founded, 1);
        prop_assert!(cluster.made >= 2, "{:?}", cluster.steps);
        prop_assert!(cluster.held.bundle.len() <= 3);
        let resort = |step: &&Step| matches!(step, Step::IssueLeaf { why: Why::LastResort, .. });
        prop_assert_eq!(cluster.steps.iter().find(resort), None);
    }
}

/// A Secret in which CA 1 signed a leaf at `issued` seconds.
fn settled(issued: u64) -> Held {
    Held {
        bundle: BTreeMap::from([(id(1), at(0).wall + LIFETIMES.authority)]),
        signer: Some(id(1)),
        next: None,
        leaf: Some(Leaf {
            signer: id(1),
            issued: at(issued).wall,
            ends: at(issued).wall + LIFETIMES.leaf,
            has_names: true,
        }),
        is_empty: false,
    }
}

fn step(held: &Held, trusted: &[u8], seconds: u64) -> Step {
    let trust = trusted
        .iter()
        .map(|number| (id(*number), Moment::default()));
    next_step(held, &trust.collect(), &LIFETIMES, at(seconds))
}

#[test]
fn nothing_there_means_a_new_ca_and_what_is_unusable_keeps_the_old_one() {
    let empty = Held {
        is_empty: true,
        ..Held::default()
    };
    assert_eq!(step(&empty, &[], 0), Step::Found(Why::FirstStart));
    let broken = Held {
        leaf: None,
        ..settled(0)
    };
    let by = id(1);
    let why = Why::Unusable;
    assert_eq!(step(&broken, &[1], 10), Step::IssueLeaf { by, why });
}

#[test]
fn a_leaf_is_renewed_at_two_thirds_of_its_life() {
    let look_again_at = at(600).wall;
    assert_eq!(step(&settled(0), &[1], 10), Step::Keep { look_again_at });
    let (by, why) = (id(1), Why::Due);
    assert_eq!(step(&settled(0), &[1], 600), Step::IssueLeaf { by, why });
}

#[test]
fn a_name_that_is_missing_is_added_at_once() {
    let mut held = settled(0);
    held.leaf.as_mut().unwrap().has_names = false;
    let (by, why) = (id(1), Why::NamesMissing);
    assert_eq!(step(&held, &[1], 10), Step::IssueLeaf { by, why });
}

#[test]
fn a_ca_is_replaced_once_everybody_trusts_the_next_one() {
    let mut held = settled(1700);
    assert_eq!(step(&held, &[1], 1800), Step::AddAuthority(Why::Due));
    held.bundle.insert(id(2), at(4500).wall);
    held.next = Some(id(2));
    assert!(matches!(step(&held, &[1], 1801), Step::Keep { .. }));
    let (by, why) = (id(2), Why::Published);
    assert_eq!(step(&held, &[1, 2], 1840), Step::IssueLeaf { by, why });
    held.signer = held.next.take();
    held.leaf = Some(Leaf {
        signer: id(2),
        issued: at(1840).wall,
        ends: at(2740).wall,
        has_names: true,
    });
    assert!(matches!(step(&held, &[1, 2], 1841), Step::Keep { .. }));
    let old = BTreeSet::from([id(1)]);
    assert_eq!(step(&held, &[1, 2], 2140), Step::DropAuthorities(old));
}

#[test]
fn without_the_key_of_its_ca_a_leaf_serves_on_while_the_next_ca_is_published() {
    let held = Held {
        signer: None,
        ..settled(0)
    };
    assert_eq!(step(&held, &[1], 10), Step::AddAuthority(Why::NoKey));
}

#[test]
fn a_leaf_that_has_ended_replaces_none_that_serves() {
    let serving = settled(0).leaf.unwrap();
    let old = Leaf {
        ends: at(5).wall,
        ..serving
    };
    let trust = Trust::from([(id(1), Moment::default())]);
    assert!(!is_taken_up(
        Some(&serving),
        &old,
        &trust,
        &LIFETIMES,
        at(10)
    ));
    assert!(is_taken_up(None, &old, &trust, &LIFETIMES, at(10)));
}
