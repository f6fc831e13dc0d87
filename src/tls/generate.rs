//! A certificate authority of one's own, for clusters without cert-manager.

use std::{fmt, net::IpAddr, time::Duration};

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, SanType, SerialNumber,
};
use rustls::pki_types::{CertificateDer, DnsName, pem::PemObject as _};
use x509_parser::parse_x509_certificate;

use super::{PemPair, certificate::Validity, service_host};

/// How far before `now` a certificate starts to be valid: nodes' clocks differ.
pub(super) const CLOCK_SKEW: Duration = Duration::from_hours(1);

/// Whom a serving certificate is for.
#[derive(Clone, Debug)]
pub struct ServingNames {
    /// The Service that the webhook registration names.
    pub service: String,
    /// That Service's namespace.
    pub namespace: String,
    /// The cluster's DNS domain, mostly `cluster.local`.
    pub cluster_domain: String,
    /// Further DNS names.
    pub dns_names: Vec<String>,
    /// Addresses for registrations by URL, such as 127.0.0.1 for a server outside the cluster.
    pub ips: Vec<IpAddr>,
}

impl ServingNames {
    /// The API server asks for `<service>.<namespace>.svc`; the other forms are for people with
    /// curl in a pod.
    fn subject_alt_names(&self) -> Result<Vec<SanType>, GenerateError> {
        let Self {
            service,
            namespace,
            cluster_domain,
            dns_names,
            ips,
        } = self;
        let of_service = [
            service.clone(),
            format!("{service}.{namespace}"),
            service_host(service, namespace),
            format!("{}.{cluster_domain}", service_host(service, namespace)),
        ];
        let names = of_service.iter().chain(dns_names).map(|name| {
            let is_name = DnsName::try_from(name.as_str()).is_ok();
            let san = is_name.then(|| name.as_str().try_into().ok()).flatten();
            san.map(SanType::DnsName)
                .ok_or_else(|| GenerateError::InvalidName(name.clone()))
        });
        let ips = ips.iter().copied().map(SanType::IpAddress).map(Ok);
        names.chain(ips).collect()
    }
}

/// A CA that signs serving certificates and nothing else (no CA below it).
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    not_after: Timestamp,
}

impl Authority {
    /// A new CA with an ECDSA P-256 key, valid for `lifetime` from `now`.
    ///
    /// # Errors
    /// [`GenerateError::Crypto`], where the system gives no randomness.
    pub fn generate(lifetime: Duration, now: Timestamp) -> Result<Self, GenerateError> {
        let key = KeyPair::generate()?;
        let not_after = end_of(lifetime, now);
        let mut params = template("stellar-peers CA", now, not_after)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        Ok(Self {
            certificate: params.self_signed(&key)?.pem(),
            issuer: Issuer::new(params, key),
            not_after,
        })
    }

