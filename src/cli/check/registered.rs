//! What the registration of the webhook says, without asking the webhook.

use jiff::Timestamp;
use k8s_openapi::{
    api::admissionregistration::v1::{MutatingWebhook, MutatingWebhookConfiguration},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kube::ResourceExt;

use super::{
    ask::Unseen,
    finding::{Check, Finding},
    life::Life,
};
use crate::tls::Validity;

/// The API server waits no longer for all webhooks than this is worth to anybody.
const TIMEOUT_SECONDS_MAX: i32 = 10;
/// The label by which a selector names namespaces.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// All that the registration itself tells. `replicas` is how many are ready behind its Service.
pub(super) fn findings(
    found: &MutatingWebhookConfiguration,
    replicas: &Result<usize, Unseen>,
    now: Timestamp,
) -> Vec<Finding> {
    let name = found.name_any();
    let webhooks = found.webhooks.as_deref().unwrap_or_default();
    let mut findings = vec![registered(&name, webhooks)];
    if !webhooks.is_empty() {
        findings.push(ca_bundle(webhooks, now));
        findings.push(fail_single(webhooks, replicas));
        findings.extend(fail_everywhere(webhooks));
        findings.push(timeout(webhooks));
    }
    let object = format!("MutatingWebhookConfiguration {name}");
    findings.into_iter().map(|it| it.of(&object)).collect()
}

fn registered(name: &str, webhooks: &[MutatingWebhook]) -> Finding {
    let calls_for = |resource: &str| {
        webhooks.iter().any(|webhook| {
            let rules = webhook.rules.iter().flatten();
            let mut resources = rules.flat_map(|rule| rule.resources.iter().flatten());
            resources.any(|it| it == resource || it == "*")
        })
    };
    let missing: Vec<&str> = ["statefulsets", "stellarnodes"]
        .into_iter()
        .filter(|it| !calls_for(it))
        .collect();
    if missing.contains(&"statefulsets") {
        return Finding::failed(
            Check::Registered,
            format!("{name} calls no webhook for {}", missing.join(", ")),
        )
        .means("new validators start without a list, and are restarted for it later")
        .fix("`helm upgrade` the chart, or apply what `stellar-peers manifests` prints");
    }
    if !missing.is_empty() {
        return Finding::warning(
            Check::Registered,
            format!("{name} calls no webhook for stellarnodes"),
        )
        .means("a validator's peer port is not filled in, and a wrong one not refused")
        .fix("`helm upgrade` the chart, or apply what `stellar-peers manifests` prints");
    }
    let namespaces = webhooks
        .first()
        .and_then(|it| it.namespace_selector.as_ref());
    let place = place(namespaces);
    Finding::pass(
        Check::Registered,
        format!("{name} calls the webhook for {place}"),
    )
}

/// The namespaces of a selector in words.
fn place(selector: Option<&LabelSelector>) -> String {
    let Some(selector) = selector.filter(|it| !is_empty(it)) else {
        return "all namespaces".to_owned();
    };
    let by_name = |operator: &str| {
        let mut by_name = selector
            .match_expressions
            .iter()
            .flatten()
            .filter(|it| it.key == NAMESPACE_NAME && it.operator == operator);
        by_name
            .find_map(|it| it.values.as_ref())
            .map(|it| it.join(", "))
    };
    match (by_name("In"), by_name("NotIn")) {
        (Some(names), _) => format!("namespaces {names}"),
        (None, Some(names)) => format!("all namespaces but {names}"),
        (None, None) => "namespaces with certain labels".to_owned(),
    }
}

fn is_empty(selector: &LabelSelector) -> bool {
    let labels = selector.match_labels.iter().flatten().count();
    labels + selector.match_expressions.iter().flatten().count() == 0
}

/// Namespaces that a selector names one by one; [`None`] where it goes by anything else.
pub(super) fn named_namespaces(found: &MutatingWebhookConfiguration) -> Option<Vec<String>> {
    let selector = found
        .webhooks
        .as_ref()?
        .first()?
        .namespace_selector
        .as_ref()?;
    let mut expressions = selector.match_expressions.iter().flatten();
    let named = expressions.find(|it| it.key == NAMESPACE_NAME && it.operator == "In")?;
    named.values.clone()
}

/// Whether a webhook is called in a namespace, as far as its name tells.
pub(super) fn serves(found: &MutatingWebhookConfiguration, namespace: &str) -> bool {
    let webhooks = found.webhooks.iter().flatten();
    let mut selectors = webhooks.filter_map(|it| it.namespace_selector.as_ref());
    selectors.all(|selector| {
        let mut expressions = selector.match_expressions.iter().flatten();
        expressions.all(|it| {
            let values = it.values.as_deref().unwrap_or_default();
            let is_named = values.iter().any(|name| name == namespace);
            match (it.key.as_str(), it.operator.as_str()) {
                (NAMESPACE_NAME, "In") => is_named,
                (NAMESPACE_NAME, "NotIn") => !is_named,
                _ => true,
            }
        })
    })
}

fn ca_bundle(webhooks: &[MutatingWebhook], now: Timestamp) -> Finding {
    let fix = "see who keeps it: this service (its log), cert-manager's injector, or `stellar-peers manifests --ca-file`";
    let mut best: Option<Validity> = None;
    for webhook in webhooks {
        let bundle = webhook.client_config.ca_bundle.as_ref();
        let bundle = bundle.map(|it| it.0.as_slice()).unwrap_or_default();
        let name = &webhook.name;
        let means = "the API server trusts no certificate of the webhook, and doesn't call it";
        if bundle.is_empty() {
            let text = format!("{name} has no caBundle");
            return Finding::failed(Check::CaBundle, text).means(means).fix(fix);
        }
        let Some(authorities) = Validity::of_bundle(bundle) else {
            let text = format!("the caBundle of {name} is no readable PEM certificate");
            return Finding::failed(Check::CaBundle, text).means(means).fix(fix);
        };
        let valid = authorities
            .into_iter()
            .filter(|it| Life::of(*it, now).is_valid());
        let Some(longest) = valid.max_by_key(|it| it.not_after) else {
            let text = format!("no CA in the caBundle of {name} is valid now");
            return Finding::failed(Check::CaBundle, text).means(means).fix(fix);
        };
        best = Some(best.map_or(longest, |it| {
            if it.not_after < longest.not_after {
                it
            } else {
                longest
            }
        }));
    }
    let Some(best) = best else {
        return Finding::skipped(Check::CaBundle, "there are no webhooks");
    };
    let life = Life::of(best, now);
    if life.is_short() {
        return Finding::warning(
            Check::CaBundle,
            format!("the CA in the caBundle has {life} left"),
        )
        .means("nobody has renewed it; when it ends, the API server no longer calls the webhook")
        .fix(fix);
    }
    Finding::pass(
        Check::CaBundle,
        format!("the CA in the caBundle has {life} left"),
    )
}

fn fails(webhook: &MutatingWebhook) -> bool {
    // Fail where absent.
    webhook.failure_policy.as_deref() != Some("Ignore")
}

fn fail_single(webhooks: &[MutatingWebhook], replicas: &Result<usize, Unseen>) -> Finding {
    if !webhooks.iter().any(fails) {
        let text =
            "failurePolicy is Ignore: without the webhook, StatefulSets are made as they are";
        return Finding::pass(Check::FailSingle, text);
    }
    match replicas {
        Ok(count @ (0 | 1)) => {
            let plural = if *count == 1 { "" } else { "s" };
            Finding::warning(
                Check::FailSingle,
                format!("failurePolicy is Fail with {count} ready replica{plural}"),
            )
            .means("while that one is replaced, no validator's StatefulSet can be made or changed")
            .fix("replicaCount=2, or webhook.failurePolicy=Ignore, in the chart's values")
        }
        Ok(count) => Finding::pass(
            Check::FailSingle,
            format!("failurePolicy is Fail, with {count} ready replicas"),
        ),
        Err(_) => Finding::skipped(
            Check::FailSingle,
            "failurePolicy is Fail, and how many replicas are ready is not known",
        ),
    }
}

/// Only where it matters: a webhook that may refuse, and nothing is left out.
fn fail_everywhere(webhooks: &[MutatingWebhook]) -> Option<Finding> {
    let is_everywhere =
        |it: &&MutatingWebhook| fails(it) && it.namespace_selector.as_ref().is_none_or(is_empty);
    let webhook = webhooks.iter().find(is_everywhere)?;
    let text = format!(
        "{}: failurePolicy is Fail in all namespaces, kube-system too",
        webhook.name
    );
    let finding = Finding::warning(Check::FailEverywhere, text)
        .means("a webhook that is down can keep the cluster from coming up again")
        .fix("a namespaceSelector that leaves kube-system out, as the chart has it");
    Some(finding)
}

fn timeout(webhooks: &[MutatingWebhook]) -> Finding {
    // 10 s where absent.
    let longest = webhooks.iter().filter_map(|it| it.timeout_seconds).max();
    let longest = longest.unwrap_or(TIMEOUT_SECONDS_MAX);
    if longest > TIMEOUT_SECONDS_MAX {
        return Finding::warning(Check::WebhookTimeout, format!("the API server waits up to {longest} s for it"))
            .means("a webhook that hangs holds each write of a StatefulSet up for that long; clients give up earlier")
            .fix("timeoutSeconds: 3, as the chart has it");
    }
    Finding::pass(
        Check::WebhookTimeout,
        format!("the API server waits up to {longest} s for it"),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use k8s_openapi::ByteString;

    use super::*;
    use crate::{
        admission::registration::{Endpoint, FailurePolicy, Registration},
        cli::check::finding::Outcome,
        tls::Authority,
    };

    const NOON: Timestamp = Timestamp::constant(1_780_000_000, 0);
    const DAY: Duration = Duration::from_hours(24);

    fn registration(policy: FailurePolicy, namespaces: &[&str]) -> MutatingWebhookConfiguration {
        let registration = Registration {
            endpoint: Endpoint::Service {
                namespace: "ops".to_owned(),
                name: "stellar-peers".to_owned(),
                port: 443,
            },
            ca_bundle: Some(
                Authority::generate(DAY * 100, NOON)
                    .unwrap()
                    .certificate_pem()
                    .to_owned(),
            ),
            namespaces: namespaces.iter().map(|it| (*it).to_owned()).collect(),
            failure_policy: policy,
        };
        registration.to_object()
    }

    fn outcome(found: &MutatingWebhookConfiguration, replicas: usize, check: Check) -> Outcome {
        let findings = findings(found, &Ok(replicas), NOON);
        let mut findings = findings.into_iter().filter(|it| it.check == check);
        findings.next().map_or(Outcome::Pass, |it| it.outcome)
    }

    #[test]
    fn our_own_registration_passes() {
        let findings = findings(&registration(FailurePolicy::Fail, &[]), &Ok(2), NOON);
        assert!(
            findings.iter().all(|it| it.outcome == Outcome::Pass),
            "{findings:#?}"
        );
        assert!(findings[0].text.ends_with("all namespaces but kube-system"));
    }

    #[test]
    fn to_fail_with_a_single_replica_or_in_all_namespaces_is_a_warning() {
        let fails = registration(FailurePolicy::Fail, &[]);
        assert_eq!(outcome(&fails, 1, Check::FailSingle), Outcome::Warning);
        let ignores = registration(FailurePolicy::Ignore, &[]);
        assert_eq!(outcome(&ignores, 1, Check::FailSingle), Outcome::Pass);
        let mut everywhere = fails;
        everywhere.webhooks.as_mut().unwrap()[0].namespace_selector = None;
        assert_eq!(
            outcome(&everywhere, 2, Check::FailEverywhere),
            Outcome::Warning
        );
    }

    #[test]
    fn a_ca_bundle_is_there_and_valid() {
        let with = |bundle: Option<&[u8]>| {
            let mut found = registration(FailurePolicy::Ignore, &[]);
            found.webhooks.as_mut().unwrap()[1].client_config.ca_bundle =
                bundle.map(|it| ByteString(it.to_vec()));
            outcome(&found, 2, Check::CaBundle)
        };
        for bad in [None, Some(&b""[..]), Some(b"x")] {
            assert_eq!(with(bad), Outcome::Failed);
        }
        let ended = Authority::generate(DAY, NOON - DAY * 30).unwrap();
        assert_eq!(
            with(Some(ended.certificate_pem().as_bytes())),
            Outcome::Failed
        );
        let ending = Authority::generate(DAY * 100, NOON - DAY * 80).unwrap();
        assert_eq!(
            with(Some(ending.certificate_pem().as_bytes())),
            Outcome::Warning
        );
    }

    #[test]
    fn a_registration_without_webhooks_or_with_patience_is_told() {
        let mut found = registration(FailurePolicy::Ignore, &[]);
        found.webhooks.as_mut().unwrap()[0].timeout_seconds = Some(30);
        assert_eq!(outcome(&found, 2, Check::WebhookTimeout), Outcome::Warning);
        found.webhooks.as_mut().unwrap().remove(1);
        assert_eq!(outcome(&found, 2, Check::Registered), Outcome::Warning);
        found.webhooks = None;
        assert_eq!(outcome(&found, 2, Check::Registered), Outcome::Failed);
    }

    #[test]
    fn which_namespaces_are_served_is_read_off_the_selector() {
        let all = registration(FailurePolicy::Ignore, &[]);
        assert!(serves(&all, "a") && !serves(&all, "kube-system"));
        assert_eq!(named_namespaces(&all), None);
        let one = registration(FailurePolicy::Ignore, &["a"]);
        assert!(serves(&one, "a") && !serves(&one, "b"));
        assert_eq!(named_namespaces(&one), Some(vec!["a".to_owned()]));
    }
}
