//! Where the webhook's certificate comes from, and how TLS is spoken with it.
//!
//! A [`CertificateStore`] holds the pair that new handshakes use. Whoever owns the certificates
//! fills it: today [`watch_files`], from a mounted folder. [`server_config`] reads it at each
//! handshake, so a renewed pair needs no restart and cuts no connection. [`Authority`] makes
//! certificates for those who have nobody else to make them.
//!
//! Invariants: a pair that cannot be parsed, or whose key belongs to another certificate, never
//! replaces one that works; no private key is ever logged, not even through `Debug`; nothing here
//! reads the clock or the process-wide crypto provider.

mod certificate;
mod files;
mod generate;
mod probe;
mod store;

use std::{path::PathBuf, sync::Arc};

use rustls::crypto::{CryptoProvider, aws_lc_rs};

pub use self::{
    certificate::{CertificateError, PemPair, ServingCertificate, ValidityWarning},
    files::{load_files, watch_files},
    generate::{Authority, GenerateError, ServingNames},
    probe::{ProbeError, probe},
    store::{CertificateStore, server_config},
};

/// The certificate's name in a `kubernetes.io/tls` Secret, and so in its mounted folder.
///
/// Source: <https://kubernetes.io/docs/concepts/configuration/secret/#tls-secrets>.
pub const CERTIFICATE_FILE: &str = "tls.crt";
/// The private key's name beside [`CERTIFICATE_FILE`].
pub const KEY_FILE: &str = "tls.key";
/// The issuing CA's name beside [`CERTIFICATE_FILE`]. Optional: cert-manager writes it, a
/// certificate bought elsewhere has none.
pub const AUTHORITY_FILE: &str = "ca.crt";

/// Where the webhook's certificate is.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsArgs {
    /// Folder with tls.crt, tls.key and, where the issuer gives one, ca.crt. Renewed files are
    /// taken up within seconds, without a restart.
    #[arg(
        long,
        env = "STELLAR_PEERS_TLS_DIR",
        value_name = "DIR",
        default_value = "/tls"
    )]
    pub tls_dir: PathBuf,
}

/// The one set of algorithms that this crate uses. Named here and passed on everywhere, so that
/// no test and no embedding program has to install a process-wide default first.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests {
    use clap::{Args as _, Command};

    use super::TlsArgs;

    #[test]
    fn the_arguments_are_well_formed() {
        TlsArgs::augment_args(Command::new("run")).debug_assert();
    }
}
