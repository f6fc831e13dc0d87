use proptest::prelude::*;

use super::*;

const LIFETIMES: Lifetimes = Lifetimes {
    leaf: Duration::from_mins(15),
    authority: Duration::from_mins(45),
};
const START: Timestamp = Timestamp::constant(1_780_000_000, 0);
const A: AuthorityId = AuthorityId::numbered(1);
const B: AuthorityId = AuthorityId::numbered(2);

fn at(seconds: u64) -> Now {
    let passed = Duration::from_secs(seconds);
    Now {
        moment: Moment(passed),
        wall: START + passed,
    }
}

fn ends_at(seconds: u64) -> Timestamp {
    START + Duration::from_secs(seconds)
}

fn leaf(signer: AuthorityId, issued: u64) -> Leaf {
    Leaf {
        signer,
        issued: ends_at(issued),
        ends: ends_at(issued) + LIFETIMES.leaf,
        has_names: true,
    }
}

/// A CA from the start with a leaf from then.
fn settled() -> Held {
    Held {
        bundle: [(A, ends_at(2_700))].into(),
        signer: Some(A),
        next: None,
        leaf: Some(leaf(A, 0)),
        is_empty: false,
    }
}

/// The same with a next CA.
fn overlap() -> Held {
    let mut held = settled();
    held.bundle.insert(B, ends_at(4_500));
    held.next = Some(B);
    held
}

fn step(held: &Held, trust: &Trust, seconds: u64) -> Step {
    next_step(held, trust, &LIFETIMES, at(seconds))
}

fn issue(by: AuthorityId, why: Why) -> Step {
    Step::IssueLeaf { by, why }
}

fn trust_in(ids: &[AuthorityId], since: u64) -> Trust {
    let since = at(since).moment;
    ids.iter().map(|id| (*id, since)).collect()
}

#[test]
fn an_empty_secret_gets_a_ca_and_a_leaf() {
    let held = Held {
        is_empty: true,
        ..Held::default()
    };
    assert_eq!(step(&held, &Trust::new(), 0), Step::Found(Why::FirstStart));
}

#[test]
fn a_leaf_is_renewed_by_its_ca_at_two_thirds_of_its_life() {
    let keep = Step::Keep {
        look_again_at: ends_at(600),
    };
    assert_eq!(step(&settled(), &Trust::new(), 0), keep);
    assert_eq!(step(&settled(), &Trust::new(), 600), issue(A, Why::Due));
}

#[test]
fn a_broken_leaf_is_replaced_by_the_ca_that_is_there() {
    let mut held = settled();
    held.leaf = None;
    assert_eq!(step(&held, &Trust::new(), 1), issue(A, Why::Unusable));
    held.signer = None;
    assert_eq!(step(&held, &Trust::new(), 1), Step::Found(Why::Unusable));
}

#[test]
fn a_leaf_for_other_names_is_replaced_by_the_same_ca() {
    let mut held = settled();
    held.leaf = held.leaf.map(|leaf| Leaf {
        has_names: false,
        ..leaf
    });
    assert_eq!(step(&held, &Trust::new(), 1), issue(A, Why::NamesMissing));
}

#[test]
fn an_ended_leaf_is_replaced_by_a_ca_that_is_trusted() {
    let held = overlap();
    let ended = issue(B, Why::Ended);
    assert_eq!(step(&held, &trust_in(&[B], 0), 901), ended);
    assert_eq!(step(&held, &Trust::new(), 901), issue(A, Why::Ended));
}

#[test]
fn the_next_ca_joins_at_two_thirds_of_the_first_ones_life() {
    let mut held = settled();
    held.leaf = Some(leaf(A, 1_500));
    let added = Step::AddAuthority(Why::Due);
    assert_ne!(step(&held, &Trust::new(), 1_799), added);
    assert_eq!(step(&held, &Trust::new(), 1_800), added);
}

#[test]
fn a_ca_without_its_key_gets_a_successor() {
    let mut held = settled();
    held.signer = None;
    assert_eq!(
        step(&held, &Trust::new(), 0),
        Step::AddAuthority(Why::NoKey)
    );
}

