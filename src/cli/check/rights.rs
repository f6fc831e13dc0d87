//! What the service's account may do: the one table of what it needs, asked right by right.

use futures::{StreamExt, stream};
use k8s_openapi::api::{
    authentication::v1::SelfSubjectReview,
    authorization::v1::{
        LocalSubjectAccessReview, ResourceAttributes, SelfSubjectAccessReview,
        SelfSubjectAccessReviewSpec, SubjectAccessReview, SubjectAccessReviewSpec,
    },
};
use kube::{Api, Client, api::PostParams};

use super::{
    ask::{Unseen, ask},
    finding::{Check, Finding},
    flags::RunsWith,
    installation::Installation,
};
use crate::api::names::STELLAR_PEERS;

/// Reviews under way at once.
const AT_ONCE: usize = 8;

/// When a right is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// Whatever it does: to know who is a validator.
    Always,
    /// It runs the loop.
    Loop,
    /// Its addresses are DNS names.
    Names,
    /// Its replicas elect who leads, in its own namespace.
    Election,
    /// For Events, without which all works.
    Telling,
}

/// Verbs on a resource.
struct Need {
    group: &'static str,
    resource: &'static str,
    /// Only the object of this name.
    name: Option<&'static str>,
    verbs: &'static [&'static str],
    when: When,
}

const fn need(
    group: &'static str,
    resource: &'static str,
    verbs: &'static [&'static str],
    when: When,
) -> Need {
    Need {
        group,
        resource,
        name: None,
        verbs,
        when,
    }
}

const fn named(mut need: Need) -> Need {
    need.name = Some(STELLAR_PEERS);
    need
}

/// All that docs/rbac.yaml grants.
const NEEDS: [Need; 11] = [
    need(
        "stellar.org",
        "stellarnodes",
        &["list", "watch"],
        When::Always,
    ),
    need("apps", "statefulsets", &["list", "watch"], When::Always),
    need("apps", "statefulsets", &["get", "patch"], When::Loop),
    need("", "pods", &["list", "watch"], When::Always),
    need("", "pods", &["delete"], When::Loop),
    need("", "services", &["list", "watch"], When::Names),
    named(need("", "configmaps", &["list", "watch"], When::Always)),
    named(need(
        "",
        "configmaps",
        &["get", "create", "patch"],
        When::Loop,
    )),
    named(need(
        "coordination.k8s.io",
        "leases",
        &["get", "update"],
        When::Election,
    )),
    need("coordination.k8s.io", "leases", &["create"], When::Election),
    need(
        "events.k8s.io",
        "events",
        &["create", "patch"],
        When::Telling,
    ),
];

/// One right, where it is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Right {
    group: &'static str,
    resource: &'static str,
    name: Option<&'static str>,
    verb: &'static str,
    /// Everywhere where absent.
    namespace: Option<String>,
    /// Without it something doesn't work.
    is_needed: bool,
}

impl Right {
    fn attributes(&self) -> ResourceAttributes {
        ResourceAttributes {
            group: Some(self.group.to_owned()),
            resource: Some(self.resource.to_owned()),
            name: self.name.map(str::to_owned),
            verb: Some(self.verb.to_owned()),
            namespace: self.namespace.clone(),
            ..ResourceAttributes::default()
        }
    }

    fn words(&self) -> String {
        let Self {
            group,
            resource,
            verb,
            ..
        } = self;
        let group = if group.is_empty() {
            String::new()
        } else {
            format!(".{group}")
        };
        let name = self.name.map(|name| format!("/{name}"));
        let place = self.namespace.as_ref().map(|it| format!(" in {it}"));
        let (name, place) = (name.unwrap_or_default(), place.unwrap_or_default());
        format!("{verb} {resource}{group}{name}{place}")
    }
}

/// What a service that runs like this in this namespace needs.
fn needed(runs: &RunsWith, own: &str) -> Vec<Right> {
    let everywhere = [None];
    let limited: Vec<_> = runs.namespaces.iter().cloned().map(Some).collect();
    let places = if limited.is_empty() {
        &everywhere[..]
    } else {
        &limited
    };
    let is_asked = |need: &&Need| match need.when {
        When::Always => true,
        When::Loop | When::Telling => runs.discovery && !runs.dry_run,
        When::Names => runs.uses_names(),
        When::Election => runs.elects,
    };
    let mut rights = Vec::new();
    for need in NEEDS.iter().filter(is_asked) {
        let own = [Some(own.to_owned())];
        let places = if need.when == When::Election {
            &own[..]
        } else {
            places
        };
        for (verb, namespace) in need
            .verbs
            .iter()
            .flat_map(|verb| places.iter().map(move |it| (*verb, it)))
        {
            rights.push(Right {
                group: need.group,
                resource: need.resource,
                name: need.name,
                verb,
                namespace: namespace.clone(),
                is_needed: need.when != When::Telling,
            });
        }
    }
    rights
}

