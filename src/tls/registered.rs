//! The registration of our webhooks at the API server: whom it trusts, by which names it calls, and how to change that.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use json_patch::Patch;
use k8s_openapi::{ByteString, api::admissionregistration::v1::MutatingWebhookConfiguration};
use rustls::pki_types::ServerName;
use serde_json::json;

use super::{
    ServingNames,
    bundle::{AuthorityId, Bundle},
    rotation::{self, Held, Lifetimes},
    server_name,
};
use crate::domain::patch::{add, sendable, test};

/// Annotations by which cert-manager is asked to write the caBundle itself.
const INJECTORS: [&str; 4] = [
    "cert-manager.io/inject-ca-from",
    "cert-manager.io/inject-ca-from-secret",
    "cert-manager.io/inject-apiserver-ca",
    "certmanager.k8s.io/inject-ca-from",
];

/// A webhook of the registration that leads to us.
#[derive(Clone, Debug)]
struct Registered {
    index: usize,
    name: String,
    /// The host of its URL, where it has one.
    host: Option<ServerName<'static>>,
    ca_bundle: Option<ByteString>,
    trusted: Bundle,
}

/// A `MutatingWebhookConfiguration`, as far as it concerns us.
#[derive(Clone, Debug, Default)]
pub(super) struct Registration {
    webhooks: Vec<Registered>,
    /// Who else writes the caBundle.
    pub(super) injector: Option<&'static str>,
}

impl Registration {
    /// Reads those webhooks that name our Service, or any URL.
    pub(super) fn read(
        object: &MutatingWebhookConfiguration,
        service: &str,
        namespace: &str,
    ) -> Self {
        let webhooks = object.webhooks.iter().flatten().enumerate();
        let ours = webhooks.filter_map(|(index, webhook)| {
            let config = &webhook.client_config;
            let is_ours = config
                .service
                .as_ref()
                .is_none_or(|it| it.name == service && it.namespace == namespace);
            let ca_bundle = config.ca_bundle.clone();
            let trusted = ca_bundle.as_ref().map(|bytes| Bundle::read(&bytes.0));
            is_ours.then(|| Registered {
                index,
                name: webhook.name.clone(),
                host: config.url.as_deref().and_then(host_of),
                ca_bundle,
                trusted: trusted.unwrap_or_default(),
            })
        });
        let annotations = object.metadata.annotations.as_ref();
        Self {
            webhooks: ours.collect(),
            injector: INJECTORS
                .into_iter()
                .find(|key| annotations.is_some_and(|it| it.contains_key(*key))),
        }
    }

    /// Whether none of its webhooks leads to us.
    pub(super) fn leads_elsewhere(&self) -> bool {
        self.webhooks.is_empty()
    }

    /// The CAs that all of our webhooks trust.
    pub(super) fn trusted(&self) -> BTreeSet<AuthorityId> {
        let mut all = self.webhooks.iter().map(|it| it.trusted.0.keys().copied());
        let first = all.next().into_iter().flatten().collect();
        all.fold(first, |trusted: BTreeSet<_>, more| {
            let more: BTreeSet<_> = more.collect();
            &trusted & &more
        })
    }

    /// Adds the hosts of URLs to the names that a leaf is for.
    pub(super) fn extend(&self, names: &mut ServingNames) {
        for host in self.webhooks.iter().filter_map(|it| it.host.as_ref()) {
            match host {
                ServerName::DnsName(name) => names.dns_names.push(name.as_ref().to_owned()),
                ServerName::IpAddress(ip) => names.ips.push((*ip).into()),
                _ => {}
            }
        }
    }

    /// The JSON patch after which each webhook trusts whom it should; none where each does.
    ///
    /// It tests each name and each old bundle, so that nobody else's write is lost.
    pub(super) fn patch(
        &self,
        held: &Held,
        bundle: &Bundle,
        lifetimes: &Lifetimes,
        now: Timestamp,
    ) -> Option<Patch> {
        let mut operations = Vec::new();
        for webhook in &self.webhooks {
            let published: BTreeMap<_, _> = webhook
                .trusted
                .0
                .iter()
                .map(|(id, ca)| (*id, ca.ends))
                .collect();
            let wanted = rotation::bundle_for(held, &published, lifetimes, now);
            if wanted.is_empty() || published.keys().eq(&wanted) {
                continue;
            }
            let mut all = bundle.clone();
            all.0.extend(webhook.trusted.0.clone());
            let pem = ByteString(all.pem(&wanted).into_bytes());
            let at = format!("/webhooks/{}", webhook.index);
            let path = format!("{at}/clientConfig/caBundle");
            operations.extend([
                test(format!("{at}/name"), webhook.name.as_str()),
                test(path.as_str(), json!(webhook.ca_bundle)),
                add(path, json!(pem)),
            ]);
        }
        (!operations.is_empty()).then(|| sendable(operations))
    }
}