#[test]
fn the_next_ca_signs_only_once_it_was_trusted_for_the_grace() {
    let grace = LIFETIMES.grace().as_secs();
    let trust = trust_in(&[A, B], 10);
    let keep = Step::Keep {
        look_again_at: ends_at(10 + grace),
    };
    assert_eq!(step(&overlap(), &trust, 11), keep);
    assert_eq!(
        step(&overlap(), &trust, 10 + grace),
        issue(B, Why::Published)
    );
}

#[test]
fn while_the_next_ca_is_not_trusted_the_old_one_renews() {
    let mut held = overlap();
    assert_eq!(step(&held, &Trust::new(), 600), issue(A, Why::Due));
    held.signer = None;
    assert!(matches!(step(&held, &Trust::new(), 600), Step::Keep { .. }));
    assert_eq!(step(&held, &Trust::new(), 800), issue(B, Why::LastResort));
}

#[test]
fn the_old_ca_leaves_when_the_new_leaf_has_reached_everybody() {
    let mut held = overlap();
    (held.signer, held.next) = (Some(B), None);
    held.leaf = Some(leaf(B, 0));
    let keep = Step::Keep {
        look_again_at: ends_at(300),
    };
    assert_eq!(step(&held, &Trust::new(), 0), keep);
    let dropped = Step::DropAuthorities([A].into());
    assert_eq!(step(&held, &Trust::new(), 300), dropped);
}

#[test]
fn what_was_published_before_stays_until_the_leaf_is_old_enough() {
    let mut held = settled();
    held.leaf = Some(leaf(A, 0));
    let published = [(B, ends_at(4_500))].into();
    let wanted = |now| bundle_for(&held, &published, &LIFETIMES, ends_at(now));
    assert_eq!(wanted(0), [A, B].into());
    assert_eq!(wanted(300), [A].into());
}

#[test]
fn a_pair_that_the_registration_does_not_trust_waits_while_the_old_one_works() {
    let (old, new) = (leaf(A, 0), leaf(B, 0));
    let taken = |trust: &Trust, now| is_taken_up(Some(&old), &new, trust, &LIFETIMES, at(now));
    assert!(is_taken_up(None, &new, &Trust::new(), &LIFETIMES, at(0)));
    assert!(!taken(&trust_in(&[A], 0), 100));
    assert!(!taken(&trust_in(&[A, B], 100), 101));
    assert!(taken(&trust_in(&[A, B], 0), 100));
    assert!(taken(&trust_in(&[B], 100), 101), "the old one is of no use");
    assert!(taken(&Trust::new(), 0), "nobody knows");
    assert!(taken(&trust_in(&[A], 0), 900), "the old one ended");
}

/// What replicas, crashes and time do to a cluster.
#[derive(Clone, Debug)]
enum Event {
    SeeSecret(usize),
    SeeRegistration(usize),
    /// Decides on what it last saw of each, and keeps the write for later.
    Decide(usize),
    /// Carries out what it decided, which holds only if nobody wrote since.
    Write(usize),
    Pass(usize),
    Crash(usize),
    LoseSecret,
    Wait(u64),
}

#[derive(Clone, Debug, Default)]
struct Replica {
    secret: (u64, Held),
    registration: (u64, Registrations),
    trust: Trust,
    serving: Option<Leaf>,
    decided: Option<(u64, Step)>,
    to_publish: Option<(u64, Registrations)>,
}

/// What each of two webhooks trusts.
type Registrations = [BTreeMap<AuthorityId, Timestamp>; 2];

#[derive(Clone, Debug)]
struct Cluster {
    seconds: u64,
    secret: (u64, Held),
    registration: (u64, Registrations),
    /// What the API server may still go by, and until when.
    older: Vec<(u64, Registrations)>,
    replicas: [Replica; 2],
    authorities: u8,
    last_round: u64,
    last_loss: u64,
}

