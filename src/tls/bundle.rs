//! The certificates that a PEM bundle trusts: `ca.crt` of the Secret, `caBundle` of a registration.

use std::{collections::BTreeMap, fmt};

use aws_lc_rs::digest;
use jiff::Timestamp;
use pem::{EncodeConfig, LineEnding, Pem};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use x509_parser::parse_x509_certificate;

use super::certificate::Validity;

/// Tells certificates of CAs apart: SHA-256 of the certificate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorityId([u8; 32]);

impl AuthorityId {
    pub(super) fn of(certificate: &[u8]) -> Self {
        let mut id = [0; 32];
        id.copy_from_slice(digest::digest(&digest::SHA256, certificate).as_ref());
        Self(id)
    }

    #[cfg(test)]
    pub(super) const fn numbered(number: u8) -> Self {
        Self([number; 32])
    }
}

/// Its beginning, as people compare fingerprints.
impl fmt::Display for AuthorityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut beginning = self.0.iter().take(4);
        beginning.try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for AuthorityId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A CA's certificate.
#[derive(Clone, Debug)]
pub(super) struct TrustedCertificate {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) ends: Timestamp,
}

impl TrustedCertificate {
    pub(super) fn pem(&self) -> String {
        let pem = Pem::new("CERTIFICATE", self.certificate.to_vec());
        pem::encode_config(&pem, EncodeConfig::new().set_line_ending(LineEnding::LF))
    }
}

/// A bundle, each certificate once.
#[derive(Clone, Debug, Default)]
pub(super) struct Bundle(pub(super) BTreeMap<AuthorityId, TrustedCertificate>);

impl Bundle {
    /// Reads the CAs of a bundle; what is none, or not readable, nobody can trust and is left out.
    pub(super) fn read(pem: &[u8]) -> Self {
        let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
        Self(certificates.filter_map(authority).collect())
    }

    /// The bundle of these certificates, in this order.
    pub(super) fn pem<'a>(&self, order: impl IntoIterator<Item = &'a AuthorityId>) -> String {
        let known = order.into_iter().filter_map(|id| self.0.get(id));
        known.map(TrustedCertificate::pem).collect()
    }
}

fn authority(certificate: CertificateDer<'static>) -> Option<(AuthorityId, TrustedCertificate)> {
    let (_, parsed) = parse_x509_certificate(&certificate).ok()?;
    if !parsed.is_ca() {
        return None;
    }
    let ends = Validity::from(parsed.validity()).not_after;
    let id = AuthorityId::of(&certificate);
    Some((id, TrustedCertificate { certificate, ends }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::generate::tests::{DAY, NOON, authority as new_authority, names};

    #[test]
    fn a_bundle_is_read_back_as_it_was_written() {
        let text = [new_authority(), new_authority()]
            .map(|ca| ca.certificate_pem().to_owned())
            .concat();
        let bundle = Bundle::read(text.as_bytes());
        assert_eq!(bundle.0.len(), 2);
        let again = Bundle::read(bundle.pem(bundle.0.keys()).as_bytes());
        assert!(again.0.keys().eq(bundle.0.keys()));
    }

    #[test]
    fn what_is_no_ca_is_left_out_and_the_rest_is_read() {
        let ca = new_authority();
        let leaf = ca.issue(&names(), DAY, NOON).unwrap().certificate;
        let leaf = String::from_utf8(leaf).unwrap();
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let text = format!(
            "scribble\n{leaf}{broken}{}{}",
            ca.certificate_pem(),
            ca.certificate_pem()
        );
        let bundle = Bundle::read(text.as_bytes());
        assert_eq!(
            bundle.pem(bundle.0.keys()),
            ca.certificate_pem().replace("\r\n", "\n")
        );
        assert!(Bundle::read(b"\xff\x00").0.is_empty());
    }
}
