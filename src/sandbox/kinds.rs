//! The one table of resource kinds. What differs between kinds stands here and nowhere else.

use std::{borrow::Cow, sync::Arc};

use k8s_openapi::{
    api::{
        admissionregistration::v1::MutatingWebhookConfiguration,
        apps::v1::StatefulSet,
        coordination::v1::Lease,
        core::v1::{
            ConfigMap, Event, Namespace, PersistentVolumeClaim, Pod, Secret, Service,
            ServiceAccount,
        },
        events::v1::Event as EventsEvent,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{defaults, error::Cause, lists::Lists, validate, validate_pods};

type Text = Cow<'static, str>;

/// A resource that the sandbox serves.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    pub(super) group: Text,
    pub(super) version: Text,
    /// As objects carry it in `kind`.
    pub(super) name: Text,
    pub(super) plural: Text,
    pub(super) namespaced: bool,
    pub(super) subresources: &'static [&'static str],
    /// Whether `metadata.generation` counts the changes of everything but metadata and status.
    pub(super) counts_generation: bool,
    pub(super) update_policy: UpdatePolicy,
    /// Custom resources know no strategic merge patch.
    pub(super) is_custom: bool,
    pub(super) lists: Lists,
    pub(super) rules: Rules,
}

/// What a replace has to say about the version that it replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpdatePolicy {
    /// It may leave `resourceVersion` out.
    Unconditional,
    /// It must name the `resourceVersion`.
    Versioned,
    /// It must name the `resourceVersion`, or creates the object where there is none.
    CreatesToo,
}

/// What a kind fills in and what it refuses.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    /// Fills in defaults.
    pub(super) default: fn(&mut Value),
    /// Says what is wrong with an object, given the stored one on an update.
    pub(super) validate: fn(Option<&Value>, &Value, &mut Vec<Cause>),
    /// Drops fields that the kind doesn't have, and refuses values of wrong types.
    pub(super) prune: fn(Value) -> Result<Value, serde_json::Error>,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rules")
    }
}

/// There and back through the generated struct.
fn typed<T: DeserializeOwned + Serialize>(value: Value) -> Result<Value, serde_json::Error> {
    serde_json::to_value(serde_json::from_value::<T>(value)?)
}

/// A custom resource's metadata has types; the rest is whatever its schema says, which isn't read.
fn untyped(value: Value) -> Result<Value, serde_json::Error> {
    ObjectMeta::deserialize(&value["metadata"])?;
    Ok(value)
}

fn nothing(_: &mut Value) {}

fn no_rule(_: Option<&Value>, _: &Value, _: &mut Vec<Cause>) {}

impl Kind {
    /// `statefulsets.apps`, `pods`: as error messages name a resource.
    pub(super) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_string()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// `apps/v1`, `v1`.
    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Whether clients can't write the status along with the rest.
    pub(super) fn has_status(&self) -> bool {
        self.subresources.contains(&"status")
    }

    /// Whether this is the built-in kind of that group and plural name.
    pub(super) fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }

    /// A namespaced kind without anything special.
    fn new<T>(group: &'static str, name: &'static str, plural: &'static str) -> Self
    where
        T: DeserializeOwned + Serialize,
    {
        Self {
            group: group.into(),
            version: "v1".into(),
            name: name.into(),
            plural: plural.into(),
            namespaced: true,
            subresources: &[],
            counts_generation: false,
            update_policy: UpdatePolicy::Unconditional,
            is_custom: false,
            lists: Lists::Meta,
            rules: Rules {
                default: nothing,
                validate: no_rule,
                prune: typed::<T>,
            },
        }
    }

    fn with_rules(
        mut self,
        default: fn(&mut Value),
        validate: fn(Option<&Value>, &Value, &mut Vec<Cause>),
    ) -> Self {
        self.rules = Rules {
            default,
            validate,
            ..self.rules
        };
        self
    }

    /// The resource that a CRD declares.
    pub(super) fn from_definition(definition: &Value) -> Option<Self> {
        let spec = &definition["spec"];
        let text = |value: &Value| value.as_str().map(|text| Text::Owned(text.to_owned()));
        let version = spec["versions"]
            .as_array()?
            .iter()
            .find(|v| v["served"] != false)?;
        let has_status = !version["subresources"]["status"].is_null();
        Some(Self {
            group: text(&spec["group"])?,
            version: text(&version["name"])?,
            name: text(&spec["names"]["kind"])?,
            plural: text(&spec["names"]["plural"])?,
            namespaced: spec["scope"] != "Cluster",
            subresources: if has_status { &["status"] } else { &[] },
            counts_generation: true,
            update_policy: UpdatePolicy::Versioned,
            is_custom: true,
            rules: Rules {
                default: nothing,
                validate: no_rule,
                prune: untyped,
            },
            ..Self::new::<Value>("", "", "")
        })
    }
}

