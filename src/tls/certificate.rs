//! One serving certificate with its key, parsed and checked once.

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use rustls::{
    InconsistentKeys,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
    sign::CertifiedKey,
};
use x509_parser::parse_x509_certificate;

use super::{CERTIFICATE_FILE, KEY_FILE, provider};

/// A certificate chain and its key as PEM text, unchecked.
#[derive(Clone, PartialEq, Eq)]
pub struct PemPair {
    /// The server's certificate, then the intermediate ones up to, and without need of, the root.
    pub certificate: Vec<u8>,
    /// The private key as PKCS#8, SEC1 or PKCS#1.
    pub key: Vec<u8>,
}

impl fmt::Debug for PemPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PemPair").finish_non_exhaustive()
    }
}

/// A pair that can serve: it is readable, and key and certificate belong together.
///
/// It may be expired: a server with an expired certificate still serves clients that do not look,
/// and its readiness, logs and metrics say more than a crash loop. [`validity_warning`] tells.
///
/// [`validity_warning`]: Self::validity_warning
#[derive(Clone, Debug)]
pub struct ServingCertificate {
    certified: Arc<CertifiedKey>,
    validity: Validity,
}

impl ServingCertificate {
    /// Parses and checks a pair. `origin` names its folder or Secret in errors.
    ///
    /// # Errors
    /// [`CertificateError`], where the pair cannot serve. The same bytes never become usable.
    pub fn from_pem(pair: &PemPair, origin: &str) -> Result<Self, CertificateError> {
        let chain = parse_chain(&pair.certificate, origin)?;
        let validity = chain.first().map_or_else(
            || Err(CertificateError::NoCertificate(origin.to_owned())),
            |leaf| Validity::of(leaf, origin),
        )?;
        let key = PrivateKeyDer::from_pem_slice(&pair.key).map_err(|source| {
            CertificateError::UnreadableKey {
                origin: origin.to_owned(),
                source,
            }
        })?;
        let certified =
            CertifiedKey::from_der(chain, key, &provider()).map_err(|source| match source {
                rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    CertificateError::KeyMismatch(origin.to_owned())
                }
                source => CertificateError::Unusable {
                    origin: origin.to_owned(),
                    source,
                },
            })?;
        Ok(Self {
            certified: Arc::new(certified),
            validity,
        })
    }

    pub(super) const fn not_before(&self) -> Timestamp {
        self.validity.not_before
    }

    /// When it expires. A date beyond what [`Timestamp`] holds (the end of the year 9999, X.509's
    /// "never") is that type's last instant.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.validity.not_after
    }

    /// Whether clients will refuse it at `now` for its dates.
    #[must_use]
    pub fn validity_warning(&self, now: Timestamp) -> Option<ValidityWarning> {
        let Validity {
            not_before,
            not_after,
        } = self.validity;
        if now < not_before {
            Some(ValidityWarning::NotYetValid { not_before })
        } else if now > not_after {
            Some(ValidityWarning::Expired { not_after })
        } else {
            None
        }
    }

    pub(super) fn certified_key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.certified)
    }
}

fn parse_chain(pem: &[u8], origin: &str) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|source| CertificateError::UnreadableCertificate {
            origin: origin.to_owned(),
            source,
        })
}

/// The time within which clients accept a certificate, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first instant.
    pub not_before: Timestamp,
    /// The last one; [`Timestamp::MAX`] for "never".
    pub not_after: Timestamp,
}

impl Validity {
    /// Of each certificate in a PEM bundle; [`None`] where one is not readable, or there is none.
    #[must_use]
    pub fn of_bundle(pem: &[u8]) -> Option<Vec<Self>> {
        let certificates = CertificateDer::pem_slice_iter(pem);
        let each = certificates.map(|it| Self::of(&it.ok()?, "the bundle").ok());
        let each: Vec<Self> = each.collect::<Option<_>>()?;
        (!each.is_empty()).then_some(each)
    }

