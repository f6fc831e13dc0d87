//! What a server's certificate is worth to a client that trusts one CA alone, as the API server does.

use std::{io, sync::Arc, time::Duration};

use jiff::Timestamp;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;
use x509_parser::parse_x509_certificate;

use super::{certificate::Validity, provider, server_name};

/// The longest that an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a client would not talk to a server.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// What should be trusted is no certificate.
    #[error("what is to be trusted holds no readable PEM certificate")]
    NoAuthority,
    /// The name can't be in a certificate.
    #[error("{0:?} is no name of a server")]
    NoName(String),
    /// Nobody answers there.
    #[error("{address} does not answer within {PATIENCE:?}")]
    Unreachable {
        /// Who was asked.
        address: String,
        /// What the system said, where it did.
        #[source]
        source: Option<io::Error>,
    },
    /// The handshake failed: the certificate is not trusted, ended, or for another name.
    #[error("{address} shows no certificate that is trusted for {name}")]
    Refused {
        /// Who was asked.
        address: String,
        /// For whom.
        name: String,
        /// The client's reason.
        #[source]
        source: io::Error,
    },
}

/// Shakes hands with `address` as a client that trusts the certificates of `authority_pem` and asks for `name`; gives
/// the time within which the server's certificate is valid.
///
/// # Errors
/// [`ProbeError`].
pub async fn probe(
    address: &str,
    name: &str,
    authority_pem: &[u8],
) -> Result<Validity, ProbeError> {
    let config = client_config(authority_pem)?;
    let server = server_name(name).ok_or_else(|| ProbeError::NoName(name.to_owned()))?;
    let unreachable = |source| ProbeError::Unreachable {
        address: address.to_owned(),
        source,
    };
    let handshake = async {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| unreachable(Some(error)))?;
        let connector = TlsConnector::from(Arc::new(config));
        let refused = |source| ProbeError::Refused {
            address: address.to_owned(),
            name: name.to_owned(),
            source,
        };
        connector.connect(server, stream).await.map_err(refused)
    };
    let stream = timeout(PATIENCE, handshake)
        .await
        .map_err(|_| unreachable(None))??;
    let (_, session) = stream.get_ref();
    Ok(validity(session.peer_certificates().unwrap_or_default()))
}

fn client_config(authority_pem: &[u8]) -> Result<ClientConfig, ProbeError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authority_pem) {
        let added = certificate.is_ok_and(|certificate| roots.add(certificate).is_ok());
        if !added {
            return Err(ProbeError::NoAuthority);
        }
    }
    if roots.is_empty() {
        return Err(ProbeError::NoAuthority);
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|_| ProbeError::NoAuthority)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

/// Of the server's own certificate, the first one. One whose dates can't be read was not accepted.
fn validity(chain: &[CertificateDer<'_>]) -> Validity {
    let leaf = chain.first().and_then(|der| {
        let (_, parsed) = parse_x509_certificate(der).ok()?;
        Some(Validity::from(parsed.validity()))
    });
    leaf.unwrap_or(Validity {
        not_before: Timestamp::MIN,
        not_after: Timestamp::MAX,
    })
}
