//! How the service runs, read off its container: the same flags that it reads itself.

use std::{collections::BTreeMap, ffi::OsString, fmt};

use super::{RunArgs, workload::Container};
use crate::{
    api::names::STELLAR_PEERS,
    domain::{Policy, policy::AddressMode},
};
use clap::{ArgAction, Args, Command, FromArgMatches, builder::Resettable};

/// The flags that checks depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RunsWith {
    /// The namespaces that it looks after; all where empty.
    pub(super) namespaces: Vec<String>,
    /// It has a webhook.
    pub(super) webhook: bool,
    /// It has the loop.
    pub(super) discovery: bool,
    /// One of its replicas has to lead.
    pub(super) elects: bool,
    /// It writes nothing.
    pub(super) dry_run: bool,
    /// Callers of its webhook have to show a certificate.
    pub(super) asks_callers: bool,
    /// What its decisions depend on.
    pub(super) policy: Policy,
}

impl RunsWith {
    /// Its addresses are DNS names.
    pub(super) fn uses_names(&self) -> bool {
        self.policy.address_mode != AddressMode::Ip
    }
}

impl fmt::Display for RunsWith {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespaces[..] {
            [] => f.write_str("for all namespaces")?,
            some => write!(f, "for {}", some.join(", "))?,
        }
        if !self.webhook {
            f.write_str(", without webhook")?;
        }
        if !self.discovery {
            f.write_str(", without loop")?;
        }
        if self.asks_callers {
            f.write_str(", for callers with a certificate")?;
        }
        if self.dry_run {
            f.write_str(", dry run")?;
        }
        Ok(())
    }
}

/// What a container of `stellar-peers run` in this namespace runs with.
///
/// # Errors
/// Why its flags can't be read: it is of another version, or no container of ours.
pub(super) fn of(container: &Container, namespace: &str) -> Result<RunsWith, String> {
    let RunArgs { app, .. } = parse(container)?;
    let own = app.own_namespace.as_deref().unwrap_or(namespace);
    let writer = format!("{own}/{STELLAR_PEERS}");
    Ok(RunsWith {
        policy: app.rollout.policy(&app.discovery, &app.injection, writer),
        webhook: !app.no_webhook,
        discovery: !app.no_discovery,
        elects: app.leader_election && !app.no_discovery && !app.dry_run,
        dry_run: app.dry_run,
        asks_callers: app.tls.client_ca.is_some() && !app.no_webhook,
        namespaces: app.namespaces,
    })
}

fn parse(container: &Container) -> Result<RunArgs, String> {
    let line = container.command.iter().chain(&container.args).flatten();
    let mut line = line.skip_while(|word| *word != "run");
    line.next()
        .ok_or("its container doesn't run `stellar-peers run`")?;
    let command = RunArgs::augment_args(Command::new("run")).args_override_self(true);
    let variables = variables(&command, container);
    // Ours is not the pod's environment.
    let command = command.mut_args(|arg| arg.env(Resettable::Reset));
    let words = ["run".to_owned()].into_iter().chain(variables);
    let words = words.chain(line.cloned()).map(OsString::from);
    let matches = command.try_get_matches_from(words);
    let arguments = matches.and_then(|matches| RunArgs::from_arg_matches(&matches));
    arguments.map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        first.trim_start_matches("error: ").to_owned()
    })
}

/// The container's environment as flags, which those on its command line override.
fn variables(command: &Command, container: &Container) -> Vec<String> {
    let set: BTreeMap<&str, &str> = container
        .env
        .iter()
        .flatten()
        .filter_map(|it| Some((it.name.as_str(), it.value.as_deref()?)))
        .collect();
    let flags = command.get_arguments().filter_map(|flag| {
        let value = *set.get(flag.get_env()?.to_str()?)?;
        let long = flag.get_long()?;
        match flag.get_action() {
            ArgAction::SetTrue => (value == "true").then(|| format!("--{long}")),
            _ => Some(format!("--{long}={value}")),
        }
    });
    flags.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::workload::EnvVar;

    fn container(args: &[&str], env: &[(&str, &str)]) -> Container {
        let variable = |(name, value): &(&str, &str)| EnvVar {
            name: (*name).to_owned(),
            value: Some((*value).to_owned()),
        };
        Container {
            args: Some(args.iter().map(|it| (*it).to_owned()).collect()),
            env: Some(env.iter().map(variable).collect()),
            ..Container::default()
        }
    }

    #[test]
    fn without_flags_it_runs_with_the_defaults_under_its_own_name() {
        let found = of(&container(&["run"], &[]), "peers").unwrap();
        let writer = "peers/stellar-peers".to_owned();
        assert_eq!(
            found.policy,
            Policy {
                writer,
                ..Policy::default()
            }
        );
        assert!(found.webhook && found.discovery && found.elects && !found.dry_run);
        assert_eq!(found.to_string(), "for all namespaces");
    }

    #[test]
    fn flags_and_environment_are_read_as_the_service_reads_them() {
        let args = [
            "run",
            "--own-namespace=ops",
            "--namespaces=a,b",
            "--no-webhook",
            "--address-mode",
            "dns",
            "--leader-election=true",
            "--leader-election=false",
        ];
        let env = [
            ("STELLAR_PEERS_DRY_RUN", "true"),
            ("STELLAR_PEERS_ADDRESS_MODE", "ip"),
            ("OTHER", "x"),
        ];
        let found = of(&container(&args, &env), "peers").unwrap();
        assert_eq!(found.namespaces, ["a", "b"]);
        assert!(!found.webhook && found.dry_run && found.uses_names() && !found.elects);
        assert_eq!(found.policy.writer, "ops/stellar-peers");
        assert_eq!(found.to_string(), "for a, b, without webhook, dry run");
    }

    #[test]
    fn who_asks_callers_for_a_certificate_says_so() {
        let asks = |args: &[&str]| of(&container(args, &[]), "peers").unwrap().asks_callers;
        assert!(asks(&["run", "--client-ca=/client-ca/ca.crt"]));
        assert!(!asks(&["run"]) && !asks(&["run", "--client-ca=/ca", "--no-webhook"]));
    }

    #[test]
    fn what_is_not_ours_or_of_another_version_says_so() {
        for args in [&["serve"][..], &[], &["run", "--from-the-future=1"]] {
            assert!(of(&container(args, &[]), "peers").is_err(), "{args:?}");
        }
    }
}
