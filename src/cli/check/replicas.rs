//! How many replicas are behind the Service, and what it means where there are too few.

use std::collections::BTreeSet;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::{Api, Client, api::ListParams};

use super::{
    ask::{Unseen, ask},
    finding::{Check, Finding},
    installation::{Installation, Registration},
};

/// Counts the ready ones.
///
/// # Errors
/// [`Unseen`].
pub(super) async fn count(client: &Client, installation: &Installation) -> Result<usize, Unseen> {
    let Installation {
        namespace, service, ..
    } = installation;
    let of_service = format!("kubernetes.io/service-name={service}");
    let slices = Api::<EndpointSlice>::namespaced(client.clone(), namespace);
    let what = format!("EndpointSlices in {namespace}");
    let params = ListParams::default().labels(&of_service);
    let listed = ask("list", &what, slices.list(&params)).await?;
    Ok(ready(&listed.items))
}

/// Pods of two families, or in two slices, count once.
fn ready(slices: &[EndpointSlice]) -> usize {
    let endpoints = slices.iter().flat_map(|slice| &slice.endpoints);
    let ready = endpoints.filter(|it| {
        let conditions = it.conditions.as_ref();
        // Nothing said means ready.
        conditions.and_then(|it| it.ready).unwrap_or(true)
    });
    let targets: BTreeSet<String> = ready
        .map(|it| {
            let target = it.target_ref.as_ref();
            let uid = target.and_then(|target| target.uid.clone());
            uid.unwrap_or_else(|| it.addresses.join(","))
        })
        .collect();
    targets.len()
}

/// What a count comes to.
pub(super) fn finding(
    count: &Result<usize, Unseen>,
    installation: &Installation,
    registration: &Registration,
) -> Finding {
    let Installation {
        namespace, service, ..
    } = installation;
    let object = format!("Service {namespace}/{service}");
    if matches!(registration, Registration::Found(_)) && registration.service().is_none() {
        let by_url =
            "the webhook is registered by URL: how many replicas are behind that can't be seen";
        return Finding::skipped(Check::Replicas, by_url);
    }
    if installation.lacks_service {
        let none = format!("there is no Service {namespace}/{service}");
        if registration.service().is_none() {
            return Finding::skipped(Check::Replicas, none);
        }
        let named = Finding::failed(
            Check::Replicas,
            format!("{none}, which the registration names"),
        );
        return named
            .means("the API server reaches no webhook: new validators start without a list")
            .fix("`helm upgrade` the chart, or delete the registration that an installation has left behind");
    }
    let finding = match count {
        Ok(0) => Finding::failed(Check::Replicas, "no replica is ready")
            .means("no list is written, nobody is restarted, and new validators start without a list")
            .fix(format!("kubectl -n {namespace} get pods, and their logs")),
        Ok(1) => Finding::warning(Check::Replicas, "1 replica is ready")
            .means("while it is replaced, new validators start without a list and are restarted for it later")
            .fix("replicaCount=2 in the chart's values"),
        Ok(ready) => Finding::pass(Check::Replicas, format!("{ready} replicas are ready")),
        Err(unseen) => Finding::unseen(Check::Replicas, unseen),
    };
    finding.of(object)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_counts_once_and_only_while_it_is_ready() {
        let endpoint = |uid: &str, ready: Option<bool>| json!({"addresses": ["10.0.0.1"], "conditions": {"ready": ready}, "targetRef": {"uid": uid}});
        let slice = |endpoints: &[serde_json::Value]| -> EndpointSlice {
            let slice = json!({"addressType": "IPv4", "endpoints": endpoints});
            serde_json::from_value(slice).unwrap()
        };
        let slices = [
            slice(&[endpoint("a", Some(true)), endpoint("b", Some(false))]),
            slice(&[endpoint("a", Some(true)), endpoint("c", None)]),
        ];
        assert_eq!(ready(&slices), 2);
        assert_eq!(ready(&[]), 0);
    }
}
