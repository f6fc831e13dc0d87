//! Our binary as a process at scale: how it is started, and what it takes.

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command as Shell, Stdio},
    time::Duration,
};

use tokio::{
    process::{Child, Command},
    time::{Instant, sleep},
};

use crate::process::{BINARY, Resident, free_address, get, ready};

/// How our program is started: as it is by default, with its webhook and its Lease.
pub(crate) struct Program {
    arguments: Vec<String>,
    http: SocketAddr,
    log: PathBuf,
}

/// Our program while it runs.
pub(crate) struct Running {
    child: Child,
    id: u32,
    http: SocketAddr,
}

/// Resident memory in MB (10^6 bytes).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// All of it.
    pub(crate) resident: f64,
    /// Of it what is not a file's: the program's own data.
    pub(crate) anonymous: f64,
    /// The most that it ever was.
    pub(crate) peak: f64,
}

impl Program {
    /// Against the API server that this kubeconfig names. Makes a certificate in `folder`.
    pub(crate) async fn prepare(kubeconfig: &Path, folder: &Path, more: &[&str]) -> Self {
        let tls = folder.join("tls");
        let mut certs = Command::new(BINARY);
        certs
            .args(["certs", "--ip=127.0.0.1", "--out-dir"])
            .arg(&tls);
        let made = certs.output().await.expect("our binary can be run");
        assert!(made.status.success(), "no certificate: {made:?}");
        let http = free_address();
        let mut arguments = vec![
            "run".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--tls-dir={}", tls.display()),
            format!("--http-listen={http}"),
            "--webhook-listen=127.0.0.1:0".to_owned(),
        ];
        arguments.extend(more.iter().map(|it| (*it).to_owned()));
        Self {
            arguments,
            http,
            log: folder.join("stellar-peers.log"),
        }
    }

    /// Starts it and waits until it is ready; tells how long that took, from before the fork.
    pub(crate) async fn start(&self) -> (Running, Duration) {
        let log = fs::File::create(&self.log).expect("a log file");
        let mut command = Command::new(BINARY);
        command.args(&self.arguments).kill_on_drop(true);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let started = Instant::now();
        let child = command.spawn().expect("our binary can be run");
        let running = Running {
            id: child.id().expect("it runs"),
            child,
            http: self.http,
        };
        let took = ready(self.http, &self.log, started).await;
        (running, took)
    }
}

impl Running {
    /// What is at this path of its HTTP port.
    ///
    /// # Errors
    /// Where nobody answers, or anything but 200.
    pub(crate) async fn get(&self, path: &str) -> io::Result<String> {
        get(self.http, path).await
    }

    /// Waits until it has made this many passes.
    pub(crate) async fn passes(&self, at_least: usize) {
        loop {
            let metrics = self.get("/metrics").await.expect("it serves its metrics");
            let counts = metrics.lines().filter_map(|line| {
                line.strip_prefix("stellar_peers_reconciles_total")?
                    .rsplit_once(' ')?
                    .1
                    .parse::<usize>()
                    .ok()
            });
            if counts.sum::<usize>() >= at_least {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn memory(&self) -> Memory {
        let resident = Resident::of(self.id).expect("the system tells of processes that run");
        let mb =
            |bytes: u64| f64::from(u32::try_from(bytes / 1024).unwrap_or(u32::MAX)) * 1024.0 / 1e6;
        Memory {
            resident: mb(resident.now),
            anonymous: mb(resident.anonymous),
            peak: mb(resident.peak),
        }
    }

    /// Time on a core so far, of all its threads. Nanoseconds, not the clock's ticks.
    pub(crate) fn time_on_core(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.id)).expect("it runs");
        let spent = tasks.filter_map(|task| {
            let text = fs::read_to_string(task.ok()?.path().join("schedstat")).ok()?;
            text.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(spent.sum())
    }

    /// Ends it as Kubernetes does, so that it gives its Lease up.
    pub(crate) async fn end(mut self) {
        let mut kill = Shell::new("kill");
        let told = kill.args(["-TERM", &self.id.to_string()]).status();
        assert!(told.expect("kill can be run").success(), "it had ended");
        self.child.wait().await.expect("a child of ours");
    }
}
