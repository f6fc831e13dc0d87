//! The servers that are compared, each a process of its own on the servers' core, all with the same certificate.

use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::{
    cases::VALIDATORS, cores::Cores, limit, process::free_address, program::Running,
    writer::PEER_PORT,
};

/// The names by which they are shown.
pub(crate) const LIMIT: &str = "limit";
pub(crate) const OURS: &str = "stellar-peers";
pub(crate) const CONTROLLER_RUNTIME: &str = "controller-runtime";

/// A running server.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) name: &'static str,
    pub(crate) address: SocketAddr,
    pub(crate) process: Running,
}

/// The limit server.
pub(crate) fn limit(cores: &Cores, tls: &Path, folder: &Path) -> Server {
    let myself = env::current_exe().expect("the benchmark's own binary");
    let address = free_address();
    let arguments = [
        limit::ARGUMENT.to_owned(),
        address.to_string(),
        tls.display().to_string(),
    ];
    start(LIMIT, cores, &myself, &arguments, address, folder)
}

/// The webhook in Go.
pub(crate) fn controller_runtime(
    cores: &Cores,
    binary: &Path,
    tls: &Path,
    folder: &Path,
) -> Server {
    let address = free_address();
    let arguments = [
        format!("--port={}", address.port()),
        format!("--cert-dir={}", tls.display()),
        format!("--peer-port={PEER_PORT}"),
        format!("--members={}", VALIDATORS.join(",")),
    ];
    start(
        CONTROLLER_RUNTIME,
        cores,
        binary,
        &arguments,
        address,
        folder,
    )
}

fn start(
    name: &'static str,
    cores: &Cores,
    binary: &Path,
    arguments: &[String],
    address: SocketAddr,
    folder: &Path,
) -> Server {
    let words = cores.server();
    let mut command = match &words[..] {
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(binary);
            command
        }
        [] => Command::new(binary),
    };
    command.args(arguments);
    let log = folder.join(format!("{name}.log"));
    let process = Running::start(command, &log);
    Server {
        name,
        address,
        process: process.expect("the server can be run"),
    }
}

/// Builds the webhook in Go, and tells where it is, or why it could not be built.
pub(crate) fn build_controller_runtime() -> Result<PathBuf, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/controller-runtime");
    let binary = Path::new(env!("CARGO_TARGET_TMPDIR")).join("controller-runtime-webhook");
    let built = Command::new("go")
        .args(["build", "-trimpath", "-ldflags=-s -w", "-o"])
        .arg(&binary)
        .arg(".")
        .current_dir(source)
        .env("CGO_ENABLED", "0")
        .output();
    match built {
        Ok(output) if output.status.success() => Ok(binary),
        Ok(output) => Err(format!(
            "it could not be built: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
        Err(error) => Err(format!("there is no Go: {error}")),
    }
}

/// A CA and a certificate from it for 127.0.0.1, in the files by which all servers know them.
pub(crate) fn write_certificate(folder: &Path) {
    let mut authority = CertificateParams::new(Vec::new()).expect("no names");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().expect("a key");
    let root = authority.self_signed(&authority_key).expect("a CA");
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().expect("a key");
    let names = vec!["127.0.0.1".to_owned()];
    let serving = CertificateParams::new(names).expect("an address");
    let serving = serving.signed_by(&key, &issuer).expect("a certificate");
    std::fs::create_dir_all(folder).expect("a folder of ours");
    for (file, pem) in [
        ("ca.crt", root.pem()),
        ("tls.crt", serving.pem()),
        ("tls.key", key.serialize_pem()),
    ] {
        std::fs::write(folder.join(file), pem).expect("a folder of ours");
    }
}
