//! Where the service is, and how it runs: what all other checks of it start from.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    admissionregistration::v1::MutatingWebhookConfiguration, coordination::v1::Lease,
    core::v1::Service,
};
use kube::{Api, Client, ResourceExt, api::ListParams};

use super::{
    ask::{Unseen, ask},
    finding::{Check, Finding},
};
use crate::{
    api::names::STELLAR_PEERS,
    cli::{
        flags::{self, RunsWith},
        workload::{DeploymentObject, PodObject, PodSpec},
    },
};

/// The registration of the webhook.
#[derive(Clone, Debug)]
pub(super) enum Registration {
    /// There is to be none.
    NotAsked,
    /// This one.
    Found(Box<MutatingWebhookConfiguration>),
    /// None of this name, nor any other of ours where no name was given.
    Missing(String),
    /// It can't be read.
    Unseen(Unseen),
}

impl Registration {
    /// The Service that it names, and its namespace.
    pub(super) fn service(&self) -> Option<(&str, &str)> {
        let Self::Found(found) = self else {
            return None;
        };
        let services = found.webhooks.iter().flatten();
        let mut services = services.filter_map(|it| it.client_config.service.as_ref());
        services
            .next()
            .map(|service| (service.namespace.as_str(), service.name.as_str()))
    }
}

/// Reads the registration: the one of this name, else the only one that has webhooks of ours.
pub(super) async fn registration(client: &Client, name: Option<&str>) -> Registration {
    let api = Api::<MutatingWebhookConfiguration>::all(client.clone());
    let wanted = name.unwrap_or(STELLAR_PEERS);
    let what = format!("MutatingWebhookConfiguration {wanted}");
    match ask("get", &what, api.get_opt(wanted)).await {
        Ok(Some(found)) => return Registration::Found(Box::new(found)),
        Ok(None) if name.is_some() => return Registration::Missing(wanted.to_owned()),
        Ok(None) => {}
        Err(unseen) => return Registration::Unseen(unseen),
    }
    // Installations for namespaces of their own have names of their own.
    let all = ListParams::default();
    let listed = ask("list", "MutatingWebhookConfigurations", api.list(&all)).await;
    let listed = listed.map(|list| list.items).unwrap_or_default();
    let is_ours = |it: &MutatingWebhookConfiguration| {
        let mut webhooks = it.webhooks.iter().flatten();
        webhooks.any(|webhook| webhook.name.ends_with(".peers.stellar.org"))
    };
    let mut ours: Vec<_> = listed.into_iter().filter(is_ours).collect();
    match (ours.pop(), ours.is_empty()) {
        (Some(only), true) => Registration::Found(Box::new(only)),
        (Some(last), false) => {
            let mut names: Vec<String> = ours.iter().map(ResourceExt::name_any).collect();
            names.push(last.name_any());
            Registration::Missing(format!("{wanted}, though {}", names.join(", ")))
        }
        (None, _) => Registration::Missing(wanted.to_owned()),
    }
}

/// What there is to know of the service.
#[derive(Clone, Debug)]
pub(super) struct Installation {
    /// Its namespace.
    pub(super) namespace: String,
    /// Its Service.
    pub(super) service: String,
    /// It is certain that there is no such Service.
    pub(super) lacks_service: bool,
    /// The account of its pods, or why that isn't known.
    pub(super) account: Result<String, String>,
    /// How it runs, or why that isn't known.
    pub(super) runs_with: Result<RunsWith, String>,
}

impl Installation {
    /// How it runs, where that is known.
    pub(super) fn known(&self) -> Option<&RunsWith> {
        self.runs_with.as_ref().ok()
    }
}

/// Finds the service. `own` is the namespace that was given, `http_address` an address of its Service, or another.
pub(super) async fn find(
    client: &Client,
    own: Option<&str>,
    http_address: Option<&str>,
    registration: &Registration,
) -> (Installation, Finding) {
    let named = registration.service();
    let leases = if own.is_none() && named.is_none() {
        leases(client).await
    } else {
        Vec::new()
    };
    let (namespace, how) = locate(own, named, &leases, client.default_namespace());
    let service = match named {
        Some((of, name)) if of == namespace => name.to_owned(),
        _ => http_address
            .and_then(|address| service_of(address, &namespace))
            .unwrap_or(STELLAR_PEERS)
            .to_owned(),
    };
    let template = template(client, &namespace, &service).await;
    let installation = Installation {
        lacks_service: template.as_ref().is_err_and(|hidden| hidden.is_absent),
        account: template
            .as_ref()
            .map(account)
            .map_err(|hidden| hidden.why.clone()),
        runs_with: template.map_err(|hidden| hidden.why).and_then(|pod| {
            let container = pod.containers.first();
            let container = container.ok_or("its pods have no container")?;
            flags::of(container, &namespace)
        }),
        namespace,
        service,
    };
    let finding = finding(&installation, how);
    (installation, finding)
}

/// Namespaces that have a Lease of ours.
async fn leases(client: &Client) -> Vec<String> {
    let named = ListParams::default().fields(&format!("metadata.name={STELLAR_PEERS}"));
    let leases = Api::<Lease>::all(client.clone());
    let listed = ask("list", "Leases", leases.list(&named)).await;
    let listed = listed.map(|list| list.items).unwrap_or_default();
    listed.into_iter().filter_map(|it| it.namespace()).collect()
}

