//! A real control plane for one test process: etcd, kube-apiserver, kube-controller-manager,
//! kube-scheduler, and kwok in the place of kubelets. Everything listens on 127.0.0.1.
//!
//! [`ControlPlane::shared`] is one instance for all tests of the process, a namespace each;
//! [`ControlPlane::start`] is for tests that break it. The binaries come from
//! `tests/control-plane/build.sh`. Components die with the test process, see [`process`].
//!
//! Nothing here keeps a client: a `kube::Client` dies with the runtime that made it, and each
//! test has a runtime of its own.

mod audit;
mod egress;
mod fixtures;
mod process;
mod settings;
mod smoke;

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{self as this_process, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::sync::OnceCell;
use tokio::time;

pub(crate) use self::audit::AuditEntry;
use self::egress::Egress;
pub(crate) use self::fixtures::{create, eventually};
pub(crate) use self::process::Process;
pub(crate) use self::settings::User;
use self::settings::{CALLERS_AUTHORITY, EGRESS_SOCKET, Settings};

/// From the first fork to all nodes Ready. It takes 4 s on two idle cores.
const START_DEADLINE: Duration = Duration::from_secs(90);
/// Another process may take a free port between our look and the component's.
const START_ATTEMPTS: usize = 5;
const POLL_PERIOD: Duration = Duration::from_millis(50);
/// Names the folder of binaries where it isn't `target/control-plane/bin`.
const BIN_DIR_VARIABLE: &str = "CONTROL_PLANE_BIN_DIR";
const BINARIES: [&str; 5] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kwok",
];

