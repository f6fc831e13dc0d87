//! Whom ours restart, when, and how often.

use std::{collections::BTreeMap, time::Duration};

use stellar_peers::sandbox::Author;

use super::{Check, ensure};
use crate::{
    deeds::Deed,
    observer::Observer,
    truth::{Validator, pod_of},
    view::{Parts, SetView},
};

/// The restarts so far.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    /// The last one of each StatefulSet, by uid.
    last: BTreeMap<String, Restart>,
    /// Those of Ready validators whose new pods have not been Ready for long enough, by uid.
    under_way: BTreeMap<String, Restart>,
    pub(crate) count: u64,
}

/// One restart.
#[derive(Clone, Debug)]
struct Restart {
    at: Duration,
    name: String,
    network: String,
    reason: &'static str,
    hash: String,
    /// What the template carried before.
    carried: Option<String>,
    /// Uid of the pod that it ends.
    pod: String,
}

impl Restarts {
    /// Whether the last restart of a StatefulSet brought our parts in for this membership: there is no second.
    pub(crate) fn has_taken_in(&self, uid: &str, hash: &str) -> bool {
        let last = self.last.get(uid);
        let brings = |reason| ["adoption", "completion"].contains(&reason);
        last.is_some_and(|last| brings(last.reason) && last.hash == hash)
    }

    /// Whether the last restart of a StatefulSet, by uid, was for an outage.
    pub(crate) fn was_helped(&self, uid: &str) -> bool {
        self.last
            .get(uid)
            .is_some_and(|last| last.reason == "outage")
    }
}

/// A restart while it is written, and what is checked against.
struct Scene<'a> {
    observer: &'a Observer,
    restart: &'a Restart,
    validator: &'a Validator,
    uid: &'a str,
    issued: Duration,
    /// When StatefulSets and pods were last read before it was sent.
    read: Duration,
    /// Who is restarted was Ready when that was read and is so now.
    is_of_ready: bool,
}

pub(crate) fn all(
    observer: &mut Observer,
    name: &str,
    old: &SetView,
    new: &SetView,
    author: &Author,
    now: Duration,
) -> Vec<Check> {
    let Some(validator) = observer.truth.validators.get(name).cloned() else {
        return Vec::new();
    };
    let reads = observer
        .reads
        .get(&author.user)
        .and_then(|reads| reads.before(author.issued));
    let read = reads.map_or(Duration::ZERO, |(sets, pods)| sets.min(pods));
    let restart = Restart {
        at: now,
        name: name.to_owned(),
        network: validator.network.now().clone(),
        reason: match old.parts {
            Parts::None => "adoption",
            Parts::Some => "completion",
            Parts::All if old.membership == new.membership => "outage",
            Parts::All => "membership",
        },
        hash: new.membership.clone().unwrap_or_default(),
        carried: old.membership.clone(),
        pod: observer
            .truth
            .pods
            .get(&pod_of(name))
            .map(|pod| pod.view.uid.clone())
            .unwrap_or_default(),
    };
    let is_of_ready = validator.ready.always(read, now, |ready| *ready);
    release(observer, now);
    let scene = Scene {
        observer,
        restart: &restart,
        validator: &validator,
        uid: &old.uid,
        issued: author.issued,
        read,
        is_of_ready,
    };
    let checks = vec![
        rests_on_a_fresh_reading(&scene, reads.is_some()),
        nobody_is_restarted_twice_for_the_same(&scene),
        few_are_down_because_of_us(&scene),
        few_others_are_down(&scene),
        nobody_held_is_restarted(&scene),
        nothing_starts_before_membership_settles(&scene),
        no_quorum_set_is_broken(&scene),
        nobody_goes_on_past_one_that_is_stuck(&scene),
    ];
    observer.restarts.count += 1;
    observer.figures.restarts += 1;
    observer
        .restarts
        .last
        .insert(old.uid.clone(), restart.clone());
    if is_of_ready {
        observer.restarts.under_way.insert(old.uid.clone(), restart);
    }
    checks
}

