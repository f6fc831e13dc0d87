//! The page's style and script: two files of this program, each under a name that changes with its content.

use std::sync::LazyLock;

use axum::{
    http::header,
    response::{IntoResponse, Response},
};

use crate::domain::digest::short_sha256;

/// How the page looks.
pub(super) static STYLE: Asset = Asset {
    content: include_str!("page.css"),
    kind: "text/css; charset=utf-8",
    path: LazyLock::new(|| path("css", include_str!("page.css"))),
};

/// What keeps it up to date.
pub(super) static SCRIPT: Asset = Asset {
    content: include_str!("page.js"),
    kind: "text/javascript; charset=utf-8",
    path: LazyLock::new(|| path("js", include_str!("page.js"))),
};

/// One of the two.
#[derive(Debug)]
pub(super) struct Asset {
    content: &'static str,
    kind: &'static str,
    path: LazyLock<String>,
}

impl Asset {
    /// Where it is.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// The same from the page, wherever a proxy shows that.
    pub(super) fn link(&self) -> &str {
        self.path.trim_start_matches('/')
    }
}

fn path(ending: &str, content: &str) -> String {
    let hash = short_sha256(content.as_bytes(), 6);
    format!("/assets/page-{hash}.{ending}")
}

impl IntoResponse for &'static Asset {
    fn into_response(self) -> Response {
        let headers = [
            (header::CONTENT_TYPE, self.kind),
            (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        ];
        (headers, self.content).into_response()
    }
}
