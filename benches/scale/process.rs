//! Our binary as a process, and what the system knows of it.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command as Shell, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
    time::{Instant, sleep},
};

const BINARY: &str = env!("CARGO_BIN_EXE_stellar-peers");
/// A program that is not ready by then never will be.
const START_DEADLINE: Duration = Duration::from_mins(1);
/// Between two looks at whether it is.
const PROBE_PERIOD: Duration = Duration::from_millis(2);

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
        while running.get("/readyz").await.is_err() {
            let log = || fs::read_to_string(&self.log).unwrap_or_default();
            assert!(started.elapsed() < START_DEADLINE, "not ready:\n{}", log());
            sleep(PROBE_PERIOD).await;
        }
        (running, started.elapsed())
    }
}

impl Running {
    /// What is at this path of its HTTP port.
    ///
    /// # Errors
    /// Where nobody answers, or anything but 200.
    pub(crate) async fn get(&self, path: &str) -> io::Result<String> {
        let mut stream = TcpStream::connect(self.http).await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        if answer.starts_with("HTTP/1.1 200") {
            Ok(answer)
        } else {
            Err(io::Error::other(answer))
        }
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
        let status = fs::read_to_string(format!("/proc/{}/status", self.id));
        let status = status.expect("it runs");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
            kib.unwrap_or_default() * 1024.0 / 1e6
        };
        Memory {
            resident: field("VmRSS:"),
            anonymous: field("RssAnon:"),
            peak: field("VmHWM:"),
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

/// A port that nobody has just now. Our program binds it a moment later.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound address")
}
