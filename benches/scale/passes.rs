//! What a pass costs as a namespace grows, and a whole round of restarts.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use jiff::Timestamp;
use stellar_peers::{
    api::{PodObject, StatefulSetObject, StellarNodeObject},
    domain::{
        Decision, Memory, Moment, Now, Policy, Snapshot, decide,
        membership::MembershipHash,
        quorum,
        snapshot::{PodView, StatefulSetView, StellarNodeView},
        turn::Turn,
    },
};
use tokio::time::Instant;

use crate::{
    figures::{Samples, fact, row_and, title},
    herd,
    results::{Goal, Results},
    validator::{self, NAMESPACE, Validator},
    views::{filled, parse, stored},
};

/// For each row.
const BUDGET: Duration = Duration::from_millis(400);
const PASSES_MIN: usize = 3;
const SIZES: [usize; 7] = [10, 50, 100, 500, 1000, 2500, 5000];
/// Members of the network whose round is played.
const ROUND: usize = 1000;
/// From one pass to the next: longer than anybody waits for being Ready.
const STEP: Duration = Duration::from_secs(61);

/// How long passes of one kind took.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    pub(crate) validators: usize,
    pub(crate) what: &'static str,
    pub(crate) median_us: f64,
    pub(crate) p99_us: f64,
}