/// Lets go of restarts whose new pod has been Ready for long enough, of those that somebody undid before a pod
/// ended, and of validators that left.
fn release(observer: &mut Observer, now: Duration) {
    let min_ready = observer.plan.policy.min_ready;
    let truth = &observer.truth;
    let is_over = |uid: &str, restart: &Restart| {
        let Some(it) = truth.validators.get(&restart.name) else {
            return true;
        };
        let is_its = |candidate: &Option<String>| candidate.as_deref() == Some(uid);
        let has_stayed = it.candidate.always(restart.at, now, is_its);
        let pod = truth.pods.get(&pod_of(&restart.name));
        let is_undone = pod.is_some_and(|pod| pod.view.uid == restart.pod) && *it.settled.now();
        let mut spans = it.ready.spans(restart.at, now);
        let was_up = spans.any(|(is_ready, lasted)| *is_ready && lasted >= min_ready);
        // Whoever took the record away took with it who is a member.
        let is_forgotten = !*it.recorded.now();
        !has_stayed || is_undone || was_up || is_forgotten
    };
    observer
        .restarts
        .under_way
        .retain(|uid, restart| !is_over(uid, restart));
}

impl Scene<'_> {
    /// The other validators of the network.
    fn others(&self) -> impl Iterator<Item = (&String, &Validator)> {
        let name = &self.restart.name;
        self.observer
            .truth
            .of(&self.restart.network)
            .filter(move |(other, _)| *other != name)
    }

    /// What happened at the very moment of the reading may have come after it.
    const fn read_before(&self) -> Duration {
        self.read.saturating_sub(Duration::from_millis(1))
    }

    /// Whether a correct program knew of this validator that it was down: not settled in all that was read last, or
    /// for less than the time that counts. A moment between two readings may have gone unseen.
    fn is_known_down(&self, name: &str, it: &Validator) -> bool {
        let min_ready = self.observer.plan.policy.min_ready;
        let before = self.read_before();
        let was_down = it.settled.always(before, self.issued, |settled| !settled);
        // What comes and goes within a moment may go unseen, and with it when the time began.
        let slack = self.observer.plan.lag();
        let is_fresh =
            |since: Duration| since <= self.read && self.issued + slack < since + min_ready;
        let (is_settled, since) = it.settled.at(self.issued);
        let lasted = it.settled.span_before(self.issued);
        let was_seen = lasted.is_some_and(|lasted| lasted > self.observer.plan.lag());
        let pod = self.observer.truth.pods.get(&pod_of(name));
        let is_new = pod.and_then(|pod| pod.first_ready).is_some_and(is_fresh);
        was_down || is_new || (*is_settled && was_seen && is_fresh(since))
    }
}

/// R24: StatefulSets and pods are read past all stores before a start.
fn rests_on_a_fresh_reading(scene: &Scene<'_>, has_read: bool) -> Check {
    ensure(
        has_read,
        "R24",
        "a restart rests on what was read past the stores",
        || scene.restart.name.clone(),
    )
}

/// Whether a network had the membership that a template carries at some time since: it was right to carry it.
fn was_the_membership(scene: &Scene<'_>, carried: Option<&String>, since: Duration) -> bool {
    let memberships = &scene.observer.truth.memberships;
    let history = memberships.get(&scene.restart.network);
    history.is_some_and(|history| {
        let mut spans = history.spans(since, scene.issued);
        spans.any(|(hash, _)| Some(hash) == carried)
    })
}

/// R18, R20: at most once for the same reason and membership.
///
/// Where a person took away what is known of restarts meanwhile, nobody can know.
fn nobody_is_restarted_twice_for_the_same(scene: &Scene<'_>) -> Check {
    let Scene {
        observer,
        restart,
        uid,
        ..
    } = scene;
    let Some(last) = observer.restarts.last.get(*uid) else {
        return Ok(());
    };
    if restart.reason == "outage" && last.reason == "outage" {
        let is_over = |it: &Validator| !it.ready.always(last.at, scene.issued, |ready| !ready);
        let mut network = observer.truth.of(&restart.network);
        // A pod that somebody else has started anew since has lost everybody once more.
        let starts = scene.validator.address.spans(last.at, scene.issued);
        let starts = starts.filter(|(address, _)| address.is_some()).count();
        let has_ended = scene.validator.address.at(scene.issued).0.is_none();
        // One that ended before it ran leaves no trace here; it is restarted only where the clock was set.
        let is_clock_set = observer.plan.deeds.contains(&Deed::StepClock);
        let is_anew = starts > 1 || (starts == 1 && has_ended) || is_clock_set;
        let is_over = is_anew || network.any(|(_, it)| is_over(it));
        return ensure(is_over, "R7c", "at most one restart an outage", || {
            restart.name.clone()
        });
    }
    let lag = observer.plan.lag();
    let is_known = observer.record_lost.is_none_or(|lost| lost + lag < last.at);
    let has_left = scene
        .validator
        .candidate
        .changes()
        .any(|change| change > last.at);
    let is_renewed = restart.carried.as_ref() != Some(&last.hash)
        && (restart.carried != last.carried
            || was_the_membership(scene, restart.carried.as_ref(), last.at));
    ensure(
        !is_known
            || has_left
            || is_renewed
            || (last.reason, &last.hash) != (restart.reason, &restart.hash),
        "R18",
        "nobody is restarted twice for the same reason and membership",
        || {
            format!(
                "{} for {} {}, after {:.3}",
                restart.name,
                restart.reason,
                restart.hash,
                last.at.as_secs_f64()
            )
        },
    )
}