impl Cluster {
    /// Two replicas that have found each other and are trusted.
    fn new() -> Self {
        let mut cluster = Self::unstarted();
        for _ in 0..10 {
            cluster.round();
            cluster.seconds += 10;
        }
        cluster
    }

    fn unstarted() -> Self {
        let secret = Held {
            is_empty: true,
            ..Held::default()
        };
        Self {
            seconds: 0,
            secret: (0, secret),
            registration: (0, Registrations::default()),
            older: Vec::new(),
            replicas: [Replica::default(), Replica::default()],
            authorities: 0,
            last_round: 0,
            last_loss: 0,
        }
    }

    fn round(&mut self) {
        self.last_round = self.seconds;
        (0..self.replicas.len()).for_each(|index| self.pass(index));
    }

    fn pass(&mut self, index: usize) {
        self.see_secret(index);
        self.see_registration(index);
        self.decide(index);
        self.write(index);
        self.see_secret(index);
    }

    fn see_secret(&mut self, index: usize) {
        let now = at(self.seconds);
        let replica = &mut self.replicas[index];
        replica.secret = self.secret.clone();
        if let Some(leaf) = replica.secret.1.leaf
            && is_taken_up(
                replica.serving.as_ref(),
                &leaf,
                &replica.trust,
                &LIFETIMES,
                now,
            )
        {
            replica.serving = Some(leaf);
        }
    }

    fn see_registration(&mut self, index: usize) {
        let now = at(self.seconds);
        let replica = &mut self.replicas[index];
        replica.registration = self.registration.clone();
        let [one, other] = &replica.registration.1;
        let trusted: BTreeSet<_> = one.keys().filter(|id| other.contains_key(id)).collect();
        replica.trust.retain(|id, _| trusted.contains(id));
        for id in trusted {
            replica.trust.entry(*id).or_insert(now.moment);
        }
    }

    /// As the keeper does it: where something is due, both are read past the watches first.
    fn decide(&mut self, index: usize) {
        let now = at(self.seconds);
        let replica = &self.replicas[index];
        let (step, publish) = plan(replica, now);
        if matches!(step, Step::Keep { .. }) && publish.is_none() {
            return;
        }
        self.see_secret(index);
        self.see_registration(index);
        let replica = &mut self.replicas[index];
        let (step, publish) = plan(replica, now);
        replica.decided = Some((replica.secret.0, step));
        replica.to_publish = publish.map(|publish| (replica.registration.0, publish));
    }

    fn write(&mut self, index: usize) {
        if let Some((version, step)) = self.replicas[index].decided.take()
            && version == self.secret.0
        {
            self.carry_out(step);
        }
        if let Some((version, registrations)) = self.replicas[index].to_publish.take()
            && version == self.registration.0
        {
            let until = self.seconds + LIFETIMES.grace().as_secs() - 1;
            let old = std::mem::replace(&mut self.registration.1, registrations);
            self.older.push((until, old));
            self.registration.0 += 1;
        }
    }

    fn carry_out(&mut self, step: Step) {
        let now = at(self.seconds).wall;
        let held = &mut self.secret.1;
        let mut add = |held: &mut Held| {
            self.authorities += 1;
            let id = AuthorityId::numbered(self.authorities);
            held.bundle.insert(id, now + LIFETIMES.authority);
            id
        };
        let issue = |held: &mut Held, signer| {
            held.is_empty = false;
            held.leaf = Some(Leaf {
                signer,
                issued: now,
                ends: (now + LIFETIMES.leaf).min(held.bundle[&signer]),
                has_names: true,
            });
        };
        match step {
            Step::Keep { .. } => return,
            Step::Found(_) => {
                let id = add(held);
                (held.signer, held.next) = (Some(id), None);
                issue(held, id);
            }
            Step::AddAuthority(_) => held.next = Some(add(held)),
            Step::IssueLeaf { by, .. } => {
                if let Some(heir) = held.next.take_if(|next| *next == by) {
                    held.signer = Some(heir);
                }
                issue(held, by);
            }
            Step::DropAuthorities(old) => {
                held.bundle.retain(|id, _| !old.contains(id));
                // A key without its CA is not read.
                held.next = held.next.filter(|next| !old.contains(next));
            }
        }
        self.secret.0 += 1;
    }