/// As whom it is asked.
enum Asking {
    /// The service itself.
    Itself,
    /// Somebody who may ask about others.
    About(String),
}

/// Asks for each right.
pub(super) async fn look(client: &Client, installation: &Installation) -> Finding {
    let namespace = &installation.namespace;
    let (account, runs) = match (&installation.account, &installation.runs_with) {
        (Ok(account), Ok(runs)) => (account, runs),
        (Err(why), _) | (_, Err(why)) => {
            let unknown = format!("the service's account and flags are not known: {why}");
            return Finding::skipped(Check::Rights, unknown);
        }
    };
    let user = format!("system:serviceaccount:{namespace}:{account}");
    let object = format!("ServiceAccount {namespace}/{account}");
    let asking = if whoami(client).await.as_deref() == Some(&user) {
        Asking::Itself
    } else {
        Asking::About(user)
    };
    let rights = needed(runs, namespace);
    let asking = &asking;
    let reviews = stream::iter(rights.into_iter().map(async |right| {
        let allowed = review(client, asking, namespace, &right).await;
        (right, allowed)
    }));
    let reviewed: Vec<_> = reviews.buffered(AT_ONCE).collect().await;
    finding(&reviewed).of(object)
}

async fn whoami(client: &Client) -> Option<String> {
    let reviews = Api::<SelfSubjectReview>::all(client.clone());
    let review = SelfSubjectReview::default();
    let params = PostParams::default();
    let answer = ask(
        "create",
        "SelfSubjectReviews",
        reviews.create(&params, &review),
    )
    .await;
    answer.ok()?.status?.user_info?.username
}

