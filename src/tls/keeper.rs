//! Certificates that this program makes, renews and publishes itself.
//!
//! Every replica runs one [`Keeper`]. It watches one Secret and one webhook configuration, asks
//! [`rotation`](super::rotation) what they need, and writes that; the serving pair follows the Secret.
//!
//! *Guarantees*: state is in the two objects alone. Each write holds only if the object is as the decision saw it, so
//! that replicas can't undo each other's. Before a write both objects are read once more, past the watches, which may
//! lag. Trouble with one object keeps nobody from writing the other, and none ends the process.

mod attempts;
mod watched;

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Secret},
};
use kube::{Api, Client, api::Patch};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tracing::{debug, info, warn};

use self::{
    attempts::Attempts,
    watched::{Seen, Watched},
};
use super::{
    CertificateStore, GenerateError, PemPair, ServingNames,
    holding::Holding,
    registered::Registration,
    rotation::{Leaf, Lifetimes, Step, Trust, Why, is_taken_up, next_step},
    service_host,
    store::ToldValidity,
};
use crate::{
    api::names::{LABEL_NAME, STELLAR_PEERS},
    clock::Clock,
    controller::{
        apply::{apply_params, only_on, params},
        error::{ReconcileError, another_is_there, moved_on, request},
    },
    domain::{Moment, Now},
    observe::error_chain,
};

/// What a new Secret is, and what it must hold then.
const SECRET_TYPE: &str = "kubernetes.io/tls";
/// Somebody else may write the caBundle as well: this is how fast we are drawn into it.
const PUBLISH_INTERVAL: Duration = Duration::from_secs(1);
/// So many repairs of the caBundle in [`FIGHT_TIME`] are somebody who keeps changing it.
const FIGHT_REPAIRS: usize = 5;
const FIGHT_TIME: Duration = Duration::from_secs(10);
/// How long a start waits to hear by which names the API server calls.
const REGISTRATION_WAIT: Duration = Duration::from_secs(5);
/// While a pair waits until the registration trusts it.
const HELD_INTERVAL: Duration = Duration::from_secs(1);
/// Without anything to look at; a change of either object wakes us.
const IDLE_INTERVAL: Duration = Duration::from_mins(10);

/// What is kept, and how.
#[derive(Clone, Debug)]
pub struct KeeperSettings {
    /// Namespace of the Secret and of the Service.
    pub namespace: String,
    /// Name of the Secret.
    pub secret: String,
    /// Name of the Service.
    pub service: String,
    /// The cluster's DNS domain.
    pub cluster_domain: String,
    /// Name of the `MutatingWebhookConfiguration`.
    pub configuration: String,
    /// How long certificates are valid.
    pub lifetimes: Lifetimes,
    /// Write nothing.
    pub dry_run: bool,
}

/// Why a write failed.
#[derive(Debug, thiserror::Error)]
enum KeepError {
    /// The API server refused or was silent.
    #[error(transparent)]
    Request(#[from] ReconcileError),
    /// No certificate could be made.
    #[error(transparent)]
    Generate(#[from] GenerateError),
}

impl KeepError {
    /// A closed set, by which one trouble is told once.
    const fn reason(&self) -> &'static str {
        match self {
            Self::Request(error) => error.reason(),
            Self::Generate(_) => "Generate",
        }
    }

    /// Somebody else wrote first: that is looked at, and told to nobody.
    const fn is_conflict(&self) -> bool {
        matches!(self, Self::Request(ReconcileError::Conflict { .. }))
    }
}

/// What new handshakes use.
#[derive(Debug)]
struct Serving {
    pair: PemPair,
    leaf: Option<Leaf>,
}

/// Keeps the Secret, the registration and the store of one replica.
#[derive(Debug)]
pub struct Keeper {
    settings: KeeperSettings,
    clock: Clock,
    store: Arc<CertificateStore>,
    secrets: Api<Secret>,
    configurations: Api<MutatingWebhookConfiguration>,
    secret: Watched<Secret>,
    configuration: Watched<MutatingWebhookConfiguration>,
    trust: Trust,
    serving: Option<Serving>,
    writing: Attempts,
    publishing: Attempts,
    repairs: Vec<Moment>,
    told: Told,
    started: Moment,
}

/// What was told already, so that it is told once.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    fault: Option<String>,
    registration: Option<&'static str>,
    validity: ToldValidity,
    fight: bool,
}

/// What is there, and what it needs.
struct Look {
    holding: Holding,
    registration: Registration,
    names: ServingNames,
    step: Step,
    patch: Option<json_patch::Patch>,
}

impl Look {
    const fn is_step_due(&self) -> bool {
        !matches!(self.step, Step::Keep { .. })
    }
}