    fn crash(&mut self, index: usize) {
        self.replicas[index] = Replica::default();
        self.see_secret(index);
        self.see_registration(index);
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::SeeSecret(index) => self.see_secret(*index),
            Event::SeeRegistration(index) => self.see_registration(*index),
            Event::Decide(index) => self.decide(*index),
            Event::Write(index) => self.write(*index),
            Event::Pass(index) => self.pass(*index),
            Event::Crash(index) => self.crash(*index),
            // What was lost again and again could never be published.
            Event::LoseSecret if self.seconds < self.last_loss + 300 => {}
            Event::LoseSecret => {
                self.last_loss = self.seconds;
                let empty = Held {
                    is_empty: true,
                    ..Held::default()
                };
                self.secret = (self.secret.0 + 1, empty);
            }
            Event::Wait(seconds) => self.seconds += seconds,
        }
        self.older.retain(|(until, _)| self.seconds <= *until);
        if self.seconds - self.last_round > LIFETIMES.leaf.as_secs() / 18 {
            self.round();
        }
    }

    /// Whether a call to each replica succeeds, whatever the API server goes by.
    fn check(&self) -> Result<(), String> {
        let older = self.older.iter().map(|(_, registrations)| registrations);
        for (index, replica) in self.replicas.iter().enumerate() {
            let leaf = replica.serving.ok_or("nothing is served")?;
            if leaf.ends <= at(self.seconds).wall {
                return Err(format!("replica {index} serves a leaf that ended"));
            }
            let mut all = older.clone().chain([&self.registration.1]).flatten();
            if !all.all(|webhook| webhook.contains_key(&leaf.signer)) {
                return Err(format!("replica {index}: {leaf:?} is not trusted"));
            }
        }
        Ok(())
    }
}

fn plan(replica: &Replica, now: Now) -> (Step, Option<Registrations>) {
    let held = &replica.secret.1;
    let step = next_step(held, &replica.trust, &LIFETIMES, now);
    let old = &replica.registration.1;
    let wanted = old.clone().map(|published| {
        let wanted = bundle_for(held, &published, &LIFETIMES, now.wall);
        let ends = |id| held.bundle.get(id).or(published.get(id)).copied();
        let wanted = wanted.iter().filter_map(|id| Some((*id, ends(id)?)));
        wanted.collect::<BTreeMap<_, _>>()
    });
    let is_due = wanted != *old && !held.bundle.is_empty();
    (step, is_due.then_some(wanted))
}

fn any_event() -> impl Strategy<Value = Event> {
    let replica = 0..2_usize;
    prop_oneof![
        2 => replica.clone().prop_map(Event::SeeSecret),
        2 => replica.clone().prop_map(Event::SeeRegistration),
        3 => replica.clone().prop_map(Event::Decide),
        3 => replica.clone().prop_map(Event::Write),
        2 => replica.clone().prop_map(Event::Pass),
        1 => replica.prop_map(Event::Crash),
        6 => (1..50_u64).prop_map(Event::Wait),
    ]
}

/// Without crashes: a replica that starts has only the Secret to serve.
fn any_event_with_losses() -> impl Strategy<Value = Event> {
    let no_crash = any_event().prop_map(|event| match event {
        Event::Crash(index) => Event::Pass(index),
        event => event,
    });
    prop_oneof![40 => no_crash, 1 => Just(Event::LoseSecret)]
}

