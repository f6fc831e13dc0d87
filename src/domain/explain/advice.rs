//! What to do about each way of being left out.

use super::steps::Facts;
use crate::domain::survey::Skipped;

/// The way out, with the command where there is one.
pub(super) fn fix(why: &Skipped, facts: &Facts<'_>) -> String {
    let (namespace, name) = (&facts.snapshot.namespace, facts.name);
    let pod = format!("kubectl describe pod -n {namespace} {name}-0");
    match why {
        Skipped::NotValidator(_) => {
            "nothing: only validators are peers; set spec.nodeType to Validator if it is one".to_owned()
        }
        Skipped::InjectDisabled => {
            "take peers.stellar.org/inject=disabled off it if it is to take part".to_owned()
        }
        Skipped::Deleted => {
            "nothing, if it is to go; else look for a finalizer that waits: \
             kubectl get -o yaml shows metadata.finalizers"
                .to_owned()
        }
        Skipped::Suspended => "set spec.suspended to false when it is to run again".to_owned(),
        Skipped::NoStellarNode => format!(
            "if nobody deleted StellarNode {name}, see whether the kind is there: kubectl get crd \
             stellarnodes.stellar.org; a StatefulSet of your own needs label peers.stellar.org/inject=enabled \
             and not the operator's labels"
        ),
        Skipped::NoStatefulSet => {
            format!("see whether the operator runs, and what it says: kubectl describe stellarnode -n {namespace} {name}")
        }
        Skipped::ReadPool => {
            "nothing: a read pool follows, and nobody needs it as a peer".to_owned()
        }
        Skipped::NoReplicas => {
            format!("kubectl scale statefulset -n {namespace} {name} --replicas=1")
        }
        Skipped::InvalidPort(_) => "set it to a number from 1 to 65535".to_owned(),
        Skipped::NoPod => {
            format!("see why none is made: kubectl describe statefulset -n {namespace} {name}")
        }
        Skipped::PodTerminating => {
            format!("wait until its next pod runs; if this one stays, see why: {pod}")
        }
        Skipped::NoIp => format!("see why it does not start: {pod}"),
        Skipped::OnlyIpv6 => {
            "stellar-core takes IPv4 and names alone: give the cluster a dual-stack pod network, or this \
             service --address-mode dns where the names resolve to IPv4"
                .to_owned()
        }
        Skipped::PodNotReady => {
            format!("see why: {pod}; stellar-core is Ready once it is in sync with its network")
        }
    }
}
