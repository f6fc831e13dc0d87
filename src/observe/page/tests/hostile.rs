//! Text of others never becomes anything but text, wherever it stands.

use std::collections::BTreeMap;

use axum::http::{Method, StatusCode};

use super::{
    ask,
    made::{Made, network, node, overview, status},
    page,
    streams::html_of,
};
use crate::{
    domain::status::Reason,
    observe::{Happening, Overview, page::mark},
};

/// Every text that comes from the cluster is `text`, or contains it.
fn everywhere(text: &str) -> Overview {
    let reason = || Reason {
        reason: text.to_owned(),
        text: text.to_owned(),
    };
    let some = || Some(text.to_owned());
    let mut status = status(text, &[]);
    status.problem = Some(reason());
    status.paused = true;
    if let Some(list) = &mut status.list {
        (list.revision, list.written, list.writer) = (text.to_owned(), some(), some());
    }
    status.networks = vec![network(text, 2)];
    status.networks[0].membership = text.to_owned();
    status.networks[0].next = some();
    for (number, phase) in mark::PHASES.into_iter().enumerate() {
        let mut node = node(&format!("{text}{number}"), text);
        node.phase = phase;
        node.info = format!("{text} info");
        node.addresses = vec![text.to_owned(); 9];
        (node.basis, node.membership, node.stale) = (some(), some(), some());
        (node.ready_since, node.member_since, node.restarted) = (some(), some(), some());
        (node.left_out, node.held) = (Some(reason()), Some(reason()));
        node.notices = vec![reason()];
        status.nodes.push(node);
    }
    let happening = Happening {
        at: text.to_owned(),
        namespace: text.to_owned(),
        node: some(),
        warning: true,
        reason: text.to_owned(),
        note: text.to_owned(),
    };
    let mut quiet = status.clone();
    quiet.namespace = format!("{text} quiet");
    Overview {
        version: text.to_owned(),
        instance: text.to_owned(),
        leader: some(),
        timeline: vec![happening],
        ..overview(vec![status, quiet])
    }
}

/// All tags with the names of their attributes, and the values of those that could do something. Fails on markup that
/// this program does not write: a quote left out, a `<` in text or in a value.
fn structure(html: &str) -> BTreeMap<String, usize> {
    let mut found = BTreeMap::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        assert!(!rest[..at].contains('>'), "a stray > in {:?}", &rest[..at]);
        rest = &rest[at + 1..];
        let mut tag = String::new();
        let mut in_value = false;
        let end = rest
            .char_indices()
            .find(|(_, char)| {
                assert!(*char != '<', "a < inside of a tag");
                if *char == '"' {
                    in_value = !in_value;
                }
                let ends = *char == '>' && !in_value;
                if !in_value && !ends {
                    tag.push(*char);
                }
                ends
            })
            .map(|(end, _)| end)
            .expect("each tag ends");
        let links = ["href=\"", "src=\""]
            .into_iter()
            .flat_map(|attribute| rest[..end].split(attribute).skip(1));
        for link in links {
            let is_ours = [
                "?namespace=",
                ".",
                "#",
                "api/v1/status",
                "metrics",
                "assets/",
                "data:image/svg+xml,",
                "\"",
            ];
            assert!(is_ours.iter().any(|ours| link.starts_with(ours)), "{link}");
        }
        *found.entry(tag).or_default() += 1;
        rest = &rest[end + 1..];
    }
    assert!(!rest.contains('>'));
    found
}

fn hostile() -> Vec<String> {
    let texts = [
        "\"><script>alert(1)</script>",
        "'><img src=x onerror=alert(1)>",
        "javascript:alert(1)",
        "</svg><style>@import 'x'</style>",
        "</title></desc></text><a xlink:href=javascript:1>",
        "a\n\ndata: {}\r\nevent: page\r\rid: 1",
        "\u{202e}gnp.\u{2066}x\u{200f}\u{61c}",
        "&lt;b&gt;&amp;&#34;",
        "\0\u{1b}[31m\u{85}\u{2028}",
        "$(x) <!-- --> ]]> %3Cscript%3E",
    ];
    let long = [
        "<\"'&>".repeat(2_000),
        "\u{202e}".repeat(10_000),
        "x".repeat(10_000),
    ];
    texts.into_iter().map(str::to_owned).chain(long).collect()
}

async fn first_frame(overview: Overview) -> String {
    let (router, made) = Made::router(overview);
    let response = ask(&router, Method::GET, "/events").await;
    let mut body = response.into_body().into_data_stream();
    let frame = futures::StreamExt::next(&mut body).await.unwrap().unwrap();
    made.stopping.send_replace(true);
    String::from_utf8(frame.to_vec()).unwrap()
}

#[tokio::test]
async fn hostile_text_adds_no_element_no_attribute_and_no_link() {
    let link = |text: &str| format!("/{}", super::super::text::link(text));
    let (_, plain) = page(everywhere("plain"), "/").await;
    let (_, plain_one) = page(everywhere("plain"), &link("plain")).await;
    let (plain, plain_one) = (structure(&plain), structure(&plain_one));
    for text in hostile() {
        let (found, all) = page(everywhere(&text), "/").await;
        assert_eq!(found, StatusCode::OK);
        assert_eq!(structure(&all), plain, "{text:?}");
        assert!(!all.contains(char::is_control), "{text:?}");
        assert!(
            !all.contains(['\u{202e}', '\u{2066}', '\u{200f}', '\u{61c}']),
            "{text:?}"
        );
        assert!(
            all.len() < 900_000,
            "{} bytes for {} of text",
            all.len(),
            text.len()
        );
        // What is longer than any namespace's name can't be asked for.
        if text.chars().count() > 253 {
            continue;
        }
        let (found, one) = page(everywhere(&text), &link(&text)).await;
        assert_eq!(found, StatusCode::OK, "{text:?}");
        assert_eq!(structure(&one), plain_one, "{text:?}");
        let (found, none) = page(overview(vec![]), &link(&text)).await;
        assert_eq!(found, StatusCode::NOT_FOUND);
        structure(&none);
    }
}

#[tokio::test]
async fn no_text_splits_a_frame() {
    let fields = |frame: &str| -> Vec<String> {
        let lines = frame.split(['\n', '\r']);
        lines
            .map(|line| line.split(':').next().unwrap().to_owned())
            .collect()
    };
    let plain = first_frame(everywhere("plain")).await;
    for text in hostile() {
        let frame = first_frame(everywhere(&text)).await;
        assert_eq!(fields(&frame), fields(&plain), "{text:?}");
        structure(&html_of(&frame));
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

    #[test]
    fn any_text_is_only_text(text in "(\\PC|[<>\"'&/=\\s\\x00-\\x1f\u{202e}]){1,40}") {
        let html = |text: &str| {
            let all = super::super::fragment::fragment(&everywhere(text), None).0;
            let one = super::super::fragment::fragment(&everywhere(text), Some(text)).0;
            structure(&(all + &one))
        };
        proptest::prop_assert_eq!(html(&text), html("plain"));
    }
}