    fn of(certificate: &CertificateDer<'_>, origin: &str) -> Result<Self, CertificateError> {
        let (_, parsed) = parse_x509_certificate(certificate)
            .map_err(|_| CertificateError::NotX509(origin.to_owned()))?;
        Ok(Self::from(parsed.validity()))
    }
}

impl From<&x509_parser::certificate::Validity> for Validity {
    fn from(dates: &x509_parser::certificate::Validity) -> Self {
        let clamped = |seconds| Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        Self {
            not_before: clamped(dates.not_before.timestamp()),
            not_after: clamped(dates.not_after.timestamp()),
        }
    }
}

/// Why clients refuse a certificate that is otherwise in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValidityWarning {
    /// Its time has not come: mostly a wrong clock, here or where it was made.
    NotYetValid {
        /// When it starts to be valid.
        not_before: Timestamp,
    },
    /// Its time is over, and whoever renews it has not.
    Expired {
        /// When it expired.
        not_after: Timestamp,
    },
}

impl fmt::Display for ValidityWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotYetValid { not_before } => write!(
                f,
                "the serving certificate is valid only from {not_before}; check this node's clock \
                 and the one where it was made"
            ),
            Self::Expired { not_after } => write!(
                f,
                "the serving certificate expired at {not_after} and the API server refuses it; \
                 renew it with cert-manager or `stellar-peers certs`"
            ),
        }
    }
}

