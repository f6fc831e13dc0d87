//! The API server: whether it answers, knows us, and is of a version that we are made for.

use http::Request;
use k8s_openapi::apimachinery::pkg::version::Info;
use kube::Client;

use super::{
    ask::{Unseen, ask_raw},
    finding::{Check, Finding},
};

/// The oldest minor version of Kubernetes 1 that this program is made for.
const OLDEST_MINOR: u32 = 33;

/// Asks for its version.
///
/// # Errors
/// [`Unseen`]; where that isn't a refusal nothing else can be asked either.
pub(super) async fn look(client: &Client) -> Result<Info, Unseen> {
    let what = "the API server's version";
    let request = Request::get("/version").body(Vec::new());
    let request = request.map_err(|error| Unseen {
        verb: "read",
        what: what.to_owned(),
        code: 0,
        why: error.to_string(),
    })?;
    let answer = ask_raw(client, "read", what, request).await?;
    serde_json::from_slice(&answer.body).map_err(|error| Unseen {
        verb: "read",
        what: what.to_owned(),
        code: 0,
        why: format!("the answer is no version: {error}"),
    })
}

/// What that comes to; the second value says whether anything else can be asked.
pub(super) fn findings(seen: &Result<Info, Unseen>) -> (Vec<Finding>, bool) {
    match seen {
        Ok(info) => {
            let answers = Finding::pass(Check::ApiServer, "the API server answers");
            (vec![answers, version(info)], true)
        }
        Err(unseen) if unseen.is_forbidden() => {
            let answers = Finding::pass(Check::ApiServer, "the API server answers");
            (vec![answers, Finding::unseen(Check::Version, unseen)], true)
        }
        Err(unseen) if unseen.code == 401 => {
            let unknown = Finding::failed(
                Check::ApiServer,
                "the API server answers, and doesn't know this account",
            );
            let unknown = unknown.means("nothing else can be looked at").fix(
                "a kubeconfig with a valid token or certificate, or --context for another one",
            );
            (vec![unknown], false)
        }
        Err(unseen) => (vec![unreachable(&unseen.why)], false),
    }
}

/// Nobody answers, or there is no way to ask.
pub(super) fn unreachable(why: &str) -> Finding {
    Finding::failed(
        Check::ApiServer,
        format!("no answer from the API server: {why}"),
    )
    .means("nothing else can be looked at")
    .fix("--kubeconfig, KUBECONFIG or --context that leads to the cluster; `kubectl version` tells")
}

fn version(info: &Info) -> Finding {
    let number = |text: &str| -> Option<u32> {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    let is_old = match (number(&info.major), number(&info.minor)) {
        (Some(1), Some(minor)) => minor < OLDEST_MINOR,
        (Some(major), _) => major < 1,
        // A development build: nobody can tell.
        (None, _) => false,
    };
    if is_old {
        let old = Finding::warning(Check::Version, format!("Kubernetes {}", info.git_version));
        old.means(format!(
            "this program is made for 1.{OLDEST_MINOR} and newer; what it relies on may be missing"
        ))
        .fix("a newer Kubernetes")
    } else {
        Finding::pass(Check::Version, format!("Kubernetes {}", info.git_version))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::check::finding::Outcome;

    fn info(major: &str, minor: &str) -> Info {
        Info {
            major: major.to_owned(),
            minor: minor.to_owned(),
            ..Info::default()
        }
    }

    #[test]
    fn an_old_version_is_a_warning_and_an_unknown_one_is_none() {
        for (major, minor, outcome) in [
            ("1", "32", Outcome::Warning),
            ("1", "32+", Outcome::Warning),
            ("1", "33", Outcome::Pass),
            ("1", "35+", Outcome::Pass),
            ("2", "0", Outcome::Pass),
            ("", "", Outcome::Pass),
        ] {
            assert_eq!(
                version(&info(major, minor)).outcome,
                outcome,
                "{major}.{minor}"
            );
        }
    }

    #[test]
    fn without_an_answer_there_is_one_finding_and_nothing_else_is_asked() {
        let unseen = |code| Unseen {
            verb: "read",
            what: "it".to_owned(),
            code,
            why: "connection refused".to_owned(),
        };
        for code in [0, 401, 500] {
            let (findings, goes_on) = findings(&Err(unseen(code)));
            assert_eq!((findings.len(), goes_on), (1, false));
            assert_eq!(findings[0].outcome, Outcome::Failed);
        }
        let (findings, goes_on) = findings(&Err(unseen(403)));
        assert_eq!((findings.len(), goes_on), (2, true));
    }
}