/// Why a control plane, or one component of it, did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("{name} is missing: run `tests/control-plane/build.sh {}`", bin_dir.display())]
    Missing {
        name: &'static str,
        bin_dir: PathBuf,
    },
    #[error("{name} ended with {status}; the end of its log:\n{log_tail}")]
    Ended {
        name: &'static str,
        status: String,
        log_tail: String,
    },
    #[error("not {awaited} within {START_DEADLINE:?}; the ends of the logs:\n{log_tails}")]
    Late {
        awaited: &'static str,
        log_tails: String,
    },
    #[error("no access to the data folder or a child process: {0}")]
    Io(#[from] io::Error),
    #[error("the API server refused what every test needs: {0}")]
    Kube(#[from] Box<kube::Error>),
}

impl StartError {
    fn is_taken_port(&self) -> bool {
        matches!(self, Self::Ended { log_tail, .. } if log_tail.contains("address already in use"))
    }
}

/// A running control plane. Dropping it kills every component.
#[derive(Debug)]
pub(crate) struct ControlPlane {
    settings: Settings,
    bin_dir: PathBuf,
    namespaces: AtomicUsize,
    kwok_runs: AtomicUsize,
    egress: Egress,
    /// In the order of starting; the API server is missing while a test has stopped it.
    processes: Mutex<Vec<Process>>,
}

impl ControlPlane {
    /// Starts everything and waits until pods can be created: nodes Ready, `default` service
    /// account present. `data_dir` holds the database, logs, keys and kubeconfigs afterwards.
    pub(crate) async fn start(bin_dir: &Path, data_dir: &Path) -> Result<Self, StartError> {
        if let Some(name) = BINARIES.iter().find(|name| !bin_dir.join(name).exists()) {
            let bin_dir = bin_dir.to_owned();
            return Err(StartError::Missing { name, bin_dir });
        }
        let mut attempt = 1;
        loop {
            match Self::start_once(bin_dir, data_dir).await {
                Err(error) if error.is_taken_port() && attempt < START_ATTEMPTS => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    /// The instance that all tests of this process share; started by whoever asks first.
    ///
    /// # Panics
    /// When it can't be started: in every test alike, without a second attempt.
    pub(crate) async fn shared() -> &'static Self {
        static SHARED: OnceCell<Result<ControlPlane, StartError>> = OnceCell::const_new();
        let outcome = SHARED
            .get_or_init(async || {
                let data_dirs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("control-plane");
                forget_the_dead(&data_dirs);
                let data_dir = data_dirs.join(this_process::id().to_string());
                Self::start(&Self::default_bin_dir(), &data_dir).await
            })
            .await;
        match outcome {
            Ok(shared) => shared,
            Err(error) => panic!("no shared control plane: {error}"),
        }
    }

    /// `target/control-plane/bin`, or what `CONTROL_PLANE_BIN_DIR` names.
    pub(crate) fn default_bin_dir() -> PathBuf {
        let default = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/control-plane/bin");
        std::env::var_os(BIN_DIR_VARIABLE).map_or_else(default, PathBuf::from)
    }

    /// A kubeconfig file, for a process of its own.
    pub(crate) fn kubeconfig_for(&self, user: User) -> PathBuf {
        self.settings.path(&format!("{user}.kubeconfig"))
    }

    /// The CA of the certificate that the API server shows to webhooks that ask for one.
    pub(crate) fn callers_authority(&self) -> PathBuf {
        self.settings.path(CALLERS_AUTHORITY)
    }

    /// A client that works until the calling test's runtime ends.
    pub(crate) async fn client_for(&self, user: User) -> Client {
        let config = self.config_for(user).await;
        Client::try_from(config).expect("its certificate authority is readable")
    }

    /// The same that sends each request once, whatever the answer.
    pub(crate) async fn client_that_tries_once(&self, user: User) -> Client {
        let mut config = self.config_for(user).await;
        config.default_retry = false;
        Client::try_from(config).expect("its certificate authority is readable")
    }

    async fn config_for(&self, user: User) -> Config {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig_for(user));
        let kubeconfig = kubeconfig.expect("the rig wrote this file");
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
        config.expect("the rig wrote its content")
    }

    /// `kubectl` as a user, for a test to add arguments to.
    pub(crate) fn kubectl(&self, user: User) -> Command {
        let mut command = Command::new(self.bin_dir.join("kubectl"));
        command.env("KUBECONFIG", self.kubeconfig_for(user));
        command
    }

    /// `helm` as a user, for a test to add arguments to. What it remembers stays in the data folder.
    pub(crate) fn helm(&self, user: User) -> Command {
        let mut command = Command::new(self.bin_dir.join("helm"));
        command.env("KUBECONFIG", self.kubeconfig_for(user));
        for variable in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
            command.env(variable, self.settings.path("helm"));
        }
        command
    }

    /// From now on what the API server calls by `asked` (`host:port`) reaches these addresses in turn.
    pub(crate) fn route(&self, asked: &str, to: &[SocketAddr]) {
        self.egress.route(asked, to);
    }

    /// What our program asked for so far: as user `stellar-peers`, or under any service account.
    /// An entry may come a moment after its answer; a watch comes when it ends.
    pub(crate) fn audit(&self) -> Vec<AuditEntry> {
        let log = fs::read_to_string(self.settings.path("audit.log")).unwrap_or_default();
        audit::parse_audit_log(&log)
    }

    /// Takes the API server away, as a crash does. For private instances.
    ///
    /// Its clients among the components go with it: they would need up to 30 s to notice that it
    /// is back, which is their backoff and nothing that our tests are about.
    pub(crate) fn stop_api_server(&self) {
        self.lock().retain(|process| process.name == "etcd");
    }

    /// Brings it back on the same port with the same data, and waits until it is ready.
    pub(crate) async fn start_api_server(&self) -> Result<(), StartError> {
        let settings = &self.settings;
        self.spawn("kube-apiserver", &settings.api_server_flags())?;
        self.until_ready().await?;
        let client = self.client_for(User::Admin).await;
        let flags = settings.controller_manager_flags();
        self.spawn("kube-controller-manager", &flags)?;
        self.spawn("kube-scheduler", &settings.scheduler_flags())?;
        settings.write_stages(self.kwok_runs.fetch_add(1, Ordering::Relaxed))?;
        fixtures::release_nodes(&client).await?;
        self.spawn("kwok", &settings.kwok_flags())
    }

    /// Kills etcd alone, as a crash does. For private instances.
    pub(crate) fn stop_etcd(&self) {
        self.lock().retain(|process| process.name != "etcd");
    }

    /// Brings it back with the same data, and waits until the API server has found it.
    pub(crate) async fn start_etcd(&self) -> Result<(), StartError> {
        self.spawn("etcd", &self.settings.etcd_flags())?;
        self.until_ready().await
    }

    async fn until_ready(&self) -> Result<(), StartError> {
        let client = self.client_for(User::Admin).await;
        let ready = async || {
            let request = http::Request::get("/readyz").body(Vec::new());
            let request = request.expect("the path is valid");
            client.request_text(request).await.is_ok()
        };
        self.until("ready: the API server", ready).await
    }

    async fn start_once(bin_dir: &Path, data_dir: &Path) -> Result<Self, StartError> {
        let settings = Settings::write(data_dir)?;
        let started = Self {
            egress: Egress::start(&settings.path(EGRESS_SOCKET))?,
            settings,
            bin_dir: bin_dir.to_owned(),
            namespaces: AtomicUsize::new(0),
            kwok_runs: AtomicUsize::new(0),
            processes: Mutex::default(),
        };
        let settings = &started.settings;
        started.spawn("etcd", &settings.etcd_flags())?;
        let etcd = (Ipv4Addr::LOCALHOST, settings.etcd_port);
        let listens = async || TcpStream::connect(etcd).is_ok();
        started.until("listening: etcd", listens).await?;
        started.start_api_server().await?;
        let client = started.client_for(User::Admin).await;
        fixtures::create_cluster_objects(&client).await?;
        let usable = async || fixtures::is_usable(&client).await;
        started.until("Ready: the nodes", usable).await?;
        Ok(started)
    }

    fn spawn(&self, name: &'static str, flags: &[String]) -> Result<(), StartError> {
        let data_dir = &self.settings.data_dir;
        let process = Process::spawn(name, &self.bin_dir, data_dir, flags)?;
        self.lock().push(process);
        Ok(())
    }

    /// Polls until `probe` holds; fails at once when a component has ended.
    async fn until(
        &self,
        awaited: &'static str,
        probe: impl AsyncFn() -> bool,
    ) -> Result<(), StartError> {
        let polling = async {
            loop {
                self.all_alive()?;
                if probe().await {
                    return Ok(());
                }
                time::sleep(POLL_PERIOD).await;
            }
        };
        let in_time = time::timeout(START_DEADLINE, polling).await;
        in_time.unwrap_or_else(|_| Err(self.late(awaited)))
    }

    fn all_alive(&self) -> Result<(), StartError> {
        for process in self.lock().iter_mut() {
            if let Some(status) = process.ended()? {
                return Err(StartError::Ended {
                    name: process.name,
                    status: status.to_string(),
                    log_tail: process.log_tail(),
                });
            }
        }
        Ok(())
    }

    fn late(&self, awaited: &'static str) -> StartError {
        let processes = self.lock();
        let tails = processes
            .iter()
            .map(|process| format!("{}:\n{}", process.name, process.log_tail()));
        let log_tails = tails.collect::<Vec<_>>().join("\n");
        StartError::Late { awaited, log_tails }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Process>> {
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn next_number(&self) -> usize {
        self.namespaces.fetch_add(1, Ordering::Relaxed)
    }
}

/// Removes what shared instances of ended test processes left: a database has 64 MB or more.
fn forget_the_dead(data_dirs: &Path) {
    let entries = fs::read_dir(data_dirs).into_iter().flatten().flatten();
    for entry in entries {
        let mut probe = Command::new("kill");
        let probe = probe.arg("-0").arg(entry.file_name()).stderr(Stdio::null());
        let is_dead = probe.status().is_ok_and(|status| !status.success());
        if is_dead {
            // Another test process may be removing the same folder.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