/// What a namespace is like, and how it is made so.
type Kind = (&'static str, fn(&mut Namespace));

/// Prints the table of passes.
pub(crate) fn measure(validator: &Validator, results: &mut Results) {
    title("One pass over one namespace");
    let kinds: [Kind; 4] = [
        ("nothing to do", |_| {}),
        ("all due for a restart", Namespace::make_all_due),
        ("half of them never Ready", Namespace::make_half_never_ready),
        (
            "all due and held by one quorum set",
            Namespace::make_all_held,
        ),
    ];
    for (what, prepare) in kinds {
        let mut per_validator = Vec::new();
        for validators in SIZES {
            let mut namespace = Namespace::settled(validator, validators);
            prepare(&mut namespace);
            // Since when things are as they are is told from the second look on.
            drop(namespace.pass());
            let samples = Samples::of(PASSES_MIN, BUDGET, || namespace.pass());
            per_validator.push(add(results, validators, what, &samples));
        }
        growth(&per_validator);
    }
    let mut per_validator = Vec::new();
    for validators in SIZES {
        let mut namespace = Namespace::settled(validator, validators);
        let stores = filled(namespace.snapshot.clone());
        let samples = Samples::of(PASSES_MIN, BUDGET, || {
            let snapshot = stores.snapshot(NAMESPACE).expect("full stores");
            let now = namespace.step();
            decide(&snapshot, &mut namespace.memory, &namespace.policy, now)
        });
        let what = "nothing to do, snapshot of the stores included";
        per_validator.push(add(results, validators, what, &samples));
    }
    growth(&per_validator);
}

/// Takes a row in; gives the median for each validator, in microseconds.
fn add(results: &mut Results, validators: usize, what: &'static str, samples: &Samples) -> f64 {
    let us = |percent| samples.percentile(percent).as_secs_f64() * 1e6;
    let each = us(50) / f64::from(u32::try_from(validators).expect("a few thousand"));
    row_and(
        &format!("{validators}: {what}"),
        samples,
        &format!("{each:.2} µs a validator"),
    );
    results.passes.push(Pass {
        validators,
        what,
        median_us: us(50),
        p99_us: us(99),
    });
    each
}

/// How far from linear it is: what a validator costs among most, as a multiple of what it costs among 100.
fn growth(per_validator: &[f64]) {
    let (Some(some), Some(most)) = (per_validator.get(2), per_validator.last()) else {
        return;
    };
    fact(
        "  a validator among 5000, to one among 100",
        &format!("{:.2} times", most / some),
    );
}

/// Plays the restarts of a whole network, each done at once, and prints what planning them took.
pub(crate) fn round(validator: &Validator, results: &mut Results) {
    title(&format!(
        "A round of restarts over {ROUND} members, in pure code"
    ));
    let mut namespace = Namespace::settled(validator, ROUND);
    namespace.make_all_due();
    let (mut samples, began) = (Samples::default(), Instant::now());
    let (mut restarts, mut spent) = (0, Duration::ZERO);
    while let Some(took) = namespace.restart_next(&mut samples) {
        restarts += 1;
        spent += took;
        if restarts % 50 == 1 || restarts == ROUND {
            results.round.push((restarts, took.as_secs_f64() * 1e3));
        }
    }
    assert_eq!(restarts, ROUND, "everybody is restarted once");
    let note = format!(
        "in all {:.1} s for {restarts} restarts; {:.1} s by the clock",
        spent.as_secs_f64(),
        began.elapsed().as_secs_f64()
    );
    row_and("a pass of the round", &samples, &note);
    let notes = namespace
        .snapshot
        .config_map
        .as_ref()
        .map(|map| map.annotations.values().map(String::len).sum::<usize>());
    fact(
        "  annotations of the list at the end",
        &format!("{} kB", notes.unwrap_or_default() / 1000),
    );
    let shape = format!("round of {ROUND}");
    results.add_of(&shape, "planning_sum", spent.as_secs_f64(), "s", Goal::None);
    results.add_of(
        &shape,
        "planning_max",
        samples.percentile(100).as_secs_f64() * 1e3,
        "ms",
        Goal::None,
    );
}

/// A namespace in which nothing changes but the time, and what a test changes.
struct Namespace {
    snapshot: Snapshot,
    memory: Memory,
    policy: Policy,
    passed: Duration,
}

impl Namespace {
    /// Validators that all joined while we looked on, and carry all of our parts and the present membership.
    fn settled(validator: &Validator, validators: usize) -> Self {
        let mut namespace = Self {
            snapshot: snapshot(validator, validators),
            memory: Memory::default(),
            policy: Policy::default(),
            passed: Duration::ZERO,
        };
        namespace.carry_out();
        namespace
    }

    fn make_all_due(&mut self) {
        let other = herd::membership(3).to_string();
        self.each_set(|set| set.template.membership = Some(other.clone()));
    }

    /// Every other one has never been a member, and its pod runs without being Ready.
    fn make_half_never_ready(&mut self) {
        let odd = self.snapshot.stateful_sets.keys().skip(1).step_by(2);
        let odd: Vec<_> = odd.cloned().collect();
        for name in odd {
            let set = Arc::make_mut(&mut self.snapshot.stateful_sets)
                .get_mut(&name)
                .expect("one of them");
            let set = Arc::make_mut(set);
            set.joined_at = None;
            // Another than the record knows.
            set.uid.replace_range(..1, "1");
            let pod = Arc::make_mut(&mut self.snapshot.pods)
                .get_mut(&format!("{name}-0"))
                .expect("its pod");
            let pod = Arc::make_mut(pod);
            pod.owner.clone_from(&set.uid);
            pod.ready = false;
        }
        self.carry_out();
        self.passed += Duration::from_hours(1);
    }

    /// Nobody may go, by the set of the last one.
    fn make_all_held(&mut self) {
        self.make_all_due();
        let first = self
            .snapshot
            .stateful_sets
            .keys()
            .next()
            .expect("some")
            .clone();
        let last = self
            .snapshot
            .stellar_nodes
            .keys()
            .last()
            .expect("some")
            .clone();
        let set = Arc::make_mut(&mut self.snapshot.stateful_sets)
            .get_mut(&first)
            .expect("the first");
        Arc::make_mut(set).replicas = 0;
        let text = format!(
            "[QUORUM_SET]\nTHRESHOLD_PERCENT = 51\nVALIDATORS = [\"{first}\", \"$self\"]\n"
        );
        let node = Arc::make_mut(&mut self.snapshot.stellar_nodes)
            .get_mut(&last)
            .expect("the last");
        Arc::make_mut(node).quorum_set = quorum::parse(&text)
            .map(|set| set.map(Arc::new))
            .transpose();
        self.carry_out();
    }

    fn each_set(&mut self, change: impl Fn(&mut StatefulSetView)) {
        for set in Arc::make_mut(&mut self.snapshot.stateful_sets).values_mut() {
            change(Arc::make_mut(set));
        }
    }

    /// Does what a pass decides about the list and about who joined.
    fn carry_out(&mut self) {
        let decision = self.pass();
        self.store(&decision);
    }

    fn store(&mut self, decision: &Decision) {
        if let Some(list) = decision.list.as_ref().filter(|_| decision.writes_list) {
            self.snapshot.config_map = Some(Arc::new(stored(list)));
        }
    }

    fn step(&mut self) -> Now {
        self.passed += STEP;
        Now {
            moment: Moment(self.passed),
            wall: Timestamp::UNIX_EPOCH + self.passed,
        }
    }

    fn pass(&mut self) -> Decision {
        let now = self.step();
        decide(&self.snapshot, &mut self.memory, &self.policy, now)
    }

    /// Passes until somebody may go, and carries that out; [`None`] once nobody is due. Gives what these passes took.
    fn restart_next(&mut self, samples: &mut Samples) -> Option<Duration> {
        let mut took = Duration::ZERO;
        loop {
            let began = Instant::now();
            let decision = self.pass();
            let of_pass = began.elapsed();
            samples.add(of_pass);
            took += of_pass;
            self.store(&decision);
            if decision.plan.verdicts.is_empty() {
                return None;
            }
            let Some(start) = decision.plan.starts().next() else {
                continue;
            };
            let mut list = decision.list.clone().expect("there are candidates");
            list.notes
                .turns
                .insert(start.network.to_text(), Turn::of(start, "t"));
            self.snapshot.config_map = Some(Arc::new(stored(&list)));
            let set = Arc::make_mut(&mut self.snapshot.stateful_sets)
                .get_mut(&start.node)
                .expect("it is there");
            let set = Arc::make_mut(set);
            set.generation += 1;
            set.observed_generation += 1;
            set.update_revision = format!("r{}", set.generation);
            set.template.membership = Some(start.hash.to_string());
            set.template.restarted_at = Some((Timestamp::UNIX_EPOCH + self.passed).to_string());
            let pod = Arc::make_mut(&mut self.snapshot.pods)
                .get_mut(&format!("{}-0", start.node))
                .expect("its pod");
            let pod = Arc::make_mut(pod);
            pod.revision.clone_from(&set.update_revision);
            pod.uid.replace_range(..1, "2");
            return Some(took);
        }
    }
}

/// Copies of a validator, each with a name, an identity and an address of its own.
fn snapshot(validator: &Validator, validators: usize) -> Snapshot {
    let node = StellarNodeView::from(&parse::<StellarNodeObject>(&validator.stellar_node));
    let membership: MembershipHash = herd::membership(validators);
    let set = herd::with_our_parts(&validator.stateful_set, validator::NAME, membership);
    let set = StatefulSetView::from(&parse::<StatefulSetObject>(&set));
    let pod = PodView::from(&parse::<PodObject>(&validator.pod));
    let mut snapshot = Snapshot {
        namespace: NAMESPACE.to_owned(),
        ..Snapshot::default()
    };
    for number in 0..validators {
        let name = herd::node_name(number);
        // As long as real ones are.
        let uid = format!("00000000-0000-4000-8000-{number:012}");
        let number = u32::try_from(number).expect("a few thousand validators");
        let address = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 1).to_bits() + number);
        let set = StatefulSetView {
            uid: uid.clone(),
            generation: 1,
            observed_generation: 1,
            joined_at: Some("2027-01-15T08:00:00Z".to_owned()),
            ..set.clone()
        };
        let pod = PodView {
            uid: uid.replace("-4000-", "-4001-"),
            owner: uid,
            instance: Some(name.to_string()),
            ips: vec![address.into()],
            revision: set.update_revision.clone(),
            ..pod.clone()
        };
        Arc::make_mut(&mut snapshot.pods).insert(format!("{name}-0"), Arc::new(pod));
        Arc::make_mut(&mut snapshot.stellar_nodes).insert(name.clone(), Arc::new(node.clone()));
        Arc::make_mut(&mut snapshot.stateful_sets).insert(name, Arc::new(set));
    }
    snapshot
}
