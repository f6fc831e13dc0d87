//! Handshakes made by hand, which no library of today would begin, and callers without a certificate.

use super::*;
use crate::tls::{CallerAuthority, CallersPki};

const TLS_1_0: [u8; 2] = [3, 1];
const TLS_1_1: [u8; 2] = [3, 2];
const TLS_1_2: [u8; 2] = [3, 3];

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
/// RFC 8446, 6.
const HANDSHAKE_FAILURE: u8 = 40;
const PROTOCOL_VERSION: u8 = 70;

/// ECDHE, ECDSA and AES-GCM.
const GOOD_SUITE: u16 = 0xc02b;
/// RSA key exchange, CBC, 3DES, RC4, NULL, export and anonymous ones.
const WEAK_SUITES: [u16; 12] = [
    0x002f, 0x0035, 0x009c, 0xc009, 0xc013, 0xc023, 0x000a, 0x0005, 0x0002, 0x0003, 0x0034, 0xc008,
];

/// A `ClientHello` with the extensions of its time (RFC 5246, 7.4.1.2).
fn client_hello(version: [u8; 2], suites: &[u16]) -> Vec<u8> {
    fn sized<const N: usize>(body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&length[4 - N..], body].concat()
    }
    let suites: Vec<u8> = suites.iter().flat_map(|it| it.to_be_bytes()).collect();
    let extension = |id: u16, body: &[u8]| [&id.to_be_bytes()[..], &sized::<2>(body)].concat();
    let extensions = [
        // supported_groups: x25519, secp256r1.
        extension(10, &sized::<2>(&[0x00, 0x1d, 0x00, 0x17])),
        // ec_point_formats: uncompressed.
        extension(11, &sized::<1>(&[0])),
        // signature_algorithms: ECDSA and RSA with SHA-256.
        extension(13, &sized::<2>(&[0x04, 0x03, 0x04, 0x01])),
    ];
    let body = [
        version.to_vec(),
        vec![7; 32],
        sized::<1>(&[]),
        sized::<2>(&suites),
        sized::<1>(&[0]),
        sized::<2>(&extensions.concat()),
    ];
    let handshake = [vec![1], sized::<3>(&body.concat())].concat();
    [vec![HANDSHAKE, 3, 1], sized::<2>(&handshake)].concat()
}

/// The type of the server's first record and what is in it.
async fn answer(served: &Served, hello: &[u8]) -> (u8, Vec<u8>) {
    let mut stream = served.tcp().await;
    stream.write_all(hello).await.unwrap();
    let mut head = [0; 5];
    within(stream.read_exact(&mut head)).await.unwrap();
    let mut body = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    within(stream.read_exact(&mut body)).await.unwrap();
    (head[0], body)
}

#[tokio::test]
async fn tls_below_1_2_and_weak_suites_are_refused() {
    let served = serving(ConnectionLimits::default(), Pki::new().config().into()).await;
    // The same hello is taken where version and suite are good, so that it is these that are refused below.
    let (kind, body) = answer(&served, &client_hello(TLS_1_2, &[GOOD_SUITE])).await;
    assert_eq!((kind, body[0]), (HANDSHAKE, 2), "a ServerHello");
    for version in [TLS_1_0, TLS_1_1] {
        let (kind, body) = answer(&served, &client_hello(version, &[GOOD_SUITE])).await;
        assert_eq!((kind, body[1]), (ALERT, PROTOCOL_VERSION), "{version:?}");
    }
    for weak in WEAK_SUITES {
        let (kind, body) = answer(&served, &client_hello(TLS_1_2, &[weak])).await;
        assert_eq!((kind, body[1]), (ALERT, HANDSHAKE_FAILURE), "{weak:x}");
    }
}

#[test]
fn every_suite_has_forward_secrecy_and_authenticates_what_it_encrypts() {
    let config = Pki::new().config();
    for suite in &config.crypto_provider().cipher_suites {
        let name = format!("{:?}", suite.suite());
        let is_forward = name.starts_with("TLS13_") || name.starts_with("TLS_ECDHE_");
        let is_authenticated = name.contains("_GCM_") || name.contains("_CHACHA20_");
        assert!(is_forward && is_authenticated, "{name}");
    }
}

#[tokio::test]
async fn what_is_no_handshake_is_closed_and_counted() {
    let served = serving(ConnectionLimits::default(), Pki::new().config().into()).await;
    let sslv2 = [0x80, 0x2e, 0x01, 0x00, 0x02];
    for (nonsense, count) in [
        (&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], 1),
        (&sslv2, 2),
        (&[0; 600], 3),
    ] {
        let mut stream = served.tcp().await;
        stream.write_all(nonsense).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut said = Vec::new();
        let _ = within(stream.read_to_end(&mut said)).await;
        within(async {
            while served.stats.handshakes_failed() < count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn callers_that_client_ca_keeps_out_are_counted_and_have_asked_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ca.crt");
    let (ours, others) = (CallersPki::new(), CallersPki::new());
    std::fs::write(&file, &ours.pem).unwrap();
    let pki = Pki::new();
    let callers = CallerAuthority::load(&file).unwrap();
    let config = server_config(Arc::clone(&pki.store), Some(Arc::new(callers)));
    let served = serving(ConnectionLimits::default(), Some(Arc::new(config))).await;

    let caller = pki.connect_as(&served, &["h2"], Some(&ours.caller())).await;
    let mut caller = Client::http2(caller.unwrap()).await;
    assert_eq!(caller.get("/now").await.unwrap(), ok("now"));

    for shows in [None, Some(others.caller())] {
        // Over TLS 1.3 a client learns of it with its first answer.
        let refused = pki.connect_as(&served, &["http/1.1"], shows.as_ref()).await;
        if let Ok(stream) = refused {
            let mut client = Client::http1(stream).await;
            assert!(client.get("/gated").await.is_err());
        }
    }
    within(async {
        while served.stats.handshakes_failed() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let stats = &served.stats;
    assert_eq!((stats.callers_unknown(), stats.callers_refused()), (1, 1));
    assert_eq!(served.gate.entered.available_permits(), 0);
    assert_eq!(caller.get("/now").await.unwrap(), ok("now"));
}
