//! Readers that are kept up to date.

use std::time::Duration;

use axum::{
    Router,
    http::{Method, StatusCode},
};
use futures::StreamExt as _;
use tokio::time::{Instant, timeout};

use super::{
    ask,
    made::{Made, overview, status},
};
use crate::observe::page::STREAMS_MAX;

/// One frame as it is sent, and what it says.
async fn frame(body: &mut axum::body::BodyDataStream) -> Option<String> {
    let bytes = body.next().await?.unwrap();
    Some(String::from_utf8(bytes.to_vec()).unwrap())
}

async fn stream(router: &Router, path: &str) -> axum::body::BodyDataStream {
    let response = ask(router, Method::GET, path).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        super::header(&response, "content-type"),
        "text/event-stream"
    );
    response.into_body().into_data_stream()
}

/// What the one line of data says.
pub(super) fn html_of(frame: &str) -> String {
    let data: Vec<&str> = frame
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .collect();
    assert_eq!(data.len(), 1, "{frame}");
    let value: serde_json::Value = serde_json::from_str(data[0]).unwrap();
    value["html"].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_reader_gets_the_page_at_once_and_then_what_changes() {
    let (router, made) = Made::router(overview(vec![status("stellar", &["a"])]));
    let mut body = stream(&router, "/events").await;
    assert!(html_of(&frame(&mut body).await.unwrap()).contains("stellar"));
    // Nothing changes: nothing is said but, now and then, that somebody is there.
    let quiet = frame(&mut body).await.unwrap();
    assert!(quiet.starts_with(':'), "{quiet}");

    let before = Instant::now();
    made.change(|overview| overview.namespaces.push(status("other", &["b"])));
    assert!(html_of(&frame(&mut body).await.unwrap()).contains("other"));
    assert!(
        before.elapsed() <= Duration::from_secs(1),
        "{:?}",
        before.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn however_many_read_and_whatever_changes_it_is_looked_at_twice_a_second() {
    let (router, made) = Made::router(overview(vec![status("stellar", &["a"])]));
    let mut readers = Vec::new();
    for _ in 0..STREAMS_MAX {
        let mut body = stream(&router, "/events").await;
        readers.push(tokio::spawn(async move {
            let mut frames = 0;
            while frame(&mut body).await.is_some() {
                frames += 1;
            }
            frames
        }));
    }
    for number in 0..1_000 {
        made.change(|overview| overview.instance = number.to_string());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    made.stopping.send_replace(true);
    for reader in readers {
        let frames = reader.await.unwrap();
        assert!(
            (10..=22).contains(&frames),
            "{frames} frames in ten seconds"
        );
    }
    assert!(made.asked() <= 22, "{} looks in ten seconds", made.asked());
}

#[tokio::test(start_paused = true)]
async fn one_reader_too_many_is_told_so_and_finds_room_when_another_goes() {
    let (router, _made) = Made::router(overview(vec![]));
    let mut readers = Vec::new();
    for _ in 0..STREAMS_MAX {
        readers.push(stream(&router, "/events").await);
    }
    let refused = ask(&router, Method::GET, "/events").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    readers.pop();
    assert_eq!(
        ask(&router, Method::GET, "/events").await.status(),
        StatusCode::OK
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_at_once_when_the_service_stops() {
    let (router, made) = Made::router(overview(vec![]));
    let mut body = stream(&router, "/events").await;
    frame(&mut body).await.unwrap();
    made.stopping.send_replace(true);
    let ended = timeout(Duration::from_millis(1), frame(&mut body)).await;
    assert_eq!(ended, Ok(None));
    // Who comes later gets nothing that would have to end.
    assert_eq!(frame(&mut stream(&router, "/events").await).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_by_itself_before_the_listener_ends_its_connection() {
    let (router, _made) = Made::router(overview(vec![]));
    let mut body = stream(&router, "/events").await;
    let begun = Instant::now();
    while frame(&mut body).await.is_some() {}
    assert!(
        begun.elapsed() < crate::admission::connections::ConnectionLimits::default().idle_timeout
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_a_namespace_that_goes_ends_and_is_not_found_again() {
    let (router, made) = Made::router(overview(vec![status("stellar", &["a"])]));
    let mut body = stream(&router, "/events?namespace=stellar").await;
    assert!(html_of(&frame(&mut body).await.unwrap()).contains("stellar"));
    made.change(|overview| overview.namespaces.clear());
    assert_eq!(frame(&mut body).await, None);
    let gone = ask(&router, Method::GET, "/events?namespace=stellar").await;
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
}
