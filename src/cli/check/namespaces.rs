//! Which namespaces have validators, or look as if they had.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, Client, Resource, ResourceExt, api::ListParams};
use serde::de::DeserializeOwned;

use super::{
    ask::{Unseen, ask},
    finding::{Check, Finding},
};
use crate::{
    api::{StatefulSetObject, StellarNodeObject, names},
    domain::snapshot::{Inject, StatefulSetView},
    json::Json,
};

/// The namespaces to look at, and what is to be said about how they were chosen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) namespaces: BTreeSet<String>,
    pub(super) finding: Option<Finding>,
}

/// Those that were asked for, else those that the service is limited to, else all that have something.
pub(super) async fn choose(client: &Client, asked: &[String], limited: &[String]) -> Chosen {
    let given = if asked.is_empty() { limited } else { asked };
    if !given.is_empty() {
        return Chosen {
            namespaces: given.iter().cloned().collect(),
            finding: None,
        };
    }
    match everywhere(client).await {
        Ok(namespaces) if namespaces.is_empty() => Chosen {
            finding: Some(Finding::pass(
                Check::Namespaces,
                "no namespace has validators yet",
            )),
            namespaces,
        },
        Ok(namespaces) => Chosen {
            namespaces,
            finding: None,
        },
        Err(unseen) => {
            let own = client.default_namespace().to_owned();
            let text = format!("{unseen} in all namespaces: only {own} is looked at");
            let finding = Finding::skipped(Check::Namespaces, text);
            Chosen {
                finding: Some(
                    finding.fix("-n NAMESPACE, or an account that may list them everywhere"),
                ),
                namespaces: BTreeSet::from([own]),
            }
        }
    }
}

async fn everywhere(client: &Client) -> Result<BTreeSet<String>, Unseen> {
    let all = ListParams::default();
    let named = ListParams::default().fields(&format!("metadata.name={}", names::STELLAR_PEERS));
    let lists = list::<ConfigMap>(client, "ConfigMaps", &named).await?;
    let is_ours = |it: &ConfigMap| {
        // Another operator has a ConfigMap of this name with keys of its own.
        let data = it.data.as_ref();
        data.is_some_and(|data| data.contains_key(names::KEY_MEMBERS))
    };
    let mut found: BTreeSet<String> = BTreeSet::new();
    found.extend(
        lists
            .iter()
            .filter(|it| is_ours(it))
            .filter_map(ResourceExt::namespace),
    );
    let sets = list::<StatefulSetObject>(client, "StatefulSets", &all).await?;
    let sets = sets.iter().filter(|it| is_node(it) || looks_like_core(it));
    found.extend(sets.filter_map(ResourceExt::namespace));
    match list::<StellarNodeObject>(client, "StellarNodes", &all).await {
        Ok(nodes) => found.extend(nodes.iter().filter_map(ResourceExt::namespace)),
        // The kind isn't there.
        Err(unseen) if unseen.code == 404 => {}
        Err(unseen) => return Err(unseen),
    }
    Ok(found)
}

async fn list<K>(client: &Client, what: &str, params: &ListParams) -> Result<Vec<K>, Unseen>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + std::fmt::Debug,
{
    let listed = ask("list", what, Api::<K>::all(client.clone()).list(params)).await;
    listed.map(|list| list.items)
}

fn is_node(set: &StatefulSetObject) -> bool {
    let view = StatefulSetView::from(set);
    view.operator_labelled || view.inject == Inject::Enabled
}

/// Runs stellar-core by the look of it, whether or not anybody wants it taken in. The name `core` alone says little.
pub(super) fn looks_like_core(set: &StatefulSetObject) -> bool {
    let containers = set.spec.template.at(["spec", "containers"]);
    let containers = containers.and_then(Json::as_list);
    let mut containers = containers.into_iter().flatten();
    containers.any(|container| {
        let name = container.text("name").unwrap_or_default();
        let words = ["command", "args"].into_iter();
        let words = words.filter_map(|it| container.get(it)?.as_list());
        let mut words = words
            .flatten()
            .chain(container.get("image"))
            .filter_map(Json::as_str);
        names::CORE_CONTAINERS.contains(&name)
            && (name.contains("stellar") || words.any(|word| word.contains("stellar")))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_container_of_stellar_core_is_known_by_its_name_or_image() {
        let set = |container: Value| -> StatefulSetObject {
            let spec = json!({"template": {"spec": {"containers": [container]}}});
            serde_json::from_value(json!({"metadata": {"name": "a"}, "spec": spec})).unwrap()
        };
        for core in [
            json!({"name": "stellar-core", "image": "x"}),
            json!({"name": "core", "image": "stellar/stellar-core:21"}),
            json!({"name": "core", "image": "x", "args": ["/usr/bin/stellar-core"]}),
        ] {
            assert!(looks_like_core(&set(core)));
        }
        for other in [
            json!({"name": "core", "image": "coredns"}),
            json!({"name": "web"}),
            json!({}),
        ] {
            assert!(!looks_like_core(&set(other)));
        }
    }
}

#[cfg(all(test, feature = "sandbox"))]
mod stories {
    use serde_json::json;

    use super::*;
    use crate::sandbox::{Fault, Sandbox, fixtures};

    #[tokio::test(start_paused = true)]
    async fn namespaces_are_found_by_their_lists_their_validators_and_what_looks_like_one() {
        let sandbox = Sandbox::default();
        let client = sandbox.client("a-person");
        for namespace in ["listed", "opted-in", "looks", "others", "web"] {
            sandbox.create_namespace(namespace);
        }
        let mut looks = fixtures::chart_stateful_set("looks", "core-a");
        looks["spec"]["template"]["metadata"]["labels"] = json!({"app": "core-a"});
        let mut web = fixtures::chart_stateful_set("web", "web");
        web["spec"]["template"]["metadata"]["labels"] = json!({"app": "web"});
        web["spec"]["template"]["spec"]["containers"][0]["name"] = json!("web");
        let list = |namespace: &str, key: &str| {
            json!({
                "apiVersion": "v1", "kind": "ConfigMap", "data": {key: "{}"},
                "metadata": {"name": names::STELLAR_PEERS, "namespace": namespace},
            })
        };
        for object in [
            list("listed", names::KEY_MEMBERS),
            list("others", "peers.json"),
            fixtures::chart_stateful_set("opted-in", "core-a"),
            looks,
            web,
        ] {
            fixtures::create(&client, &object).await.unwrap();
        }
        let found = choose(&client, &[], &[]).await;
        let expected = ["listed", "looks", "opted-in"].map(str::to_owned);
        assert_eq!(found.namespaces, BTreeSet::from(expected));
        assert_eq!(found.finding, None);
        let asked = choose(&client, &["a".to_owned()], &["b".to_owned()]).await;
        assert_eq!(asked.namespaces, BTreeSet::from(["a".to_owned()]));
    }

    #[tokio::test(start_paused = true)]
    async fn who_may_not_list_everywhere_is_told_that_one_namespace_is_looked_at() {
        let sandbox = Sandbox::default();
        sandbox.set_faults(|request| match request.verb {
            "list" => Fault::Status(403),
            _ => Fault::None,
        });
        let found = choose(&sandbox.client("a-person"), &[], &[]).await;
        assert_eq!(found.namespaces, BTreeSet::from(["default".to_owned()]));
        let text = found.finding.unwrap().text;
        assert_eq!(
            text,
            "may not list ConfigMaps in all namespaces: only default is looked at"
        );
    }
}
