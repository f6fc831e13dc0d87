//! `check`: a preflight, by a person with a kubeconfig, by CI, or by `helm test` in a pod.
//!
//! Each file looks at one thing. It asks at its edge, and what was seen becomes [`finding::Finding`]s by a pure function.
//! What the account in use may not see is skipped with its name, and never ends the rest.

mod api_server;
mod ask;
mod certificate;
mod definition;
mod finding;
mod flags;
mod injects;
mod installation;
mod judge;
mod lease;
mod life;
mod mend;
mod namespaces;
mod readiness;
mod registered;
mod replicas;
mod rights;
mod text;
mod validators;

use std::io::{self, Write};

use clap::ValueEnum;
use futures::{StreamExt, stream};
use kube::Client;

use self::{
    ask::Unseen,
    certificate::Viewpoint,
    finding::{Check, Finding, Outcome, Report},
    installation::{Installation, Registration},
    judge::Ours,
};
use super::{ConnectArgs, Failed, OutputFormat, manifests};
use crate::{clock::Clock, domain::Policy, observe::error_chain};

/// Namespaces looked at at once.
const NAMESPACES_AT_ONCE: usize = 4;

/// How a report is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// For both.
    Yaml,
}

/// What to check.
#[derive(Clone, Debug, clap::Args)]
pub struct CheckArgs {
    /// Namespaces whose validators to look at; where not set all that have some, or those that the service is limited
    /// to.
    #[arg(
        short,
        long,
        env = "STELLAR_PEERS_NAMESPACE",
        value_delimiter = ',',
        value_name = "NAME,…"
    )]
    pub namespace: Vec<String>,
    /// Namespace of the service; where not set, as the registration says, else where its Lease is.
    #[arg(long, env = "STELLAR_PEERS_OWN_NAMESPACE", value_name = "NAME")]
    pub own_namespace: Option<String>,
    /// Registration of the webhook; where not set stellar-peers, or the only one there is.
    #[arg(long, env = "STELLAR_PEERS_WEBHOOK_CONFIGURATION", value_name = "NAME")]
    pub webhook_configuration: Option<String>,
    /// Where the webhook is reached; where not set, as the registration says.
    #[arg(long, env = "STELLAR_PEERS_WEBHOOK_ADDRESS", value_name = "HOST:PORT")]
    pub webhook_address: Option<String>,
    /// There is no webhook, as in `run`.
    #[arg(long, env = "STELLAR_PEERS_NO_WEBHOOK", conflicts_with_all = ["webhook_configuration", "webhook_address"])]
    pub no_webhook: bool,
    /// Where /readyz is, such as stellar-peers.stellar-peers.svc:8080; not looked at where not set.
    #[arg(long, env = "STELLAR_PEERS_HTTP_ADDRESS", value_name = "HOST:PORT")]
    pub http_address: Option<String>,
    /// Add spec.validatorConfig.peerPort to the schema of StellarNode where it is dropped. Nothing else is changed.
    #[arg(long, env = "STELLAR_PEERS_FIX")]
    pub fix: bool,
    /// How to print.
    #[arg(short, long, env = "STELLAR_PEERS_OUTPUT", value_enum, default_value_t)]
    pub output: ReportFormat,
    /// Access to the cluster.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Checks one after the other, and prints what was found.
///
/// # Errors
/// [`Failed`] where one failed, or standard output is closed.
pub(super) async fn run(args: &CheckArgs) -> Result<(), Failed> {
    let mut report = Report::default();
    match args.connect.client().await {
        Ok(client) => checked(&client, args, Clock::system(), &mut report).await,
        Err(error) => report.add([api_server::unreachable(&error_chain(&error))]),
    }
    print(&report, args.output)?;
    verdict(&report)
}

fn print(report: &Report, format: ReportFormat) -> Result<(), Failed> {
    match format {
        ReportFormat::Json => manifests::write(&report.object(), OutputFormat::Json),
        ReportFormat::Yaml => manifests::write(&report.object(), OutputFormat::Yaml),
        // Colours go only to a terminal.
        ReportFormat::Text => match anstream::stdout().write_all(text::render(report).as_bytes()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failed(format!("standard output: {error}")))
            }
            _ => Ok(()),
        },
    }
}

/// Warnings, and what was not looked at, are no failure.
fn verdict(report: &Report) -> Result<(), Failed> {
    match report.count(Outcome::Failed) {
        0 => Ok(()),
        failed => {
            let all = report.findings.len();
            Err(Failed(format!("{failed} of {all} checks failed")))
        }
    }
}

async fn checked(client: &Client, args: &CheckArgs, clock: Clock, report: &mut Report) {
    let (findings, goes_on) = api_server::findings(&api_server::look(client).await);
    report.add(findings);
    if !goes_on {
        return;
    }
    report.add(mend::look(client, args.fix).await);
    let mut registration = match args.no_webhook {
        true => Registration::NotAsked,
        false => installation::registration(client, args.webhook_configuration.as_deref()).await,
    };
    let own = args.own_namespace.as_deref();
    let (installation, found) =
        installation::find(client, own, args.http_address.as_deref(), &registration).await;
    if matches!(registration, Registration::Missing(_))
        && installation.known().is_some_and(|runs| !runs.webhook)
    {
        registration = Registration::NotAsked;
    }
    report.add([found]);
    let replicas = service(client, args, &installation, &registration, clock, report).await;
    let chosen = namespaces::choose(
        client,
        &args.namespace,
        &limits(&installation, &registration),
    )
    .await;
    webhook(
        client,
        args,
        &registration,
        &replicas,
        &chosen.namespaces,
        clock,
        report,
    )
    .await;
    report.add(chosen.finding);
    let ours = &ours(&installation, &registration);
    let looks = stream::iter(chosen.namespaces.iter());
    let looks = looks.map(|namespace| validators::look(client, namespace, ours, clock));
    let found: Vec<Vec<Finding>> = looks.buffered(NAMESPACES_AT_ONCE).collect().await;
    report.add(found.into_iter().flatten());
}

