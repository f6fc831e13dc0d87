//! The real rig: our binary as a process of its own, against a real kube-apiserver with its controllers and kwok.

mod callers;
pub(crate) mod control_plane;
mod helm;
mod restricted;
mod soak;

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::Namespace,
    rbac::v1::{ClusterRole, PolicyRule},
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
};
use stellar_peers::{
    admission::registration::{Endpoint, FailurePolicy, Registration},
    api::stellar_node_crd,
    tls::{Authority, ServingNames},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::OnceCell,
};

use self::{
    control_plane::{AuditEntry, ControlPlane, Process, User},
    helm::Installation,
};
use crate::{
    ours::{OurRequest, Pace, Webhook},
    world::{Rig, World, kubernetes_object},
};

const DAY: Duration = Duration::from_hours(24);

/// A control plane for all stories, one that Helm installed us on, or one of a story's own.
enum Plane {
    Shared(&'static ControlPlane),
    Installed(Arc<ControlPlane>),
    Own(
        Box<ControlPlane>,
        #[expect(dead_code, reason = "removed when dropped")] TempDir,
    ),
}

impl std::ops::Deref for Plane {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        match self {
            Self::Shared(plane) => plane,
            Self::Installed(plane) => plane,
            Self::Own(plane, _) => plane,
        }
    }
}

/// A real control plane, and our process while it runs.
pub(crate) struct RealRig {
    plane: Plane,
    namespace: String,
    admin: Client,
    folder: TempDir,
    webhook_port: u16,
    ours: Vec<Replica>,
    registered: Option<String>,
    installation: Option<Arc<Installation>>,
}

/// One replica of ours.
struct Replica {
    process: Process,
    http_port: u16,
}

/// A namespace of its own on the shared control plane; a control plane of its own for the story that stops it.
pub(crate) async fn world(story: &str) -> World {
    let plane = if story.contains("api_server") {
        let folder = TempDir::new().expect("a temporary folder");
        let plane = ControlPlane::start(&ControlPlane::default_bin_dir(), folder.path()).await;
        let plane = plane.unwrap_or_else(|error| panic!("no control plane: {error}"));
        prepare(&plane).await;
        Plane::Own(Box::new(plane), folder)
    } else {
        static PREPARED: OnceCell<()> = OnceCell::const_new();
        let plane = ControlPlane::shared().await;
        PREPARED.get_or_init(async || prepare(plane).await).await;
        Plane::Shared(plane)
    };
    world_on(plane, story, None).await
}

/// A namespace of its own where Helm has installed us: what is registered and runs is what the chart says.
pub(crate) async fn installed_world(story: &str, installation: &Arc<Installation>) -> World {
    let plane = Plane::Installed(Arc::clone(&installation.plane));
    world_on(plane, story, Some(Arc::clone(installation))).await
}

async fn world_on(plane: Plane, story: &str, installation: Option<Arc<Installation>>) -> World {
    let prefix: String = story.split('_').take(4).collect::<Vec<_>>().join("-");
    let namespace = plane.namespace(&prefix).await;
    let admin = plane.client_for(User::Admin).await;
    let rig = RealRig {
        plane,
        namespace: namespace.clone(),
        admin: admin.clone(),
        folder: TempDir::new().expect("a temporary folder"),
        webhook_port: free_port(),
        ours: Vec::new(),
        registered: None,
        installation,
    };
    World::new(Rig::Real(Box::new(rig)), admin, namespace, Pace::REAL)
}

/// The kind StellarNode, and what our account may do: what the documentation grants it.
async fn prepare(plane: &ControlPlane) {
    let definitions = Api::all(plane.client_for(User::Admin).await);
    definitions
        .create(&PostParams::default(), &stellar_node_crd())
        .await
        .expect("the kind is new");
    plane.allow(User::StellarPeers, rights()).await;
}

/// The rights that the documentation tells to grant.
fn rights() -> Vec<PolicyRule> {
    let role: ClusterRole = serde_saphyr::from_str(include_str!("../../../docs/rbac.yaml"))
        .expect("docs/rbac.yaml is a ClusterRole");
    role.rules.expect("the role has rules")
}

/// A port that nobody has just now. Our program binds it a moment later.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("a bound address").port()
}

impl RealRig {
    /// Starts a replica beside those that run, on ports of its own. The first one's is the webhook that is called.
    pub(crate) fn start_ours(&mut self, flags: &[String]) {
        if self.installation.is_some() {
            assert_eq!(
                flags,
                Pace::REAL.flags(),
                "the chart's values say how we run"
            );
            return;
        }
        let number = self.ours.len();
        let webhook_port = if number == 0 {
            self.webhook_port
        } else {
            free_port()
        };
        let http_port = free_port();
        let kubeconfig = self.plane.kubeconfig_for(User::StellarPeers);
        let mut arguments = vec![
            "run".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--namespaces={}", self.namespace),
            format!("--own-namespace={}", self.namespace),
            format!("--webhook-listen=127.0.0.1:{webhook_port}"),
            format!("--http-listen=127.0.0.1:{http_port}"),
            format!("--tls-dir={}", self.tls_dir().display()),
            "--log-filter=info,stellar_peers=debug".to_owned(),
        ];
        self.authority();
        arguments.extend(flags.iter().cloned());
        let binary = Path::new(env!("CARGO_BIN_EXE_stellar-peers"));
        let folder = binary.parent().expect("a binary is in a folder");
        let log_dir = self.folder.path().join(format!("replica-{number}"));
        std::fs::create_dir_all(&log_dir).expect("a folder");
        let process = Process::spawn("stellar-peers", folder, &log_dir, &arguments);
        self.ours.push(Replica {
            process: process.expect("our binary starts"),
            http_port,
        });
    }