async fn review(
    client: &Client,
    asking: &Asking,
    own: &str,
    right: &Right,
) -> Result<bool, Unseen> {
    let params = PostParams::default();
    let user = match asking {
        Asking::Itself => {
            let reviews = Api::<SelfSubjectAccessReview>::all(client.clone());
            let review = SelfSubjectAccessReview {
                spec: SelfSubjectAccessReviewSpec {
                    resource_attributes: Some(right.attributes()),
                    ..SelfSubjectAccessReviewSpec::default()
                },
                ..SelfSubjectAccessReview::default()
            };
            let request = reviews.create(&params, &review);
            let answer = ask("create", "SelfSubjectAccessReviews", request).await?;
            return Ok(answer.status.is_some_and(|status| status.allowed));
        }
        Asking::About(user) => user,
    };
    // As the API server knows a service account.
    let groups = [
        "system:serviceaccounts".to_owned(),
        format!("system:serviceaccounts:{own}"),
        "system:authenticated".to_owned(),
    ];
    let spec = SubjectAccessReviewSpec {
        user: Some(user.clone()),
        groups: Some(groups.to_vec()),
        resource_attributes: Some(right.attributes()),
        ..SubjectAccessReviewSpec::default()
    };
    let review = SubjectAccessReview {
        spec: spec.clone(),
        ..SubjectAccessReview::default()
    };
    let reviews = Api::<SubjectAccessReview>::all(client.clone());
    let request = reviews.create(&params, &review);
    let refused = match ask("create", "SubjectAccessReviews", request).await {
        Ok(answer) => return Ok(answer.status.is_some_and(|status| status.allowed)),
        Err(unseen) => unseen,
    };
    // Whoever keeps one namespace may ask there.
    let Some(namespace) = right
        .namespace
        .as_deref()
        .filter(|_| refused.is_forbidden())
    else {
        return Err(refused);
    };
    let mut review = LocalSubjectAccessReview {
        spec,
        ..LocalSubjectAccessReview::default()
    };
    review.metadata.namespace = Some(namespace.to_owned());
    let reviews = Api::<LocalSubjectAccessReview>::namespaced(client.clone(), namespace);
    let request = reviews.create(&params, &review);
    let answer = ask("create", "LocalSubjectAccessReviews", request).await;
    let answer = answer.map_err(|_| refused)?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// What the answers come to.
fn finding(reviewed: &[(Right, Result<bool, Unseen>)]) -> Finding {
    let missing = |is_needed: bool| -> Vec<String> {
        let missing = reviewed
            .iter()
            .filter(|(right, allowed)| *allowed == Ok(false) && right.is_needed == is_needed);
        missing.map(|(right, _)| right.words()).collect()
    };
    let (needed, wished) = (missing(true), missing(false));
    let unseen = reviewed
        .iter()
        .find_map(|(_, allowed)| allowed.as_ref().err());
    let fix = "rbac.create=true in the chart's values, or docs/rbac.yaml";
    if !needed.is_empty() {
        let all = [needed, wished].concat();
        return Finding::failed(Check::Rights, format!("it may not {}", all.join(", ")))
            .means("what it needs that for doesn't happen, and its log says so")
            .fix(fix);
    }
    if let Some(unseen) = unseen {
        return Finding::unseen(Check::Rights, unseen);
    }
    if !wished.is_empty() {
        return Finding::warning(Check::Rights, format!("it may not {}", wished.join(", ")))
            .means("`kubectl describe` shows nothing of why a restart waits")
            .fix(fix);
    }
    Finding::pass(
        Check::Rights,
        format!(
            "its account has all {} rights that it needs",
            reviewed.len()
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use k8s_openapi::api::rbac::v1::ClusterRole;

    use super::*;
    use crate::{
        cli::check::finding::Outcome,
        domain::{Policy, policy::AddressMode},
    };

    type Row = (String, String, Option<String>, String);

    #[test]
    fn the_table_is_what_the_documentation_grants() {
        let role: ClusterRole =
            serde_saphyr::from_str(include_str!("../../../docs/rbac.yaml")).unwrap();
        let mut granted: BTreeSet<Row> = BTreeSet::new();
        for rule in role.rules.unwrap() {
            let names = rule.resource_names.unwrap_or_default();
            assert!(names.len() <= 1);
            for (group, resource) in rule.api_groups.unwrap().iter().zip(rule.resources.unwrap()) {
                for verb in &rule.verbs {
                    let name = names.first().cloned();
                    granted.insert((group.clone(), resource.clone(), name, verb.clone()));
                }
            }
        }
        let mut table = BTreeSet::new();
        for need in &NEEDS {
            for verb in need.verbs {
                let (group, resource) = (need.group.to_owned(), need.resource.to_owned());
                let name = need.name.map(str::to_owned);
                let is_new = table.insert((group, resource, name, (*verb).to_owned()));
                assert!(is_new, "{verb} {} stands there twice", need.resource);
            }
        }
        assert_eq!(table, granted);
    }

    fn runs(change: impl FnOnce(&mut RunsWith)) -> Vec<String> {
        let mut runs = RunsWith {
            namespaces: Vec::new(),
            webhook: true,
            discovery: true,
            elects: true,
            dry_run: false,
            policy: Policy::default(),
        };
        change(&mut runs);
        needed(&runs, "ops").iter().map(Right::words).collect()
    }

    #[test]
    fn what_is_needed_depends_on_how_it_runs() {
        let all = runs(|_| {});
        assert!(all.contains(&"patch statefulsets.apps".to_owned()));
        assert!(all.contains(&"update leases.coordination.k8s.io/stellar-peers in ops".to_owned()));
        assert!(!all.iter().any(|it| it.contains("services")));
        let names = runs(|it| {
            it.policy.address_mode = AddressMode::Dns {
                cluster_domain: "cluster.local".to_owned(),
            };
        });
        assert!(names.contains(&"watch services".to_owned()));
        let webhook = runs(|it| (it.discovery, it.elects) = (false, false));
        let writes = ["patch", "create", "delete", "update"];
        assert!(
            !webhook
                .iter()
                .any(|it| writes.iter().any(|verb| it.starts_with(verb)))
        );
        let two = runs(|it| it.namespaces = vec!["a".to_owned(), "b".to_owned()]);
        assert!(two.contains(&"patch configmaps/stellar-peers in b".to_owned()));
        assert!(!two.contains(&"patch configmaps/stellar-peers".to_owned()));
    }

    #[test]
    fn a_missing_right_is_a_failure_and_one_for_events_a_warning() {
        let right = |is_needed| Right {
            group: "apps",
            resource: "statefulsets",
            name: None,
            verb: "patch",
            namespace: Some("a".to_owned()),
            is_needed,
        };
        let outcome = |reviewed: &[(Right, Result<bool, Unseen>)]| finding(reviewed).outcome;
        let forbidden = Unseen {
            verb: "create",
            what: "SubjectAccessReviews".to_owned(),
            code: 403,
            why: String::new(),
        };
        assert_eq!(outcome(&[(right(true), Ok(true))]), Outcome::Pass);
        assert_eq!(outcome(&[(right(false), Ok(false))]), Outcome::Warning);
        assert_eq!(
            outcome(&[(right(true), Ok(true)), (right(true), Err(forbidden))]),
            Outcome::Skipped
        );
        let failed = finding(&[(right(true), Ok(false))]);
        assert_eq!(failed.outcome, Outcome::Failed);
        assert_eq!(failed.text, "it may not patch statefulsets.apps in a");
    }
}
