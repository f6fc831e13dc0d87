//! The one table of what the service's account needs.

use k8s_openapi::api::authorization::v1::ResourceAttributes;

use crate::api::names::STELLAR_PEERS;
use crate::cli::flags::RunsWith;

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
    pub(super) group: &'static str,
    pub(super) resource: &'static str,
    /// Only the object of this name.
    pub(super) name: Option<&'static str>,
    pub(super) verb: &'static str,
    /// Everywhere where absent.
    pub(super) namespace: Option<String>,
    /// Without it something doesn't work.
    pub(super) is_needed: bool,
}

impl Right {
    /// As a review asks for it.
    pub(super) fn attributes(&self) -> ResourceAttributes {
        ResourceAttributes {
            group: Some(self.group.to_owned()),
            resource: Some(self.resource.to_owned()),
            name: self.name.map(str::to_owned),
            verb: Some(self.verb.to_owned()),
            namespace: self.namespace.clone(),
            ..ResourceAttributes::default()
        }
    }

    /// `statefulsets.apps in stellar`.
    fn object(&self) -> String {
        let Self {
            group, resource, ..
        } = self;
        let group = if group.is_empty() {
            String::new()
        } else {
            format!(".{group}")
        };
        let name = self.name.map(|name| format!("/{name}"));
        let place = self.namespace.as_ref().map(|it| format!(" in {it}"));
        let (name, place) = (name.unwrap_or_default(), place.unwrap_or_default());
        format!("{resource}{group}{name}{place}")
    }
}

/// `get, patch statefulsets.apps in stellar; delete pods in stellar`.
pub(super) fn told<'a>(rights: impl IntoIterator<Item = &'a Right>) -> String {
    let mut objects: Vec<(String, Vec<&str>)> = Vec::new();
    for right in rights {
        let object = right.object();
        match objects.iter_mut().find(|(it, _)| *it == object) {
            Some((_, verbs)) => verbs.push(right.verb),
            None => objects.push((object, vec![right.verb])),
        }
    }
    let parts = objects.iter();
    let parts: Vec<String> = parts
        .map(|(object, verbs)| format!("{} {object}", verbs.join(", ")))
        .collect();
    parts.join("; ")
}

/// What a service that runs like this in this namespace needs.
pub(super) fn needed(runs: &RunsWith, own: &str) -> Vec<Right> {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use k8s_openapi::api::rbac::v1::ClusterRole;

    use super::*;
    use crate::domain::{Policy, policy::AddressMode};

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
            asks_callers: false,
            dry_run: false,
            policy: Policy::default(),
        };
        change(&mut runs);
        needed(&runs, "ops").iter().map(|it| told([it])).collect()
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
}
