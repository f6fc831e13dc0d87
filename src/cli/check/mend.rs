//! The definition of StellarNode read from the API server, and `--fix`: the port's field added to it.

use http::Request;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::Value;

use super::{
    ask::{Unseen, ask, ask_raw},
    definition::{self, NAME},
    finding::{Check, Finding},
};

/// Not the service's own: the field is a person's wish.
const FIELD_MANAGER: &str = "stellar-peers-cli";
/// How often a patch is made anew where somebody else wrote in between.
const ATTEMPTS: usize = 3;

/// Looks at the definition, and mends it where that is asked for.
pub(super) async fn look(client: &Client, fix: bool) -> Vec<Finding> {
    let seen = read(client).await;
    let definition = match seen {
        Ok(definition) => definition,
        Err(unseen) if unseen.is_forbidden() => {
            let mut findings = served_at_all(client, &unseen).await;
            findings.extend(fix.then(|| refusal(&unseen)));
            return findings;
        }
        Err(unseen) => return vec![Finding::unseen(Check::Kind, &unseen)],
    };
    let mends = definition
        .as_ref()
        .is_some_and(|it| definition::patch(it).is_some());
    match definition {
        Some(definition) if fix && mends => mend(client, definition).await,
        definition => definition::findings(definition.as_ref(), &[]),
    }
}

async fn read(client: &Client) -> Result<Option<Value>, Unseen> {
    let what = format!("CustomResourceDefinition {NAME}");
    let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{NAME}");
    match ask_raw(client, "get", &what, get(&path)?).await {
        Ok(answer) => serde_json::from_slice(&answer.body)
            .map(Some)
            .map_err(|error| Unseen {
                verb: "get",
                what,
                code: 0,
                why: error.to_string(),
            }),
        Err(unseen) if unseen.code == 404 => Ok(None),
        Err(unseen) => Err(unseen),
    }
}

fn get(path: &str) -> Result<Request<Vec<u8>>, Unseen> {
    let request = Request::get(path).body(Vec::new());
    request.map_err(|error| Unseen {
        verb: "get",
        what: path.to_owned(),
        code: 0,
        why: error.to_string(),
    })
}

/// Everybody may see which kinds are served, though not how they are defined.
async fn served_at_all(client: &Client, refused: &Unseen) -> Vec<Finding> {
    let groups = client.list_api_group_resources("stellar.org/v1alpha1");
    let kind = match ask("list", "the kinds of stellar.org/v1alpha1", groups).await {
        Ok(list) if list.resources.iter().any(|it| it.name == "stellarnodes") => {
            Finding::pass(Check::Kind, "StellarNode v1alpha1 is served")
        }
        Ok(_) => return definition::findings(None, &[]),
        Err(unseen) if unseen.code == 404 => return definition::findings(None, &[]),
        Err(unseen) => Finding::unseen(Check::Kind, &unseen),
    };
    vec![kind, Finding::unseen(Check::PeerPort, refused)]
}

/// Adds the field, reads again, and says what is there then.
async fn mend(client: &Client, mut definition: Value) -> Vec<Finding> {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    let what = format!("CustomResourceDefinition {NAME}");
    let params = PatchParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PatchParams::default()
    };
    for attempt in 1..=ATTEMPTS {
        let Some(patch) = definition::patch(&definition) else {
            break;
        };
        let parsed = serde_json::from_value::<json_patch::Patch>(patch);
        let Ok(patch) = parsed else { break };
        let patch = Patch::Json::<()>(patch);
        let patched = api.patch_metadata(NAME, &params, &patch);
        let refused = ask("patch", &what, patched).await.err();
        let before = definition;
        definition = match read(client).await {
            Ok(Some(now)) => now,
            Ok(None) => return definition::findings(None, &[]),
            Err(unseen) => return vec![Finding::unseen(Check::PeerPort, &unseen)],
        };
        let moved_on =
            before["metadata"]["resourceVersion"] != definition["metadata"]["resourceVersion"];
        match refused {
            None => {
                let mended = definition::pruning(&before);
                return definition::findings(Some(&definition), &mended);
            }
            // Somebody else wrote in between: the test of the patch failed.
            Some(_) if moved_on && attempt < ATTEMPTS => {}
            Some(unseen) => {
                let mut findings = definition::findings(Some(&definition), &[]);
                findings.push(refusal(&unseen));
                return findings;
            }
        }
    }
    definition::findings(Some(&definition), &[])
}

fn refusal(unseen: &Unseen) -> Finding {
    let refused = Finding::failed(Check::PeerPort, format!("--fix: {unseen}"));
    refused
        .means("the definition is as it was")
        .fix("--fix with an account that may change CustomResourceDefinitions")
}
