//! Whether the service's account may do what it needs, asked right by right.

use futures::{StreamExt, stream};
use k8s_openapi::api::{
    authentication::v1::SelfSubjectReview,
    authorization::v1::{
        LocalSubjectAccessReview, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
        SubjectAccessReview, SubjectAccessReviewSpec,
    },
};
use kube::{Api, Client, api::PostParams};

use super::{
    ask::{Unseen, ask},
    finding::{Check, Finding},
    installation::Installation,
    needs::{Right, needed, told},
};

/// Reviews under way at once.
const AT_ONCE: usize = 8;

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
    let is_missing = |(_, allowed): &&(Right, Result<bool, Unseen>)| *allowed == Ok(false);
    let missing: Vec<&Right> = reviewed
        .iter()
        .filter(is_missing)
        .map(|(right, _)| right)
        .collect();
    let text = format!("it may not {}", told(missing.iter().copied()));
    let unseen = reviewed
        .iter()
        .find_map(|(_, allowed)| allowed.as_ref().err());
    let fix = "rbac.create=true in the chart's values, or docs/rbac.yaml";
    if missing.iter().any(|right| right.is_needed) {
        return Finding::failed(Check::Rights, text)
            .means("what it needs that for doesn't happen, and its log says so")
            .fix(fix);
    }
    if let Some(unseen) = unseen {
        return Finding::unseen(Check::Rights, unseen);
    }
    if !missing.is_empty() {
        return Finding::warning(Check::Rights, text)
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
    use super::*;
    use crate::cli::check::finding::Outcome;

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
