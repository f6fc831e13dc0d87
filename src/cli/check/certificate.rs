//! The certificate that the webhook shows, as the API server would look at it.

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, WebhookClientConfig,
};
use kube::ResourceExt;
use tokio::{net::lookup_host, time::timeout};

use super::{
    ask::PATIENCE,
    finding::{Check, Finding},
    life::Life,
};
use crate::{
    observe::error_chain,
    tls::{self, ProbeError, Validity},
};

/// From where it is looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct Viewpoint {
    /// The address that was given.
    pub(super) address: Option<String>,
    /// In a pod: the names of Services lead somewhere.
    pub(super) in_cluster: bool,
}

/// Shakes hands once for all webhooks that are called alike.
pub(super) async fn look(
    found: &MutatingWebhookConfiguration,
    from: &Viewpoint,
    now: Timestamp,
) -> Vec<Finding> {
    let mut configs: Vec<&WebhookClientConfig> = Vec::new();
    for webhook in found.webhooks.iter().flatten() {
        if !configs.iter().any(|it| is_same(it, &webhook.client_config)) {
            configs.push(&webhook.client_config);
        }
    }
    let object = format!("MutatingWebhookConfiguration {}", found.name_any());
    let mut findings = Vec::new();
    for config in configs {
        findings.push(of_config(config, from, now).await.of(&object));
    }
    findings
}

/// Called at the same place, and trusted alike; the path makes no difference.
fn is_same(one: &WebhookClientConfig, other: &WebhookClientConfig) -> bool {
    endpoint(one) == endpoint(other) && one.ca_bundle == other.ca_bundle
}

async fn of_config(config: &WebhookClientConfig, from: &Viewpoint, now: Timestamp) -> Finding {
    let Some((host, port)) = endpoint(config) else {
        return Finding::failed(
            Check::Certificate,
            "the registration names no Service and no URL",
        )
        .means("the API server has nobody to call")
        .fix("`helm upgrade` the chart, or apply what `stellar-peers manifests` prints");
    };
    let authority = config.ca_bundle.as_ref().map(|it| it.0.as_slice());
    let authority = authority.unwrap_or_default();
    if Validity::of_bundle(authority).is_none() {
        return Finding::skipped(
            Check::Certificate,
            "there is no caBundle to verify a certificate against",
        );
    }
    let asked = from
        .address
        .clone()
        .unwrap_or_else(|| format!("{host}:{port}"));
    let is_far = from.address.is_none() && !from.in_cluster;
    if is_far && !matches!(timeout(PATIENCE, lookup_host(&asked)).await, Ok(Ok(_))) {
        return out_of_reach(config, &asked);
    }
    match tls::probe(&asked, &host, authority).await {
        Ok(validity) => shown(validity, now),
        Err(ProbeError::Unreachable { .. }) if is_far => out_of_reach(config, &asked),
        Err(error) => Finding::failed(Check::Certificate, error_chain(&error))
            .means("the API server doesn't reach the webhook either, or doesn't trust it")
            .fix("see whether its pods run, and who keeps certificate and caBundle"),
    }
}

fn shown(validity: Validity, now: Timestamp) -> Finding {
    let life = Life::of(validity, now);
    if life.is_short() {
        return Finding::warning(
            Check::Certificate,
            format!("the certificate verifies against caBundle, with {life} left"),
        )
        .means("nobody has renewed it; when it ends, the API server no longer calls the webhook")
        .fix("the service's log, cert-manager, or `stellar-peers certs`");
    }
    let text = format!("the certificate verifies against caBundle, with {life} left");
    Finding::pass(Check::Certificate, text)
}

/// Nothing is wrong with that: from a laptop the names of Services lead nowhere.
fn out_of_reach(config: &WebhookClientConfig, asked: &str) -> Finding {
    let text = format!("{asked} can't be reached from here");
    let finding = Finding::skipped(Check::Certificate, text);
    match &config.service {
        Some(service) => {
            let (namespace, name) = (&service.namespace, &service.name);
            let port = service.port.unwrap_or(443);
            finding.fix(format!(
                "kubectl -n {namespace} port-forward service/{name} 9443:{port}, and --webhook-address 127.0.0.1:9443"
            ))
        }
        None => finding.fix("--webhook-address with an address that leads there from here"),
    }
}

