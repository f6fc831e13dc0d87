//! What a Secret holds, read: for [`rotation`](super::rotation) to judge and for writing the next one.

use std::{collections::BTreeMap, error::Error, fmt, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::ByteString;
use rustls::{
    RootCertStore,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};

use super::{
    AUTHORITY_FILE, Authority, CERTIFICATE_FILE, GenerateError, KEY_FILE, PemPair,
    ServingCertificate, ServingNames,
    bundle::{AuthorityId, Bundle},
    generate::CLOCK_SKEW,
    provider,
    rotation::{Held, Leaf, Lifetimes, Step},
};

/// The key of the CA that signs now.
pub(super) const SIGNER_KEY: &str = "ca.key";
/// The key of the CA that signs next, during an overlap.
pub(super) const NEXT_KEY: &str = "ca-next.key";

type Data = BTreeMap<String, ByteString>;

/// A CA with its key.
#[derive(Clone, Debug)]
struct Signer {
    id: AuthorityId,
    authority: Arc<Authority>,
    /// The key as it stands in the Secret, which may have another form than ours.
    key: SecretText,
}

/// Text that no log may show.
#[derive(Clone)]
struct SecretText(Vec<u8>);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText")
    }
}

/// A Secret's content.
#[derive(Clone, Debug, Default)]
pub(super) struct Holding {
    bundle: Bundle,
    signer: Option<Signer>,
    next: Option<Signer>,
    pair: Option<PemPair>,
    /// The pair, where it is one, whether or not a CA of the bundle signed it.
    pub(super) certificate: Option<ServingCertificate>,
    /// What the rotation needs of it, where a CA of the bundle signed it.
    pub(super) leaf: Option<Leaf>,
    /// What is wrong with the pair, for people.
    pub(super) fault: Option<String>,
}

