//! `check`: a preflight, by a person with a kubeconfig, by CI, or by `helm test` in a pod.
//!
//! Each file looks at one thing. It asks at its edge, and what was seen becomes [`finding::Finding`]s by a pure function.
//! What the account in use may not see is skipped with its name, and never ends the rest.

mod api_server;
mod ask;
mod certificate;
mod checkup;
mod definition;
mod finding;
mod injects;
mod installation;
mod judge;
mod lease;
mod life;
mod list;
mod mend;
mod namespaces;
mod needs;
mod readiness;
mod registered;
mod replicas;
mod rights;
mod text;
mod validators;

use self::finding::{Outcome, Report};
use super::{ConnectArgs, Failed, Output, output};
use crate::{app::parse_namespace, clock::Clock, observe::error_chain};

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
        value_name = "NAME,…",
        value_parser = parse_namespace
    )]
    pub namespace: Vec<String>,
    /// Namespace of the service; where not set, as the registration says, else where its Lease is.
    #[arg(long, env = "STELLAR_PEERS_OWN_NAMESPACE", value_name = "NAME", value_parser = parse_namespace)]
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
    pub output: Output,
    /// Access to the cluster.
    #[command(flatten)]
    pub connect: ConnectArgs,
}

/// Checks one after the other, and prints what was found.
///
/// # Errors
/// [`Failed`] where one failed, or standard output is closed.
pub(super) async fn run(args: &CheckArgs) -> Result<(), Failed> {
    let report = match args.connect.client().await {
        Ok(client) => checkup::look(&client, args, Clock::system()).await,
        Err(error) => {
            let findings = vec![api_server::unreachable(&error_chain(&error))];
            Report { findings }
        }
    };
    let machines = args.output.of(&report.object())?;
    output::print(&machines.unwrap_or_else(|| text::render(&report)))?;
    verdict(&report)
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

#[cfg(test)]
mod tests {
    use super::{
        finding::{Check, Finding},
        *,
    };

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

    use super::{finding::Check, *};
    use crate::sandbox::{Fault, Sandbox};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: CheckArgs,
    }

    async fn report(sandbox: &Sandbox, line: &[&str]) -> Report {
        let Line { args } = Line::parse_from(["check"].iter().chain(line));
        checkup::look(&sandbox.client("a-person"), &args, Clock::system()).await
    }

    #[tokio::test(start_paused = true)]
    async fn who_may_see_nothing_gets_skips_and_no_failure() {
        let sandbox = Sandbox::default();
        sandbox.set_faults(|request| match &*request.resource {
            "" => Fault::None,
            _ => Fault::Status(403),
        });
        let blind = report(&sandbox, &[]).await;
        assert_eq!(blind.count(Outcome::Failed), 0, "{:#?}", blind.findings);
        assert!(blind.count(Outcome::Skipped) >= 6, "{:#?}", blind.findings);
        assert!(verdict(&blind).is_ok());
        // What was asked for and is not done is told as such.
        let asked = report(&sandbox, &["--fix"]).await;
        assert_eq!(asked.count(Outcome::Failed), 1, "{:#?}", asked.findings);
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_is_installed_it_says_so_and_goes_through_to_the_end() {
        let report = report(&Sandbox::default(), &["-n", "default"]).await;
        let failed = report.findings.iter();
        let failed = failed.filter(|it| it.outcome == Outcome::Failed);
        assert!(failed.clone().any(|it| it.check == Check::Registered));
        let last = report
            .findings
            .last()
            .map(|it| (it.check, it.text.as_str()));
        let expected = (Check::Namespace, "default: no validators");
        assert_eq!(last, Some(expected), "{:#?}", report.findings);
    }
}
