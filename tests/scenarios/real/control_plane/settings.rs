//! The files and flags that a control plane is started with: keys, users, audit policy, ports.

use std::fmt;
use std::fs;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair};
use serde_json::json;

/// The Unix socket of the proxy between the API server and the cluster.
pub(crate) const EGRESS_SOCKET: &str = "egress.sock";

/// The CA of the certificate that the API server shows to webhooks.
pub(crate) const CALLERS_AUTHORITY: &str = "callers-ca.crt";

/// Whom the API server knows by a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum User {
    /// May do everything; what the rig itself and a test's assertions use.
    Admin,
    /// May do everything too: plays another operator, under a name and field manager of its own.
    Operator,
    /// May do nothing until a test grants it. The only one of the three that is audited.
    StellarPeers,
}

impl User {
    const ALL: [Self; 3] = [Self::Admin, Self::Operator, Self::StellarPeers];
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::StellarPeers => "stellar-peers",
        })
    }
}

/// Where one control plane keeps its files, and the two ports it listens on.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) data_dir: PathBuf,
    pub(crate) etcd_port: u16,
    pub(crate) api_port: u16,
}

impl Settings {
    /// Chooses ports and writes all files. An earlier attempt's database is removed.
    pub(crate) fn write(data_dir: &Path) -> io::Result<Self> {
        let settings = Self {
            data_dir: data_dir.to_owned(),
            etcd_port: free_port(),
            api_port: free_port(),
        };
        fs::create_dir_all(data_dir)?;
        match fs::remove_dir_all(settings.path("etcd")) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::write(settings.path("audit-policy.json"), audit_policy())?;
        fs::write(settings.path("egress.json"), settings.egress())?;
        fs::write(settings.path("caller.kubeconfig"), settings.caller())?;
        fs::write(settings.path("admission.json"), settings.admission())?;
        settings.write_keys().map_err(io::Error::other)??;
        settings.write_users()?;
        Ok(settings)
    }

