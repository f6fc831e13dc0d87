//! The page as a client gets it.

mod hostile;
mod made;
mod streams;

use axum::{
    Router,
    body::Body,
    http::{Method, Request, Response, StatusCode, header},
};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use self::made::{Made, network, node, overview, status};
use super::*;
use crate::{
    domain::status::{Phase, Status},
    observe::{Happening, Overview},
};

async fn ask(router: &Router, method: Method, path: &str) -> Response<Body> {
    let request = Request::builder().method(method).uri(path);
    let request = request.body(Body::empty()).unwrap();
    router.clone().oneshot(request).await.unwrap()
}

async fn text(response: Response<Body>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn page(overview: Overview, path: &str) -> (StatusCode, String) {
    let response = ask(&Made::router(overview).0, Method::GET, path).await;
    (response.status(), text(response).await)
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    let value = response.headers().get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn every_answer_tells_the_browser_to_run_and_load_nothing_else() {
    let (router, _made) = Made::router(overview(vec![status("stellar", &["a"])]));
    for path in [
        "/",
        "/?namespace=stellar",
        "/?namespace=other",
        "/events",
        "/events?namespace=other",
    ] {
        let response = ask(&router, Method::GET, path).await;
        let policy = header(&response, "content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'; style-src 'self'; script-src 'self';"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(
            header(&response, "x-content-type-options"),
            "nosniff",
            "{path}"
        );
        assert_eq!(
            header(&response, "referrer-policy"),
            "no-referrer",
            "{path}"
        );
        assert_eq!(header(&response, "cache-control"), "no-store", "{path}");
    }
}

#[tokio::test]
async fn style_and_script_are_where_the_page_says_and_may_be_kept() {
    let (router, _made) = Made::router(overview(vec![]));
    let page = text(ask(&router, Method::GET, "/").await).await;
    for (asset, kind) in [
        (&assets::STYLE, "text/css"),
        (&assets::SCRIPT, "text/javascript"),
    ] {
        assert!(page.contains(asset.link()), "{}", asset.link());
        let response = ask(&router, Method::GET, asset.path()).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(header(&response, "content-type").starts_with(kind));
        assert!(header(&response, "cache-control").ends_with("immutable"));
    }
    let gone = ask(&router, Method::GET, "/assets/page-000000000000.css").await;
    assert_eq!(gone.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn nothing_can_be_sent_to_it() {
    let (router, _made) = Made::router(overview(vec![]));
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        for path in ["/", "/events"] {
            let response = ask(&router, method.clone(), path).await;
            assert_eq!(
                response.status(),
                StatusCode::METHOD_NOT_ALLOWED,
                "{method} {path}"
            );
            assert_eq!(header(&response, header::ALLOW.as_str()), "GET,HEAD");
        }
    }
    let head = ask(&router, Method::HEAD, "/").await;
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(text(head).await, "");
}

#[tokio::test]
async fn a_namespace_without_validators_is_not_found_but_while_caches_fill() {
    let (found, _) = page(
        overview(vec![status("stellar", &["a"])]),
        "/?namespace=stellar",
    )
    .await;
    assert_eq!(found, StatusCode::OK);
    let (gone, text) = page(overview(vec![]), "/?namespace=stellar").await;
    assert_eq!(gone, StatusCode::NOT_FOUND);
    assert!(text.contains("No such namespace") && !text.contains("<script"));
    let filling = Overview {
        ready: false,
        ..overview(vec![])
    };
    let (unknown_yet, text) = page(filling, "/?namespace=stellar").await;
    assert_eq!(unknown_yet, StatusCode::OK);
    assert!(text.contains("Caches are filling"));
}

#[tokio::test]
async fn a_node_is_told_with_all_that_is_known_of_it() {
    let mut stellar = status("stellar", &["a", "b"]);
    stellar.nodes[1].phase = Phase::Held;
    stellar.nodes[1].held = Some(crate::domain::status::Reason {
        reason: "Paused".to_owned(),
        text: "paused by its annotation".to_owned(),
    });
    let (_, text) = page(overview(vec![stellar]), "/").await;
    for told in [
        "10.0.0.1:11625",
        "paused by its annotation",
        "Held",
        "2 of 2",
        "Network ",
        "Testnet",
        "10 min ago",
        "Jan 15 07:50:00 UTC",
    ] {
        assert!(text.contains(told), "{told} is missing in {text}");
    }
    // One knows the other: both were started for this membership.
    assert_eq!(
        text.matches("<line class=\"edge knows\" x1=\"-").count()
            + text.matches("<line class=\"edge knows\" x1=\"0").count(),
        1
    );
}

#[tokio::test]
async fn who_does_not_know_the_other_yet_is_tied_by_another_line() {
    let mut stellar = status("stellar", &["a", "b", "c"]);
    stellar.nodes[0].membership = Some("v1:000000000000".to_owned());
    stellar.nodes[0].current = false;
    let (_, text) = page(overview(vec![stellar]), "/").await;
    let lines = |class: &str| {
        text.matches(&format!("<line class=\"edge {class}\""))
            .count()
            - 1
    };
    assert_eq!((lines("knows"), lines("learns")), (1, 2));
}

#[tokio::test]
async fn a_replica_that_does_not_lead_says_whose_the_timeline_is() {
    let follower = Overview {
        leads: false,
        leader: Some("other-replica".to_owned()),
        ..overview(vec![])
    };
    let (_, text) = page(follower, "/").await;
    assert!(text.contains("This replica does not lead: the timeline is the leader's."));
    assert!(text.contains("other-replica"));
}

#[tokio::test]
async fn the_timeline_of_a_namespace_is_its_own() {
    let happening = |namespace: &str, note: &str| Happening {
        at: "2027-01-15T07:59:00Z".to_owned(),
        namespace: namespace.to_owned(),
        node: None,
        warning: false,
        reason: "ListChanged".to_owned(),
        note: note.to_owned(),
    };
    let all = Overview {
        timeline: vec![
            happening("one", "first note"),
            happening("two", "second note"),
        ],
        ..overview(vec![status("one", &["a"]), status("two", &["a"])])
    };
    let (_, text) = page(all.clone(), "/").await;
    assert!(text.contains("first note") && text.contains("second note"));
    let (_, text) = page(all, "/?namespace=two").await;
    assert!(!text.contains("first note") && text.contains("second note"));
}

#[tokio::test]
async fn of_a_thousand_namespaces_those_in_trouble_come_first_and_the_page_stays_small() {
    let mut namespaces: Vec<Status> = (0..1_000)
        .map(|number| status(&format!("stellar-{number:04}"), &["a", "b", "c", "d"]))
        .collect();
    namespaces[700].nodes[2].phase = Phase::NotReady;
    namespaces[300].nodes[2].phase = Phase::Waiting;
    let (_, text) = page(overview(namespaces), "/").await;
    let first = |what: &str| text.find(what).unwrap();
    assert!(first("?namespace=stellar-0700") < first("?namespace=stellar-0300"));
    assert!(first("?namespace=stellar-0300") < first("?namespace=stellar-0000"));
    assert!(text.contains("998 quiet") && text.contains("<details id=\"quiet\">"));
    assert_eq!(text.matches("<section class=\"namespace\"").count(), 2);
    assert!(text.len() < 300_000, "{} bytes", text.len());
}

#[tokio::test]
async fn of_thousands_of_nodes_so_many_are_shown_as_a_browser_bears() {
    let names: Vec<String> = (0..5_000)
        .map(|number| format!("validator-{number:04}"))
        .collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut large = status("stellar", &names);
    large.nodes[4_321].phase = Phase::NotReady;
    let (_, all) = page(overview(vec![large.clone()]), "/").await;
    let (_, one) = page(overview(vec![large]), "/?namespace=stellar").await;
    for (text, rows) in [(&all, 100), (&one, 1_000)] {
        assert_eq!(text.matches("<tr class=").count(), rows);
        assert_eq!(text.matches("class=\"edge").count(), 0);
        assert!(text.contains("The first 1000 of 5000 by name are drawn"));
        assert!(text.contains(&format!("The table has {rows} of 5000 nodes")));
        assert!(
            text.contains("validator-4321"),
            "the one that is down is in the table"
        );
    }
    assert!(
        all.len() < 700_000 && one.len() < 2_500_000,
        "{} {}",
        all.len(),
        one.len()
    );
}

#[tokio::test]
async fn networks_of_one_namespace_are_told_apart() {
    let mut both = status("stellar", &["a"]);
    both.networks.push(network("", 1));
    both.nodes.push(node("z", ""));
    let (_, text) = page(overview(vec![both]), "/").await;
    assert!(text.contains("Network <bdi>Testnet</bdi>") && text.contains("Network without a name"));
}

#[tokio::test]
async fn programs_are_told_the_same_and_in_full() {
    let seen = overview(vec![status("stellar", &["a", "b"])]);
    let (router, _made) = Made::router(seen.clone());
    let response = ask(&router, Method::GET, "/api/v1/status").await;
    assert_eq!(header(&response, "content-type"), "application/json");
    assert_eq!(header(&response, "cache-control"), "no-store");
    let told: Overview = serde_json::from_str(&text(response).await).unwrap();
    assert_eq!(told, seen);
    let posted = ask(&router, Method::POST, "/api/v1/status").await;
    assert_eq!(posted.status(), StatusCode::METHOD_NOT_ALLOWED);
}