fn host_of(url: &str) -> Option<ServerName<'static>> {
    let url: http::Uri = url.parse().ok()?;
    server_name(url.host()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        admission::registration::{Endpoint, FailurePolicy, Registration as Manifest},
        tls::{
            Authority,
            generate::tests::{DAY, NOON, authority, names},
        },
    };

    const LIFETIMES: Lifetimes = Lifetimes {
        leaf: DAY,
        authority: Duration::from_hours(24 * 9),
    };

    use std::time::Duration;

    fn at(endpoint: Endpoint, ca_bundle: Option<String>) -> MutatingWebhookConfiguration {
        let manifest = Manifest {
            endpoint,
            ca_bundle,
            namespaces: Vec::new(),
            failure_policy: FailurePolicy::Fail,
        };
        manifest.to_object()
    }

    fn by_service(name: &str, ca_bundle: Option<String>) -> MutatingWebhookConfiguration {
        let endpoint = Endpoint::Service {
            namespace: "peers".to_owned(),
            name: name.to_owned(),
            port: 443,
        };
        at(endpoint, ca_bundle)
    }

    fn read(object: &MutatingWebhookConfiguration) -> Registration {
        Registration::read(object, "stellar-peers", "peers")
    }

    fn bundle(authorities: &[&Authority]) -> Bundle {
        let pem: String = authorities.iter().map(|it| it.certificate_pem()).collect();
        Bundle::read(pem.as_bytes())
    }

    fn holding(bundle: &Bundle) -> Held {
        Held {
            bundle: bundle.0.iter().map(|(id, ca)| (*id, ca.ends)).collect(),
            ..Held::default()
        }
    }

    fn patched(object: &MutatingWebhookConfiguration, bundle: &Bundle) -> Option<Registration> {
        let patch = read(object).patch(&holding(bundle), bundle, &LIFETIMES, NOON)?;
        let mut value = serde_json::to_value(object).unwrap();
        // The API server lets a test for null pass where the entry is absent; this library does not.
        let is_null = |it: &json_patch::PatchOperation| matches!(it, json_patch::PatchOperation::Test(test) if test.value.is_null());
        let patch: Vec<_> = patch.0.into_iter().filter(|it| !is_null(it)).collect();
        json_patch::patch(&mut value, &patch).unwrap();
        Some(read(&serde_json::from_value(value).unwrap()))
    }

    #[test]
    fn each_webhook_of_ours_is_given_the_bundle_once() {
        let ca = authority();
        let bundle = bundle(&[&ca]);
        let object = by_service("stellar-peers", None);
        let after = patched(&object, &bundle).unwrap();
        assert!(after.trusted().iter().eq(bundle.0.keys()));
        let pem = Some(ca.certificate_pem().to_owned());
        assert!(patched(&by_service("stellar-peers", pem), &bundle).is_none());
    }

    #[test]
    fn scribble_is_replaced_and_what_a_leaf_may_still_need_stays() {
        let (new, old) = (authority(), authority());
        let scribble = Some("scribble".to_owned());
        let after = patched(&by_service("stellar-peers", scribble), &bundle(&[&new])).unwrap();
        assert_eq!(after.trusted().len(), 1);
        let old = Some(old.certificate_pem().to_owned());
        let after = patched(&by_service("stellar-peers", old), &bundle(&[&new])).unwrap();
        assert_eq!(after.trusted().len(), 2);
    }

    #[test]
    fn other_services_are_left_alone_and_urls_are_ours() {
        let bundle = bundle(&[&authority()]);
        let other = by_service("somebody-else", None);
        assert!(read(&other).leads_elsewhere() && patched(&other, &bundle).is_none());
        let mut all = names();
        for url in [
            "https://[fd00::7]:9443/mutate",
            "https://ours.example.org/mutate",
        ] {
            let by_url = at(Endpoint::Url(url.to_owned()), None);
            assert!(patched(&by_url, &bundle).is_some());
            read(&by_url).extend(&mut all);
        }
        assert_eq!(all.ips.last(), Some(&"fd00::7".parse().unwrap()));
        assert_eq!(all.dns_names.last().unwrap(), "ours.example.org");
    }

    #[test]
    fn whom_one_webhook_does_not_trust_nobody_trusts() {
        let ca = authority();
        let pem = Some(ca.certificate_pem().to_owned());
        let mut object = by_service("stellar-peers", pem);
        assert_eq!(read(&object).trusted().len(), 1);
        object.webhooks.as_mut().unwrap()[1].client_config.ca_bundle = None;
        assert!(read(&object).trusted().is_empty());
    }
}