    /// `<data_dir>/<file>`.
    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.data_dir.join(file)
    }

    /// Where clients reach the API server.
    pub(crate) fn server(&self) -> String {
        format!("https://127.0.0.1:{}", self.api_port)
    }

    /// Writes a kubeconfig for a bearer token, and says where.
    pub(crate) fn write_kubeconfig(&self, user: &str, token: &str) -> io::Result<PathBuf> {
        let path = self.path(&format!("{user}.kubeconfig"));
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "rig",
            "contexts": [{ "name": "rig", "context": { "cluster": "rig", "user": user } }],
            "clusters": [{ "name": "rig", "cluster": {
                "server": self.server(),
                "certificate-authority": self.path("ca.crt"),
            } }],
            "users": [{ "name": user, "user": { "token": token } }],
        });
        fs::write(&path, config.to_string())?;
        Ok(path)
    }

    /// Writes what kwok does with pods. Each run of kwok forgets which addresses it gave, so each
    /// gives them from a range of its own.
    pub(crate) fn write_stages(&self, run: usize) -> io::Result<()> {
        let range = format!("10.{}.", 64 + run);
        let stages = include_str!("stages.yaml").replace("10.RUN.", &range);
        fs::write(self.path("stages.yaml"), stages)
    }

    /// What the API server calls in the cluster goes through the proxy on this socket.
    fn egress(&self) -> String {
        let transport = json!({ "uds": { "udsName": self.path(EGRESS_SOCKET) } });
        let configuration = json!({
            "apiVersion": "apiserver.k8s.io/v1beta1",
            "kind": "EgressSelectorConfiguration",
            "egressSelections": [{
                "name": "cluster",
                "connection": { "proxyProtocol": "HTTPConnect", "transport": transport },
            }],
        });
        configuration.to_string()
    }

    /// What the API server shows to webhooks that ask who calls: one certificate for all of them.
    fn caller(&self) -> String {
        let shows = json!({
            "client-certificate": self.path("caller.crt"), "client-key": self.path("caller.key"),
        });
        let users = [json!({ "name": "*", "user": shows })];
        json!({ "apiVersion": "v1", "kind": "Config", "users": users }).to_string()
    }

    /// Where it finds that.
    fn admission(&self) -> String {
        let configuration = json!({
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "WebhookAdmissionConfiguration",
            "kubeConfigFile": self.path("caller.kubeconfig"),
        });
        let plugin = json!({ "name": "MutatingAdmissionWebhook", "configuration": configuration });
        json!({
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "AdmissionConfiguration",
            "plugins": [plugin],
        })
        .to_string()
    }

    /// A CA, the API server's certificate from it, the key that signs service account tokens, and what the API server
    /// shows to webhooks with the CA of that.
    /// Made before anything starts, so that all components can start at once.
    fn write_keys(&self) -> Result<io::Result<()>, rcgen::Error> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate()?;
        let root = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);
        let names = ["127.0.0.1", "localhost", "kubernetes.default.svc"];
        let serving_key = KeyPair::generate()?;
        let serving = CertificateParams::new(names.map(String::from))?;
        let serving = serving.signed_by(&serving_key, &issuer)?;
        let signing_key = KeyPair::generate()?;
        let mut callers = CertificateParams::new(Vec::new())?;
        callers.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let callers_key = KeyPair::generate()?;
        let callers_root = callers.self_signed(&callers_key)?;
        let caller_key = KeyPair::generate()?;
        let mut caller = CertificateParams::new(Vec::new())?;
        caller.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let caller = caller.signed_by(&caller_key, &Issuer::new(callers, callers_key))?;
        let files = [
            (CALLERS_AUTHORITY, callers_root.pem()),
            ("caller.crt", caller.pem()),
            ("caller.key", caller_key.serialize_pem()),
            ("ca.crt", root.pem()),
            ("api-server.crt", serving.pem()),
            ("api-server.key", serving_key.serialize_pem()),
            ("service-account.key", signing_key.serialize_pem()),
            ("service-account.pub", signing_key.public_key_pem()),
        ];
        let mut written = files
            .iter()
            .map(|(file, pem)| fs::write(self.path(file), pem));
        Ok(written.try_for_each(|result| result))
    }

    fn write_users(&self) -> io::Result<()> {
        let mut rows = Vec::new();
        for user in User::ALL {
            let token = format!("{user}-{:016x}", random());
            let groups = match user {
                User::Admin | User::Operator => ",system:masters",
                User::StellarPeers => "",
            };
            rows.push(format!("{token},{user},{user}{groups}\n"));
            self.write_kubeconfig(&user.to_string(), &token)?;
        }
        fs::write(self.path("tokens.csv"), rows.concat())
    }

    pub(crate) fn etcd_flags(&self) -> Vec<String> {
        let client = format!("http://127.0.0.1:{}", self.etcd_port);
        // Nobody else joins, so its port for members may be any.
        let peer = "http://127.0.0.1:0";
        vec![
            flag("data-dir", self.path("etcd").display()),
            flag("listen-client-urls", &client),
            flag("advertise-client-urls", &client),
            flag("listen-peer-urls", peer),
            flag("initial-advertise-peer-urls", peer),
            flag("initial-cluster", format!("default={peer}")),
            flag("log-level", "warn"),
            "--unsafe-no-fsync".into(),
        ]
    }

    pub(crate) fn api_server_flags(&self) -> Vec<String> {
        let signing_key = self.path("service-account.key");
        let public_key = self.path("service-account.pub");
        vec![
            flag(
                "etcd-servers",
                format!("http://127.0.0.1:{}", self.etcd_port),
            ),
            flag("secure-port", self.api_port),
            flag("bind-address", "127.0.0.1"),
            flag("advertise-address", "127.0.0.1"),
            flag("cert-dir", self.path("certs").display()),
            flag("tls-cert-file", self.path("api-server.crt").display()),
            flag(
                "tls-private-key-file",
                self.path("api-server.key").display(),
            ),
            flag("service-account-issuer", "https://kubernetes.default.svc"),
            flag("service-account-key-file", public_key.display()),
            flag("service-account-signing-key-file", signing_key.display()),
            flag("token-auth-file", self.path("tokens.csv").display()),
            flag("authorization-mode", "RBAC"),
            flag("service-cluster-ip-range", "10.96.0.0/16"),
            flag(
                "audit-policy-file",
                self.path("audit-policy.json").display(),
            ),
            flag("audit-log-path", self.path("audit.log").display()),
            flag(
                "egress-selector-config-file",
                self.path("egress.json").display(),
            ),
            flag(
                "admission-control-config-file",
                self.path("admission.json").display(),
            ),
        ]
    }

    pub(crate) fn controller_manager_flags(&self) -> Vec<String> {
        vec![
            flag("kubeconfig", self.path("admin.kubeconfig").display()),
            flag("controllers", "*,-nodeipam"),
            flag("leader-elect", false),
            flag("secure-port", 0),
            flag(
                "service-account-private-key-file",
                self.path("service-account.key").display(),
            ),
            flag("root-ca-file", self.path("ca.crt").display()),
            flag("enable-hostpath-provisioner", true),
            flag("kube-api-qps", 200),
            flag("kube-api-burst", 400),
        ]
    }

    pub(crate) fn scheduler_flags(&self) -> Vec<String> {
        vec![
            flag("kubeconfig", self.path("admin.kubeconfig").display()),
            flag("leader-elect", false),
            flag("secure-port", 0),
            flag("kube-api-qps", 200),
            flag("kube-api-burst", 400),
        ]
    }

    pub(crate) fn kwok_flags(&self) -> Vec<String> {
        vec![
            flag("kubeconfig", self.path("admin.kubeconfig").display()),
            flag("config", self.path("stages.yaml").display()),
            flag("manage-all-nodes", true),
            flag("cidr", "10.244.0.0/16"),
            flag("node-ip", "127.0.0.1"),
            flag("node-port", 0),
            // Without leases nodes and then pods go NotReady after some 50 s.
            flag("node-lease-duration-seconds", 40),
        ]
    }
}

fn flag(name: &str, value: impl fmt::Display) -> String {
    format!("--{name}={value}")
}

/// Who is audited: our program, as a user or under any service account, and nobody else.
fn audit_policy() -> String {
    let ours = User::StellarPeers.to_string();
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted", "Panic"],
        "rules": [
            { "level": "Metadata", "users": [ours] },
            { "level": "Metadata", "userGroups": ["system:serviceaccounts"] },
            { "level": "None" },
        ],
    });
    policy.to_string()
}

/// A port that nobody listens on now; it may be taken a moment later, so starting is retried.
///
/// From below the range that the kernel gives to outgoing connections: while the API server is
/// away its port must not go to one of the clients that keep trying to reach it.
fn free_port() -> u16 {
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut candidates = (0..1_000).map(|_| u16::try_from(20_000 + random() % 12_000));
    let found = candidates.find_map(|port| port.ok().filter(is_free));
    found.expect("one of a thousand random ports is free")
}

/// The standard library's only source of randomness.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
