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
};
use serde::Deserialize;
use serde_json::Value;

use super::{defaults, error::Cause, lists::Lists, validate};

type Text = Cow<'static, str>;

/// A resource that the sandbox serves.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    pub(super) group: Text,
    pub(super) version: Text,
    pub(super) kind: Text,
    pub(super) plural: Text,
    pub(super) namespaced: bool,
    pub(super) has_status: bool,
    pub(super) has_scale: bool,
    /// Whether `metadata.generation` counts the changes of everything but metadata and status.
    pub(super) counts_generation: bool,
    /// Whether a replace may leave `resourceVersion` out.
    pub(super) updates_unconditionally: bool,
    /// Custom resources know no strategic merge patch.
    pub(super) is_custom: bool,
    pub(super) lists: Lists,
    pub(super) rules: Rules,
}

/// What a kind fills in and what it refuses.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    /// Fills in defaults.
    pub(super) default: fn(&mut Value),
    /// Says what is wrong with an object, given the stored one on an update.
    pub(super) validate: fn(Option<&Value>, &Value, &mut Vec<Cause>),
    /// Whether the JSON has the types of the Go structs; the error is serde's.
    pub(super) decode: fn(&Value) -> Result<(), serde_json::Error>,
}

impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Rules")
    }
}

fn typed<T: for<'a> Deserialize<'a>>(value: &Value) -> Result<(), serde_json::Error> {
    T::deserialize(value).map(drop)
}

/// A custom resource's metadata has types; the rest is whatever its schema says, which isn't read.
fn untyped(value: &Value) -> Result<(), serde_json::Error> {
    typed::<k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta>(&value["metadata"])
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

    /// Whether this is the built-in kind of that group and plural name.
    pub(super) fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }

    fn new<T: for<'a> Deserialize<'a>>(
        group: &'static str,
        kind: &'static str,
        plural: &'static str,
    ) -> Self {
        Self {
            group: group.into(),
            version: "v1".into(),
            kind: kind.into(),
            plural: plural.into(),
            namespaced: true,
            has_status: false,
            has_scale: false,
            counts_generation: false,
            updates_unconditionally: true,
            is_custom: false,
            lists: Lists::Meta,
            rules: Rules {
                default: nothing,
                validate: no_rule,
                decode: typed::<T>,
            },
        }
    }

    /// The resource that a CustomResourceDefinition's storage version declares.
    pub(super) fn from_definition(definition: &Value) -> Option<Self> {
        let spec = &definition["spec"];
        let text = |value: &Value| value.as_str().map(|text| Text::Owned(text.to_owned()));
        let version = spec["versions"]
            .as_array()?
            .iter()
            .find(|v| v["served"] != false)?;
        Some(Self {
            group: text(&spec["group"])?,
            version: text(&version["name"])?,
            kind: text(&spec["names"]["kind"])?,
            plural: text(&spec["names"]["plural"])?,
            namespaced: spec["scope"] != "Cluster",
            has_status: !version["subresources"]["status"].is_null(),
            counts_generation: true,
            updates_unconditionally: false,
            is_custom: true,
            rules: Rules {
                default: nothing,
                validate: no_rule,
                decode: untyped,
            },
            ..Self::new::<Value>("", "", "")
        })
    }
}

/// The kinds that are there from the start.
pub(super) fn built_in() -> Vec<Arc<Kind>> {
    let kinds = [
        Kind {
            namespaced: false,
            has_status: true,
            rules: Rules {
                default: defaults::namespace,
                validate: no_rule,
                decode: typed::<Namespace>,
            },
            ..Kind::new::<Namespace>("", "Namespace", "namespaces")
        },
        Kind {
            has_status: true,
            lists: Lists::Pod,
            rules: Rules {
                default: defaults::pod,
                validate: validate::pod,
                decode: typed::<Pod>,
            },
            ..Kind::new::<Pod>("", "Pod", "pods")
        },
        Kind {
            rules: Rules {
                default: nothing,
                validate: validate::config_map,
                decode: typed::<ConfigMap>,
            },
            ..Kind::new::<ConfigMap>("", "ConfigMap", "configmaps")
        },
        Kind {
            rules: Rules {
                default: defaults::secret,
                validate: validate::secret,
                decode: typed::<Secret>,
            },
            ..Kind::new::<Secret>("", "Secret", "secrets")
        },
        Kind {
            has_status: true,
            lists: Lists::Service,
            rules: Rules {
                default: defaults::service,
                validate: no_rule,
                decode: typed::<Service>,
            },
            ..Kind::new::<Service>("", "Service", "services")
        },
        Kind::new::<Event>("", "Event", "events"),
        Kind {
            has_status: true,
            ..Kind::new::<PersistentVolumeClaim>(
                "",
                "PersistentVolumeClaim",
                "persistentvolumeclaims",
            )
        },
        Kind::new::<ServiceAccount>("", "ServiceAccount", "serviceaccounts"),
        Kind {
            has_status: true,
            has_scale: true,
            counts_generation: true,
            lists: Lists::Pod,
            rules: Rules {
                default: defaults::stateful_set,
                validate: validate::stateful_set,
                decode: typed::<StatefulSet>,
            },
            ..Kind::new::<StatefulSet>("apps", "StatefulSet", "statefulsets")
        },
        Kind {
            updates_unconditionally: false,
            ..Kind::new::<Lease>("coordination.k8s.io", "Lease", "leases")
        },
        Kind::new::<EventsEvent>("events.k8s.io", "Event", "events"),
        Kind {
            namespaced: false,
            counts_generation: true,
            updates_unconditionally: false,
            lists: Lists::Webhooks,
            rules: Rules {
                default: defaults::webhooks,
                validate: validate::webhooks,
                decode: typed::<MutatingWebhookConfiguration>,
            },
            ..Kind::new::<MutatingWebhookConfiguration>(
                "admissionregistration.k8s.io",
                "MutatingWebhookConfiguration",
                "mutatingwebhookconfigurations",
            )
        },
        Kind {
            namespaced: false,
            has_status: true,
            counts_generation: true,
            updates_unconditionally: false,
            rules: Rules {
                default: defaults::definition,
                validate: no_rule,
                decode: typed::<CustomResourceDefinition>,
            },
            ..Kind::new::<CustomResourceDefinition>(
                "apiextensions.k8s.io",
                "CustomResourceDefinition",
                "customresourcedefinitions",
            )
        },
    ];
    kinds.into_iter().map(Arc::new).collect()
}