/// R22: members that are down because of us, whoever of ours leads.
fn few_are_down_because_of_us(scene: &Scene<'_>) -> Check {
    let Scene {
        observer,
        restart,
        uid,
        ..
    } = scene;
    let under_way = observer.restarts.under_way.iter();
    let down: Vec<&str> = under_way
        .filter(|(other, it)| other != uid && it.network == restart.network)
        .map(|(_, it)| it.name.as_str())
        .collect();
    ensure(
        !scene.is_of_ready || down.len() < observer.plan.policy.max_unavailable.get(),
        "R22a",
        "few members are down because of us",
        || format!("{} while {down:?} are", restart.name),
    )
}

/// R22: whoever else is down counts.
fn few_others_are_down(scene: &Scene<'_>) -> Check {
    let is_down = |(name, it): &(&String, &Validator)| {
        let was_member = it
            .recorded
            .always(scene.read, scene.issued, |recorded| *recorded);
        let counted = it.candidate.always(
            scene.issued.saturating_sub(scene.observer.plan.lag()),
            scene.issued,
            Option::is_some,
        );
        was_member && counted && scene.is_known_down(name, it)
    };
    let down: Vec<&String> = scene
        .others()
        .filter(is_down)
        .map(|(name, _)| name)
        .collect();
    ensure(
        !scene.is_of_ready || down.len() < scene.observer.plan.policy.max_unavailable.get(),
        "R22b",
        "nobody is restarted while too many others are down",
        || {
            format!(
                "{} while {down:?} are, as read at {:.3}",
                scene.restart.name,
                scene.read.as_secs_f64()
            )
        },
    )
}

/// R25: nobody who is held is restarted.
fn nobody_held_is_restarted(scene: &Scene<'_>) -> Check {
    let (held, since) = scene.validator.held.at(scene.read);
    let was_known = since + scene.observer.plan.lag() <= scene.read;
    ensure(
        !was_known || held.is_none(),
        "R25",
        "nobody who is held is restarted",
        || {
            let (name, since) = (&scene.restart.name, since.as_secs_f64());
            format!("{name}, {held:?} since {since:.3}")
        },
    )
}

/// R21: nothing starts before the membership has been the same for a while.
fn nothing_starts_before_membership_settles(scene: &Scene<'_>) -> Check {
    let network = &scene.restart.network;
    let Some(history) = scene.observer.truth.memberships.get(network) else {
        return Ok(());
    };
    let (_, since) = history.at(scene.read);
    let lag = scene.observer.plan.lag();
    let lasted = history.span_before(scene.read);
    let was_known = since + lag <= scene.read
        && lasted.is_some_and(|lasted| lasted > lag)
        && scene.observer.had_one_leader(scene.issued);
    let settle = scene.observer.plan.policy.settle;
    // In a bootstrap the members are those that we have written down, some time after we decided on them.
    let was_never_ready = |it: &Validator| {
        let (_, made) = it.candidate.at(since);
        it.ready.always(made, since, |ready| !ready)
    };
    let mut validators = scene.observer.truth.of(network);
    let is_bootstrap = validators.all(|(_, it)| was_never_ready(it));
    ensure(
        !was_known || is_bootstrap || since + settle <= scene.issued,
        "R21",
        "nothing starts before membership has been unchanged for a while",
        || {
            let (name, since) = (&scene.restart.name, since.as_secs_f64());
            format!("{name}, changed at {since:.3}, and it is to be the same for {settle:?}")
        },
    )
}

