//! The registration of the webhook: what `stellar-peers manifests` prints.

use k8s_openapi::{
    ByteString,
    api::admissionregistration::v1::{
        MatchCondition, MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations,
        ServiceReference, WebhookClientConfig,
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement, ObjectMeta},
};

use crate::api::names;

/// What the API server does while the webhook can't be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum FailurePolicy {
    /// The write goes on; the loop takes the validator in later.
    #[default]
    Ignore,
    /// The write is refused.
    Fail,
}

/// Where the API server finds the webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Behind a Service.
    Service {
        /// Namespace of the Service.
        namespace: String,
        /// Its name.
        name: String,
        /// Its port.
        port: u16,
    },
    /// At a URL; for a process outside the cluster.
    Url(String),
}

/// What the registration depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Where the webhook is.
    pub endpoint: Endpoint,
    /// PEM of the CA that issued its certificate; left out where somebody else fills it in.
    pub ca_bundle: Option<String>,
    /// Only these namespaces; all but kube-system where empty.
    pub namespaces: Vec<String>,
    /// What happens while it can't be reached.
    pub failure_policy: FailurePolicy,
}

/// Which StatefulSets: an operator's validators, those opted in by a label on the object or its template, and those
/// that carry our volume now or did before, so that opting out takes our parts out. A label on the template can't be
/// seen by an objectSelector, and every key is guarded: a missing one would silently skip the webhook.
const CONCERNED: &str = "[object, oldObject].exists(o, o != null && (\
(has(o.metadata.labels) && ((\
'app.kubernetes.io/name' in o.metadata.labels && o.metadata.labels['app.kubernetes.io/name'] == 'stellar-node' && \
'app.kubernetes.io/component' in o.metadata.labels && o.metadata.labels['app.kubernetes.io/component'] == 'validator' && \
!('stellar.org/role' in o.metadata.labels && o.metadata.labels['stellar.org/role'] == 'read-replica')) || \
('peers.stellar.org/inject' in o.metadata.labels && o.metadata.labels['peers.stellar.org/inject'] == 'enabled'))) || \
(has(o.spec.template.metadata) && has(o.spec.template.metadata.labels) && \
'peers.stellar.org/inject' in o.spec.template.metadata.labels && \
o.spec.template.metadata.labels['peers.stellar.org/inject'] == 'enabled') || \
(has(o.spec.template.spec) && has(o.spec.template.spec.volumes) && \
o.spec.template.spec.volumes.exists(v, v.name == 'stellar-peers'))))";

impl Registration {
    /// The registration as an object.
    #[must_use]
    pub fn to_object(&self) -> MutatingWebhookConfiguration {
        let stateful_sets = self.webhook(
            "statefulsets.peers.stellar.org",
            "apps",
            "v1",
            "statefulsets",
            "concerned",
            CONCERNED,
        );
        let validator =
            "has(object.spec) && has(object.spec.nodeType) && object.spec.nodeType == 'Validator'";
        let stellar_nodes = self.webhook(
            "stellarnodes.peers.stellar.org",
            "stellar.org",
            "v1alpha1",
            "stellarnodes",
            "validator",
            validator,
        );
        MutatingWebhookConfiguration {
            metadata: ObjectMeta {
                name: Some(names::STELLAR_PEERS.to_owned()),
                labels: Some(
                    [(
                        names::LABEL_NAME.to_owned(),
                        names::STELLAR_PEERS.to_owned(),
                    )]
                    .into(),
                ),
                ..ObjectMeta::default()
            },
            webhooks: Some(vec![stateful_sets, stellar_nodes]),
        }
    }

    fn webhook(
        &self,
        name: &str,
        group: &str,
        version: &str,
        resource: &str,
        condition: &str,
        expression: &str,
    ) -> MutatingWebhook {
        let one = |text: &str| Some(vec![text.to_owned()]);
        MutatingWebhook {
            name: name.to_owned(),
            admission_review_versions: vec!["v1".to_owned()],
            client_config: self.client_config(),
            failure_policy: Some(format!("{:?}", self.failure_policy)),
            match_conditions: Some(vec![MatchCondition {
                name: condition.to_owned(),
                expression: expression.to_owned(),
            }]),
            match_policy: Some("Equivalent".to_owned()),
            namespace_selector: Some(self.namespace_selector()),
            reinvocation_policy: Some("IfNeeded".to_owned()),
            rules: Some(vec![RuleWithOperations {
                api_groups: one(group),
                api_versions: one(version),
                resources: one(resource),
                operations: Some(vec!["CREATE".to_owned(), "UPDATE".to_owned()]),
                scope: Some("Namespaced".to_owned()),
            }]),
            side_effects: "None".to_owned(),
            timeout_seconds: Some(3),
            ..MutatingWebhook::default()
        }
    }

    fn client_config(&self) -> WebhookClientConfig {
        let ca_bundle = self
            .ca_bundle
            .as_ref()
            .map(|pem| ByteString(pem.clone().into_bytes()));
        match &self.endpoint {
            Endpoint::Url(url) => WebhookClientConfig {
                ca_bundle,
                url: Some(url.clone()),
                service: None,
            },
            Endpoint::Service {
                namespace,
                name,
                port,
            } => WebhookClientConfig {
                ca_bundle,
                service: Some(ServiceReference {
                    name: name.clone(),
                    namespace: namespace.clone(),
                    path: Some("/mutate".to_owned()),
                    port: Some(i32::from(*port)),
                }),
                url: None,
            },
        }
    }

    fn namespace_selector(&self) -> LabelSelector {
        let (operator, values) = if self.namespaces.is_empty() {
            ("NotIn", vec!["kube-system".to_owned()])
        } else {
            ("In", self.namespaces.clone())
        };
        let requirement = LabelSelectorRequirement {
            key: "kubernetes.io/metadata.name".to_owned(),
            operator: operator.to_owned(),
            values: Some(values),
        };
        LabelSelector {
            match_expressions: Some(vec![requirement]),
            match_labels: None,
        }
    }
}