fn locate(
    own: Option<&str>,
    registered: Option<(&str, &str)>,
    leases: &[String],
    context: &str,
) -> (String, &'static str) {
    match (own, registered, leases) {
        (Some(own), ..) => (own.to_owned(), "by --own-namespace"),
        (None, Some((namespace, _)), _) => (namespace.to_owned(), "by the registration"),
        (None, None, [only]) => (only.clone(), "by its Lease"),
        _ => (context.to_owned(), "the namespace of the context"),
    }
}

/// The Service of `<service>.<namespace>.svc:<port>`.
fn service_of<'a>(address: &'a str, namespace: &str) -> Option<&'a str> {
    let (host, _) = address.split_once(':').unwrap_or((address, ""));
    let (service, place) = host.split_once('.')?;
    let place = place.strip_prefix(namespace)?;
    place.starts_with(".svc").then_some(service)
}

/// Why it isn't known how the service runs.
struct Hidden {
    why: String,
    /// There is no Service.
    is_absent: bool,
}

impl From<Unseen> for Hidden {
    fn from(unseen: Unseen) -> Self {
        Self {
            why: unseen.to_string(),
            is_absent: false,
        }
    }
}

/// The pods behind the Service, as they are made.
async fn template(client: &Client, namespace: &str, service: &str) -> Result<PodSpec, Hidden> {
    let what = format!("Service {namespace}/{service}");
    let services = Api::<Service>::namespaced(client.clone(), namespace);
    let found = ask("get", &what, services.get_opt(service)).await?;
    let found = found.ok_or_else(|| Hidden {
        why: format!("there is no {what}"),
        is_absent: true,
    })?;
    let selector = found.spec.and_then(|spec| spec.selector);
    let selector = selector.unwrap_or_default();
    let has_labels = |labels: Option<&BTreeMap<String, String>>| {
        labels.is_some_and(|labels| selector.iter().all(|(k, v)| labels.get(k) == Some(v)))
    };
    let all = ListParams::default();
    let deployments = Api::<DeploymentObject>::namespaced(client.clone(), namespace);
    let listed = format!("Deployments in {namespace}");
    let deployments = ask("list", &listed, deployments.list(&all)).await;
    // Whoever may see only one of the two kinds is told of the other.
    let deployments = deployments.map(|list| list.items).unwrap_or_default();
    let templates = deployments.into_iter().map(|it| it.spec.template);
    let mut templates = templates.filter(|it| has_labels(it.metadata.labels.as_ref()));
    if let Some(template) = templates.next() {
        return Ok(template.spec);
    }
    let pods = Api::<PodObject>::namespaced(client.clone(), namespace);
    let listed = format!("pods in {namespace}");
    let pods = ask("list", &listed, pods.list(&all)).await?.items;
    let mut pods = pods
        .into_iter()
        .filter(|pod| has_labels(pod.metadata.labels.as_ref()));
    let spec = pods.next().map(|pod| pod.spec);
    spec.ok_or_else(|| Hidden {
        why: format!("there are no pods behind {what}"),
        is_absent: false,
    })
}

fn account(pod: &PodSpec) -> String {
    let account = pod.service_account_name.as_deref();
    account.unwrap_or("default").to_owned()
}

fn finding(installation: &Installation, how: &str) -> Finding {
    let Installation {
        namespace, service, ..
    } = installation;
    let of_service = |finding: Finding| finding.of(format!("Service {namespace}/{service}"));
    if installation.lacks_service {
        let text = format!("there is no Service {namespace}/{service} ({how})");
        return Finding::skipped(Check::Installation, text)
            .means("it is not installed, or somewhere else, or runs outside of the cluster")
            .fix("--own-namespace with the namespace in which it is");
    }
    match (&installation.account, &installation.runs_with) {
        (Ok(account), Ok(runs_with)) => of_service(Finding::pass(
            Check::Installation,
            format!("in namespace {namespace} ({how}), account {account}, {runs_with}"),
        )),
        (Ok(_), Err(why)) => of_service(
            Finding::warning(
                Check::Installation,
                format!("in namespace {namespace} ({how}), and its flags are not known: {why}"),
            )
            .means("what depends on flags is judged as if they had their defaults")
            .fix("check with the version of this program that runs there"),
        ),
        (Err(why), _) => of_service(
            Finding::skipped(
                Check::Installation,
                format!("how it runs in namespace {namespace} ({how}) is not known: {why}"),
            )
            .means("what depends on its account and its flags is left out, or judged by their defaults")
            .fix("--own-namespace, with an account that may read Services, Deployments and pods there"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_namespace_is_the_given_one_then_the_registered_one_then_the_leases_then_the_contexts() {
        let registered = Some(("registered", "stellar-peers"));
        let lease = ["leased".to_owned()];
        let two = ["one".to_owned(), "two".to_owned()];
        let place =
            |own, registered, leases: &[String]| locate(own, registered, leases, "context").0;
        assert_eq!(place(Some("own"), registered, &lease), "own");
        assert_eq!(place(None, registered, &lease), "registered");
        assert_eq!(place(None, None, &lease), "leased");
        assert_eq!(place(None, None, &two), "context");
        assert_eq!(place(None, None, &[]), "context");
    }

    #[test]
    fn a_service_is_known_by_its_address_within_the_cluster() {
        assert_eq!(service_of("a.ops.svc:8080", "ops"), Some("a"));
        assert_eq!(service_of("a.ops.svc.cluster.local:8080", "ops"), Some("a"));
        for other in [
            "a.other.svc:8080",
            "127.0.0.1:8080",
            "localhost",
            "a.opsx.svc:1",
        ] {
            assert_eq!(service_of(other, "ops"), None, "{other}");
        }
    }
}