impl Holding {
    /// Reads what is readable. `names` are those that the leaf is to be for, `origin` the Secret in messages.
    pub(super) fn read(data: &Data, names: &[ServerName<'_>], origin: &str) -> Self {
        let text = |key: &str| data.get(key).map(|bytes| &*bytes.0).unwrap_or_default();
        let bundle = Bundle::read(text(AUTHORITY_FILE));
        let signer = signer_of(text(SIGNER_KEY), &bundle);
        let next = signer_of(text(NEXT_KEY), &bundle)
            .filter(|next| signer.as_ref().is_none_or(|signer| signer.id != next.id));
        let pair = PemPair {
            certificate: text(CERTIFICATE_FILE).to_vec(),
            key: text(KEY_FILE).to_vec(),
        };
        let mut holding = Self {
            bundle,
            signer,
            next,
            ..Self::default()
        };
        if pair.certificate.is_empty() && pair.key.is_empty() {
            return holding;
        }
        match ServingCertificate::from_pem(&pair, origin) {
            Ok(certificate) => {
                holding.leaf = leaf_of(&pair.certificate, &certificate, &holding.bundle, names);
                if holding.leaf.is_none() {
                    let why =
                        format!("no CA of {AUTHORITY_FILE} in {origin} signed {CERTIFICATE_FILE}");
                    holding.fault = Some(why);
                }
                holding.certificate = Some(certificate);
            }
            Err(error) => {
                let source = error.source().map(|source| format!(": {source}"));
                holding.fault = Some(format!("{error}{}", source.unwrap_or_default()));
            }
        }
        holding.pair = Some(pair);
        holding
    }

    /// As the rotation sees it.
    pub(super) fn held(&self) -> Held {
        let id = |signer: &Option<Signer>| signer.as_ref().map(|signer| signer.id);
        let bundle = self.bundle.0.iter();
        Held {
            bundle: bundle.map(|(id, ca)| (*id, ca.ends)).collect(),
            signer: id(&self.signer),
            next: id(&self.next),
            leaf: self.leaf,
            is_empty: self.pair.is_none(),
        }
    }

    pub(super) fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    pub(super) fn pair(&self) -> Option<&PemPair> {
        self.pair.as_ref()
    }

    /// What the Secret holds after `step`; as it is after a step that changes nothing.
    ///
    /// # Errors
    /// [`GenerateError`]: no randomness, or a name that is none.
    pub(super) fn after(
        &self,
        step: &Step,
        names: &ServingNames,
        lifetimes: &Lifetimes,
        now: Timestamp,
    ) -> Result<Data, GenerateError> {
        let mut next = self.clone();
        match step {
            Step::Keep { .. } => {}
            Step::Found(_) => {
                let signer = next.add(Authority::generate(lifetimes.authority, now)?);
                next.bundle.0.retain(|_, ca| now < ca.ends);
                next.pair = Some(issue(&signer.authority, names, lifetimes, now)?);
                (next.signer, next.next) = (Some(signer), None);
            }
            Step::AddAuthority(_) => {
                let added = next.add(Authority::generate(lifetimes.authority, now)?);
                next.next = Some(added);
            }
            Step::IssueLeaf { by, .. } => {
                if let Some(heir) = next.next.take_if(|next| next.id == *by) {
                    next.signer = Some(heir);
                }
                if let Some(signer) = &next.signer {
                    next.pair = Some(issue(&signer.authority, names, lifetimes, now)?);
                }
            }
            Step::DropAuthorities(old) => next.bundle.0.retain(|id, _| !old.contains(id)),
        }
        Ok(next.data())
    }

    fn add(&mut self, authority: Authority) -> Signer {
        let fresh = Bundle::read(authority.certificate_pem().as_bytes());
        let id = fresh.0.keys().next().copied();
        self.bundle.0.extend(fresh.0);
        Signer {
            id: id.expect("a CA that was just made is readable"),
            key: SecretText(authority.key_pem().into_bytes()),
            authority: Arc::new(authority),
        }
    }

    fn data(&self) -> Data {
        let signers = [&self.signer, &self.next];
        let known = signers.into_iter().flatten().map(|signer| &signer.id);
        let others = self.bundle.0.keys();
        let others = others.filter(|id| known.clone().all(|known| known != *id));
        let bundle = self.bundle.pem(known.clone().chain(others));
        let mut data = Data::from([(AUTHORITY_FILE.to_owned(), ByteString(bundle.into_bytes()))]);
        let mut put = |key: &str, value: Vec<u8>| data.insert(key.to_owned(), ByteString(value));
        if let Some(pair) = &self.pair {
            put(CERTIFICATE_FILE, pair.certificate.clone());
            put(KEY_FILE, pair.key.clone());
        }
        for (key, signer) in [(SIGNER_KEY, &self.signer), (NEXT_KEY, &self.next)] {
            if let Some(signer) = signer {
                put(key, signer.key.0.clone());
            }
        }
        data
    }
}

/// The CA of the bundle that a key belongs to.
fn signer_of(key: &[u8], bundle: &Bundle) -> Option<Signer> {
    let text = str::from_utf8(key).ok().filter(|key| !key.is_empty())?;
    bundle.0.iter().find_map(|(id, ca)| {
        let authority = Authority::from_pem(&ca.pem(), text).ok()?;
        Some(Signer {
            id: *id,
            authority: Arc::new(authority),
            key: SecretText(key.to_vec()),
        })
    })
}

/// A leaf that ends with its CA at the latest.
fn issue(
    signer: &Authority,
    names: &ServingNames,
    lifetimes: &Lifetimes,
    now: Timestamp,
) -> Result<PemPair, GenerateError> {
    let left = Duration::try_from(signer.not_after().duration_since(now)).unwrap_or_default();
    signer.issue(names, lifetimes.leaf.min(left), now)
}

/// The leaf of a pair, if a CA of the bundle signed it for a server.
fn leaf_of(
    pem: &[u8],
    certificate: &ServingCertificate,
    bundle: &Bundle,
    names: &[ServerName<'_>],
) -> Option<Leaf> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .ok()?;
    let (leaf, intermediates) = chain.split_first()?;
    let parsed = ParsedCertificate::try_from(leaf).ok()?;
    // Whether it is valid now is another question: signatures are checked for when it began to be.
    let begin = certificate.not_before();
    let at = Duration::from_secs(u64::try_from(begin.as_second()).ok()?);
    let is_signed_by = |ca: &CertificateDer<'static>| {
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone()).is_ok()
            && verify_server_cert_signed_by_trust_anchor(
                &parsed,
                &roots,
                intermediates,
                UnixTime::since_unix_epoch(at),
                provider().signature_verification_algorithms.all,
            )
            .is_ok()
    };
    let mut bundle = bundle.0.iter();
    let (signer, _) = bundle.find(|(_, ca)| is_signed_by(&ca.certificate))?;
    Some(Leaf {
        signer: *signer,
        issued: begin.checked_add(CLOCK_SKEW).unwrap_or(Timestamp::MAX),
        ends: certificate.not_after(),
        has_names: names
            .iter()
            .all(|name| verify_server_name(&parsed, name).is_ok()),
    })
}