/// Gives how many replicas are ready.
async fn service(
    client: &Client,
    args: &CheckArgs,
    installation: &Installation,
    registration: &Registration,
    clock: Clock,
    report: &mut Report,
) -> Result<usize, Unseen> {
    report.add([lease::look(client, installation, || clock.now().wall).await]);
    let replicas = replicas::count(client, installation).await;
    report.add([replicas::finding(&replicas, installation, registration)]);
    report.add([rights::look(client, installation).await]);
    if let Some(address) = &args.http_address {
        report.add([readiness::look(address).await]);
    }
    replicas
}

async fn webhook(
    client: &Client,
    args: &CheckArgs,
    registration: &Registration,
    replicas: &Result<usize, Unseen>,
    namespaces: &std::collections::BTreeSet<String>,
    clock: Clock,
    report: &mut Report,
) {
    let found = match registration {
        Registration::Found(found) => found,
        Registration::NotAsked => {
            report.add([Finding::skipped(
                Check::Registered,
                "there is to be no webhook",
            )]);
            return;
        }
        Registration::Missing(name) => {
            let missing = Finding::failed(
                Check::Registered,
                format!("there is no registration {name}"),
            );
            report.add([missing
                .means("the API server calls no webhook: new validators start without a list")
                .fix("webhook.enabled=true in the chart's values, `stellar-peers manifests`, or --webhook-configuration")]);
            return;
        }
        Registration::Unseen(unseen) => {
            report.add([Finding::unseen(Check::Registered, unseen)]);
            return;
        }
    };
    let from = Viewpoint {
        address: args.webhook_address.clone(),
        in_cluster: std::env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
    };
    let now = clock.now().wall;
    report.add(registered::findings(found, replicas, now));
    report.add(certificate::look(found, &from, now).await);
    let default = client.default_namespace().to_owned();
    let named = registered::named_namespaces(found).unwrap_or_default();
    let mut tries = args
        .namespace
        .iter()
        .chain(namespaces)
        .chain([&default])
        .chain(&named);
    report.add([
        match tries.find(|namespace| registered::serves(found, namespace)) {
            Some(namespace) => injects::look(client, namespace, clock).await,
            None => Finding::skipped(
                Check::Injects,
                "the webhook is called in no namespace that is looked at",
            ),
        },
    ]);
}

/// The namespaces to which the service is limited, as far as that can be told.
fn limits(installation: &Installation, registration: &Registration) -> Vec<String> {
    match (installation.known(), registration) {
        (Some(runs), _) => runs.namespaces.clone(),
        (None, Registration::Found(found)) => {
            registered::named_namespaces(found).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

fn ours(installation: &Installation, registration: &Registration) -> Ours {
    let runs = installation.known();
    let writer = format!(
        "{}/{}",
        installation.namespace,
        crate::api::names::STELLAR_PEERS
    );
    let policy = runs.map(|runs| runs.policy.clone());
    Ours {
        policy: policy.unwrap_or_else(|| Policy {
            writer,
            ..Policy::default()
        }),
        writes_lists: runs.is_none_or(|runs| runs.discovery && !runs.dry_run),
        uses_names: runs.is_some_and(flags::RunsWith::uses_names),
        is_writer_known: runs.is_some() || registration.service().is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_failed_check_makes_the_program_fail() {
        let mut report = Report::default();
        report.add([
            Finding::pass(Check::Version, ""),
            Finding::warning(Check::Lease, ""),
            Finding::skipped(Check::Rights, ""),
        ]);
        assert!(verdict(&report).is_ok());
        report.add([Finding::failed(Check::Lease, "")]);
        let failed = verdict(&report).unwrap_err().to_string();
        assert_eq!(failed, "1 of 4 checks failed");
    }
}

#[cfg(all(test, feature = "sandbox"))]
mod stories {
    use clap::Parser;

    use super::*;
    use crate::sandbox::{Fault, Sandbox};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: CheckArgs,
    }

    async fn report(sandbox: &Sandbox, line: &[&str]) -> Report {
        let Line { args } = Line::parse_from(["check"].iter().chain(line));
        let mut report = Report::default();
        checked(
            &sandbox.client("a-person"),
            &args,
            Clock::system(),
            &mut report,
        )
        .await;
        report
    }

    #[tokio::test(start_paused = true)]
    async fn who_may_see_nothing_gets_skips_and_no_failure() {
        let sandbox = Sandbox::default();
        sandbox.set_faults(|request| match &*request.resource {
            "" => Fault::None,
            _ => Fault::Status(403),
        });
        let report = report(&sandbox, &[]).await;
        assert_eq!(report.count(Outcome::Failed), 0, "{:#?}", report.findings);
        assert!(
            report.count(Outcome::Skipped) >= 6,
            "{:#?}",
            report.findings
        );
        assert!(verdict(&report).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_is_installed_it_says_so_and_goes_through_to_the_end() {
        let report = report(&Sandbox::default(), &[]).await;
        let failed: Vec<Check> = report
            .findings
            .iter()
            .filter(|it| it.outcome == Outcome::Failed)
            .map(|it| it.check)
            .collect();
        assert!(
            failed.contains(&Check::Registered),
            "{:#?}",
            report.findings
        );
        assert_eq!(
            report.findings.last().map(|it| it.check),
            Some(Check::Namespaces)
        );
    }
}
