//! A StatefulSet that is created for a try: the one check that goes the whole way from the API server to the webhook
//! and back. Nothing of it is stored.

use std::time::Duration;

use http::{Request, header};
use kube::Client;
use serde_json::{Value, json};

use super::{
    ask::{Answer, Unseen, ask_raw},
    finding::{Check, Finding, Outcome},
};
use crate::{
    api::names::{INJECT, INJECT_ENABLED, STELLAR_PEERS},
    clock::Clock,
};

/// An API server notices a new registration within a moment.
const ANOTHER_TRY: Duration = Duration::from_secs(1);

/// What is created for a try: as careful as the profile `restricted` wants it, and with a configuration into which the
/// list can be merged. Its name is one that nobody else would give.
fn example(namespace: &str, salt: &str) -> Value {
    let name = format!("stellar-peers-check-{salt}");
    let labels = json!({"app": name});
    let container = json!({
        "name": "stellar-core", "image": "stellar-core",
        "args": ["run", "--conf", "/config/stellar-core.cfg"],
        "volumeMounts": [{"name": "config", "mountPath": "/config"}],
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
    });
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name, INJECT: INJECT_ENABLED}},
        "spec": {
            "replicas": 0, "serviceName": name, "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "securityContext": {
                        "runAsNonRoot": true, "runAsUser": 10000, "fsGroup": 10000,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [container],
                    "volumes": [{"name": "config", "configMap": {"name": name}}],
                },
            },
        },
    })
}

/// Creates it, without storing it, and once more where it comes back as it was.
///
/// `asks_callers`: the webhook takes only callers with a certificate, of which the API server may have none.
pub(super) async fn look(
    client: &Client,
    namespace: &str,
    clock: Clock,
    asks_callers: bool,
) -> Finding {
    let mut finding = attempt(client, namespace, clock, asks_callers).await;
    if finding.outcome == Outcome::Failed {
        tokio::time::sleep(ANOTHER_TRY).await;
        finding = attempt(client, namespace, clock, asks_callers).await;
    }
    finding.of(format!("Namespace {namespace}"))
}

async fn attempt(client: &Client, namespace: &str, clock: Clock, asks_callers: bool) -> Finding {
    let what = format!("StatefulSets in {namespace}");
    let start = clock.now();
    let salt = format!("{:x}", start.wall.as_millisecond());
    let body = example(namespace, &salt).to_string().into_bytes();
    let path = format!("/apis/apps/v1/namespaces/{namespace}/statefulsets?dryRun=All");
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body);
    let answer = match request {
        Ok(request) => ask_raw(client, "create", &what, request).await,
        Err(error) => Err(Unseen {
            verb: "create",
            what,
            code: 0,
            why: error.to_string(),
        }),
    };
    let found = finding(&answer, clock.now().moment.since(start.moment));
    if asks_callers && found.outcome == Outcome::Failed {
        of_unknown_caller(found)
    } else {
        found
    }
}

/// The same, where the likeliest reason is that the API server shows no certificate.
fn of_unknown_caller(found: Finding) -> Finding {
    found.fix(
        "the service runs with --client-ca: the API server has to show a certificate, by a kubeconfig that its \
         --admission-control-config-file names (docs/security.md); the service's log says \"Refused a caller\" where it \
         shows none or another's. Else the other findings",
    )
}

/// What an answer comes to.
fn finding(answer: &Result<Answer, Unseen>, took: Duration) -> Finding {
    let answer = match answer {
        Ok(answer) => answer,
        Err(unseen) => return refused(unseen),
    };
    let millis = took.as_millis();
    let warned = answer.warnings.join("; ");
    if is_injected(&answer.body) {
        if warned.is_empty() {
            let text = format!("a dry-run StatefulSet came back injected in {millis} ms");
            return Finding::pass(Check::Injects, text);
        }
        let text = format!(
            "a dry-run StatefulSet came back injected in {millis} ms, with a warning: {warned}"
        );
        return Finding::warning(Check::Injects, text)
            .means("somebody at admission has something to say about such StatefulSets")
            .fix("what the warning says");
    }
    let warned = if warned.is_empty() {
        warned
    } else {
        format!("; the API server warns: {warned}")
    };
    Finding::failed(
        Check::Injects,
        format!("a dry-run StatefulSet came back as it was, after {millis} ms{warned}"),
    )
    .means(
        "new validators start without a list. Likely: the webhook does not run, the API server does not reach its \
         port (a NetworkPolicy, a private cluster), does not trust its certificate, or the service runs with --dry-run",
    )
    .fix(
        "the other findings; the metric apiserver_admission_webhook_fail_open_count; hostNetwork=true in the chart's \
         values where the API server can't reach pods",
    )
}

