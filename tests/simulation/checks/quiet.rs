//! What has to be true once nothing goes wrong any more.

use std::{collections::BTreeSet, time::Duration};

use stellar_peers::observe::Overview;

use super::Violation;
use crate::{gates, observer::Observer, truth::Validator, view::Parts};

/// How long nobody of ours may have written.
const REST: Duration = Duration::from_mins(1);

/// What is not as it should be; none where everything is.
pub(crate) fn unrest(observer: &Observer, now: Duration) -> Option<Violation> {
    let truth = &observer.truth;
    let fault = |rule, asks, found| Some(Violation { rule, asks, found });
    if let Some((name, _)) = truth
        .validators
        .iter()
        .find(|(_, it)| it.is_candidate() && !it.settled.now() && !is_cut_off(observer, it))
    {
        return fault("R23", "at quiet everybody is Ready", name.clone());
    }
    let is_anybody_cut_off = truth
        .validators
        .values()
        .any(|it| it.is_candidate() && is_cut_off(observer, it));
    if let Some(violation) = untrue_list(observer).filter(|_| !is_anybody_cut_off) {
        return Some(violation);
    }
    if let Some(found) = stale(observer) {
        return fault("R17", "at quiet nobody is stale", found);
    }
    if let Some(name) = truth
        .sets
        .iter()
        .find(|(_, set)| set.has_turn)
        .map(|(name, _)| name)
    {
        return fault("R24", "at quiet no turn is left", name.clone());
    }
    if truth.list.as_ref().is_some_and(|list| list.has_turn) {
        return fault("R24", "at quiet no turn is left", "on the list".to_owned());
    }
    if now.saturating_sub(observer.last_write) < REST {
        let found = format!("the last one at {:.3}", observer.last_write.as_secs_f64());
        return fault("R5", "at rest nobody writes", found);
    }
    None
}

fn untrue_list(observer: &Observer) -> Option<Violation> {
    let truth = &observer.truth;
    let peers = truth.ready_peers();
    let listed: Vec<&str> = truth
        .list
        .iter()
        .flat_map(|list| list.known_peers.lines())
        .collect();
    let (asks, found) = if listed == peers {
        ("at quiet the record is true", wrong_record(observer)?)
    } else {
        let found = format!("{listed:?} instead of {peers:?}");
        ("at quiet the list is true", found)
    };
    Some(Violation {
        rule: "R9",
        asks,
        found,
    })
}

fn wrong_record(observer: &Observer) -> Option<String> {
    let truth = &observer.truth;
    let candidates = truth.validators.iter().filter(|(_, it)| it.is_candidate());
    let Some(list) = &truth.list else {
        return (candidates.count() > 0).then(|| "there is no list".to_owned());
    };
    let Some(record) = &list.record else {
        return Some("it is not readable".to_owned());
    };
    for (name, it) in candidates {
        let Some(node) = record.get(name) else {
            return Some(format!("{name} is missing"));
        };
        let expected = (
            it.network.now(),
            it.address.now().as_ref(),
            it.candidate.now().as_ref(),
            true,
        );
        let found = (
            &node.network,
            node.addresses.first(),
            Some(&node.uid),
            node.is_member,
        );
        if expected != found {
            return Some(format!("{name} is {found:?} instead of {expected:?}"));
        }
    }
    let stranger = record.keys().find(|name| {
        truth
            .validators
            .get(*name)
            .is_none_or(|it| !it.is_candidate())
    });
    stranger.map(|name| format!("{name} is no candidate"))
}

fn stale(observer: &Observer) -> Option<String> {
    let truth = &observer.truth;
    let candidates = truth.validators.iter().filter(|(_, it)| it.is_candidate());
    let waits_for_ever = |name: &str, it: &Validator| {
        is_held_by_quorum(observer, name, it) || waits_for_one_cut_off(observer, it)
    };
    candidates
        .filter(|(name, it)| !waits_for_ever(name, it))
        .find_map(|(name, it)| stale_for(observer, name, it))
}

