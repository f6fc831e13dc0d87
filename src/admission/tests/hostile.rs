//! Bodies and requests that no API server sends.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use axum::{body::Bytes, http::Method};
use futures::stream;

use super::*;

const LEVELS: usize = 100_000;

/// Arrays and objects, closed and left open.
fn deep() -> [String; 4] {
    let (open, close) = ("[".repeat(LEVELS), "]".repeat(LEVELS));
    let (key, end) = ("{\"a\":".repeat(LEVELS), "}".repeat(LEVELS));
    [format!("{open}{close}"), format!("{key}1{end}"), open, key]
}

/// A review in which one value is this text.
fn with(path: &str, text: &str) -> String {
    let mut review: Value =
        serde_json::from_str(&review(STATEFUL_SETS, "CREATE", &validator(), &Value::Null)).unwrap();
    let (parent, key) = path.rsplit_once('/').unwrap();
    review.pointer_mut(parent).unwrap()[key] = json!("HERE");
    review.to_string().replace("\"HERE\"", text)
}

#[tokio::test]
async fn a_hundred_thousand_levels_are_an_answer_and_no_crash_wherever_they_stand() {
    let places = [
        "/request/object",
        "/request/object/spec/template/spec/containers",
        "/request/object/metadata/annotations",
        "/request/oldObject",
        "/request/options",
        // What nobody reads is skipped.
        "/request/userInfo",
        "/request/whatever",
        "/whatever",
        "/aFirstOne",
    ];
    for place in places {
        for text in deep() {
            let (status, answer) = post(webhook(false), with(place, &text)).await;
            match status {
                StatusCode::OK => assert_eq!(answer["response"]["allowed"], true, "{place}"),
                other => assert_eq!(other, StatusCode::BAD_REQUEST, "{place}"),
            }
        }
    }
}

#[tokio::test]
async fn hundreds_of_thousands_of_keys_and_values_are_answered_in_time() {
    let keys: Vec<String> = (0..300_000).map(|it| format!("\"k{it}\":\"\"")).collect();
    let keys = format!("{{{}}}", keys.join(","));
    let values = format!("[{}0]", "0,".repeat(3_000_000));
    for (place, text) in [
        ("/request/object/metadata/labels", &keys),
        ("/request/object/metadata/annotations", &keys),
        ("/request/object/spec/template/metadata/annotations", &keys),
        ("/request/object/spec/template/spec/containers", &values),
        ("/request/object/spec/template/spec/volumes", &values),
    ] {
        let body = with(place, text);
        assert!(body.len() < 7 << 20);
        let answered = tokio::time::timeout(Duration::from_secs(20), post(webhook(false), body));
        let (status, answer) = answered.await.unwrap();
        assert_eq!(status, StatusCode::OK, "{place}");
        assert_eq!(answer["response"]["allowed"], true, "{place}");
    }
}

#[tokio::test]
async fn keys_that_stand_twice_are_refused_or_answered_to_the_uid() {
    let whole = review(STATEFUL_SETS, "CREATE", &validator(), &Value::Null);
    let twice = |from: &str, to: &str| {
        assert!(whole.contains(from), "{from}");
        whole.replacen(from, to, 1)
    };
    for body in [
        twice(
            "\"request\":{",
            "\"request\":{\"uid\":\"other\"},\"request\":{",
        ),
        twice("\"uid\":", "\"uid\":\"other\",\"uid\":"),
        twice("\"operation\":", "\"operation\":\"DELETE\",\"operation\":"),
        twice("\"object\":{", "\"object\":[],\"object\":{"),
        twice(
            "\"metadata\":{",
            "\"metadata\":{\"name\":\"other\"},\"metadata\":{",
        ),
        twice("\"containers\":", "\"containers\":null,\"containers\":"),
    ] {
        let (status, answer) = post(webhook(false), body).await;
        if status == StatusCode::OK {
            assert_eq!(answer["response"]["allowed"], true);
            assert_eq!(
                answer["response"]["uid"],
                "705ab4f5-6393-11e8-b7cc-42010a800002"
            );
        } else {
            assert_eq!(status, StatusCode::BAD_REQUEST);
        }
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_are_no_review() {
    let whole = review(STATEFUL_SETS, "CREATE", &validator(), &Value::Null).into_bytes();
    let utf16: Vec<u8> = whole.iter().flat_map(|byte| [*byte, 0]).collect();
    let with_mark = [b"\xef\xbb\xbf", &whole[..]].concat();
    let gzip = [&[0x1f, 0x8b, 8, 0][..], &[0; 64]].concat();
    for body in [b"\xff\xfe\x00".to_vec(), utf16, with_mark, gzip] {
        let (status, _) = post(webhook(false), body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
    // In the place of each byte of the review: an answer, whatever it is.
    for at in 0..whole.len() {
        let mut broken = whole.clone();
        broken[at] = 0xff;
        let (status, _) = post(webhook(false), broken).await;
        assert!(status == StatusCode::OK || status == StatusCode::BAD_REQUEST);
    }
}

async fn asked(method: &str, uri: &str, headers: &[(&str, &str)], body: Body) -> StatusCode {
    let mut request = Request::builder()
        .method(Method::from_bytes(method.as_bytes()).unwrap())
        .uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body).unwrap();
    webhook(false).oneshot(request).await.unwrap().status()
}

#[tokio::test]
async fn the_type_of_the_content_changes_nothing() {
    let review = review(STATEFUL_SETS, "CREATE", &validator(), &Value::Null);
    let all: [&[(&str, &str)]; 6] = [
        &[],
        &[("content-type", "application/json")],
        &[("content-type", "application/json; charset=utf-7")],
        &[
            ("content-type", "text/html"),
            ("content-type", "application/yaml"),
        ],
        &[("content-type", "\u{e9}; ;;=")],
        &[("content-encoding", "gzip"), ("expect", "100-continue")],
    ];
    for headers in all {
        let status = asked("POST", "/mutate", headers, review.clone().into()).await;
        assert_eq!(status, StatusCode::OK, "{headers:?}");
    }
}

#[tokio::test]
async fn other_methods_and_paths_reach_nothing() {
    for method in [
        "GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW",
    ] {
        let status = asked(method, "/mutate", &[], Body::empty()).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
    for path in [
        "/",
        "/MUTATE",
        "/mutate/",
        "//mutate",
        "/mutate/x",
        "/./mutate",
        "/x/../mutate",
        "/%2e%2e/mutate",
        "/mutate%00",
        "/mutate;x",
        "/metrics",
        "/livez",
        "/api/v1/status",
        "/.git/config",
    ] {
        let status = asked("POST", path, &[], "{}".into()).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
    }
    // The API server asks like this.
    let review = review(STATEFUL_SETS, "CREATE", &validator(), &Value::Null);
    let status = asked("POST", "/mutate?timeout=3s", &[], review.into()).await;
    assert_eq!(status, StatusCode::OK);
}

#[tokio::test]
async fn a_body_without_an_end_is_refused_once_it_is_too_large() {
    const PIECE: usize = 1 << 20;
    let pulled = Arc::new(AtomicUsize::new(0));
    let counting = Arc::clone(&pulled);
    let piece = Bytes::from(vec![b' '; PIECE]);
    let endless = stream::repeat_with(move || {
        counting.fetch_add(1, Ordering::Relaxed);
        Ok::<_, Infallible>(piece.clone())
    });
    let declared = [("content-length", "1099511627776")];
    let status = asked("POST", "/mutate", &declared, Body::from_stream(endless)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let pulled = pulled.load(Ordering::Relaxed);
    assert!(pulled <= 8, "{pulled} MiB were read");
}
