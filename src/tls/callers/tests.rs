use std::fs;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    pki_types::{PrivateKeyDer, ServerName},
    version::{TLS12, TLS13},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;
use crate::{
    clock::Clock,
    tls::{
        Authority, CertificateStore, PemPair, ServingCertificate,
        generate::tests::{DAY, names},
        server_config,
    },
};

/// A CA that vouches for callers, from 2020 to 2090.
pub(crate) struct CallersPki {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl CallersPki {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = params(2090);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self {
            pem: params.self_signed(&key).unwrap().pem(),
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn issue(&self, last_year: i32, purpose: ExtendedKeyUsagePurpose) -> PemPair {
        let key = KeyPair::generate().unwrap();
        let mut params = params(last_year);
        params.extended_key_usages = vec![purpose];
        PemPair {
            certificate: params.signed_by(&key, &self.issuer).unwrap().pem().into(),
            key: key.serialize_pem().into(),
        }
    }

    pub(crate) fn caller(&self) -> PemPair {
        self.issue(2090, ExtendedKeyUsagePurpose::ClientAuth)
    }
}

fn params(last_year: i32) -> CertificateParams {
    let mut params = CertificateParams::default();
    (params.not_before, params.not_after) =
        (date_time_ymd(2020, 1, 1), date_time_ymd(last_year, 1, 1));
    params
}

/// A webhook's side of TLS, and what its callers trust.
struct Server {
    config: Arc<ServerConfig>,
    roots: Arc<RootCertStore>,
}

fn server(callers: Option<Arc<CallerAuthority>>) -> Server {
    let now = Clock::system().now().wall;
    let authority = Authority::generate(DAY * 9, now).unwrap();
    let pair = authority.issue(&names(), DAY, now).unwrap();
    let store = CertificateStore::default();
    store.replace(ServingCertificate::from_pem(&pair, "a test").unwrap());
    let mut roots = RootCertStore::empty();
    let root = CertificateDer::from_pem_slice(authority.certificate_pem().as_bytes()).unwrap();
    roots.add(root).unwrap();
    Server {
        config: Arc::new(server_config(Arc::new(store), callers)),
        roots: Arc::new(roots),
    }
}

impl Server {
    fn client(
        &self,
        shows: Option<&PemPair>,
        version: &'static rustls::SupportedProtocolVersion,
    ) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(Arc::clone(&self.roots));
        Arc::new(match shows {
            None => builder.with_no_client_auth(),
            Some(pair) => builder
                .with_client_auth_cert(
                    CertificateDer::pem_slice_iter(&pair.certificate)
                        .map(Result::unwrap)
                        .collect(),
                    PrivateKeyDer::from_pem_slice(&pair.key).unwrap(),
                )
                .unwrap(),
        })
    }

    /// Shakes hands and exchanges a byte each way; gives the server's error.
    async fn meets(&self, client: Arc<ClientConfig>) -> Result<bool, rustls::Error> {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let calling = tokio::spawn(async move {
            let name = ServerName::try_from("localhost").unwrap();
            let mut stream = TlsConnector::from(client).connect(name, far).await?;
            stream.write_all(b"x").await?;
            stream.read_u8().await
        });
        let accepted = TlsAcceptor::from(Arc::clone(&self.config))
            .accept(near)
            .await;
        let mut stream = match accepted {
            Ok(stream) => stream,
            Err(error) => {
                assert!(calling.await.unwrap().is_err());
                return Err(error
                    .get_ref()
                    .unwrap()
                    .downcast_ref::<rustls::Error>()
                    .unwrap()
                    .clone());
            }
        };
        stream.write_all(b"y").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'x');
        assert_eq!(calling.await.unwrap().unwrap(), b'y');
        let (_, session) = stream.get_ref();
        Ok(session.handshake_kind() == Some(rustls::HandshakeKind::Resumed))
    }
}

fn loaded(
    pem: &str,
) -> (
    tempfile::TempDir,
    Result<CallerAuthority, CallerAuthorityError>,
) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.crt");
    fs::write(&path, pem).unwrap();
    let authority = CallerAuthority::load(&path);
    (dir, authority)
}

#[tokio::test]
async fn only_callers_with_a_certificate_of_this_ca_are_let_in() {
    use rustls::Error::{InvalidCertificate, NoCertificatesPresented};
    let (ours, others) = (CallersPki::new(), CallersPki::new());
    let (_dir, authority) = loaded(&ours.pem);
    let server = server(Some(Arc::new(authority.unwrap())));
    for version in [&TLS12, &TLS13] {
        let caller = server.client(Some(&ours.caller()), version);
        server.meets(caller).await.unwrap();
        let refusal = server.meets(server.client(None, version)).await;
        assert_eq!(refusal.unwrap_err(), NoCertificatesPresented);
        for wrong in [
            others.caller(),
            ours.issue(2021, ExtendedKeyUsagePurpose::ClientAuth),
            ours.issue(2090, ExtendedKeyUsagePurpose::ServerAuth),
        ] {
            let caller = server.client(Some(&wrong), version);
            let refusal = server.meets(caller).await.unwrap_err();
            assert!(matches!(refusal, InvalidCertificate(_)), "{refusal}");
        }
    }
}