impl Keeper {
    /// A keeper that fills `store`.
    #[must_use]
    pub fn new(
        client: Client,
        settings: KeeperSettings,
        store: Arc<CertificateStore>,
        clock: Clock,
    ) -> Self {
        Self {
            secrets: Api::namespaced(client.clone(), &settings.namespace),
            configurations: Api::all(client),
            secret: Watched::new("secrets"),
            configuration: Watched::new("mutatingwebhookconfigurations"),
            trust: Trust::default(),
            serving: None,
            writing: Attempts::default(),
            publishing: Attempts::default(),
            repairs: Vec::new(),
            told: Told::default(),
            started: clock.now().moment,
            settings,
            clock,
            store,
        }
    }

    /// Keeps, for ever.
    pub async fn run(mut self) -> Infallible {
        let mut secrets = watched::by_name(self.secrets.clone(), &self.settings.secret);
        let mut configurations =
            watched::by_name(self.configurations.clone(), &self.settings.configuration);
        loop {
            let wait = self.pass().await;
            tokio::select! {
                Some(event) = secrets.next() => self.secret.take(event),
                Some(event) = configurations.next() => self.configuration.take(event),
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Reads, decides, writes; gives the time until the next pass if nothing happens before.
    async fn pass(&mut self) -> Duration {
        let now = self.clock.now();
        let Some(look) = self.look(now) else {
            return REGISTRATION_WAIT;
        };
        let is_held = self.serve(&look.holding, now);
        self.tell(&look, now);
        let held_for = if is_held {
            HELD_INTERVAL
        } else {
            IDLE_INTERVAL
        };
        if self.settings.dry_run {
            self.rehearse(&look, now);
            return held_for.min(until(&look.step, now));
        }
        let (writes, publishes) = (look.is_step_due(), look.patch.is_some());
        let writes_now = writes && self.writing.are_allowed(now.moment);
        let publishes_now = publishes && self.publishing.are_allowed(now.moment);
        if writes_now || publishes_now {
            self.bring_in_line(writes_now, publishes_now).await;
            return Duration::ZERO;
        }
        let mut wait = held_for.min(until(&look.step, now));
        for (is_due, attempts) in [(writes, &self.writing), (publishes, &self.publishing)] {
            if is_due {
                wait = wait.min(attempts.wait(now.moment));
            }
        }
        wait
    }

    /// What the watches show; none before they show enough.
    fn look(&mut self, now: Now) -> Option<Look> {
        let registration = match &self.configuration.seen {
            Seen::Unknown => None,
            Seen::Absent => Some(Registration::default()),
            Seen::There(object) => {
                let KeeperSettings {
                    service, namespace, ..
                } = &self.settings;
                Some(Registration::read(object, service, namespace))
            }
        };
        if let Some(registration) = &registration {
            let trusted = registration.trusted();
            self.trust.retain(|id, _| trusted.contains(id));
            for id in trusted {
                self.trust.entry(id).or_insert(now.moment);
            }
        }
        let nothing = BTreeMap::new();
        let data = match &self.secret.seen {
            Seen::Unknown => return None,
            Seen::Absent => &nothing,
            Seen::There(secret) => secret.data.as_ref().unwrap_or(&nothing),
        };
        let is_early = now.moment.since(self.started) < REGISTRATION_WAIT;
        if registration.is_none() && is_early && !self.configuration.has_failed() {
            return None;
        }
        let registration = registration.unwrap_or_default();
        let names = self.names(&registration);
        let holding = Holding::read(data, &called_by(&names), &self.origin());
        let held = holding.held();
        let lifetimes = &self.settings.lifetimes;
        let step = next_step(&held, &self.trust, lifetimes, now);
        let patch = registration.patch(&held, holding.bundle(), lifetimes, now.wall);
        Some(Look {
            holding,
            registration,
            names,
            step,
            patch,
        })
    }

    fn names(&self, registration: &Registration) -> ServingNames {
        let mut names = ServingNames {
            service: self.settings.service.clone(),
            namespace: self.settings.namespace.clone(),
            cluster_domain: self.settings.cluster_domain.clone(),
            dns_names: Vec::new(),
            ips: Vec::new(),
        };
        registration.extend(&mut names);
        names
    }

    fn origin(&self) -> String {
        format!(
            "Secret {}/{}",
            self.settings.namespace, self.settings.secret
        )
    }

    /// Takes the Secret's pair up, if it can be; true where it waits until the registration trusts it.
    fn serve(&mut self, holding: &Holding, now: Now) -> bool {
        let (Some(certificate), Some(pair)) = (&holding.certificate, holding.pair()) else {
            return false;
        };
        let leaf = holding.leaf;
        if let Some(serving) = self.serving.as_mut().filter(|it| it.pair == *pair) {
            serving.leaf = leaf.or(serving.leaf);
            return false;
        }
        let lifetimes = &self.settings.lifetimes;
        let is_taken_up = match (&self.serving, &leaf) {
            (None, _) => true,
            (Some(_), None) => return false,
            (Some(serving), Some(leaf)) => {
                is_taken_up(serving.leaf.as_ref(), leaf, &self.trust, lifetimes, now)
            }
        };
        if is_taken_up {
            let not_after = certificate.not_after();
            info!(secret = self.settings.secret, %not_after, "Loaded serving certificate");
            self.store.replace(certificate.clone());
            self.serving = Some(Serving {
                pair: pair.clone(),
                leaf,
            });
        }
        !is_taken_up
    }

    /// Says what a person should know, once.
    fn tell(&mut self, look: &Look, now: Now) {
        let fault = look.holding.fault.as_ref();
        if self.told.fault.as_ref() != fault {
            self.told.fault = fault.cloned();
            if let Some(error) = fault {
                let serving = self.store.has_certificate();
                warn!(
                    error,
                    serving, "Refused serving certificate, it is made anew"
                );
            }
        }
        let registration = match &self.configuration.seen {
            Seen::Unknown => None,
            Seen::Absent => Some("it is missing"),
            Seen::There(_) if look.registration.leads_elsewhere() => {
                Some("none of its webhooks names our Service or a URL")
            }
            Seen::There(_) => look.registration.injector,
        };
        if self.told.registration != registration {
            self.told.registration = registration;
            let configuration = &self.settings.configuration;
            match (registration, look.registration.injector) {
                (None, _) => {}
                (Some(annotation), Some(_)) => warn!(
                    configuration,
                    annotation,
                    "Somebody else is asked to write the caBundle as well; remove the annotation or use --tls-mode files"
                ),
                (Some(why), None) => warn!(
                    configuration,
                    why, "No webhook is registered, its caBundle is filled in when it is"
                ),
            }
        }
        self.told.validity.tell(&self.store, now.wall);
    }

    /// A dry run serves what the Secret holds, or a pair of its own.
    fn rehearse(&mut self, look: &Look, now: Now) {
        if self.store.has_certificate() {
            return;
        }
        let lifetimes = &self.settings.lifetimes;
        let step = Step::Found(Why::FirstStart);
        let data = Holding::default().after(&step, &look.names, lifetimes, now.wall);
        let made = data.map(|data| Holding::read(&data, &[], "memory").certificate);
        match made {
            Ok(Some(certificate)) => {
                warn!(
                    "Dry run without a usable Secret: the webhook serves a certificate that nobody trusts"
                );
                self.store.replace(certificate);
            }
            Ok(None) => {}
            Err(error) => warn!(error = error_chain(&error), "Could not make a certificate"),
        }
    }

    /// Looks past the watches, and writes what is due then.
    async fn bring_in_line(&mut self, writes: bool, publishes: bool) {
        if let Err(error) = self.look_past_the_watches().await {
            let error = error.into();
            let now = self.clock.now().moment;
            let longest = self.longest_wait();
            if writes {
                self.writing.failed(&error, now, longest);
            }
            if publishes {
                self.publishing.failed(&error, now, longest);
            }
            return;
        }
        let now = self.clock.now();
        let Some(look) = self.look(now) else {
            return;
        };
        let longest = self.longest_wait();
        if writes && look.is_step_due() {
            let result = self.write(&look, now.wall).await;
            let at = self.clock.now().moment;
            self.writing.ended(&result, at, Duration::ZERO, longest);
        }
        if publishes && let Some(patch) = look.patch {
            let result = self.publish(patch).await.map_err(KeepError::from);
            let at = self.clock.now().moment;
            self.publishing
                .ended(&result, at, PUBLISH_INTERVAL, longest);
            if result.is_ok() {
                self.count_repair(at);
            }
        }
    }

    /// Trouble must be over long before a leaf ends.
    fn longest_wait(&self) -> Duration {
        self.settings.lifetimes.leaf / 18
    }

    async fn look_past_the_watches(&mut self) -> Result<(), ReconcileError> {
        let what = self.origin();
        let secret = self.secrets.get_opt(&self.settings.secret);
        self.secret.seen = Seen::from(request("get", &what, secret).await?);
        let what = self.configuration_name();
        let object = self.configurations.get_opt(&self.settings.configuration);
        match request("get", &what, object).await {
            Ok(object) => self.configuration.seen = Seen::from(object),
            // The watch shows what it shows, and the Secret can't wait for this.
            Err(error) => debug!(
                error = error_chain(&error),
                "Could not read the registration"
            ),
        }
        Ok(())
    }

    fn configuration_name(&self) -> String {
        let name = &self.settings.configuration;
        format!("MutatingWebhookConfiguration {name}")
    }

    async fn write(&mut self, look: &Look, now: Timestamp) -> Result<(), KeepError> {
        let lifetimes = &self.settings.lifetimes;
        let data = look
            .holding
            .after(&look.step, &look.names, lifetimes, now)?;
        let object = self.secret_with(&data);
        let (params, what) = (apply_params(), self.origin());
        let patch = Patch::Apply(&object);
        let written = self.secrets.patch(&self.settings.secret, &params, &patch);
        let written = request("apply", &what, written).await;
        let written = written.map_err(another_is_there)?;
        self.secret.seen = Seen::There(written);
        let secret = &self.settings.secret;
        match &look.step {
            Step::Keep { .. } => {}
            Step::Found(why) => info!(secret, %why, "Made a CA and a serving certificate"),
            Step::AddAuthority(why) => info!(secret, %why, "Made the next CA"),
            Step::IssueLeaf {
                why: Why::LastResort,
                by,
            } => {
                warn!(secret, ca = %by, why = %Why::LastResort, "Renewed the serving certificate");
            }
            Step::IssueLeaf { why, by } => {
                info!(secret, ca = %by, %why, "Renewed the serving certificate");
            }
            Step::DropAuthorities(old) => info!(secret, ?old, "Dropped CAs that sign nothing"),
        }
        Ok(())
    }

    /// The Secret with this content, as it is applied: only on what was seen, and with nothing of others.
    fn secret_with(&self, data: &BTreeMap<String, ByteString>) -> Value {
        let KeeperSettings {
            secret: name,
            namespace,
            ..
        } = &self.settings;
        let metadata = json!({"name": name, "namespace": namespace});
        let mut secret =
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data});
        let stored = match &self.secret.seen {
            Seen::There(stored) => Some(&stored.metadata),
            Seen::Unknown | Seen::Absent => None,
        };
        let version = stored.map(|it| {
            let version = it.resource_version.as_deref().unwrap_or_default();
            (it.uid.as_deref().unwrap_or_default(), version)
        });
        only_on(&mut secret, version);
        let is_ours = |labels: &BTreeMap<String, String>| {
            labels.get(LABEL_NAME).is_some_and(|it| it == STELLAR_PEERS)
        };
        if stored.is_none_or(|it| it.labels.as_ref().is_some_and(is_ours)) {
            secret["metadata"]["labels"] = json!({LABEL_NAME: STELLAR_PEERS});
        }
        // The type of one that is there can't be changed, and need not be ours.
        if stored.is_none() {
            secret["type"] = json!(SECRET_TYPE);
        }
        secret
    }

    async fn publish(&mut self, patch: json_patch::Patch) -> Result<(), ReconcileError> {
        let what = self.configuration_name();
        let (params, patch) = (params(), Patch::Json::<()>(patch));
        let name = &self.settings.configuration;
        let patched = self.configurations.patch(name, &params, &patch);
        let patched = request("patch", &what, patched).await.map_err(moved_on)?;
        self.configuration.seen = Seen::There(patched);
        info!(configuration = name, "Published the CAs in the caBundle");
        Ok(())
    }

    /// Warns where somebody else keeps writing the caBundle.
    fn count_repair(&mut self, at: Moment) {
        self.repairs.retain(|repair| at.since(*repair) < FIGHT_TIME);
        self.repairs.push(at);
        let fights = self.repairs.len() >= FIGHT_REPAIRS;
        if fights && !self.told.fight {
            warn!(
                configuration = self.settings.configuration,
                "Somebody else keeps changing the caBundle"
            );
        }
        self.told.fight = fights;
    }
}

/// The names by which the API server calls: a leaf needs no others.
fn called_by(names: &ServingNames) -> Vec<ServerName<'static>> {
    let service = service_host(&names.service, &names.namespace);
    let dns_names = [service].into_iter().chain(names.dns_names.iter().cloned());
    let dns_names = dns_names.filter_map(|name| ServerName::try_from(name).ok());
    let ips = names.ips.iter().map(|ip| ServerName::from(*ip));
    dns_names.chain(ips).collect()
}

fn until(step: &Step, now: Now) -> Duration {
    match step {
        Step::Keep { look_again_at } => {
            Duration::try_from(look_again_at.duration_since(now.wall)).unwrap_or_default()
        }
        _ => IDLE_INTERVAL,
    }
}
