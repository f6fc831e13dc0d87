//! Watches, raw and beneath kube's own watcher.

use futures::{Stream, StreamExt};
use kube::{
    api::{DeleteParams, WatchEvent, WatchParams},
    runtime::{WatchStreamExt, reflector, watcher},
};
use std::pin::Pin;

use super::*;
use crate::sandbox::SandboxOptions;

type Events = Pin<Box<dyn Stream<Item = Result<WatchEvent<ConfigMap>, Error>> + Send>>;

async fn open(client: &Client, parameters: WatchParams, version: &str) -> Events {
    config_maps(client)
        .watch(&parameters, version)
        .await
        .unwrap()
        .boxed()
}

/// The next event as text, or how the watch ended.
async fn next(events: &mut Events) -> String {
    let name = |object: ConfigMap| object.metadata.name.unwrap();
    match events.next().await {
        Some(Ok(WatchEvent::Added(object))) => format!("added {}", name(object)),
        Some(Ok(WatchEvent::Modified(object))) => format!("modified {}", name(object)),
        Some(Ok(WatchEvent::Deleted(object))) => format!("deleted {}", name(object)),
        Some(Ok(WatchEvent::Bookmark(bookmark))) => {
            format!("bookmark {}", bookmark.metadata.resource_version)
        }
        Some(Ok(WatchEvent::Error(status))) => format!("error {}", status.code),
        Some(Err(error)) => format!("broken: {error}"),
        None => "end".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_tells_what_happened_since_and_then_what_happens() {
    let sandbox = Sandbox::default();
    let client = sandbox.client("me");
    let version = sandbox.version().to_string();
    create(&client, &config_map("a", "k", "1")).await;
    let mut events = open(&client, WatchParams::default(), &version).await;
    assert_eq!(next(&mut events).await, "added a");
    merge(
        &client,
        &format!("{CONFIG_MAPS}/a"),
        json!({"data": {"k": "2"}}),
    )
    .await
    .unwrap();
    assert_eq!(next(&mut events).await, "modified a");
    config_maps(&client)
        .delete("a", &DeleteParams::default())
        .await
        .unwrap();
    assert_eq!(next(&mut events).await, "deleted a");
    let mut fresh = open(&client, WatchParams::default(), "0").await;
    create(&client, &config_map("b", "k", "1")).await;
    assert_eq!(
        next(&mut fresh).await,
        "added b",
        "from 0 it begins with what is there, which is nothing"
    );
}

#[tokio::test(start_paused = true)]
async fn coming_into_sight_of_a_selector_is_an_addition_and_going_out_a_deletion() {
    let sandbox = Sandbox::default();
    let client = sandbox.client("me");
    create(&client, &config_map("a", "k", "1")).await;
    let mut events = open(
        &client,
        WatchParams::default().labels("x=y"),
        &sandbox.version().to_string(),
    )
    .await;
    let path = format!("{CONFIG_MAPS}/a");
    for (labels, expected) in [
        (json!({"x": "y"}), "added a"),
        (json!({"z": "1"}), "modified a"),
        (json!({"x": "n"}), "deleted a"),
    ] {
        merge(&client, &path, json!({"metadata": {"labels": labels}}))
            .await
            .unwrap();
        assert_eq!(next(&mut events).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_watch_has_bookmarks_and_an_end() {
    let sandbox = Sandbox::default();
    let client = sandbox.client("me");
    let mut events = open(
        &client,
        WatchParams::default().timeout(100),
        &sandbox.version().to_string(),
    )
    .await;
    create(&client, &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "default"}})).await;
    let started = sandbox.elapsed();
    assert_eq!(
        next(&mut events).await,
        format!("bookmark {}", sandbox.version())
    );
    assert_eq!(next(&mut events).await, "end");
    assert_eq!(sandbox.elapsed(), started + 100 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_forgotten_is_gone_but_an_open_watch_goes_on() {
    let sandbox = Sandbox::new(SandboxOptions {
        history_events_max: 2,
        ..SandboxOptions::default()
    });
    let client = sandbox.client("me");
    let version = sandbox.version().to_string();
    let mut open_watch = open(&client, WatchParams::default(), &version).await;
    create(&client, &config_map("a", "k", "1")).await;
    assert_eq!(next(&mut open_watch).await, "added a");
    sandbox.compact();
    assert_eq!(
        next(&mut open(&client, WatchParams::default(), &version).await).await,
        "error 410"
    );
    create(&client, &config_map("b", "k", "1")).await;
    assert_eq!(next(&mut open_watch).await, "added b");
    let before = sandbox.version().to_string();
    for name in ["c", "d", "e"] {
        create(&client, &config_map(name, "k", "1")).await;
    }
    assert_eq!(
        next(&mut open(&client, WatchParams::default(), &before).await).await,
        "error 410"
    );
}

#[tokio::test(start_paused = true)]
async fn a_cut_breaks_open_watches() {
    let sandbox = Sandbox::default();
    let client = sandbox.client("me");
    let mut events = open(
        &client,
        WatchParams::default(),
        &sandbox.version().to_string(),
    )
    .await;
    sandbox.set_available(false);
    assert!(next(&mut events).await.starts_with("broken"));
    sandbox.set_available(true);
    sandbox.set_faults(|request| {
        if request.verb == "watch" {
            crate::sandbox::Fault::Watch(crate::sandbox::WatchFault {
                breaks_after: Some(SECOND),
                ..crate::sandbox::WatchFault::default()
            })
        } else {
            crate::sandbox::Fault::None
        }
    });
    let started = sandbox.elapsed();
    let mut events = open(
        &client,
        WatchParams::default(),
        &sandbox.version().to_string(),
    )
    .await;
    assert!(next(&mut events).await.starts_with("broken"));
    assert_eq!(sandbox.elapsed(), started + SECOND);
}

/// Runs a reflector through a cut and a compaction, and looks whether its store ends up with the truth.
async fn follows(config: watcher::Config) {
    let sandbox = Sandbox::default();
    let client = sandbox.client("me");
    for index in 0..7 {
        create(&client, &config_map(&format!("c{index}"), "k", "1")).await;
    }
    let (store, writer) = reflector::store();
    let stream = reflector(writer, watcher(config_maps(&client), config))
        .default_backoff()
        .touched_objects();
    let task = tokio::spawn(async move { stream.for_each(|_| async {}).await });
    store.wait_until_ready().await.unwrap();
    assert_eq!(store.len(), 7);
    create(&client, &config_map("x", "k", "1")).await;
    pass(SECOND).await;
    assert_eq!(store.len(), 8);
    sandbox.set_available(false);
    pass(SECOND).await;
    sandbox.set_available(true);
    config_maps(&client)
        .delete("c3", &DeleteParams::default())
        .await
        .unwrap();
    create(&client, &config_map("y", "k", "1")).await;
    sandbox.compact();
    create(&client, &config_map("z", "k", "1")).await;
    pass(120 * SECOND).await;
    let mut names: Vec<_> = store
        .state()
        .iter()
        .map(|object| object.metadata.name.clone().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["c0", "c1", "c2", "c4", "c5", "c6", "x", "y", "z"]);
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn the_watcher_of_kube_follows_by_paged_lists() {
    follows(watcher::Config::default().page_size(3)).await;
}

#[tokio::test(start_paused = true)]
async fn the_watcher_of_kube_follows_by_streamed_lists() {
    follows(watcher::Config::default().streaming_lists()).await;
}

#[tokio::test(start_paused = true)]
async fn the_watcher_of_kube_follows_by_cached_lists() {
    follows(watcher::Config::default().any_semantic()).await;
}
