//! The flags of this component.

use std::{path::PathBuf, time::Duration};

use clap::ValueEnum;
use humantime::{format_duration, parse_duration};

use super::{keeper::KeeperSettings, rotation::Lifetimes};
use crate::api::names::STELLAR_PEERS;

/// Where the webhook's certificate comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TlsMode {
    /// From --tls-dir, where somebody else puts and renews it.
    #[default]
    Files,
    /// Made, renewed and published by this program, and kept in --tls-secret.
    #[value(name = "self")]
    Own,
}

/// Where the webhook's certificate is.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsArgs {
    /// Where the webhook's certificate comes from.
    #[arg(long, env = "STELLAR_PEERS_TLS_MODE", value_enum, default_value_t)]
    pub tls_mode: TlsMode,

    /// Folder with the webhook's tls.crt and tls.key, as a kubernetes.io/tls Secret mounts them;
    /// renewed files are taken up within seconds, without a restart. For --tls-mode files.
    #[arg(
        long,
        env = "STELLAR_PEERS_TLS_DIR",
        value_name = "DIR",
        default_value = "/tls"
    )]
    pub tls_dir: PathBuf,

    /// File with the CA (PEM, one or more certificates) whose certificates callers of the webhook have to show; anybody
    /// may call where not set. A changed file is taken up within seconds. The API server shows one only where its
    /// --admission-control-config-file says so.
    #[arg(long, env = "STELLAR_PEERS_CLIENT_CA", value_name = "FILE")]
    pub client_ca: Option<PathBuf>,

    /// Secret in --own-namespace with CA and certificate, shared by all replicas. For --tls-mode
    /// self, as all that follow.
    #[arg(
        long,
        env = "STELLAR_PEERS_TLS_SECRET",
        value_name = "NAME",
        default_value = "stellar-peers-tls"
    )]
    pub tls_secret: String,

    /// Service in --own-namespace by which the API server calls the webhook. Hosts of URLs in the
    /// webhook configuration are added by themselves.
    #[arg(
        long,
        env = "STELLAR_PEERS_TLS_SERVICE",
        value_name = "NAME",
        default_value = STELLAR_PEERS
    )]
    pub tls_service: String,

    /// `MutatingWebhookConfiguration` whose caBundle is kept.
    #[arg(
        long,
        env = "STELLAR_PEERS_WEBHOOK_CONFIGURATION",
        value_name = "NAME",
        default_value = STELLAR_PEERS
    )]
    pub webhook_configuration: String,

    /// How long a certificate is valid; it is renewed when a third is left.
    #[arg(
        long,
        env = "STELLAR_PEERS_TLS_LIFETIME",
        value_name = "DURATION",
        default_value = "90days",
        value_parser = parse_lifetime
    )]
    pub tls_lifetime: Duration,

    /// How long a CA is valid, at least three times --tls-lifetime; the next one joins it when a
    /// third is left.
    #[arg(
        long,
        env = "STELLAR_PEERS_TLS_CA_LIFETIME",
        value_name = "DURATION",
        default_value = "1825days",
        value_parser = parse_lifetime
    )]
    pub tls_ca_lifetime: Duration,
}

/// Certificates count in whole seconds, and their dates end with the year 9999.
const LIFETIMES: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(5)..=Duration::from_hours(24 * 36_500);

fn parse_lifetime(text: &str) -> Result<Duration, String> {
    let lifetime = parse_duration(text).map_err(|error| error.to_string())?;
    if LIFETIMES.contains(&lifetime) {
        Ok(lifetime)
    } else {
        Err("must be from 5s to 36500days".to_owned())
    }
}

/// A CA so short-lived that it would be replaced all the time.
#[derive(Clone, Debug, thiserror::Error)]
#[error(
    "--tls-ca-lifetime {} is less than three times --tls-lifetime {}; make it longer",
    format_duration(self.0.authority), format_duration(self.0.leaf)
)]
pub struct ShortAuthority(Lifetimes);

impl TlsArgs {
    /// The flags of --tls-mode self. `namespace` is that of Secret and Service.
    ///
    /// # Errors
    /// [`ShortAuthority`], where the two lifetimes do not fit together.
    pub fn keeper(
        &self,
        namespace: &str,
        cluster_domain: &str,
        dry_run: bool,
    ) -> Result<KeeperSettings, ShortAuthority> {
        let lifetimes = Lifetimes {
            leaf: self.tls_lifetime,
            authority: self.tls_ca_lifetime,
        };
        if lifetimes.authority < lifetimes.leaf * 3 {
            return Err(ShortAuthority(lifetimes));
        }
        Ok(KeeperSettings {
            namespace: namespace.to_owned(),
            secret: self.tls_secret.clone(),
            service: self.tls_service.clone(),
            cluster_domain: cluster_domain.to_owned(),
            configuration: self.webhook_configuration.clone(),
            lifetimes,
            dry_run,
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command, Parser};

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        tls: TlsArgs,
    }

    fn keeper(flags: &[&str]) -> Result<KeeperSettings, String> {
        let cli = Cli::try_parse_from([&["run"], flags].concat());
        let tls = cli.map_err(|error| error.to_string())?.tls;
        tls.keeper("peers", "cluster.local", false)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_arguments_are_well_formed() {
        TlsArgs::augment_args(Command::new("run")).debug_assert();
    }

    #[test]
    fn the_defaults_fit_together() {
        keeper(&[]).unwrap();
    }

    #[test]
    fn seconds_are_enough_and_nonsense_is_refused() {
        keeper(&["--tls-lifetime=5s", "--tls-ca-lifetime=15s"]).unwrap();
        let error = keeper(&["--tls-lifetime=5s", "--tls-ca-lifetime=14s"]).unwrap_err();
        assert_eq!(
            error,
            "--tls-ca-lifetime 14s is less than three times --tls-lifetime 5s; make it longer"
        );
        for bad in ["0s", "4s", "1000000days", "x"] {
            assert!(keeper(&["--tls-lifetime", bad]).is_err(), "{bad}");
        }
    }
}
