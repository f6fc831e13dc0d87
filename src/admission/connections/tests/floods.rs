//! HTTP/2 as nobody speaks it who wants an answer: frames made by hand. The offender is sent away, others are answered.

use tokio::net::tcp::OwnedReadHalf;

use super::*;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const UNKNOWN: u8 = 0xfa;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// RFC 9113, 7: the peer behaves in a way that may generate excessive load.
const ENHANCE_YOUR_CALM: u32 = 0xb;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags][..], &stream.to_be_bytes()];
    [&head.concat(), payload].concat()
}

/// The preface and settings.
fn hello(settings: &[(u16, u32)]) -> Vec<u8> {
    let settings = settings.iter();
    let settings: Vec<u8> = settings
        .flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    [preface, frame(SETTINGS, 0, 0, &settings)].concat()
}

/// HPACK (RFC 7541) of a GET: indexed fields of the static table, and two literals.
fn get(path: &str) -> Vec<u8> {
    let literal = |index: u8, text: &str| {
        let length = u8::try_from(text.len()).unwrap();
        [&[index, length], text.as_bytes()].concat()
    };
    [
        vec![0x82, 0x86],
        literal(0x04, path),
        literal(0x01, "localhost"),
    ]
    .concat()
}

fn request(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &get(path))
}

/// What the server says: kinds of frames with their payloads, until it closes.
async fn frames(mut from: OwnedReadHalf) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    loop {
        let mut head = [0; 9];
        if from.read_exact(&mut head).await.is_err() {
            return frames;
        }
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        if from.read_exact(&mut payload).await.is_err() {
            return frames;
        }
        frames.push((head[3], payload));
    }
}

/// The code of a GOAWAY, where there was one.
fn goodbye(frames: &[(u8, Vec<u8>)]) -> Option<u32> {
    let (_, payload) = frames.iter().rfind(|(kind, _)| *kind == GOAWAY)?;
    Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()))
}

/// Sends `hello` and then the batches until the server closes; at most so many. How many were taken, and what it said.
async fn flood(
    served: &Served,
    hello: Vec<u8>,
    batches_max: u32,
    batch: impl Fn(u32) -> Vec<u8>,
) -> (u32, Vec<(u8, Vec<u8>)>) {
    let (from, mut to) = served.tcp().await.into_split();
    let reading = tokio::spawn(frames(from));
    to.write_all(&hello).await.unwrap();
    let mut sent = 0;
    while sent < batches_max && to.write_all(&batch(sent)).await.is_ok() {
        sent += 1;
    }
    let said = within(reading).await.unwrap();
    (sent, said)
}

async fn others_are_answered(served: &Served) {
    assert_eq!(served.http2().await.get("/now").await.unwrap(), ok("now"));
    assert_eq!(served.http1().await.get("/now").await.unwrap(), ok("now"));
}

