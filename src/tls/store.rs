//! The pair that new handshakes use, and the TLS settings around it.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use rustls::{
    ServerConfig,
    server::{ClientHello, NoServerSessionStorage, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tracing::warn;

use super::{CallerAuthority, ServingCertificate, ValidityWarning, provider};

/// Holds the current serving certificate. Empty at first: handshakes then fail, and so must
/// readiness.
///
/// *Guarantees*: a handshake sees either the old pair or the new one, never a mixture; connections
/// that are open stay as they are.
#[derive(Debug, Default)]
pub struct CertificateStore {
    current: ArcSwapOption<ServingCertificate>,
    loads: AtomicU64,
}

impl CertificateStore {
    /// From here on new handshakes use `certificate`.
    pub fn replace(&self, certificate: ServingCertificate) {
        self.current.store(Some(Arc::new(certificate)));
        self.loads.fetch_add(1, Ordering::Relaxed);
    }

    /// How often a certificate was taken into use.
    #[must_use]
    pub fn loads(&self) -> u64 {
        self.loads.load(Ordering::Relaxed)
    }

    /// What new handshakes use, for its dates.
    #[must_use]
    pub fn current(&self) -> Option<Arc<ServingCertificate>> {
        self.current.load_full()
    }

    /// Whether handshakes can succeed at all.
    #[must_use]
    pub fn has_certificate(&self) -> bool {
        self.current.load().is_some()
    }
}

/// What was said of the dates of the certificate in use, so that it is said once.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ToldValidity(Option<ValidityWarning>);

impl ToldValidity {
    /// Says why clients refuse the certificate, where that is news.
    pub(super) fn tell(&mut self, store: &CertificateStore, now: Timestamp) {
        let current = store.current();
        let warning = current.and_then(|it| it.validity_warning(now));
        if let Some(warning) = warning.filter(|_| warning != self.0) {
            warn!(%warning, "Serving certificate is refused by clients");
        }
        self.0 = warning;
    }
}

impl ResolvesServerCert for CertificateStore {
    /// The API server sends no name for a webhook reached by an IP, so all names get the one pair.
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load().as_ref()?.certified_key())
    }
}

/// TLS 1.2 and 1.3 with the pairs of `store`, HTTP/2 offered before HTTP/1.1. Clients are asked for a certificate
/// where `callers` says whose are taken: the API server presents one only where its administrator configures that.
///
/// # Panics
/// Never: the provider's suites cover both versions.
#[must_use]
pub fn server_config(
    store: Arc<CertificateStore>,
    callers: Option<Arc<CallerAuthority>>,
) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("aws-lc has suites for both versions");
    let asks = callers.is_some();
    let builder = match callers {
        None => builder.with_no_client_auth(),
        Some(callers) => builder.with_client_cert_verifier(callers),
    };
    let mut config = builder.with_cert_resolver(store);
    if asks {
        // Who resumes a session is not verified again, and so would outlive its CA.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config
}