/// The name by which the API server calls, and the port.
fn endpoint(config: &WebhookClientConfig) -> Option<(String, u16)> {
    if let Some(service) = &config.service {
        let port = service.port.map_or(Ok(443), u16::try_from).ok()?;
        return Some((tls::service_host(&service.name, &service.namespace), port));
    }
    let url: http::Uri = config.url.as_deref()?.parse().ok()?;
    Some((url.host()?.to_owned(), url.port_u16().unwrap_or(443)))
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use axum::Router;
    use k8s_openapi::{ByteString, api::admissionregistration::v1::ServiceReference};
    use tokio::net::TcpListener;

    use super::*;
    use crate::{
        admission::connections::{ConnectionLimits, ConnectionStats, serve},
        cli::check::finding::Outcome,
        clock::Clock,
        tls::{Authority, CertificateStore, ServingCertificate, ServingNames, server_config},
    };

    const DAY: Duration = Duration::from_hours(24);

    fn of_service(ca_bundle: Option<&str>) -> WebhookClientConfig {
        WebhookClientConfig {
            ca_bundle: ca_bundle.map(|pem| ByteString(pem.as_bytes().to_vec())),
            service: Some(ServiceReference {
                name: "stellar-peers".to_owned(),
                namespace: "ops".to_owned(),
                ..ServiceReference::default()
            }),
            url: None,
        }
    }

    /// A webhook's listener with a certificate for Service `stellar-peers` in this namespace.
    async fn listener(namespace: &str, days: u32) -> (String, String) {
        let now = Clock::system().now().wall;
        let authority = Authority::generate(DAY * days * 3, now).unwrap();
        let names = ServingNames {
            service: "stellar-peers".to_owned(),
            namespace: namespace.to_owned(),
            cluster_domain: "cluster.local".to_owned(),
            dns_names: Vec::new(),
            ips: Vec::new(),
        };
        let pair = authority.issue(&names, DAY * days, now).unwrap();
        let store = Arc::new(CertificateStore::default());
        store.replace(ServingCertificate::from_pem(&pair, "test").unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(serve(
            listener,
            Some(Arc::new(server_config(store, None))),
            Router::new(),
            ConnectionLimits::default(),
            ConnectionStats::default(),
            std::future::pending(),
        ));
        (address, authority.certificate_pem().to_owned())
    }

    async fn seen(config: &WebhookClientConfig, address: &str) -> Finding {
        let from = Viewpoint {
            address: Some(address.to_owned()),
            in_cluster: false,
        };
        of_config(config, &from, Clock::system().now().wall).await
    }

    #[tokio::test]
    async fn a_certificate_of_the_registered_ca_verifies_and_no_other() {
        let (address, authority) = listener("ops", 90).await;
        let trusted = seen(&of_service(Some(&authority)), &address).await;
        assert_eq!(trusted.outcome, Outcome::Pass, "{trusted:?}");

        let (elsewhere, others) = listener("elsewhere", 90).await;
        for address in [&address, &elsewhere] {
            let refused = seen(&of_service(Some(&others)), address).await;
            assert_eq!(refused.outcome, Outcome::Failed);
            let told = "no certificate that is trusted for stellar-peers.ops.svc";
            assert!(refused.text.contains(told), "{}", refused.text);
        }
    }

    #[tokio::test]
    async fn nobody_at_a_given_address_is_a_failure_and_an_unknown_name_from_afar_is_none() {
        let (_, authority) = listener("ops", 90).await;
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = closed.local_addr().unwrap().to_string();
        drop(closed);
        let config = of_service(Some(&authority));
        assert_eq!(seen(&config, &address).await.outcome, Outcome::Failed);
        let now = Clock::system().now().wall;
        let url = WebhookClientConfig {
            service: None,
            url: Some(format!("https://{address}/mutate")),
            ..config
        };
        let afar = of_config(&url, &Viewpoint::default(), now).await;
        assert_eq!(afar.outcome, Outcome::Skipped);
    }

    #[test]
    fn the_endpoint_is_as_the_registration_says() {
        let service = of_service(None);
        let named = Some(("stellar-peers.ops.svc".to_owned(), 443));
        assert_eq!(endpoint(&service), named);
        let by_url = WebhookClientConfig {
            url: Some("https://192.0.2.1:9443/mutate".to_owned()),
            ..WebhookClientConfig::default()
        };
        assert_eq!(endpoint(&by_url), Some(("192.0.2.1".to_owned(), 9443)));
        assert_eq!(endpoint(&WebhookClientConfig::default()), None);
    }
}
