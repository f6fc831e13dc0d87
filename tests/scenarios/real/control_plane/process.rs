//! One component of the control plane as a child process: its log, its death.
//!
//! A child dies when its [`Process`] is dropped, and also when the test process is killed or exits
//! without dropping anything (statics never are). The second is the kernel's work: `setpriv
//! --pdeathsig KILL` sets the parent-death signal and then becomes the component, so nothing
//! unsafe is needed here and the child's id is the component's. Where there is no `setpriv`, only
//! the first holds.
//!
//! The kernel sends that signal when the *thread* that forked ends, and a test's thread ends with
//! the test. So all children are forked by one thread that lives as long as the process.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

/// How often, and how far apart, a process that was told to end is looked at.
const TERMINATION_POLLS: u32 = 600;
const TERMINATION_POLL: Duration = Duration::from_millis(50);
/// Lines of a log that an error quotes.
const TAIL_LINES: usize = 15;

/// A running component.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `<bin_dir>/<name>`; what it says is appended to `<log_dir>/<name>.log`.
    pub(crate) fn spawn(
        name: &'static str,
        bin_dir: &Path,
        log_dir: &Path,
        arguments: &[String],
    ) -> io::Result<Self> {
        Self::spawn_with(name, bin_dir, log_dir, arguments, &[])
    }

    /// The same with environment variables.
    pub(crate) fn spawn_with(
        name: &'static str,
        bin_dir: &Path,
        log_dir: &Path,
        arguments: &[String],
        environment: &[(String, String)],
    ) -> io::Result<Self> {
        let log = log_dir.join(format!("{name}.log"));
        let output = File::options().create(true).append(true).open(&log)?;
        let mut command = dying_with_us(&bin_dir.join(name));
        command
            .args(arguments)
            .envs(environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let child = fork(command)?;
        Ok(Self { name, child, log })
    }

    /// Its number, by which `/proc` knows it.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Asks it to end, as the kubelet does, and waits for that a while.
    pub(crate) fn terminate(mut self) -> io::Result<Option<ExitStatus>> {
        let mut kill = Command::new("kill");
        kill.args(["-TERM", &self.child.id().to_string()])
            .status()?;
        for _ in 0..TERMINATION_POLLS {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            thread::sleep(TERMINATION_POLL);
        }
        Ok(None)
    }

    /// Whether its log has this text anywhere.
    pub(crate) fn has_logged(&self, text: &str) -> bool {
        self.log_text().contains(text)
    }

    /// All that it said.
    pub(crate) fn log_text(&self) -> String {
        let bytes = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines of its log.
    pub(crate) fn log_tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only for a child that has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn dying_with_us(program: &Path) -> Command {
    static SETPRIV: LazyLock<bool> = LazyLock::new(|| {
        let mut probe = Command::new("setpriv");
        probe.args(["--pdeathsig", "KILL", "true"]);
        let found = probe.stderr(Stdio::null()).status();
        found.is_ok_and(|status| status.success())
    });
    if !*SETPRIV {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

fn fork(command: Command) -> io::Result<Child> {
    type Order = (Command, Sender<io::Result<Child>>);
    static LAUNCHER: LazyLock<Sender<Order>> = LazyLock::new(|| {
        let (orders, received) = mpsc::channel::<Order>();
        thread::spawn(move || {
            for (mut command, reply) in received {
                let _ = reply.send(command.spawn());
            }
        });
        orders
    });
    let (reply, child) = mpsc::channel();
    let launched = LAUNCHER.send((command, reply));
    launched.expect("the launcher thread lives as long as the process");
    child.recv().expect("the launcher answers every order")
}
