//! The story: four validators come up, a fifth joins, a pod moves, one is suspended.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{Failed, NAMESPACE, timeline::Timeline};
use crate::{
    api::{PodObject, StatefulSetObject, StellarNodeObject, names},
    domain::{
        membership::{Members, MembershipHash},
        node::NodeName,
        peer::PeerPort,
        peer_list::Record,
        snapshot::{PodView, StatefulSetView},
    },
    sandbox::{Sandbox, fixtures},
};

/// What is told, in this order.
const CHAPTERS: [&str; 5] = [
    "Four validators are created, and find each other",
    "A fifth joins: the four restart one after the other, the newcomer knows them already",
    "A pod is lost and comes back elsewhere: the list follows, nobody restarts",
    "validator-5 is suspended: it leaves, and the others restart without it",
    "This is what every validator has under /etc/stellar-peers",
];

/// A step that takes longer is a failure.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) async fn tell(sandbox: &Sandbox, timeline: &Timeline) -> Result<(), Failed> {
    let client = sandbox.client("user");
    let four = ["validator-1", "validator-2", "validator-3", "validator-4"];

    timeline.chapter(1, &CHAPTERS);
    for name in four {
        create(&client, name).await?;
    }
    settled(&client, &four).await?;

    timeline.chapter(2, &CHAPTERS);
    let five = [
        "validator-1",
        "validator-2",
        "validator-3",
        "validator-4",
        "validator-5",
    ];
    create(&client, "validator-5").await?;
    settled(&client, &five).await?;

    timeline.chapter(3, &CHAPTERS);
    let before = timeline.seen().restarts.clone();
    let pods = Api::<PodObject>::namespaced(client.clone(), NAMESPACE);
    let old = address_of(&client, "validator-2").await?;
    pods.delete("validator-2-0", &DeleteParams::default())
        .await
        .map_err(|error| Failed::from_error(&error))?;
    eventually("validator-2 is listed at another address", async || {
        address_of(&client, "validator-2")
            .await
            .is_ok_and(|address| address.is_some() && address != old)
    })
    .await?;
    if timeline.seen().restarts != before {
        return Err(Failed("a moved pod caused a restart".to_owned()));
    }

    timeline.chapter(4, &CHAPTERS);
    let nodes = Api::<StellarNodeObject>::namespaced(client.clone(), NAMESPACE);
    let suspend = Patch::Merge(json!({"spec": {"suspended": true}}));
    nodes
        .patch("validator-5", &PatchParams::default(), &suspend)
        .await
        .map_err(|error| Failed::from_error(&error))?;
    settled(&client, &four).await?;

    timeline.chapter(5, &CHAPTERS);
    if let Some(map) = list(&client).await? {
        let shown = json!({"metadata": {"labels": map.metadata.labels, "name": names::STELLAR_PEERS}, "data": map.data});
        Timeline::show(
            &serde_saphyr::to_string(&shown).map_err(|error| Failed(error.to_string()))?,
        );
    }
    let seen = timeline.seen();
    let restarts: Vec<String> = seen
        .restarts
        .iter()
        .map(|(name, count)| format!("{name} {count}"))
        .collect();
    timeline.heading("Done");
    timeline.say(&format!("Restarts: {}", restarts.join(", ")));
    timeline.say(&format!("Most validators down at once: {}", seen.most_down));
    timeline.say(&format!("Times the list changed: {}", seen.list_changes));
    Ok(())
}

async fn create(client: &Client, name: &str) -> Result<(), Failed> {
    let mut node: Value = fixtures::stellar_node(
        NAMESPACE,
        name,
        &["validator-1", "validator-2", "validator-3"],
    );
    // What the webhook gives a validator that doesn't say.
    if let Some(config) = node
        .pointer_mut("/spec/validatorConfig")
        .and_then(Value::as_object_mut)
    {
        config.remove("peerPort");
    }
    fixtures::create(client, &node)
        .await
        .map(|_| ())
        .map_err(|error| Failed::from_error(&error))
}

/// All of these are listed, and each carries the membership of exactly these.
async fn settled(client: &Client, names: &[&str]) -> Result<(), Failed> {
    let members: Members = names
        .iter()
        .filter_map(|name| Some((NodeName::new(name).ok()?, PeerPort::DEFAULT)))
        .collect();
    let hash = MembershipHash::of(&members);
    let sets = Api::<StatefulSetObject>::namespaced(client.clone(), NAMESPACE);
    let pods = Api::<PodObject>::namespaced(client.clone(), NAMESPACE);
    eventually("all validators know each other", async || {
        let Ok(Some(record)) = record(client).await else {
            return false;
        };
        let listed = names.iter().all(|name| {
            record
                .nodes
                .iter()
                .any(|node| node.name.as_str() == *name && node.member && node.ready)
        });
        if !listed || record.nodes.len() != names.len() {
            return false;
        }
        for name in names {
            let Ok(set) = sets.get(name).await else {
                return false;
            };
            let set = StatefulSetView::from(&set);
            let Ok(pod) = pods.get(&format!("{name}-0")).await else {
                return false;
            };
            let pod = PodView::from(&pod);
            let is_done = pod.ready && !pod.terminating && pod.revision == set.update_revision;
            if !is_done
                || set.observed_generation < set.generation
                || set.template.membership.as_deref() != Some(hash.as_str())
            {
                return false;
            }
        }
        true
    })
    .await
}

async fn address_of(client: &Client, name: &str) -> Result<Option<String>, Failed> {
    let record = record(client).await?;
    let node = record
        .as_ref()
        .and_then(|record| record.nodes.iter().find(|node| node.name.as_str() == name));
    Ok(node
        .filter(|node| node.ready)
        .and_then(|node| node.addresses.first())
        .map(ToString::to_string))
}

async fn record(client: &Client) -> Result<Option<Record>, Failed> {
    let map = list(client).await?;
    let text = map.and_then(|map| map.data?.get(names::KEY_MEMBERS).cloned());
    Ok(text.and_then(|text| Record::parse(&text).ok()))
}

async fn list(client: &Client) -> Result<Option<ConfigMap>, Failed> {
    let api = Api::<ConfigMap>::namespaced(client.clone(), NAMESPACE);
    api.get_opt(names::STELLAR_PEERS)
        .await
        .map_err(|error| Failed::from_error(&error))
}

async fn eventually(what: &str, holds: impl AsyncFn() -> bool) -> Result<(), Failed> {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.map_err(|_| {
        Failed(format!(
            "after {} s it is not so that {what}",
            PATIENCE.as_secs()
        ))
    })
}
