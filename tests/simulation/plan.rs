//! What one seed's run is: everything that is drawn before it begins.

use std::{num::NonZeroUsize, time::Duration};

use stellar_peers::{
    domain::{Policy, policy::InjectMode},
    sandbox::{
        Timing,
        operator::{OperatorOptions, WriteMode},
    },
};

use crate::{deeds::Deed, quorum::QuorumSet, random::Random};

/// Where everything happens.
pub(crate) const NAMESPACE: &str = "net";
/// Networks that occur.
pub(crate) const NETWORKS: [&str; 2] = ["testnet", "other"];

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Longest time for which an answer to a write is held.
pub(crate) const HELD_MAX: Duration = secs(9);

/// Who makes a validator's StatefulSet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The operator, from a StellarNode: `OrderedReady`.
    Operator,
    /// SDF's chart: `Parallel`, opted in by a label on its template.
    Chart,
}

/// A validator that somebody makes.
#[derive(Clone, Debug)]
pub(crate) struct NewValidator {
    pub(crate) name: String,
    pub(crate) network: &'static str,
    pub(crate) shape: Shape,
    pub(crate) port: u16,
    pub(crate) quorum: Option<QuorumSet>,
}

/// How many of ours there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replicas {
    /// One, which always leads.
    One,
    /// One, which stands for election.
    OneElected,
    /// Two, of which one leads.
    Two,
}

/// What goes wrong with requests of ours, in cases of a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rates {
    pub(crate) error: u64,
    pub(crate) conflict: u64,
    pub(crate) lost: u64,
    pub(crate) answer_lost: u64,
    pub(crate) held: u64,
    pub(crate) late: u64,
    pub(crate) repeated: u64,
    pub(crate) crash: u64,
}

/// What is wrong with watches of ours.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct WatchRates {
    /// Events of each kind arrive up to this much later, each kind by its own part of it.
    pub(crate) late: Duration,
    /// Cases of a hundred in which a watch breaks within half a minute.
    pub(crate) breaks: u64,
    /// Cases of a hundred in which each event arrives twice.
    pub(crate) repeats: u64,
}

/// One seed's run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) policy: Policy,
    pub(crate) recheck: Duration,
    pub(crate) timing: Timing,
    pub(crate) validators: Vec<NewValidator>,
    /// When the first of ours starts.
    pub(crate) arrival: Duration,
    pub(crate) activity: Duration,
    /// Mean time between two deeds.
    pub(crate) pace: Duration,
    pub(crate) operator: OperatorOptions,
    pub(crate) replicas: Replicas,
    /// Our webhook is reached at all.
    pub(crate) is_reached: bool,
    /// Another webhook changes what ours has seen, so that ours is asked again.
    pub(crate) is_reinvoked: bool,
    pub(crate) latency: Duration,
    pub(crate) rates: Rates,
    pub(crate) watches: WatchRates,
    pub(crate) deeds: Vec<Deed>,
    /// Pods are Ready only while they are connected.
    pub(crate) is_core_like: bool,
    pub(crate) random: Random,
}

