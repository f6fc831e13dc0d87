//! All checks in their order: what one has seen is what the next starts from.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};
use kube::Client;

use super::{
    CheckArgs, api_server,
    ask::Unseen,
    certificate::{self, Viewpoint},
    finding::{Check, Finding, Report},
    injects,
    installation::{self, Installation, Registration},
    judge::Ours,
    lease, mend, namespaces, readiness, registered, replicas, rights, validators,
};
use crate::{api::names::STELLAR_PEERS, cli::flags::RunsWith, clock::Clock, domain::Policy};

/// Namespaces looked at at once.
const NAMESPACES_AT_ONCE: usize = 4;

/// Looks at everything that was asked for; at nothing more than the API server where that doesn't answer.
pub(super) async fn look(client: &Client, args: &CheckArgs, clock: Clock) -> Report {
    let mut report = Report::default();
    let (findings, goes_on) = api_server::findings(&api_server::look(client).await);
    report.add(findings);
    if !goes_on {
        return report;
    }
    report.add(mend::look(client, args.fix).await);
    let mut registration = if args.no_webhook {
        Registration::NotAsked
    } else {
        installation::registration(client, args.webhook_configuration.as_deref()).await
    };
    let (own, http) = (args.own_namespace.as_deref(), args.http_address.as_deref());
    let (installation, found) = installation::find(client, own, http, &registration).await;
    report.add([found]);
    let is_without = installation.known().is_some_and(|runs| !runs.webhook);
    if is_without && matches!(registration, Registration::Missing(_)) {
        registration = Registration::NotAsked;
    }
    let seen = Seen {
        client,
        args,
        clock,
        replicas: replicas::count(client, &installation).await,
        registration,
        installation,
    };
    report.add(seen.service().await);
    let limits = seen.limits();
    let chosen = namespaces::choose(client, &args.namespace, &limits).await;
    report.add(seen.webhook(&chosen.namespaces).await);
    report.add(chosen.finding);
    report.add(seen.validators(&chosen.namespaces).await);
    report
}

/// What the later checks start from.
struct Seen<'a> {
    client: &'a Client,
    args: &'a CheckArgs,
    clock: Clock,
    registration: Registration,
    installation: Installation,
    /// How many are ready.
    replicas: Result<usize, Unseen>,
}

impl Seen<'_> {
    async fn service(&self) -> Vec<Finding> {
        let Self {
            client,
            installation,
            registration,
            ..
        } = self;
        let mut findings = vec![
            lease::look(
                client,
                installation,
                self.replicas.as_ref().ok().copied(),
                || self.clock.now().wall,
            )
            .await,
            replicas::finding(&self.replicas, installation, registration),
            rights::look(client, installation).await,
        ];
        if let Some(address) = &self.args.http_address {
            findings.push(readiness::look(address).await);
        }
        findings
    }

    async fn webhook(&self, namespaces: &BTreeSet<String>) -> Vec<Finding> {
        let found = match &self.registration {
            Registration::Found(found) => found,
            Registration::NotAsked => {
                let text = "there is to be no webhook";
                return vec![Finding::skipped(Check::Registered, text)];
            }
            Registration::Missing(name) => {
                let text = format!("there is no registration {name}");
                let missing = Finding::failed(Check::Registered, text)
                    .means("the API server calls no webhook: new validators start without a list")
                    .fix(
                        "webhook.enabled=true in the chart's values, `stellar-peers manifests`, or \
                         --webhook-configuration",
                    );
                return vec![missing];
            }
            Registration::Unseen(unseen) => {
                return vec![Finding::unseen(Check::Registered, unseen)];
            }
        };
        let from = Viewpoint {
            address: self.args.webhook_address.clone(),
            in_cluster: std::env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
        };
        let now = self.clock.now().wall;
        let mut findings = registered::findings(found, &self.replicas, now);
        findings.extend(certificate::look(found, &from, now).await);
        let named = registered::named_namespaces(found).unwrap_or_default();
        let default = self.client.default_namespace().to_owned();
        let asked = self.args.namespace.iter().chain(namespaces);
        let mut tries = asked.chain([&default]).chain(&named);
        let runs = self.installation.known();
        let is_dry = runs.is_some_and(|runs| runs.dry_run);
        let asks_callers = runs.is_some_and(|runs| runs.asks_callers);
        let served = tries.find(|namespace| registered::serves(found, namespace));
        findings.push(match served {
            _ if is_dry => Finding::skipped(
                Check::Injects,
                "the service runs with --dry-run, and adds nothing",
            ),
            Some(namespace) => {
                injects::look(self.client, namespace, self.clock, asks_callers).await
            }
            None => Finding::skipped(
                Check::Injects,
                "the webhook is called in no namespace that is looked at",
            ),
        });
        findings
    }

    async fn validators(&self, namespaces: &BTreeSet<String>) -> Vec<Finding> {
        let ours = &self.ours();
        let looks = stream::iter(namespaces);
        let looks = looks.map(|it| validators::look(self.client, it, ours, self.clock));
        let found: Vec<Vec<Finding>> = looks.buffered(NAMESPACES_AT_ONCE).collect().await;
        found.into_iter().flatten().collect()
    }

    /// The namespaces to which the service is limited, as far as that can be told.
    fn limits(&self) -> Vec<String> {
        match (self.installation.known(), &self.registration) {
            (Some(runs), _) => runs.namespaces.clone(),
            (None, Registration::Found(found)) => {
                registered::named_namespaces(found).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    fn ours(&self) -> Ours {
        let runs = self.installation.known();
        let defaults = || Policy {
            writer: format!("{}/{STELLAR_PEERS}", self.installation.namespace),
            ..Policy::default()
        };
        Ours {
            policy: runs.map_or_else(defaults, |runs| runs.policy.clone()),
            writes_lists: runs.is_none_or(|runs| runs.discovery && !runs.dry_run),
            uses_names: runs.is_some_and(RunsWith::uses_names),
            is_known: runs.is_some(),
            is_writer_known: runs.is_some() || self.registration.service().is_some(),
        }
    }
}