/// Why a pair cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file is missing or may not be read. Worth trying again: the kubelet may not be done.
    #[error("cannot read {path}; mount a kubernetes.io/tls Secret there or set --tls-dir")]
    UnreadableFile {
        /// The file, with its folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The certificate's PEM is damaged.
    #[error("{CERTIFICATE_FILE} in {origin} is not readable PEM; write the issuer's file anew")]
    UnreadableCertificate {
        /// The folder or Secret.
        origin: String,
        /// Where the text breaks.
        source: pem::Error,
    },
    /// The PEM holds no section `CERTIFICATE`: the files are swapped, or it is empty.
    #[error("{CERTIFICATE_FILE} in {0} holds no certificate; is it the key, or empty?")]
    NoCertificate(String),
    /// The section is there, its content is no certificate.
    #[error("the first certificate of {CERTIFICATE_FILE} in {0} is not X.509; issue it anew")]
    NotX509(String),
    /// There is no key, or its PEM is damaged. Encrypted keys are not supported.
    #[error("{KEY_FILE} in {origin} holds no readable key; give an unencrypted PEM key")]
    UnreadableKey {
        /// The folder or Secret.
        origin: String,
        /// Where the text breaks.
        source: pem::Error,
    },
    /// Certificate and key are of different pairs: one of two was replaced.
    #[error("{KEY_FILE} does not belong to {CERTIFICATE_FILE} in {0}; replace both together")]
    KeyMismatch(String),
    /// Of a kind that cannot be used for TLS here, such as a curve that is not supported.
    #[error("the pair in {origin} cannot be used for TLS; issue one with ECDSA P-256 or RSA 2048")]
    Unusable {
        /// The folder or Secret.
        origin: String,
        /// What the TLS library said.
        source: rustls::Error,
    },
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::ByteString;
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::tls::generate::tests::{DAY, NOON, authority, names};

    fn pair() -> PemPair {
        authority().issue(&names(), DAY, NOON).unwrap()
    }

    fn refusal(pair: &PemPair) -> String {
        ServingCertificate::from_pem(pair, "/tls")
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_generated_pair_serves_and_knows_its_end() {
        let certificate = ServingCertificate::from_pem(&pair(), "/tls").unwrap();
        assert_eq!(certificate.not_after(), NOON + DAY);
        assert_eq!(certificate.validity_warning(NOON), None);
    }

    #[test]
    fn dates_warn_and_do_not_refuse() {
        let certificate = ServingCertificate::from_pem(&pair(), "/tls").unwrap();
        let second = Duration::from_secs(1);
        assert_eq!(certificate.validity_warning(NOON + DAY), None);
        assert_eq!(
            certificate.validity_warning(NOON + DAY + second),
            Some(ValidityWarning::Expired {
                not_after: NOON + DAY
            })
        );
        assert!(matches!(
            certificate.validity_warning(NOON - DAY),
            Some(ValidityWarning::NotYetValid { .. })
        ));
    }

    #[test]
    fn a_key_of_another_pair_is_refused_by_name() {
        let mixed = PemPair {
            key: pair().key,
            ..pair()
        };
        assert_eq!(
            refusal(&mixed),
            "tls.key does not belong to tls.crt in /tls; replace both together"
        );
    }

    #[test]
    fn swapped_and_broken_files_are_refused_by_name() {
        let PemPair { certificate, key } = pair();
        let swapped = PemPair {
            certificate: key.clone(),
            key: certificate.clone(),
        };
        assert!(refusal(&swapped).starts_with("tls.crt in /tls holds no certificate"));
        let no_key = PemPair {
            certificate: certificate.clone(),
            key: Vec::new(),
        };
        assert!(refusal(&no_key).starts_with("tls.key in /tls holds no readable key"));
        let empty = PemPair {
            certificate: Vec::new(),
            key: key.clone(),
        };
        assert!(refusal(&empty).starts_with("tls.crt in /tls holds no certificate"));
        let cut = PemPair {
            certificate: certificate[..certificate.len() / 2].to_vec(),
            key: key.clone(),
        };
        assert!(refusal(&cut).starts_with("tls.crt in /tls is not readable PEM"));
        let nonsense = PemPair {
            certificate: b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec(),
            key,
        };
        assert!(refusal(&nonsense).contains("is not X.509"));
    }

    #[test]
    fn keys_in_their_traditional_forms_are_read() {
        let ec = KeyPair::generate().unwrap();
        let rsa = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        for (key, form) in [(ec, "EC PRIVATE KEY"), (rsa, "RSA PRIVATE KEY")] {
            let pair = PemPair {
                certificate: self_signed(&key, 2030).into(),
                key: pem_of(form, inner_key(key.serialized_der())).into(),
            };
            ServingCertificate::from_pem(&pair, "/tls").unwrap();
        }
    }

    #[test]
    fn a_date_beyond_the_last_timestamp_is_the_last_timestamp() {
        let key = KeyPair::generate().unwrap();
        let pair = PemPair {
            certificate: self_signed(&key, 9999).into(),
            key: key.serialize_pem().into(),
        };
        let certificate = ServingCertificate::from_pem(&pair, "/tls").unwrap();
        assert_eq!(certificate.not_after(), Timestamp::MAX);
    }

    #[test]
    fn debug_shows_no_key() {
        let pair = pair();
        let body = String::from_utf8(pair.key.clone()).unwrap();
        let body = body.lines().nth(1).unwrap().to_owned();
        let certificate = ServingCertificate::from_pem(&pair, "/tls").unwrap();
        assert!(!format!("{pair:?} {certificate:?}").contains(&body));
    }

    fn self_signed(key: &KeyPair, last_year: i32) -> String {
        let mut params = CertificateParams::default();
        params.not_after = rcgen::date_time_ymd(last_year, 12, 31);
        params.self_signed(key).unwrap().pem()
    }

    /// PKCS#8 wraps the traditional form (RFC 5958): version, algorithm, then the key itself.
    fn inner_key(pkcs8: &[u8]) -> Vec<u8> {
        let (_, outer) = x509_parser::der_parser::parse_der(pkcs8).unwrap();
        outer.as_sequence().unwrap()[2].as_slice().unwrap().to_vec()
    }

    fn pem_of(label: &str, der: Vec<u8>) -> String {
        let base64 = serde_json::to_value(ByteString(der)).unwrap();
        let base64 = base64.as_str().unwrap();
        format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
    }
}
