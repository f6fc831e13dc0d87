//! Whose certificates callers of the webhook have to show, where they have to.
//!
//! Without it anybody who reaches the port may ask what an admission would answer. With it only those do whom a CA of
//! one's own vouches for, in practice the API server alone.
//!
//! Invariants: a file that can't be used never takes the place of one that could; whoever was refused has sent no
//! byte of a request that anybody read.

use std::{
    convert::Infallible,
    error::Error,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use arc_swap::ArcSwap;
use rustls::{
    DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    pki_types::{CertificateDer, UnixTime, pem, pem::PemObject as _},
    server::{
        VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use tracing::{info, warn};
use x509_parser::parse_x509_certificate;

use super::{
    files::{Looks, Unreadable, read},
    provider,
};

/// Why callers' certificates can't be judged by a file.
#[derive(Debug, thiserror::Error)]
pub enum CallerAuthorityError {
    /// It is missing or may not be read. Worth trying again: the kubelet may not be done.
    #[error(
        "cannot read {path}, the CA of the webhook's callers; mount it there or set --client-ca"
    )]
    UnreadableFile {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// The PEM is damaged.
    #[error(
        "{path}, the CA of the webhook's callers, is not readable PEM; write the CA's certificate anew"
    )]
    UnreadablePem {
        /// The file.
        path: String,
        /// Where the text breaks.
        source: pem::Error,
    },
    /// It is empty, or holds other things, such as a key.
    #[error(
        "{0}, the CA of the webhook's callers, holds no certificate; write the CA's certificate there"
    )]
    NoCertificate(String),
    /// One of its certificates is of somebody who may issue none: mostly the caller's own.
    #[error(
        "certificate {number} in {path}, the CA of the webhook's callers, is no CA's; write the certificate of the CA \
         that issued the caller's"
    )]
    NoAuthority {
        /// The file.
        path: String,
        /// Which one, from 1.
        number: usize,
    },
    /// The TLS library takes none of it.
    #[error(
        "{path}, the CA of the webhook's callers, cannot be used for TLS; issue one with ECDSA P-256 or RSA 2048"
    )]
    Unusable {
        /// The file.
        path: String,
        /// What it said.
        source: VerifierBuilderError,
    },
}

/// The CAs whose certificates are taken. Each handshake asks the present ones.
///
/// *Guarantees*: a handshake sees either the old CAs or the new ones; connections that are open stay as they are.
#[derive(Debug)]
pub struct CallerAuthority {
    path: PathBuf,
    /// What the file held at the start.
    loaded: Vec<u8>,
    current: ArcSwap<Judge>,
}

/// Sized, as [`ArcSwap`] wants it.
#[derive(Debug)]
struct Judge(Arc<dyn ClientCertVerifier>);

impl CallerAuthority {
    /// Reads and checks the file once.
    ///
    /// # Errors
    /// [`CallerAuthorityError`], which names the file and the way out.
    pub fn load(path: &Path) -> Result<Self, CallerAuthorityError> {
        let look = read(path.to_owned());
        let judge = judge(&look, path)?;
        Ok(Self {
            path: path.to_owned(),
            loaded: look.unwrap_or_default(),
            current: ArcSwap::from_pointee(judge),
        })
    }

    fn take_up(&self, look: &Result<Vec<u8>, Unreadable>) {
        match judge(look, &self.path) {
            Ok(judge) => {
                self.current.store(Arc::new(judge));
                info!(path = %self.path.display(), "Loaded the CA of callers");
            }
            Err(error) => warn!(
                error = &error as &dyn Error,
                "Refused the CA of callers and kept the one in use, a change of its file is taken up by itself"
            ),
        }
    }
}

/// Keeps `authority` in line with its file, for ever.
///
/// Looks every `interval` and compares contents, as [`watch_files`](super::watch_files) does. A change counts once two
/// looks in a row showed it; one that can't be used is told once, and the CA in use stays.
pub async fn watch_callers(authority: Arc<CallerAuthority>, interval: Duration) -> Infallible {
    let mut looks = Looks::since(Ok(authority.loaded.clone()));
    loop {
        let path = authority.path.clone();
        // A join error means that the runtime is going down: the sleep below ends this task.
        if let Ok(look) = tokio::task::spawn_blocking(move || read(path)).await
            && let Some(news) = looks.news(look, true)
        {
            authority.take_up(&news);
        }
        tokio::time::sleep(interval).await;
    }
}

fn judge(look: &Result<Vec<u8>, Unreadable>, path: &Path) -> Result<Judge, CallerAuthorityError> {
    let shown = || path.display().to_string();
    let text = look
        .as_ref()
        .map_err(|unreadable| CallerAuthorityError::UnreadableFile {
            path: shown(),
            source: unreadable.kind.into(),
        })?;
    let mut roots = RootCertStore::empty();
    for (number, certificate) in (1..).zip(CertificateDer::pem_slice_iter(text)) {
        let certificate = certificate.map_err(|source| CallerAuthorityError::UnreadablePem {
            path: shown(),
            source,
        })?;
        let no_authority = || CallerAuthorityError::NoAuthority {
            path: shown(),
            number,
        };
        let (_, parsed) = parse_x509_certificate(&certificate).map_err(|_| no_authority())?;
        if !parsed.is_ca() {
            return Err(no_authority());
        }
        roots.add(certificate.clone()).map_err(|_| no_authority())?;
    }
    if roots.is_empty() {
        return Err(CallerAuthorityError::NoCertificate(shown()));
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map(Judge)
        .map_err(|source| CallerAuthorityError::Unusable {
            path: shown(),
            source,
        })
}

impl ClientCertVerifier for CallerAuthority {
    /// None: callers that were given one certificate show it, and nobody is told the names of our CAs.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let current = self.current.load();
        current.0.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let current = self.current.load();
        current
            .0
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let current = self.current.load();
        current
            .0
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.current.load().0.supported_verify_schemes()
    }
}

#[cfg(test)]
pub(crate) mod tests;