/// The kinds that are there from the start.
pub(super) fn built_in() -> Vec<Arc<Kind>> {
    core_kinds()
        .into_iter()
        .chain(grouped_kinds())
        .map(Arc::new)
        .collect()
}

/// The kinds of the core group.
fn core_kinds() -> [Kind; 8] {
    const STATUS: &[&str] = &["status"];
    [
        Kind {
            namespaced: false,
            subresources: STATUS,
            ..Kind::new::<Namespace>("", "Namespace", "namespaces")
                .with_rules(defaults::namespace, no_rule)
        },
        Kind {
            subresources: STATUS,
            counts_generation: true,
            lists: Lists::Pod,
            ..Kind::new::<Pod>("", "Pod", "pods").with_rules(defaults::pod, validate_pods::pod)
        },
        Kind::new::<ConfigMap>("", "ConfigMap", "configmaps")
            .with_rules(nothing, validate::config_map),
        Kind::new::<Secret>("", "Secret", "secrets").with_rules(defaults::secret, validate::secret),
        Kind {
            subresources: STATUS,
            lists: Lists::Service,
            ..Kind::new::<Service>("", "Service", "services").with_rules(defaults::service, no_rule)
        },
        Kind::new::<Event>("", "Event", "events"),
        Kind {
            subresources: STATUS,
            ..Kind::new::<PersistentVolumeClaim>(
                "",
                "PersistentVolumeClaim",
                "persistentvolumeclaims",
            )
        },
        Kind::new::<ServiceAccount>("", "ServiceAccount", "serviceaccounts"),
    ]
}

/// The kinds of the other groups.
fn grouped_kinds() -> [Kind; 5] {
    let webhooks = (
        "admissionregistration.k8s.io",
        "mutatingwebhookconfigurations",
    );
    let definitions = ("apiextensions.k8s.io", "customresourcedefinitions");
    [
        Kind {
            subresources: &["status", "scale"],
            counts_generation: true,
            lists: Lists::Pod,
            ..Kind::new::<StatefulSet>("apps", "StatefulSet", "statefulsets")
                .with_rules(defaults::stateful_set, validate_pods::stateful_set)
        },
        Kind {
            update_policy: UpdatePolicy::CreatesToo,
            ..Kind::new::<Lease>("coordination.k8s.io", "Lease", "leases")
        },
        Kind::new::<EventsEvent>("events.k8s.io", "Event", "events"),
        Kind {
            namespaced: false,
            counts_generation: true,
            update_policy: UpdatePolicy::Versioned,
            lists: Lists::Webhooks,
            ..Kind::new::<MutatingWebhookConfiguration>(
                webhooks.0,
                "MutatingWebhookConfiguration",
                webhooks.1,
            )
            .with_rules(defaults::webhooks, validate::webhooks)
        },
        Kind {
            namespaced: false,
            subresources: &["status"],
            counts_generation: true,
            update_policy: UpdatePolicy::Versioned,
            ..Kind::new::<CustomResourceDefinition>(
                definitions.0,
                "CustomResourceDefinition",
                definitions.1,
            )
            .with_rules(defaults::definition, no_rule)
        },
    ]
}
