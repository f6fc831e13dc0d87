//! What benchmarks ask of a process: on its port, and of the system.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::Path,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};

/// The program, built with the sandbox in it.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_stellar-peers");
/// Between two looks at whether it is ready.
const PROBE_PERIOD: Duration = Duration::from_millis(1);
/// A program that is not ready by then never will be.
const START_DEADLINE: Duration = Duration::from_mins(1);

/// Resident memory of a process, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resident {
    /// All of it.
    pub(crate) now: u64,
    /// Of it what is not a file's: the program's own data.
    pub(crate) anonymous: u64,
    /// The most that it ever was.
    pub(crate) peak: u64,
}

impl Resident {
    /// Of this process; nothing where the system doesn't tell.
    pub(crate) fn of(id: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
            Some(kib * 1024)
        };
        Some(Self {
            now: field("VmRSS:")?,
            anonymous: field("RssAnon:")?,
            peak: field("VmHWM:")?,
        })
    }
}

/// Waits until the program at `http` is ready; tells how long that took since `started`.
pub(crate) async fn ready(http: SocketAddr, log: &Path, started: Instant) -> Duration {
    while get(http, "/readyz").await.is_err() {
        let log = || fs::read_to_string(log).unwrap_or_default();
        assert!(started.elapsed() < START_DEADLINE, "not ready:\n{}", log());
        sleep(PROBE_PERIOD).await;
    }
    started.elapsed()
}

/// What is at this path of an HTTP port, head and all.
///
/// # Errors
/// Where nobody answers, or anything but 200.
pub(crate) async fn get(http: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(http).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    if answer.starts_with("HTTP/1.1 200") {
        Ok(answer)
    } else {
        Err(io::Error::other(answer))
    }
}

/// A port that nobody has just now. Who is told of it binds it a moment later.
pub(crate) fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound address")
}