#[tokio::test]
async fn without_client_ca_nobody_is_asked_for_a_certificate() {
    let server = server(None);
    server.meets(server.client(None, &TLS13)).await.unwrap();
    server
        .meets(server.client(Some(&CallersPki::new().caller()), &TLS12))
        .await
        .unwrap();
}

#[tokio::test]
async fn nobody_resumes_a_session_where_callers_are_verified() {
    let ours = CallersPki::new();
    let (_dir, authority) = loaded(&ours.pem);
    let open = server(None);
    let server = server(Some(Arc::new(authority.unwrap())));
    for version in [&TLS12, &TLS13] {
        // Where nobody is verified, clients do resume: the test would see it.
        let client = open.client(None, version);
        open.meets(Arc::clone(&client)).await.unwrap();
        assert!(open.meets(client).await.unwrap(), "{version:?}");
        let client = server.client(Some(&ours.caller()), version);
        for _ in 0..3 {
            assert!(
                !server.meets(Arc::clone(&client)).await.unwrap(),
                "{version:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_changed_file_is_taken_up_and_a_broken_one_keeps_the_old_ca() {
    const INTERVAL: Duration = Duration::from_millis(5);
    let (old, new) = (CallersPki::new(), CallersPki::new());
    let (dir, authority) = loaded(&old.pem);
    let file = dir.path().join("ca.crt");
    let authority = Arc::new(authority.unwrap());
    let server = server(Some(Arc::clone(&authority)));
    let (of_old, of_new) = (old.caller(), new.caller());
    let takes = async |pair: &PemPair| {
        server
            .meets(server.client(Some(pair), &TLS13))
            .await
            .is_ok()
    };
    let story = async {
        for broken in [
            "",
            "nonsense",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ] {
            fs::write(&file, broken).unwrap();
            tokio::time::sleep(INTERVAL * 10).await;
            assert!(takes(&of_old).await, "{broken:?}");
        }
        fs::remove_file(&file).unwrap();
        tokio::time::sleep(INTERVAL * 10).await;
        assert!(takes(&of_old).await);
        // While the CA changes, both are trusted.
        fs::write(&file, format!("{}{}", old.pem, new.pem)).unwrap();
        while !takes(&of_new).await {
            tokio::time::sleep(INTERVAL).await;
        }
        assert!(takes(&of_old).await);
        fs::write(&file, &new.pem).unwrap();
        while takes(&of_old).await {
            tokio::time::sleep(INTERVAL).await;
        }
        assert!(takes(&of_new).await);
    };
    tokio::select! {
        never = watch_callers(authority, INTERVAL) => match never {},
        () = story => {}
        () = tokio::time::sleep(Duration::from_secs(30)) => panic!("the state never came"),
    }
}

#[test]
fn a_change_between_the_start_and_the_first_look_is_news() {
    let mut looks = Looks::since("old");
    assert_eq!(looks.news("new", true), None, "it may be half written");
    assert_eq!(looks.news("new", true), Some("new"));
    assert_eq!(looks.news("new", true), None);
}

#[test]
fn files_that_cant_be_used_are_refused_by_name_and_with_the_way_out() {
    let pki = CallersPki::new();
    let PemPair { certificate, key } = pki.caller();
    let (certificate, key) = (
        String::from_utf8(certificate).unwrap(),
        String::from_utf8(key).unwrap(),
    );
    for (text, says) in [
        (
            String::new(),
            "holds no certificate; write the CA's certificate there",
        ),
        (
            key,
            "holds no certificate; write the CA's certificate there",
        ),
        (format!("{}{certificate}", pki.pem), "certificate 2 in"),
        (
            certificate,
            "is no CA's; write the certificate of the CA that issued the caller's",
        ),
        (
            pki.pem[..pki.pem.len() / 2].to_owned(),
            "is not readable PEM",
        ),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
            "is no CA's",
        ),
    ] {
        let (dir, authority) = loaded(&text);
        let error = authority.unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
        assert!(
            error.contains(&dir.path().join("ca.crt").display().to_string()),
            "{error}"
        );
    }
    let missing = tempfile::tempdir().unwrap().path().join("none");
    let error = CallerAuthority::load(&missing).unwrap_err().to_string();
    assert!(
        error.starts_with("cannot read") && error.contains("--client-ca"),
        "{error}"
    );
}
