//! Why a node is or isn't in the list: each question that discovery asks of it, what was found and where.
//!
//! # Guarantees
//! - The answer is discovery's own: the question that fails is the one of the [`Skipped`] that it gave, and no other.
//! - Whatever stands in the cluster, there is an answer: also for a name that is nobody.

mod advice;
mod steps;
#[cfg(test)]
mod tests;

use serde::Serialize;

use self::steps::{Facts, steps};
use super::{
    Decision, Policy, Snapshot,
    discovery::Listing,
    node::NodeName,
    status::{NodeStatus, Reason, Status},
    survey::{Skipped, Standing},
};

/// One question, and what was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// What is asked, as a statement that holds or not.
    pub claim: String,
    /// Whether it holds.
    pub holds: bool,
    /// What was found.
    pub found: String,
    /// The object and the field in which it was found.
    pub place: String,
}

/// How it ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The namespace.
    pub namespace: String,
    /// The node that was asked for.
    pub node: String,
    /// The questions in the order in which discovery asks them, up to the first that fails.
    pub steps: Vec<Step>,
    /// Its addresses in the list.
    pub addresses: Vec<String>,
    /// Why there are none; or why there are some though it is not Ready.
    pub because: Option<Reason>,
    /// What to do about it.
    pub fix: Option<String>,
    /// What else there is to see of it, where it is a node.
    pub status: Option<NodeStatus>,
    /// What keeps the service from deciding anything in this namespace.
    pub problem: Option<Reason>,
    /// The hash of the present members of its network, where that is known.
    pub membership: Option<String>,
}

impl Explanation {
    /// It has addresses in the list.
    #[must_use]
    pub const fn is_peer(&self) -> bool {
        !self.addresses.is_empty()
    }
}

/// Explains one name. `status` is what there is to see of the same decision.
#[must_use]
pub fn explain(
    snapshot: &Snapshot,
    decision: &Decision,
    status: &Status,
    policy: &Policy,
    name: &NodeName,
) -> Explanation {
    let facts = Facts {
        snapshot,
        policy,
        name,
        node: snapshot.stellar_nodes.get(name).map(|node| &**node),
        set: snapshot.stateful_sets.get(name).map(|set| &**set),
    };
    let seen = status.nodes.iter().find(|node| node.name == name.as_str());
    let network = seen.map(|node| node.network.as_str());
    let mut networks = status.networks.iter();
    let explanation = Explanation {
        namespace: snapshot.namespace.clone(),
        node: name.to_string(),
        steps: Vec::new(),
        addresses: Vec::new(),
        because: None,
        fix: None,
        status: seen.cloned(),
        problem: status.problem.clone(),
        membership: networks
            .find(|it| Some(it.name.as_str()) == network)
            .map(|network| network.membership.clone()),
    };
    let Some(standing) = decision.survey.get(name) else {
        let why = facts.nobody();
        return Explanation {
            steps: vec![why.0],
            because: Some(Reason {
                reason: "NoNode".to_owned(),
                text: why.1,
            }),
            fix: Some(facts.how_to_opt_in(status)),
            ..explanation
        };
    };
    let (candidate, why) = match standing {
        Standing::Out(why) => (None, Some(why.clone())),
        Standing::Candidate(candidate) => (Some(&**candidate), candidate.skipped()),
    };
    let listing = decision.discovery.listings.get(name);
    let addresses = listing.map(Listing::addresses).unwrap_or_default();
    Explanation {
        steps: steps(&facts, candidate, why.as_ref()),
        addresses: addresses.iter().map(ToString::to_string).collect(),
        because: why.as_ref().map(|why| reason_of(why, listing)),
        fix: why.as_ref().map(|why| advice::fix(why, &facts)),
        ..explanation
    }
}

/// Why it is left out, or listed all the same.
fn reason_of(why: &Skipped, listing: Option<&Listing>) -> Reason {
    use super::discovery::Basis;
    let listed = match listing {
        Some(Listing::Peers(_, Basis::ColdStart)) => {
            "; listed all the same, since fewer than half of its network's members are Ready"
        }
        Some(Listing::Peers(_, Basis::Bootstrap)) => {
            "; listed all the same, since nobody of its network was ever Ready"
        }
        _ => "",
    };
    Reason {
        reason: why.reason().to_owned(),
        text: format!("{why}{listed}"),
    }
}
