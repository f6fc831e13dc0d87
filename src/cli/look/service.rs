//! The installation that keeps a list: who leads it, and by which flags it decides.

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, Client, ResourceExt, api::ListParams};
use serde::{Deserialize, Serialize};

use crate::{
    cli::{
        flags::{self, RunsWith},
        workload::{Container, DeploymentObject},
    },
    controller::error::request,
    domain::{Policy, node::NodeName},
};

/// What there is to see of an installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::cli) struct ServiceStatus {
    /// `<namespace>/<lease>`, as the record has it.
    pub(in crate::cli) writer: String,
    /// Who runs its loop.
    pub(in crate::cli) leader: Leader,
    /// Where the flags are from by which this was decided.
    pub(in crate::cli) flags: FlagsFrom,
    /// It decides and tells, and writes nothing.
    pub(in crate::cli) dry_run: bool,
    /// It was told to look after this namespace.
    pub(in crate::cli) looks_after: bool,
}

/// Who leads an installation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub(in crate::cli) enum Leader {
    /// This one, and renewed its Lease a moment ago.
    Alive {
        /// Its name.
        holder: String,
    },
    /// This one did, and has not renewed its Lease since.
    Silent {
        /// Its name.
        holder: String,
        /// RFC 3339.
        since: String,
    },
    /// The Lease has no holder: the last one ended in order.
    Nobody,
    /// The Lease can't be read, or there is none.
    Unknown {
        /// Why.
        why: String,
    },
}

/// Where the flags of an installation were found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "from")]
pub(in crate::cli) enum FlagsFrom {
    /// A Deployment's pod template.
    Deployment {
        /// `<namespace>/<name>`.
        name: String,
    },
    /// The defaults, for want of anything better.
    Defaults {
        /// Why.
        why: String,
    },
}

/// The same with what decisions need.
#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) status: ServiceStatus,
    pub(super) policy: Policy,
    pub(super) namespaces: Vec<String>,
}

/// Reads what can be read of the installation that wrote a list. What can't be is said, and fails nothing.
pub(super) async fn read_service(client: &Client, writer: &str, wall: Timestamp) -> Service {
    let is_name = |text: &&str| NodeName::new(text).is_ok();
    let place = writer.split_once('/');
    let place = place.filter(|(namespace, lease)| is_name(namespace) && is_name(lease));
    let unknown = |why: &str| {
        (
            Leader::Unknown {
                why: why.to_owned(),
            },
            Err(why.to_owned()),
        )
    };
    let (leader, flags) = match place {
        Some((namespace, lease)) => {
            let leader = read_leader(client, namespace, lease, wall).await;
            let holder = match &leader {
                Leader::Alive { holder } | Leader::Silent { holder, .. } => holder.as_str(),
                Leader::Nobody | Leader::Unknown { .. } => "",
            };
            let flags = read_flags(client, namespace, holder).await;
            (leader, flags)
        }
        None => unknown("the record names no Lease"),
    };
    let (from, runs_with) = match flags {
        Ok((name, runs_with)) => (FlagsFrom::Deployment { name }, Some(runs_with)),
        Err(why) => (FlagsFrom::Defaults { why }, None),
    };
    let policy = runs_with.as_ref().map(|it| it.policy.clone());
    Service {
        status: ServiceStatus {
            writer: writer.to_owned(),
            leader,
            flags: from,
            dry_run: runs_with.as_ref().is_some_and(|it| it.dry_run),
            looks_after: true,
        },
        policy: Policy {
            writer: writer.to_owned(),
            ..policy.unwrap_or_default()
        },
        namespaces: runs_with.map(|it| it.namespaces).unwrap_or_default(),
    }
}

async fn read_leader(client: &Client, namespace: &str, lease: &str, wall: Timestamp) -> Leader {
    let leases = Api::<Lease>::namespaced(client.clone(), namespace);
    let what = format!("Lease {namespace}/{lease}");
    match request("get", &what, leases.get_opt(lease)).await {
        Ok(Some(lease)) => leader_of(&lease, wall),
        Ok(None) => Leader::Unknown {
            why: format!("there is no {what}"),
        },
        Err(_) => Leader::Unknown {
            why: format!("{what} can't be read"),
        },
    }
}