fn impatient() -> ConnectionLimits {
    ConnectionLimits {
        header_timeout: SHORT,
        idle_timeout: SHORT,
        drain_timeout: SHORT,
        ..Default::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_opens_streams_only_to_reset_them_is_sent_away() {
    let served = serving(ConnectionLimits::default(), None).await;
    let cancel = 8_u32.to_be_bytes();
    let batch = |number: u32| {
        let streams = (0..100).map(|one| (number * 100 + one) * 2 + 1);
        let pairs =
            streams.map(|it| [request(it, "/gated"), frame(RST_STREAM, 0, it, &cancel)].concat());
        pairs.collect::<Vec<_>>().concat()
    };
    let (sent, said) = flood(&served, hello(&[]), 10_000, batch).await;
    assert!(sent < 10_000, "a million streams were taken");
    // The goodbye itself may be lost to what was still on its way.
    assert!(
        matches!(goodbye(&said), None | Some(ENHANCE_YOUR_CALM)),
        "{:?}",
        goodbye(&said)
    );
    let handled = served.gate.entered.available_permits();
    assert!(handled < 1_000, "{handled} of them were handled");
    others_are_answered(&served).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_without_an_end_are_not_collected() {
    let served = serving(ConnectionLimits::default(), None).await;
    let begin = [hello(&[]), frame(HEADERS, END_STREAM, 1, &get("/now"))].concat();
    // Each a field that is new to the table: its name and value.
    let piece = |_| {
        frame(
            CONTINUATION,
            0,
            1,
            &[&[0x00, 1, b'a', 0x7e][..], &[b'x'; 0x7e]].concat(),
        )
    };
    let (sent, said) = flood(&served, begin, 100_000, piece).await;
    assert!(sent < 100_000, "13 MB of headers were taken");
    assert!(
        !said.iter().any(|(kind, _)| *kind == HEADERS),
        "it was answered"
    );
    others_are_answered(&served).await;
}

#[tokio::test]
async fn a_request_with_too_many_headers_is_refused_and_the_connection_lives() {
    let served = serving(ConnectionLimits::default(), None).await;
    let mut http2 = served.http2().await;
    let request = Request::get("http://localhost/now").header("x-long", "x".repeat(20_000));
    let (status, _) = http2
        .send(request.body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(http2.get("/now").await.unwrap(), ok("now"));

    let mut http1 = served.tcp().await;
    let long = format!(
        "GET /now HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n",
        "x".repeat(70_000)
    );
    // It may close before it has read all.
    let _ = http1.write_all(long.as_bytes()).await;
    let answer = read_to_end(http1).await;
    assert!(
        answer.is_empty() || answer.starts_with("HTTP/1.1 431 "),
        "{answer}"
    );
    others_are_answered(&served).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_ask_for_nothing_keep_no_connection_alive() {
    let served = serving(impatient(), None).await;
    let kinds = [
        frame(PING, 0, 0, &[0; 8]),
        frame(SETTINGS, 0, 0, &[]),
        frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 0]),
        frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        frame(UNKNOWN, 0, 0, &[0; 64]),
    ];
    for (number, kind) in kinds.into_iter().enumerate() {
        // Before a first request, and after one.
        for begin in [hello(&[]), [hello(&[]), request(1, "/now")].concat()] {
            let (from, mut to) = served.tcp().await.into_split();
            let reading = tokio::spawn(frames(from));
            to.write_all(&begin).await.unwrap();
            let flooding = tokio::spawn({
                let batch = kind.repeat(100);
                async move { while to.write_all(&batch).await.is_ok() {} }
            });
            others_are_answered(&served).await;
            within(reading)
                .await
                .unwrap_or_else(|error| panic!("{number}: {error}"));
            within(flooding).await.unwrap();
        }
    }
}

#[tokio::test]
async fn answers_that_nobody_reads_hold_no_connection() {
    const INITIAL_WINDOW_SIZE: u16 = 4;
    let served = serving(impatient(), None).await;
    // Without a window no byte of an answer's body can be sent.
    let requests: Vec<u8> = (0..200)
        .flat_map(|it| request(it * 2 + 1, "/now"))
        .collect();
    let begin = [hello(&[(INITIAL_WINDOW_SIZE, 0)]), requests].concat();
    let (from, mut to) = served.tcp().await.into_split();
    let reading = tokio::spawn(frames(from));
    to.write_all(&begin).await.unwrap();
    others_are_answered(&served).await;
    let said = within(reading).await.unwrap();
    assert!(
        said.iter().any(|(kind, _)| *kind == HEADERS),
        "they were handled"
    );
    assert!(
        !said
            .iter()
            .any(|(kind, payload)| *kind == DATA && !payload.is_empty())
    );
}

#[tokio::test]
async fn no_more_streams_than_agreed_are_handled_at_once() {
    let served = serving(ConnectionLimits::default(), None).await;
    let (from, mut to) = served.tcp().await.into_split();
    let reading = tokio::spawn(frames(from));
    let requests = (0..STREAMS_MAX + 50).flat_map(|it| request(it * 2 + 1, "/gated"));
    let begin = [hello(&[]), requests.collect()].concat();
    to.write_all(&begin).await.unwrap();
    served.gate.until_entered(STREAMS_MAX).await;
    others_are_answered(&served).await;
    assert_eq!(
        served.gate.entered.available_permits(),
        0,
        "further ones were let in"
    );
    drop(to);
    served.gate.open.add_permits(1_000);
    drop(served);
    within(reading).await.unwrap();
}

#[tokio::test]
async fn nonsense_after_the_preface_ends_only_its_connection() {
    let served = serving(ConnectionLimits::default(), None).await;
    let too_long = [&[0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1][..], &[0; 64]].concat();
    for nonsense in [
        frame(DATA, 0, 1, b"for no stream"),
        frame(HEADERS, END_HEADERS, 2, &get("/now")),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0xff; 32]),
        frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
        frame(SETTINGS, 0, 0, &[0; 5]),
        frame(PING, 0, 3, &[0; 7]),
        too_long,
    ] {
        let (from, mut to) = served.tcp().await.into_split();
        let reading = tokio::spawn(frames(from));
        to.write_all(&[hello(&[]), nonsense].concat())
            .await
            .unwrap();
        let said = within(reading).await.unwrap();
        assert!(goodbye(&said).is_some_and(|code| code != 0), "{said:?}");
        others_are_answered(&served).await;
    }
}