fn play(events: &[Event]) -> Result<Cluster, TestCaseError> {
    let mut cluster = Cluster::new();
    for (index, event) in events.iter().enumerate() {
        cluster.happen(event);
        if let Err(why) = cluster.check() {
            let message = format!("after {event:?} (number {index}): {why}\n{cluster:#?}");
            return Err(TestCaseError::fail(message));
        }
    }
    Ok(cluster)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_falls_between_what_the_leaf_that_is_served_is_trusted_and_never_ends(
        events in proptest::collection::vec(any_event(), 0..800)
    ) {
        play(&events)?;
    }

    #[test]
    fn the_secret_may_be_lost_at_any_time(
        events in proptest::collection::vec(any_event_with_losses(), 0..400)
    ) {
        play(&events)?;
    }

    /// Nothing is done twice, and nothing for ever.
    #[test]
    fn from_any_state_a_few_steps_lead_to_rest(
        bundle in proptest::collection::btree_map(1..4_u8, 0..9_000_u64, 0..3),
        signer in proptest::option::of(1..4_u8),
        next in proptest::option::of(1..4_u8),
        leaf_of in proptest::option::of((1..4_u8, 0..2_000_u64)),
        has_names: bool,
        seconds in 100..9_000_u64,
    ) {
        let mut cluster = Cluster::new();
        cluster.seconds = seconds;
        cluster.authorities = 10;
        let in_bundle = |number: &u8| bundle.contains_key(number);
        let id = |number: u8| AuthorityId::numbered(number);
        let signer = signer.filter(in_bundle).map(id);
        let leaf = leaf_of.filter(|(signer, _)| in_bundle(signer)).map(|(signer, issued)| Leaf {
            has_names,
            ..leaf(id(signer), issued)
        });
        let held = Held {
            signer,
            next: next.filter(in_bundle).map(id).filter(|next| signer != Some(*next)),
            leaf,
            is_empty: false,
            bundle: bundle.iter().map(|(number, ends)| (id(*number), ends_at(*ends))).collect(),
        };
        cluster.secret = (100, held);
        // An overlap waits for the grace, and meanwhile the next CA may become due.
        let rests = (0..8).any(|_| {
            cluster.happen(&Event::Wait(LIFETIMES.grace().as_secs()));
            (0..6).for_each(|_| cluster.round());
            let before = (cluster.secret.0, cluster.registration.0);
            cluster.round();
            let held = &cluster.secret.1;
            // Whoever signs next has signed the leaf: no overlap is under way.
            let is_settled = held.leaf.map(|leaf| leaf.signer) == held.next.or(held.signer);
            is_settled && before == (cluster.secret.0, cluster.registration.0)
        });
        prop_assert!(rests, "{cluster:#?}");
        prop_assert!(cluster.secret.1.leaf.is_some_and(|leaf| leaf.has_names));
        // What the API server went by before is forgotten after the grace.
        cluster.happen(&Event::Wait(LIFETIMES.grace().as_secs()));
        cluster.round();
        prop_assert_eq!(cluster.check(), Ok(()));
    }
}

/// A year of a cluster in which nothing goes wrong.
#[test]
fn at_rest_the_ca_is_replaced_a_few_times_and_leaves_far_more_often() {
    let mut cluster = Cluster::new();
    while cluster.seconds < 18_000 {
        cluster.happen(&Event::Wait(10));
        cluster.check().unwrap();
    }
    assert_eq!(cluster.authorities, 10, "one each 1,800 s and the first");
    assert!(cluster.secret.1.bundle.len() <= 2);
}

#[test]
fn a_leaf_that_has_ended_replaces_none_that_serves() {
    let (serving, ended) = (leaf(A, 100), leaf(A, 0));
    let trust = trust_in(&[A], 0);
    let taken = |serving| is_taken_up(serving, &ended, &trust, &LIFETIMES, at(950));
    assert!(!taken(Some(&serving)));
    assert!(taken(None));
}

#[test]
fn two_replicas_that_start_at_once_make_one_ca() {
    let mut cluster = Cluster::unstarted();
    for event in [
        Event::Decide(0),
        Event::Decide(1),
        Event::Write(1),
        Event::Write(0),
    ] {
        cluster.happen(&event);
    }
    for _ in 0..6 {
        cluster.round();
    }
    assert_eq!(cluster.authorities, 1);
    cluster.happen(&Event::Wait(LIFETIMES.grace().as_secs()));
    cluster.check().unwrap();
}