/// Whoever holds a Lease, by this machine's clock: one that goes wrong by more than the Lease's duration is told so.
fn leader_of(lease: &Lease, wall: Timestamp) -> Leader {
    let spec = lease.spec.clone().unwrap_or_default();
    let Some(holder) = spec.holder_identity.filter(|holder| !holder.is_empty()) else {
        return Leader::Nobody;
    };
    let duration = i64::from(spec.lease_duration_seconds.unwrap_or(15));
    let renewed = spec.renew_time.map(|at| at.0);
    let is_fresh = |at: &Timestamp| wall.duration_since(*at).as_secs() <= 2 * duration;
    match renewed {
        Some(at) if !is_fresh(&at) => Leader::Silent {
            holder,
            since: crate::domain::time::rfc3339(at),
        },
        _ => Leader::Alive { holder },
    }
}

/// The flags of the Deployment that the holder of the Lease belongs to, or of the only one that runs this program.
async fn read_flags(
    client: &Client,
    namespace: &str,
    holder: &str,
) -> Result<(String, RunsWith), String> {
    let deployments = Api::<DeploymentObject>::namespaced(client.clone(), namespace);
    let what = format!("Deployments in {namespace}");
    let all = ListParams::default();
    let found = request("list", &what, deployments.list(&all)).await;
    let found = found.map_err(|_| format!("the {what} can't be read"))?;
    let mut ours: Vec<(String, &Container)> = found
        .iter()
        .filter_map(|deployment| Some((deployment.name_any(), container_of(deployment)?)))
        .collect();
    let is_holders = |name: &str| holder.starts_with(&format!("{name}-"));
    if ours.iter().any(|(name, _)| is_holders(name)) {
        ours.retain(|(name, _)| is_holders(name));
    }
    let (name, container) = match ours.as_slice() {
        [one] => one,
        [] => return Err(format!("no Deployment in {namespace} runs this program")),
        _ => {
            return Err(format!(
                "several Deployments in {namespace} run this program"
            ));
        }
    };
    let runs_with = flags::of(container, namespace).map_err(|why| {
        format!("the flags of Deployment {namespace}/{name} can't be read: {why}")
    })?;
    Ok((format!("{namespace}/{name}"), runs_with))
}

/// The container that runs the service.
fn container_of(deployment: &DeploymentObject) -> Option<&Container> {
    let pod = &deployment.spec.template.spec;
    pod.containers.iter().find(|container| {
        let is_run = container
            .args
            .iter()
            .flatten()
            .next()
            .is_some_and(|it| it == "run");
        let image = container.image.as_deref().unwrap_or_default();
        let command = container.command.iter().flatten().next();
        let is_ours = image.contains("stellar-peers")
            || container.name == "stellar-peers"
            || command.is_some_and(|it| it.ends_with("stellar-peers"));
        is_run && is_ours
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::{
        api::coordination::v1::LeaseSpec, apimachinery::pkg::apis::meta::v1::MicroTime,
    };

    use super::*;

    const NOON: Timestamp = Timestamp::constant(1_780_000_000, 0);

    #[test]
    fn a_lease_says_who_leads_and_who_did() {
        let lease = |holder: Option<&str>, ago: i64| Lease {
            spec: Some(LeaseSpec {
                holder_identity: holder.map(str::to_owned),
                lease_duration_seconds: Some(15),
                renew_time: Some(MicroTime(NOON - jiff::SignedDuration::from_secs(ago))),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        };
        let holder = || "a".to_owned();
        let alive = Leader::Alive { holder: holder() };
        assert_eq!(leader_of(&lease(Some("a"), 3), NOON), alive);
        assert_eq!(leader_of(&lease(Some(""), 3), NOON), Leader::Nobody);
        assert_eq!(leader_of(&lease(None, 3), NOON), Leader::Nobody);
        let silent = leader_of(&lease(Some("a"), 300), NOON);
        assert!(matches!(silent, Leader::Silent { .. }), "{silent:?}");
    }
}
