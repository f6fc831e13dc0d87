//! A look at namespaces with the rights of whoever calls, past any service of ours: for `status` and `explain`.
//!
//! The flags that decisions depend on are read off the installation that writes the list, where that can be seen.

mod service;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, ResourceExt, api::ListParams};

pub(super) use self::service::{FlagsFrom, Leader, ServiceStatus};
use self::service::{Service, read_service};
use super::{ConnectArgs, Failed};
use crate::{
    api::{ServiceObject, StatefulSetObject, StellarNodeObject, names},
    clock::Clock,
    controller::{
        error::{ReconcileError, accounted, request},
        fresh::read_fresh,
    },
    domain::{
        Decision, Memory, Moment, Now, Policy, Snapshot, decide,
        policy::AddressMode,
        snapshot::{ByName, Inject, ServiceView, StatefulSetView},
        status::{Status, status},
    },
};

/// Long enough that whatever the cluster wrote down lies after the beginning of our time.
const AGE_OF_TIME: Duration = Duration::from_hours(24 * 365 * 100);

/// One namespace as it was seen.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) snapshot: Snapshot,
    pub(super) decision: Decision,
    pub(super) status: Status,
    pub(super) policy: Policy,
    /// The installation that keeps its list; [`None`] where there is no list yet.
    pub(super) service: Option<ServiceStatus>,
}

/// Whoever looks, and what they remember from one look to the next.
pub(super) struct Looker {
    client: Client,
    clock: Clock,
    memories: BTreeMap<String, Memory>,
    /// One answer an installation and look.
    services: BTreeMap<String, Service>,
}

impl Looker {
    pub(super) async fn connect(args: &ConnectArgs) -> Result<Self, Failed> {
        let client = args.client().await;
        Ok(Self::new(client.map_err(|error| {
            Failed(format!(
                "there is no cluster to ask: {}; name one with --kubeconfig or --context",
                crate::observe::error_chain(&error)
            ))
        })?))
    }

    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            clock: Clock::system(),
            memories: BTreeMap::new(),
            services: BTreeMap::new(),
        }
    }

    /// The namespace that was asked for, else that of the context in use.
    pub(super) fn namespace_or_default(&self, namespace: Option<&str>) -> String {
        let default = self.client.default_namespace();
        namespace.unwrap_or(default).to_owned()
    }

    /// Reads everything anew from here on, installations as well.
    pub(super) fn look_again(&mut self) {
        self.services.clear();
    }

    /// The namespaces that have a list, a StellarNode, or a StatefulSet that takes part.
    pub(super) async fn namespaces(&self) -> Result<BTreeSet<String>, Failed> {
        let named =
            ListParams::default().fields(&format!("metadata.name={}", names::STELLAR_PEERS));
        let lists = Api::<ConfigMap>::all(self.client.clone());
        let all = ListParams::default();
        let nodes = Api::<StellarNodeObject>::all(self.client.clone());
        let sets = Api::<StatefulSetObject>::all(self.client.clone());
        let of = |meta: Option<String>| meta.unwrap_or_default();
        let everywhere = |error| refused(error, "in all namespaces; name one with -n");
        let lists = request("list", "ConfigMaps", lists.list(&named)).await;
        let mut found: BTreeSet<String> = lists
            .map_err(everywhere)?
            .into_iter()
            .map(|list| of(list.namespace()))
            .collect();
        let nodes = request("list", "StellarNodes", async {
            match nodes.list(&all).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(Vec::new()),
                nodes => nodes.map(|nodes| nodes.items),
            }
        });
        let nodes = nodes.await.map_err(everywhere)?;
        found.extend(nodes.into_iter().map(|node| of(node.namespace())));
        let sets = request("list", "StatefulSets", sets.list(&all)).await;
        let takes_part = |set: &StatefulSetObject| {
            let view = StatefulSetView::from(set);
            view.operator_labelled || view.inject == Inject::Enabled
        };
        let sets = sets.map_err(everywhere)?.into_iter();
        found.extend(sets.filter(takes_part).map(|set| of(set.namespace())));
        Ok(found)
    }

    /// Looks at one namespace.
    pub(super) async fn look(&mut self, namespace: &str) -> Result<Seen, Failed> {
        let failed = |error| refused(error, &format!("in namespace {namespace}"));
        let fresh = read_fresh(&self.client, namespace).await.map_err(failed)?;
        let record = fresh.config_map.as_ref();
        let record = record.and_then(|map| map.readable_record());
        let writer = record.map(|record| record.writer.clone());
        let service = match &writer {
            Some(writer) => Some(self.service(writer, namespace).await),
            None => None,
        };
        let policy = service.as_ref().map(|service| service.policy.clone());
        let policy = policy.unwrap_or_default();
        let mut snapshot = fresh.over(Snapshot {
            namespace: namespace.to_owned(),
            ..Snapshot::default()
        });
        if policy.address_mode != AddressMode::Ip {
            snapshot.services = self.services_of(namespace).await.map_err(failed)?;
        }
        let now = Now {
            moment: Moment(AGE_OF_TIME + self.clock.now().moment.0),
            wall: self.clock.now().wall,
        };
        let memories = self.memories.entry(namespace.to_owned());
        let memory = memories.or_insert_with(|| Memory::of_one_look(&snapshot, &policy, now));
        let decision = decide(&snapshot, memory, &policy, now);
        let mut status = status(&snapshot, &decision, memory, &policy, now);
        if let Err(error) = accounted(snapshot.clone()) {
            status.problem = Some(error.problem());
        }
        Ok(Seen {
            snapshot,
            decision,
            status,
            policy,
            service: service.map(|service| service.status),
        })
    }

    async fn service(&mut self, writer: &str, namespace: &str) -> Service {
        if !self.services.contains_key(writer) {
            let wall = self.clock.now().wall;
            let service = read_service(&self.client, writer, wall).await;
            self.services.insert(writer.to_owned(), service);
        }
        let mut service = self.services[writer].clone();
        service.status.looks_after &=
            service.namespaces.is_empty() || service.namespaces.iter().any(|it| it == namespace);
        service
    }

    async fn services_of(
        &self,
        namespace: &str,
    ) -> Result<ByName<String, ServiceView>, ReconcileError> {
        let services = Api::<ServiceObject>::namespaced(self.client.clone(), namespace);
        let services = request("list", "Services", services.list(&ListParams::default())).await?;
        let view = |it: ServiceObject| (it.name_any(), ServiceView::from(&it).into());
        let services: BTreeMap<_, _> = services.into_iter().map(view).collect();
        Ok(services.into())
    }
}

/// How a request of a person's failed: whose rights are missing is another matter than in the service.
fn refused(error: ReconcileError, scope: &str) -> Failed {
    match error {
        ReconcileError::Forbidden { verb, what, .. } => Failed(format!(
            "you may not {verb} {what} {scope}; docs/status.md has the rights that this takes"
        )),
        ReconcileError::Api { source, .. } if is_unreachable(&source) => Failed(format!(
            "the API server can't be reached: {}; `kubectl cluster-info` says what kubectl makes of it",
            crate::observe::error_chain(&*source)
        )),
        ReconcileError::Silent { .. } => {
            Failed("the API server gives no answer within 10 s; `kubectl cluster-info` says what kubectl makes of it".to_owned())
        }
        error => Failed::from_error(&error),
    }
}

/// No answer at all, and none to come.
const fn is_unreachable(error: &kube::Error) -> bool {
    !matches!(error, kube::Error::Api(_))
}
