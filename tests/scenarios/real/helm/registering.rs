//! One registration: what the code prints, the chart renders and `webhook-config/` holds.

use std::{collections::BTreeSet, path::Path};

use serde_json::{Value, json};
use stellar_peers::admission::registration::{Endpoint, FailurePolicy, Registration};

use super::{Installation, NAMESPACE, RELEASE, rendering::render};
use crate::world::kubernetes_object;

/// The registration as the program prints it, for a Service in `namespace`.
fn printed(
    namespace: &str,
    port: u16,
    namespaces: &[&str],
    failure_policy: FailurePolicy,
) -> Value {
    let registration = Registration {
        endpoint: Endpoint::Service {
            namespace: namespace.to_owned(),
            name: RELEASE.to_owned(),
            port,
        },
        ca_bundle: None,
        namespaces: namespaces.iter().map(|it| (*it).to_owned()).collect(),
        failure_policy,
    };
    kubernetes_object(&registration.to_object())
}

/// The registration among other objects.
fn registration_of(objects: &[Value]) -> Value {
    let mut objects = objects.iter();
    let found = objects.find(|it| it["kind"] == "MutatingWebhookConfiguration");
    found.expect("it is registered").clone()
}

/// The chart's registration without what is the chart's own: labels, caBundle and, where it names an installation
/// for some namespaces, the name.
async fn rendered(values: &[&str]) -> Value {
    let objects = render(values).await.expect("the chart renders");
    let mut registration = registration_of(&objects);
    let labels = registration["metadata"]["labels"]
        .as_object_mut()
        .expect("labels");
    labels.retain(|label, _| label == "app.kubernetes.io/name");
    for webhook in registration["webhooks"].as_array_mut().expect("webhooks") {
        let config = webhook["clientConfig"]
            .as_object_mut()
            .expect("where it is");
        assert!(config.remove("caBundle").is_some_and(|it| it.is_string()));
    }
    registration
}

#[tokio::test]
#[ignore = "needs helm: make e2e"]
async fn the_chart_registers_what_the_program_prints() {
    let default = printed(NAMESPACE, 443, &[], FailurePolicy::Ignore);
    assert_eq!(rendered(&[]).await, default);
    let fails = printed(NAMESPACE, 8443, &[], FailurePolicy::Fail);
    assert_eq!(
        rendered(&["webhook.failurePolicy=Fail", "service.port=8443"]).await,
        fails
    );
    let mut some = printed(NAMESPACE, 443, &["a", "b"], FailurePolicy::Ignore);
    some["metadata"]["name"] = json!(format!("{RELEASE}-{NAMESPACE}"));
    assert_eq!(rendered(&["namespaces={a,b}"]).await, some);
}

/// What `kubectl apply -k` sends is what the program prints, and an API server takes it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a control plane: make e2e"]
async fn the_plain_manifests_register_what_the_program_prints() {
    let installation = Installation::prepare().await;
    installation.serve_foreign_kinds().await;
    installation
        .kubectl(&["create", "namespace", RELEASE])
        .await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let expected = printed(RELEASE, 443, &[], FailurePolicy::Ignore);
    for folder in ["webhook-config", "certs"] {
        let folder = root.join(folder).display().to_string();
        let text = installation.kubectl(&["kustomize", &folder]).await;
        let objects = super::rendering::parse(&text);
        let mut registration = registration_of(&objects);
        registration["metadata"]
            .as_object_mut()
            .expect("metadata")
            .remove("annotations");
        assert_eq!(registration, expected, "{folder}");
        installation
            .kubectl(&["apply", "--dry-run=server", "-k", &folder])
            .await;
    }
}

/// What a role allows, right by right.
fn rights(role: &Value) -> BTreeSet<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |rule: &Value, key: &str| rule[key].as_array().cloned().unwrap_or_default();
    let rules = list(role, "rules");
    let rights = rules.iter().flat_map(|rule| {
        let what = list(rule, "resources").iter().map(text).collect::<String>();
        let names = list(rule, "resourceNames")
            .iter()
            .map(text)
            .collect::<String>();
        let group = list(rule, "apiGroups").iter().map(text).collect::<String>();
        let verbs = list(rule, "verbs");
        verbs
            .iter()
            .map(|verb| format!("{} {group}/{what}/{names}", text(verb)))
            .collect::<Vec<_>>()
    });
    rights.collect()
}

/// With a certificate of somebody else's the chart grants what the documentation tells to grant.
#[tokio::test]
#[ignore = "needs helm: make e2e"]
async fn the_chart_grants_what_the_documentation_tells_to() {
    let values = ["tls.mode=certManager", "discovery.addressMode=dns"];
    let objects = render(&values).await.expect("the chart renders");
    let of_ours = |it: &&Value| {
        let is_role = it["kind"] == "Role" || it["kind"] == "ClusterRole";
        is_role && it["metadata"]["annotations"]["helm.sh/hook"].is_null()
    };
    let granted: BTreeSet<String> = objects.iter().filter(of_ours).flat_map(rights).collect();
    let documented = include_str!("../../../../docs/rbac.yaml");
    let documented: Value = serde_saphyr::from_str(documented).expect("it is YAML");
    assert_eq!(granted, rights(&documented));
}
