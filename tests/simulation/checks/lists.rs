//! What our lists say.

use std::time::Duration;

use super::{Check, ensure};
use crate::{
    observer::Observer,
    truth::{Truth, Validator},
    view::ListView,
};

/// One write of the list by ours. It was decided on when it was sent, whenever it arrived.
pub(crate) struct ListWrite<'a> {
    pub(crate) observer: &'a Observer,
    pub(crate) before: Option<&'a ListView>,
    pub(crate) after: &'a ListView,
    pub(crate) issued: Duration,
    pub(crate) now: Duration,
}

pub(crate) fn all(write: &ListWrite<'_>) -> Vec<Check> {
    let mut checks = vec![
        no_peer_is_lost(write),
        a_cold_network_keeps_its_addresses(write),
    ];
    checks.extend(
        write
            .observer
            .truth
            .validators
            .iter()
            .map(|(name, it)| nobody_is_named_to_itself(write, name, it)),
    );
    checks
}

impl ListWrite<'_> {
    fn truth(&self) -> &Truth {
        &self.observer.truth
    }

    /// From when on a correct program knew what was so then and has been since.
    fn known_since(&self) -> Duration {
        self.issued.saturating_sub(self.observer.plan.lag())
    }

    /// Whether something held for so long that a correct program knew it.
    fn was_known<T: Clone + PartialEq>(
        &self,
        history: &crate::history::History<T>,
        holds: impl Fn(&T) -> bool,
    ) -> bool {
        history.always(self.known_since(), self.now, holds)
    }
}

/// R6: what a validator is made to use never names itself.
fn nobody_is_named_to_itself(write: &ListWrite<'_>, name: &str, it: &Validator) -> Check {
    let (Some(record), Some(own)) = (&write.after.record, it.address.now()) else {
        return Ok(());
    };
    // Where an address was handed on before its pod was gone, nobody can tell the two apart.
    let mut all = write.truth().validators.iter();
    let is_shared = all.any(|(other, it)| other != name && it.address.now().as_ref() == Some(own));
    if is_shared || !write.was_known(&it.address, |address| address.as_ref() == Some(own)) {
        return Ok(());
    }
    let others = record
        .iter()
        .filter(|(other, node)| *other != name && node.network == *it.network.now());
    let mut addresses = others.flat_map(|(_, node)| &node.addresses);
    ensure(
        !it.is_candidate() || addresses.all(|address| address != own),
        "R6",
        "what a validator is made to use never names itself",
        || format!("{name} at {own}"),
    )
}

/// R26: an error takes no Ready peer out of the list. Of two that lead the one that sees less may take back for a
/// moment what the other has listed.
fn no_peer_is_lost(write: &ListWrite<'_>) -> Check {
    let before = write.before;
    let Some(before) = before.filter(|_| write.observer.had_one_leader(write.issued)) else {
        return Ok(());
    };
    let is_lost = |it: &&Validator| {
        let Some(address) = it.address.now() else {
            return false;
        };
        before.peers().any(|peer| peer == address)
            && !write.after.peers().any(|peer| peer == address)
            && write.was_known(&it.address, |then| then.as_ref() == Some(address))
            && write.was_known(&it.ready, |ready| *ready)
            && write.was_known(&it.candidate, |uid| {
                uid.is_some() && uid == it.candidate.now()
            })
            && write.was_known(&it.network, |network| network == it.network.now())
    };
    let lost = write.truth().validators.values().find(is_lost);
    ensure(
        lost.is_none(),
        "R26",
        "no Ready peer is lost from the list",
        || format!("{:?}", lost.and_then(|it| it.address.now().clone())),
    )
}

/// R7a: while fewer than half of the members are Ready, all that run are listed.
fn a_cold_network_keeps_its_addresses(write: &ListWrite<'_>) -> Check {
    for network in write.truth().memberships.keys() {
        let members: Vec<_> = write
            .truth()
            .of(network)
            .filter(|(_, it)| it.is_candidate())
            .collect();
        // Whoever joins, leaves or changes in between may count as Ready.
        let is_down = |it: &Validator| {
            write.was_known(&it.recorded, |recorded| *recorded)
                && write.was_known(&it.candidate, Option::is_some)
                && write.was_known(&it.ready, |ready| !ready)
        };
        let down = members.iter().filter(|(_, it)| is_down(it)).count();
        if 2 * (members.len() - down) >= members.len() {
            continue;
        }
        let is_missing = |it: &Validator| {
            let Some(address) = it.address.now() else {
                return false;
            };
            write.was_known(&it.address, |then| then.as_ref() == Some(address))
                && is_down(it)
                && !write.after.peers().any(|peer| peer == address)
        };
        let missing = members.iter().find(|(_, it)| is_missing(it));
        ensure(
            missing.is_none(),
            "R7a",
            "a network that is mostly down keeps all addresses",
            || format!("{network} lost {:?}", missing.map(|(name, _)| name)),
        )?;
    }
    Ok(())
}
