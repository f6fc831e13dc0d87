//! `crd` and `manifests`: what is applied to a cluster, on standard output.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use clap::ValueEnum;
use serde::Serialize;

use super::Failed;
use crate::{
    admission::registration::{Endpoint, FailurePolicy, Registration},
    api::stellar_node_crd,
};

/// How manifests are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people and kubectl.
    #[default]
    Yaml,
    /// For programs and kubectl.
    Json,
}

/// How manifests are printed.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct OutputArgs {
    /// How manifests are printed.
    #[arg(short, long, env = "STELLAR_PEERS_OUTPUT", value_enum, default_value_t)]
    pub output: OutputFormat,
}

/// What the registration says.
#[derive(Clone, Debug, clap::Args)]
pub struct ManifestsArgs {
    /// Service in front of the webhook.
    #[arg(long, env = "STELLAR_PEERS_SERVICE", default_value = "stellar-peers")]
    pub service: String,
    /// Namespace of the Service.
    #[arg(
        long,
        env = "STELLAR_PEERS_OWN_NAMESPACE",
        default_value = "stellar-peers"
    )]
    pub own_namespace: String,
    /// Port of the Service.
    #[arg(long, env = "STELLAR_PEERS_SERVICE_PORT", default_value_t = 443)]
    pub service_port: u16,
    /// URL of the webhook instead of a Service, for a process outside the cluster, such as
    /// <https://192.0.2.1:9443/mutate>.
    #[arg(long, env = "STELLAR_PEERS_URL", conflicts_with_all = ["service", "service_port"])]
    pub url: Option<String>,
    /// PEM file of the CA that issued the webhook's certificate. Without it the caBundle is left out for somebody
    /// else to fill in, such as cert-manager's injector.
    #[arg(long, env = "STELLAR_PEERS_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Register for these namespaces only, as in `run`.
    #[arg(
        long,
        env = "STELLAR_PEERS_NAMESPACES",
        value_delimiter = ',',
        value_name = "NAME,…"
    )]
    pub namespaces: Vec<String>,
    /// What happens to a validator's StatefulSet while the webhook can't be reached.
    #[arg(
        long,
        env = "STELLAR_PEERS_FAILURE_POLICY",
        value_enum,
        default_value_t,
        ignore_case = true
    )]
    pub failure_policy: FailurePolicy,
    /// How to print.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Prints the `CustomResourceDefinition` of StellarNode.
///
/// # Errors
/// [`Failed`] where standard output is closed.
pub(super) fn print_crd(args: OutputArgs) -> Result<(), Failed> {
    write(&stellar_node_crd(), args.output)
}

/// Prints the registration of the webhook.
///
/// # Errors
/// [`Failed`] where the CA's file is not readable or standard output is closed.
pub(super) fn print(args: &ManifestsArgs) -> Result<(), Failed> {
    let read = |file: &PathBuf| {
        let unreadable =
            |why: &dyn std::fmt::Display| Failed(format!("--ca-file {}: {why}", file.display()));
        let pem = std::fs::read_to_string(file).map_err(|error| unreadable(&error))?;
        if pem.contains("-----BEGIN CERTIFICATE-----") {
            Ok(pem)
        } else {
            Err(unreadable(
                &"no PEM certificate in it; `stellar-peers certs` makes one",
            ))
        }
    };
    let registration = Registration {
        endpoint: match &args.url {
            Some(url) if url.starts_with("https://") => Endpoint::Url(url.clone()),
            Some(url) => {
                return Err(Failed(format!(
                    "--url {url:?}: the API server calls webhooks by https:// only"
                )));
            }
            None => Endpoint::Service {
                namespace: args.own_namespace.clone(),
                name: args.service.clone(),
                port: args.service_port,
            },
        },
        ca_bundle: args.ca_file.as_ref().map(read).transpose()?,
        namespaces: args.namespaces.clone(),
        failure_policy: args.failure_policy,
    };
    write(&registration.to_object(), args.output.output)
}

/// Writes an object to standard output.
///
/// # Errors
/// [`Failed`] where standard output is closed.
pub(super) fn write(object: &impl Serialize, format: OutputFormat) -> Result<(), Failed> {
    let text = match format {
        OutputFormat::Yaml => {
            serde_saphyr::to_string(object).map_err(|error| Failed(error.to_string()))?
        }
        OutputFormat::Json => {
            let text =
                serde_json::to_string_pretty(object).map_err(|error| Failed(error.to_string()))?;
            format!("{text}\n")
        }
    };
    match io::stdout().write_all(text.as_bytes()) {
        // Whoever reads may have seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failed(format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}