/// What one who may be restarted lacks.
fn stale_for(observer: &Observer, name: &str, it: &Validator) -> Option<String> {
    let truth = &observer.truth;
    let set = truth.sets.get(name)?;
    let network = it.network.now();
    let hash = truth.hash(network);
    if set.parts == Parts::All {
        let carried = &set.membership;
        let is_present = carried.as_ref() == Some(&hash);
        return (!is_present).then(|| format!("{name} carries {carried:?} instead of {hash}"));
    }
    // Somebody took away what the one restart brought, and there is no second.
    let is_dropped = observer.restarts.has_taken_in(&set.uid, &hash);
    // Who is alone has nobody to be made to use, and need not be taken in.
    let is_alone = truth
        .of(network)
        .filter(|(_, it)| it.is_candidate())
        .count()
        == 1;
    (!is_dropped && !is_alone).then(|| format!("{name} lacks our parts"))
}

/// Runs, but is cut off: everybody whom its pod knows has moved, and nobody knows its pod.
fn is_cut_off(observer: &Observer, it: &Validator) -> bool {
    let plan = &observer.plan;
    let mut network = observer.truth.of(it.network.now());
    // Where all of them are members and none is Ready, they are restarted, each once.
    let was_helped = |it: &Validator| {
        let uid = it.candidate.now().as_deref();
        uid.is_some_and(|uid| observer.restarts.was_helped(uid))
    };
    let is_left_alone = network.any(|(_, it)| {
        it.is_candidate() && (*it.ready.now() || !it.recorded.now() || was_helped(it))
    });
    !gates::THE_CUT_OFF_ARE_HELPED && plan.is_core_like && !it.ready.now() && is_left_alone
}

/// Waits for one that is cut off, and so for ever.
fn waits_for_one_cut_off(observer: &Observer, it: &Validator) -> bool {
    let mut network = observer.truth.of(it.network.now());
    network.any(|(_, it)| it.is_candidate() && is_cut_off(observer, it))
}

/// With those that left, some other's quorum set would not be met: that stays so until its set is changed.
fn is_held_by_quorum(observer: &Observer, name: &str, it: &Validator) -> bool {
    let truth = &observer.truth;
    let is_up = |other: &str| {
        let other = truth.validators.get(other);
        other.is_none_or(|it| it.is_candidate() && *it.settled.now())
    };
    let others = truth
        .of(it.network.now())
        .filter(|(other, it)| *other != name && it.is_candidate());
    let mut sets = others.filter_map(|(other, _)| observer.quorum_sets.get(other));
    sets.any(|set| {
        set.is_satisfied(&|other| other != name)
            && !set.is_satisfied(&|other| other != name && is_up(other))
    })
}

/// What people are shown by whoever leads.
pub(crate) fn untrue_status(observer: &Observer, overviews: &[Overview]) -> Option<Violation> {
    let fault = |asks, found| {
        Some(Violation {
            rule: "status",
            asks,
            found,
        })
    };
    let mut leaders = overviews.iter().filter(|it| it.leads);
    let (Some(leader), None) = (leaders.next(), leaders.next()) else {
        let instances: Vec<_> = overviews
            .iter()
            .map(|it| (&it.instance, it.leads))
            .collect();
        return fault("at quiet one leads", format!("{instances:?}"));
    };
    let status = leader.namespaces.first()?;
    if let Some(problem) = &status.problem {
        return fault("at quiet there is no problem", problem.text.clone());
    }
    let nodes = status.nodes.iter();
    let shown: BTreeSet<String> = nodes.flat_map(|it| it.addresses.clone()).collect();
    // Where somebody is cut off for good that is more than those that are Ready.
    let lists = observer.truth.list.iter();
    let peers = lists.flat_map(|list| list.known_peers.lines().map(str::to_owned));
    let peers: BTreeSet<String> = peers.collect();
    let is_written = status.list.as_ref().is_none_or(|list| list.up_to_date);
    if shown != peers || !is_written {
        return fault("at quiet what is shown is true", format!("{status:?}"));
    }
    None
}

/// R20: restarts in all.
pub(crate) fn too_many_restarts(observer: &Observer) -> Option<Violation> {
    let truth = &observer.truth;
    let changes: usize = truth
        .memberships
        .values()
        .map(|it| it.changes().count())
        .sum();
    let members = truth.validators.len();
    let most = (changes + 1 + observer.outages) * members;
    let is_bound = !observer.plan.is_core_like && observer.restarts.count > most as u64;
    is_bound.then(|| Violation {
        rule: "R20",
        asks: "restarts are no more than changes of membership times members",
        found: format!("{} instead of {most} at most", observer.restarts.count),
    })
}
