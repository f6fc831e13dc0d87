//! The chart's webhook asks who calls.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use serde_json::json;
use stellar_peers::tls::Authority;

use super::Installation;
use crate::real::{
    DAY,
    control_plane::{create, eventually},
    now,
};

const SOON: Duration = Duration::from_mins(1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a control plane: make e2e"]
async fn an_api_server_is_answered_by_the_ca_of_its_certificate_and_by_no_other() {
    let installation = Installation::prepare().await;
    let of_the_server = installation.plane.callers_authority();
    let of_the_server = std::fs::read_to_string(of_the_server).expect("the rig wrote it");
    let another = Authority::generate(DAY, now()).expect("a CA");
    installation.holds("callers", &of_the_server).await;
    installation
        .holds("others", another.certificate_pem())
        .await;

    let asking = |map: &str| {
        let map = format!("webhook.clientCA.configMap={map}");
        [map, "webhook.failurePolicy=Fail".to_owned()]
    };
    installation.applies("install", &asking("callers")).await;
    installation.injects("default").await;

    installation.applies("upgrade", &asking("others")).await;
    eventually(
        "who shows another certificate is refused",
        SOON,
        async || {
            let refused = installation.injected("default").await;
            refused.is_err_and(|why| why.to_string().contains("failed calling webhook"))
        },
    )
    .await;

    installation.applies("upgrade", &asking("callers")).await;
    installation.injects("default").await;
    installation.end_pods().await;
}

impl Installation {
    /// A ConfigMap with a CA beside the release.
    async fn holds(&self, name: &str, authority: &str) {
        let map = json!({"metadata": {"name": name}, "data": {"ca.crt": authority}});
        let maps = Api::<ConfigMap>::namespaced(self.admin.clone(), self.namespace);
        create(&maps, map).await;
    }

    async fn applies(&self, verb: &str, values: &[String]) {
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        self.apply(verb, &values).await;
        self.roll_out().await;
    }
}