    /// The CA that [`certificate_pem`](Self::certificate_pem) and [`key_pem`](Self::key_pem) gave
    /// earlier, so that a renewed serving certificate needs no new `caBundle`.
    ///
    /// # Errors
    /// [`GenerateError::UnusableAuthority`], where the two do not make a CA.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, GenerateError> {
        let unusable = |why| GenerateError::UnusableAuthority(why);
        let key = KeyPair::from_pem(key).map_err(|_| unusable("its key is no readable PEM"))?;
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|_| unusable("its certificate is no readable PEM"))?;
        let (_, parsed) =
            parse_x509_certificate(&der).map_err(|_| unusable("its certificate is not X.509"))?;
        if !parsed.is_ca() {
            return Err(unusable("its certificate is not a CA's"));
        }
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(unusable("its key and certificate do not belong together"));
        }
        Ok(Self {
            not_after: Validity::from(parsed.validity()).not_after,
            issuer: Issuer::from_ca_cert_der(&der, key)?,
            certificate: certificate.to_owned(),
        })
    }

    /// A serving certificate for `names` with a new ECDSA P-256 key.
    ///
    /// # Errors
    /// [`GenerateError`]: a name that is none, or a lifetime beyond the CA's own.
    pub fn issue(
        &self,
        names: &ServingNames,
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<PemPair, GenerateError> {
        let not_after = end_of(lifetime, now);
        if not_after > self.not_after {
            return Err(GenerateError::OutlivesAuthority(self.not_after));
        }
        let key = KeyPair::generate()?;
        let mut params = template("stellar-peers webhook", now, not_after)?;
        params.subject_alt_names = names.subject_alt_names()?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(PemPair {
            certificate: certificate.pem().into_bytes(),
            key: key.serialize_pem().into_bytes(),
        })
    }

    /// Its last instant: nothing that it signs is valid beyond.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The CA's certificate: the `caBundle` of a webhook registration. No secret.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// The CA's key. Who has it can answer the API server in our place: keep it out of logs.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority")
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// The last instant of something that starts at `now`.
fn end_of(lifetime: Duration, now: Timestamp) -> Timestamp {
    now.checked_add(lifetime).unwrap_or(Timestamp::MAX)
}

/// What CA and serving certificates have in common.
fn template(
    common_name: &str,
    now: Timestamp,
    not_after: Timestamp,
) -> Result<CertificateParams, GenerateError> {
    // 127 random bits, with the highest bit zero since a serial is positive (RFC 5280, 4.1.2.2).
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| rcgen::Error::RingUnspecified)?;
    serial[0] &= 0x7f;

    // rcgen speaks in the `time` crate's types. Counting from a date that it makes itself spares
    // us a dependency on that crate.
    let rcgen_time = |at: Timestamp| {
        let seconds = u64::try_from(at.as_second()).unwrap_or(0);
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    let mut params = CertificateParams::default();
    params.not_before = rcgen_time(now.checked_sub(CLOCK_SKEW).unwrap_or(now));
    params.not_after = rcgen_time(not_after);
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    Ok(params)
}

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// Something that is no DNS name, from a flag.
    #[error("{0:?} is no DNS name; use letters, digits, `-` and `.`, and --ip for addresses")]
    InvalidName(String),
    /// The serving certificate would be refused before its own end.
    #[error("the CA expires at {0}, before the serving certificate would; choose fewer --days")]
    OutlivesAuthority(Timestamp),
    /// An existing CA that cannot sign.
    #[error("the existing CA cannot be used: {0}; make a new one")]
    UnusableAuthority(&'static str),
    /// Key generation or signing failed: no randomness, or a kind of key that is not supported.
    #[error("the key could not be made or used; try again, or make a new CA")]
    Crypto(#[from] rcgen::Error),
}

#[cfg(test)]
pub(crate) mod tests {
    use rustls::{
        RootCertStore,
        client::{WebPkiServerVerifier, danger::ServerCertVerifier},
        pki_types::{ServerName, UnixTime},
    };

    use x509_parser::extensions::ParsedExtension;

    use super::*;
    use crate::tls::provider;

    pub(crate) const DAY: Duration = Duration::from_hours(24);
    pub(crate) const NOON: Timestamp = Timestamp::constant(1_780_000_000, 0);

    pub(crate) fn authority() -> Authority {
        Authority::generate(DAY * 3650, NOON).unwrap()
    }

    pub(crate) fn names() -> ServingNames {
        ServingNames {
            service: "stellar-peers".into(),
            namespace: "peers".into(),
            cluster_domain: "cluster.local".into(),
            dns_names: vec!["peers.example.org".into(), "localhost".into()],
            ips: vec![[127, 0, 0, 1].into(), "fd00::1".parse().unwrap()],
        }
    }

    /// What a rustls client that knows only `authority` says to `pair` under `name` at `at`.
    fn accepts(authority: &Authority, pair: &PemPair, name: &str, at: Timestamp) -> bool {
        let mut roots = RootCertStore::empty();
        let root = authority.certificate_pem().as_bytes();
        roots
            .add(CertificateDer::from_pem_slice(root).unwrap())
            .unwrap();
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider())
            .build()
            .unwrap();
        let leaf = CertificateDer::from_pem_slice(&pair.certificate).unwrap();
        let name = ServerName::try_from(name).unwrap();
        let at = Duration::from_secs(at.as_second().try_into().unwrap());
        verifier
            .verify_server_cert(&leaf, &[], &name, &[], UnixTime::since_unix_epoch(at))
            .is_ok()
    }

    #[test]
    fn a_client_with_the_ca_accepts_each_name_and_no_other() {
        let authority = authority();
        let pair = authority.issue(&names(), DAY, NOON).unwrap();
        for name in [
            "stellar-peers",
            "stellar-peers.peers",
            "stellar-peers.peers.svc",
            "stellar-peers.peers.svc.cluster.local",
            "peers.example.org",
            "127.0.0.1",
            "fd00::1",
        ] {
            assert!(accepts(&authority, &pair, name, NOON), "{name}");
        }
        for name in [
            "stellar-peers.other.svc",
            "other.peers.svc",
            "example.org",
            "127.0.0.2",
        ] {
            assert!(!accepts(&authority, &pair, name, NOON), "{name}");
        }
    }

    #[test]
    fn a_client_with_another_ca_refuses() {
        let pair = authority().issue(&names(), DAY, NOON).unwrap();
        assert!(!accepts(&authority(), &pair, "stellar-peers", NOON));
    }

    #[test]
    fn a_clock_half_an_hour_behind_accepts_and_one_after_the_end_does_not() {
        let authority = authority();
        let pair = authority.issue(&names(), DAY, NOON).unwrap();
        let minute = Duration::from_mins(1);
        for (at, expected) in [
            (NOON - minute * 30, true),
            (NOON - minute * 90, false),
            (NOON + DAY - minute, true),
            (NOON + DAY + minute, false),
        ] {
            assert_eq!(
                accepts(&authority, &pair, "stellar-peers", at),
                expected,
                "{at}"
            );
        }
    }

    #[test]
    fn the_ca_may_sign_certificates_and_no_further_cas() {
        let authority = authority();
        let der = CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes()).unwrap();
        let (_, ca) = parse_x509_certificate(&der).unwrap();
        let constraints = ca.basic_constraints().unwrap().unwrap().value;
        assert!(constraints.ca);
        assert_eq!(constraints.path_len_constraint, Some(0));
        let usage = ca.key_usage().unwrap().unwrap().value;
        assert!(usage.key_cert_sign() && usage.crl_sign() && !usage.digital_signature());
    }

    #[test]
    fn a_serving_certificate_is_for_servers_and_names_its_ca_by_key() {
        let authority = authority();
        let pair = authority.issue(&names(), DAY, NOON).unwrap();
        let der = CertificateDer::from_pem_slice(&pair.certificate).unwrap();
        let (_, leaf) = parse_x509_certificate(&der).unwrap();
        let usage = leaf.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.server_auth && !usage.client_auth && !usage.any);
        assert!(!leaf.is_ca());
        let names_issuer = leaf.extensions().iter().any(|extension| {
            let ParsedExtension::AuthorityKeyIdentifier(id) = extension.parsed_extension() else {
                return false;
            };
            id.key_identifier.is_some()
        });
        assert!(names_issuer);
    }

    #[test]
    fn a_ca_read_back_signs_as_before() {
        let authority = authority();
        let again = Authority::from_pem(authority.certificate_pem(), &authority.key_pem()).unwrap();
        let pair = again.issue(&names(), DAY, NOON).unwrap();
        assert!(accepts(&authority, &pair, "stellar-peers", NOON));
    }

    #[test]
    fn what_is_no_ca_is_not_taken_for_one() {
        let (one, other) = (authority(), authority());
        let pair = one.issue(&names(), DAY, NOON).unwrap();
        let leaf = String::from_utf8(pair.certificate).unwrap();
        let leaf_key = String::from_utf8(pair.key).unwrap();
        for (certificate, key) in [
            (one.certificate_pem(), other.key_pem()),
            (leaf.as_str(), leaf_key),
            ("", one.key_pem()),
            (one.certificate_pem(), String::new()),
        ] {
            let error = Authority::from_pem(certificate, &key).unwrap_err();
            assert!(
                matches!(error, GenerateError::UnusableAuthority(_)),
                "{error}"
            );
        }
    }

    #[test]
    fn a_serving_certificate_never_outlives_its_ca() {
        let authority = Authority::generate(DAY, NOON).unwrap();
        assert!(authority.issue(&names(), DAY, NOON).is_ok());
        let error = authority.issue(&names(), DAY * 2, NOON).unwrap_err();
        assert!(matches!(error, GenerateError::OutlivesAuthority(_)));
    }

    #[test]
    fn a_name_that_is_none_is_refused() {
        for wrong in ["", "a b", "https://a", "*.example.org"] {
            let names = ServingNames {
                dns_names: vec![wrong.into()],
                ..names()
            };
            let error = authority().issue(&names, DAY, NOON).unwrap_err();
            assert!(matches!(error, GenerateError::InvalidName(_)), "{wrong}");
        }
    }

    #[test]
    fn serial_numbers_differ() {
        let authority = authority();
        let serial = || {
            let pair = authority.issue(&names(), DAY, NOON).unwrap();
            let der = CertificateDer::from_pem_slice(&pair.certificate).unwrap();
            parse_x509_certificate(&der)
                .unwrap()
                .1
                .raw_serial()
                .to_vec()
        };
        assert_ne!(serial(), serial());
    }
}