impl Plan {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed);
        // From calm, where every check is at its sharpest, to hell.
        let mood = *random.pick(&[0, 15, 40, 80]).expect("there are some");
        let (is_core_like, is_long_cut_off) = (random.percent(20), random.percent(40));
        let deeds = Deed::ALL.into_iter().filter(|deed| {
            let is_on = random.percent(20 + mood);
            let fits = (is_long_cut_off || !deed.cuts_off_for_long())
                && !(is_core_like && deed.spoils_the_list());
            is_on && fits
        });
        let deeds = deeds.collect();
        let mut rate = |most: u64| {
            let on = random.percent(mood);
            let rate = random.within(1, most);
            if on { rate } else { 0 }
        };
        let rates = Rates {
            error: rate(60),
            conflict: rate(100),
            lost: rate(40),
            answer_lost: rate(60),
            held: rate(60),
            late: rate(60),
            repeated: rate(60),
            crash: rate(40),
        };
        let watches = WatchRates {
            late: if random.percent(mood) {
                random.time(millis(100), secs(4))
            } else {
                Duration::ZERO
            },
            breaks: if random.percent(mood) { 50 } else { 0 },
            repeats: if random.percent(mood) { 30 } else { 0 },
        };
        let policy = draw_policy(&mut random);
        Self {
            timing: draw_timing(&mut random),
            recheck: random.time(secs(3), secs(8)),
            arrival: if random.percent(50) {
                Duration::ZERO
            } else {
                random.time(secs(1), secs(30))
            },
            activity: random.time(Duration::from_mins(1), secs(180)),
            pace: random.time(secs(1), secs(10)),
            operator: OperatorOptions {
                mode: if random.percent(25) && !is_core_like {
                    WriteMode::Replace
                } else {
                    WriteMode::Apply
                },
                interval: if random.percent(10) {
                    millis(300)
                } else {
                    random.time(secs(2), secs(10))
                },
                rest: if random.percent(5) {
                    Duration::ZERO
                } else {
                    random.time(secs(10), secs(90))
                },

                has_claim: true,
                ..OperatorOptions::default()
            },
            // An election costs two requests every two seconds.
            replicas: match random.below(10) {
                0..7 => Replicas::One,
                7 => Replicas::OneElected,
                _ => Replicas::Two,
            },
            is_reached: random.percent(75),
            is_reinvoked: random.percent(10),
            latency: if random.percent(50) {
                millis(5)
            } else {
                random.time(millis(5), millis(200))
            },
            validators: draw_validators(&mut random),
            policy,
            rates,
            watches,
            deeds,
            is_core_like,
            random,
        }
    }

    /// How long a change may stay unknown to a correct program that learns of it by a watch.
    pub(crate) fn lag(&self) -> Duration {
        let is_cut_off = self.deeds.iter().any(|deed| deed.cuts_off_for_long());
        let is_interrupted = self.deeds.iter().any(|deed| deed.interrupts_watches())
            || self.rates.error + self.rates.lost + self.watches.breaks > 0;
        let disturbed = match (is_cut_off, is_interrupted) {
            (true, _) => Duration::from_mins(1),
            (false, true) => secs(10),
            (false, false) => Duration::ZERO,
        };
        // Whoever waits for an answer looks at nothing meanwhile.
        let held = if self.rates.held > 0 {
            HELD_MAX
        } else {
            Duration::ZERO
        };
        self.watches.late * 2 + self.latency * 4 + secs(1) + disturbed + held
    }
}

fn draw_policy(random: &mut Random) -> Policy {
    let max_unavailable = *random.pick(&[1, 1, 1, 2, 3]).expect("there are some");
    Policy {
        writer: format!("{NAMESPACE}/stellar-peers"),
        inject: InjectMode::Render {
            image: "stellar-peers:here".to_owned(),
        },
        settle: random.time(secs(2), secs(4)),
        settle_leave: random.time(secs(6), secs(12)),
        min_ready: random.time(secs(2), secs(5)),
        bootstrap_after: random.time(secs(4), secs(8)),
        stuck_after: random.time(secs(20), Duration::from_mins(1)),
        max_unavailable: NonZeroUsize::new(max_unavailable).expect("1 at least"),
        ..Policy::default()
    }
}

fn draw_timing(random: &mut Random) -> Timing {
    let usual = Timing::default();
    let is_slow = random.percent(40);
    let mut within = |usual: Duration, most: Duration| {
        if is_slow {
            random.time(usual, most)
        } else {
            usual
        }
    };
    Timing {
        reaction: within(usual.reaction, millis(1500)),
        pod_start: within(usual.pod_start, secs(2)),
        pod_ready: within(usual.pod_ready, secs(4)),
        pod_stop: within(usual.pod_stop, secs(3)),
        garbage: usual.garbage,
        probe: secs(2),
    }
}

fn draw_validators(random: &mut Random) -> Vec<NewValidator> {
    let count = random.within(3, 7);
    let (two, charts) = (random.percent(30), random.percent(40));
    let mut validators: Vec<NewValidator> = (0..count)
        .map(|index| new_validator(random, index, two, charts))
        .collect();
    if random.percent(40) {
        for network in NETWORKS {
            let all = || validators.iter().filter(|it| it.network == network);
            let names: Vec<String> = all().map(|it| it.name.clone()).collect();
            let declares =
                |it: &&mut NewValidator| it.network == network && it.shape == Shape::Operator;
            for validator in validators.iter_mut().filter(declares) {
                validator.quorum = Some(QuorumSet::draw(random, &names));
            }
        }
    }
    validators
}

/// A validator, most often of the first network and made by the operator.
pub(crate) fn new_validator(
    random: &mut Random,
    index: u64,
    two: bool,
    charts: bool,
) -> NewValidator {
    NewValidator {
        name: format!("v{index}"),
        network: NETWORKS[usize::from(two && random.percent(40))],
        shape: if charts && random.percent(40) {
            Shape::Chart
        } else {
            Shape::Operator
        },
        port: if random.percent(15) { 11700 } else { 11625 },
        quorum: None,
    }
}