fn refused(unseen: &Unseen) -> Finding {
    let is_webhook = unseen.why.contains("failed calling webhook");
    if is_webhook && unseen.why.contains(".peers.stellar.org") {
        return Finding::failed(Check::Injects, &unseen.why)
            .means("under failurePolicy Fail no validator's StatefulSet can be made or changed now")
            .fix("see whether the service's pods run; until they do, webhook.failurePolicy=Ignore in the chart's values");
    }
    // A webhook's words, a policy's, and those about a webhook that can't be tried.
    let refusals = [
        "denied the request",
        "denied request",
        "does not support dry run",
    ];
    if is_webhook || refusals.iter().any(|it| unseen.why.contains(it)) {
        return Finding::skipped(
            Check::Injects,
            format!(
                "another admission refuses the StatefulSet that is tried: {}",
                unseen.why
            ),
        );
    }
    if unseen.code == 404 {
        return Finding::skipped(Check::Injects, &unseen.why)
            .fix("-n with a namespace that is there");
    }
    Finding::unseen(Check::Injects, unseen)
}

fn is_injected(body: &[u8]) -> bool {
    let object: Value = serde_json::from_slice(body).unwrap_or_default();
    let volumes = object["spec"]["template"]["spec"]["volumes"].as_array();
    let mut volumes = volumes.into_iter().flatten();
    volumes.any(|volume| volume["name"] == STELLAR_PEERS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(volume: &str, warnings: &[&str]) -> Answer {
        let volumes = json!([{"name": volume}]);
        let object = json!({"spec": {"template": {"spec": {"volumes": volumes}}}});
        Answer {
            date: None,
            warnings: warnings.iter().map(|it| (*it).to_owned()).collect(),
            body: object.to_string().into_bytes(),
        }
    }

    #[test]
    fn what_comes_back_with_our_volume_is_injected_and_warnings_are_told() {
        let outcome = |answer| finding(&Ok(answer), Duration::ZERO).outcome;
        assert_eq!(outcome(answer("stellar-peers", &[])), Outcome::Pass);
        let warned = finding(&Ok(answer("stellar-peers", &["careful"])), Duration::ZERO);
        assert_eq!(warned.outcome, Outcome::Warning);
        assert!(warned.text.contains("careful"));
        assert_eq!(outcome(answer("data", &[])), Outcome::Failed);
        let nonsense = Answer {
            date: None,
            warnings: Vec::new(),
            body: b"x".to_vec(),
        };
        assert_eq!(outcome(nonsense), Outcome::Failed);
    }

    #[test]
    fn where_callers_need_a_certificate_the_way_out_says_so() {
        let found = finding(&Ok(answer("data", &[])), Duration::ZERO);
        let fix = of_unknown_caller(found).fix.unwrap();
        assert!(fix.contains("--client-ca") && fix.contains("docs/security.md"));
    }

    #[test]
    fn a_refusal_is_ours_only_where_our_webhook_is_named() {
        let outcome = |code, why: &str| {
            let unseen = Unseen {
                verb: "create",
                what: "StatefulSets in a".to_owned(),
                code,
                why: why.to_owned(),
            };
            finding(&Err(unseen), Duration::ZERO).outcome
        };
        let ours = "failed calling webhook \"statefulsets.peers.stellar.org\": connection refused";
        assert_eq!(outcome(500, ours), Outcome::Failed);
        assert_eq!(
            outcome(500, "failed calling webhook \"a.b\": x"),
            Outcome::Skipped
        );
        assert_eq!(
            outcome(403, "admission webhook \"a.b\" denied the request: x"),
            Outcome::Skipped
        );
        assert_eq!(
            outcome(403, "statefulsets.apps is forbidden"),
            Outcome::Skipped
        );
        let policy = "statefulsets.apps \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: x";
        assert_eq!(outcome(422, policy), Outcome::Skipped);
        let no_dry_run = "admission webhook \"a.b\" does not support dry run";
        assert_eq!(outcome(400, no_dry_run), Outcome::Skipped);
        assert_eq!(outcome(404, "namespaces \"a\" not found"), Outcome::Skipped);
        assert_eq!(outcome(500, "etcd is away"), Outcome::Failed);
    }
}