    fn tls_dir(&self) -> PathBuf {
        self.folder.path().join("tls")
    }

    /// The CA of our webhook's certificate, made with it when first asked for.
    fn authority(&self) -> String {
        let folder = self.tls_dir();
        let file = folder.join("ca.crt");
        if let Ok(pem) = std::fs::read_to_string(&file) {
            return pem;
        }
        let now = now();
        let authority = Authority::generate(DAY, now).expect("a CA");
        let names = ServingNames {
            service: "stellar-peers".to_owned(),
            namespace: self.namespace.clone(),
            cluster_domain: "cluster.local".to_owned(),
            dns_names: Vec::new(),
            ips: vec![std::net::Ipv4Addr::LOCALHOST.into()],
        };
        let pair = authority.issue(&names, DAY, now).expect("a certificate");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("tls.crt"), &pair.certificate).expect("a file");
        std::fs::write(folder.join("tls.key"), &pair.key).expect("a file");
        std::fs::write(&file, authority.certificate_pem()).expect("a file");
        authority.certificate_pem().to_owned()
    }

    pub(crate) async fn register(&mut self, how: Webhook) {
        if self.installation.is_some() {
            assert_eq!(how, Webhook::Registered, "the chart registers us");
            return;
        }
        let url = format!("https://127.0.0.1:{}/mutate", self.webhook_port);
        let registration = Registration {
            endpoint: Endpoint::Url(url.clone()),
            ca_bundle: None,
            namespaces: Vec::new(),
            failure_policy: FailurePolicy::Ignore,
        };
        let authority = match how {
            Webhook::WrongCa => Authority::generate(DAY, now())
                .expect("a CA")
                .certificate_pem()
                .to_owned(),
            _ => self.authority(),
        };
        let produced = kubernetes_object(&registration.to_object());
        let name = self
            .plane
            .register_webhook(&produced, &url, &authority, &[&self.namespace])
            .await;
        self.registered = Some(name);
        // The API server takes a moment to notice, and tells nobody when it has.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }

    pub(crate) fn kill_ours(&mut self) {
        self.ours.clear();
    }

    /// Kills the replica that has the Lease, which it told in its log.
    pub(crate) fn kill_leader(&mut self, holder: &str) {
        self.ours
            .retain(|replica| !replica.process.has_logged(holder));
    }

    pub(crate) fn replicas(&self) -> usize {
        self.ours.len()
    }

    pub(crate) fn still_runs(&mut self) -> bool {
        let has_ended =
            |ours: &mut Replica| !ours.process.ended().is_ok_and(|ended| ended.is_none());
        !self.ours.is_empty() && !self.ours.iter_mut().any(has_ended)
    }

    pub(crate) async fn is_ready(&self) -> bool {
        if let Some(installation) = &self.installation {
            return installation.is_ready().await;
        }
        for replica in &self.ours {
            let answer = http(replica.http_port, "/readyz").await;
            if !answer.is_some_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                return false;
            }
        }
        !self.ours.is_empty()
    }

    pub(crate) async fn operators_client(&self) -> Client {
        self.plane.client_for(User::Operator).await
    }

    pub(crate) async fn make_claim(&self, name: &str) {
        self.plane.claim(&self.namespace, name).await;
    }

    pub(crate) async fn api_server_goes_away(&mut self, how_long: Duration) {
        self.plane.stop_api_server();
        tokio::time::sleep(how_long).await;
        self.plane
            .start_api_server()
            .await
            .unwrap_or_else(|error| panic!("no API server: {error}"));
    }

    pub(crate) fn requests(&self) -> Vec<OurRequest> {
        let installed = self.installation.as_ref();
        let user = installed.map_or_else(|| User::StellarPeers.to_string(), |it| it.user());
        let ours = self
            .plane
            .audit()
            .into_iter()
            .filter(|it| it.user == user && it.namespace == self.namespace);
        let request = |it: AuditEntry| OurRequest {
            is_write: it.is_write(),
            verb: it.verb,
            resource: it.resource,
            name: it.name,
            code: it.code,
        };
        ours.map(request).collect()
    }

    /// A figure of the first replica.
    pub(crate) async fn metric(&self, line: &str) -> Option<u64> {
        let answer = http(self.ours.first()?.http_port, "/metrics").await?;
        let value = answer.lines().find_map(|it| it.strip_prefix(line))?;
        value.trim().parse().ok()
    }

    pub(crate) fn log_tail(&self) -> String {
        if let Some(installation) = &self.installation {
            return installation.log_tail();
        }
        let tails = self.ours.iter().map(|replica| replica.process.log_tail());
        tails.collect::<Vec<_>>().join("\n\n")
    }

    pub(crate) async fn clean_up(&self) {
        let configurations: Api<
            k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration,
        > = Api::all(self.admin.clone());
        if let Some(name) = &self.registered {
            let deleted = configurations.delete(name, &DeleteParams::default()).await;
            deleted.expect("the registration is there");
        }
        let namespaces: Api<Namespace> = Api::all(self.admin.clone());
        let deleted = namespaces
            .delete(&self.namespace, &DeleteParams::default())
            .await;
        deleted.expect("the namespace is there");
    }
}

async fn http(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

#[expect(
    clippy::disallowed_methods,
    reason = "certificates of the rig are made for now"
)]
fn now() -> Timestamp {
    Timestamp::now()
}