/// R22: a set that tolerates this member keeps enough others.
fn no_quorum_set_is_broken(scene: &Scene<'_>) -> Check {
    if !scene.is_of_ready {
        return Ok(());
    }
    let observer = scene.observer;
    let truth = &observer.truth;
    let name = scene.restart.name.as_str();
    let is_down = |other: &str| {
        let Some(it) = truth.validators.get(other) else {
            return false;
        };
        if it.candidate.at(scene.issued).0.is_some() {
            let known = scene.read.saturating_sub(observer.plan.lag());
            let was_in = it.candidate.always(known, scene.issued, Option::is_some);
            return was_in && scene.is_known_down(other, it);
        }
        let lag = observer.plan.lag();
        let since = scene.issued.saturating_sub(lag);
        let was_out = it.candidate.always(since, scene.issued, Option::is_none);
        let left = it.candidate.at(scene.issued).1;
        let was_listed = *it.listed.at(left).0;
        let lost = observer.record_lost.max(observer.members_lost);
        let was_lost = lost.is_some_and(|lost| lost >= left);
        let node = truth.nodes.get(other);
        let is_off = node.is_none_or(|node| !node.is_opted_out);
        is_off && was_out && was_listed && !was_lost
    };
    let since = scene.read.saturating_sub(observer.plan.lag());
    let is_known = |it: &Validator| {
        let is_candidate = it.candidate.always(since, scene.issued, Option::is_some);
        is_candidate
            && it
                .recorded
                .always(since, scene.issued, |recorded| *recorded)
    };
    for (other, _) in scene.others().filter(|(_, it)| is_known(it)) {
        let Some(set) = observer.quorum_sets.get(other) else {
            continue;
        };
        let tolerates = set.is_satisfied(&|it| it != name);
        let before = set.is_satisfied(&|it| !is_down(it));
        let after = set.is_satisfied(&|it| it != name && !is_down(it));
        ensure(
            !tolerates || !before || after,
            "R22c",
            "no quorum set that tolerates a restart is broken by it",
            || {
                let named = truth.validators.keys();
                let down: Vec<&String> = named.filter(|it| is_down(it)).collect();
                format!("{name} breaks that of {other} while {down:?} are down")
            },
        )?;
    }
    Ok(())
}

/// R25: a restart that does not get done stops all others of its network, unless nobody of it is Ready.
fn nobody_goes_on_past_one_that_is_stuck(scene: &Scene<'_>) -> Check {
    let Scene {
        observer, issued, ..
    } = scene;
    let (lag, after) = (observer.plan.lag(), observer.plan.policy.stuck_after);
    let is_stuck = |(name, it): &(&String, &Validator)| {
        // Whose template is without our restart by now was put back, and is somebody else's.
        let set = observer.truth.sets.get(*name);
        let uid = it.candidate.now().as_ref();
        let uid = uid.filter(|_| set.is_some_and(|set| set.restarted_at.is_some()));
        let last = uid.and_then(|uid| observer.restarts.last.get(uid));
        last.is_some_and(|last| {
            last.at + after + lag < *issued
                && it.settled.always(last.at, *issued, |settled| !settled)
                && it.recorded.always(last.at, *issued, |recorded| *recorded)
                && name.as_str() == last.name
        })
    };
    let span = lag.min(observer.plan.policy.bootstrap_after);
    let read = scene.read_before();
    let is_outage = |it: &Validator| {
        it.ready
            .always(read.saturating_sub(span), read, |ready| !ready)
    };
    let is_outage = observer
        .truth
        .of(&scene.restart.network)
        .all(|(_, it)| is_outage(it));
    // Who is stuck as well takes nothing away, and may be what repairs the network.
    let own = observer.restarts.last.get(scene.uid);
    let is_late = own.is_some_and(|last| last.at + after <= *issued + lag);
    let is_stuck_itself = is_late && !*scene.validator.settled.now();
    let stuck = scene.others().find(is_stuck).map(|(name, _)| name);
    let stuck = stuck.filter(|_| !is_stuck_itself);
    let is_clock_true = !observer.plan.deeds.contains(&Deed::StepClock);
    ensure(
        stuck.is_none() || is_outage || !is_clock_true,
        "R25",
        "a restart that does not get done stops all others",
        || format!("{} though {stuck:?} is stuck", scene.restart.name),
    )
}
