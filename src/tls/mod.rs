//! Where the webhook's certificate comes from, and how TLS is spoken with it.
//!
//! A [`CertificateStore`] holds the pair that new handshakes use. Whoever owns the certificates
//! fills it: [`watch_files`] from a mounted folder, or a [`Keeper`], which makes them itself.
//! [`server_config`] reads it at each handshake, so a renewed pair needs no restart and cuts no
//! connection. A [`CallerAuthority`] says whose certificates callers have to show, where they have
//! to; [`watch_callers`] keeps it in line with its file. [`Authority`] makes certificates for those
//! who have nobody else to make them.
//!
//! Invariants: a pair that cannot be parsed, or whose key belongs to another certificate, never
//! replaces one that works; no private key is ever logged, not even through `Debug`; nothing here
//! reads a clock of its own or the process-wide crypto provider.

mod args;
mod bundle;
mod callers;
mod certificate;
mod ending;
mod files;
mod generate;
mod holding;
mod keeper;
mod probe;
mod registered;
pub mod rotation;
mod store;

use std::sync::Arc;

use rustls::{
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::ServerName,
};

#[cfg(test)]
pub(crate) use self::callers::tests::CallersPki;
pub use self::{
    args::{ShortAuthority, TlsArgs, TlsMode},
    bundle::AuthorityId,
    callers::{CallerAuthority, CallerAuthorityError, watch_callers},
    certificate::{CertificateError, PemPair, ServingCertificate, Validity, ValidityWarning},
    ending::watch_ending,
    files::{load_files, watch_files},
    generate::{Authority, GenerateError, ServingNames},
    keeper::{Keeper, KeeperSettings},
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

/// The name in a certificate for the host of an address or URL, where an IPv6 address may stand in brackets.
fn server_name(host: &str) -> Option<ServerName<'static>> {
    let host = host
        .strip_prefix('[')
        .and_then(|it| it.strip_suffix(']'))
        .unwrap_or(host);
    ServerName::try_from(host.to_owned()).ok()
}

/// The name by which the API server calls a Service.
pub(crate) fn service_host(service: &str, namespace: &str) -> String {
    format!("{service}.{namespace}.svc")
}

/// The one set of algorithms that this crate uses. Named here and passed on everywhere, so that
/// no test and no embedding program has to install a process-wide default first.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_url_is_a_name_also_where_it_is_an_ipv6_address() {
        for host in ["::1", "[::1]"] {
            assert!(
                matches!(server_name(host), Some(ServerName::IpAddress(_))),
                "{host}"
            );
        }
        let service = service_host("stellar-peers", "ops");
        assert!(matches!(
            server_name(&service),
            Some(ServerName::DnsName(_))
        ));
        for wrong in ["", "a b", "[ops]x"] {
            assert!(server_name(wrong).is_none(), "{wrong}");
        }
    }
}
