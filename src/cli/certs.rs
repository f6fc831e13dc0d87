//! `stellar-peers certs`: a CA and a serving certificate, for clusters without cert-manager.
//!
//! Never touches a webhook registration: the CA belongs into its `caBundle`, and whoever installs
//! puts it there. The CA's key goes into the folder alone, never into a Secret: nothing that runs
//! in the cluster needs it, and who has it can answer the API server in our place.

use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, Write as _},
    net::IpAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{
    Api, Client,
    api::{ObjectMeta, Patch, PatchParams, PostParams},
};

use crate::{
    api::names::{LABEL_NAME, STELLAR_PEERS},
    tls::{
        AUTHORITY_FILE, Authority, CERTIFICATE_FILE, GenerateError, KEY_FILE, PemPair, ServingNames,
    },
};

/// The CA's key in the folder, beside [`AUTHORITY_FILE`].
const AUTHORITY_KEY_FILE: &str = "ca.key";
/// Files that anybody may read, and keys.
const MODE_PUBLIC: u32 = 0o644;
const MODE_PRIVATE: u32 = 0o600;

/// What to make, for whom, and where to put it.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Certificates")]
pub struct CertsArgs {
    /// Folder for ca.crt, ca.key, tls.crt and tls.key; made where it is missing.
    #[arg(
        long,
        env = "STELLAR_PEERS_OUT_DIR",
        value_name = "DIR",
        required_unless_present = "secret",
        conflicts_with = "secret"
    )]
    pub out_dir: Option<PathBuf>,

    /// Secret of type kubernetes.io/tls in --own-namespace for tls.crt, tls.key and ca.crt. The
    /// CA's key is thrown away: a renewal makes a new CA.
    #[arg(long, env = "STELLAR_PEERS_SECRET", value_name = "NAME")]
    pub secret: Option<String>,

    /// Keep the CA that --out-dir holds and replace tls.crt and tls.key only, so that the
    /// caBundle stays as it is.
    #[arg(long, env = "STELLAR_PEERS_RENEW", conflicts_with_all = ["secret", "force"])]
    pub renew: bool,

    /// Replace what is there, the CA included: the caBundle has to be replaced with it.
    #[arg(long, env = "STELLAR_PEERS_FORCE")]
    pub force: bool,

    /// Service that the webhook registration names.
    #[arg(
        long,
        env = "STELLAR_PEERS_SERVICE",
        value_name = "NAME",
        default_value = STELLAR_PEERS
    )]
    pub service: String,

    /// Namespace of the Service and of the Secret.
    #[arg(
        long,
        env = "STELLAR_PEERS_OWN_NAMESPACE",
        value_name = "NS",
        default_value = STELLAR_PEERS
    )]
    pub own_namespace: String,

    /// DNS domain of the cluster.
    #[arg(
        long,
        env = "STELLAR_PEERS_CLUSTER_DOMAIN",
        value_name = "DOMAIN",
        default_value = "cluster.local"
    )]
    pub cluster_domain: String,

    /// Further DNS name of the server; may be repeated, or separated by commas.
    #[arg(
        long = "dns-name",
        env = "STELLAR_PEERS_DNS_NAME",
        value_name = "NAME",
        value_delimiter = ','
    )]
    pub dns_names: Vec<String>,

    /// Address of the server, for a registration by URL; may be repeated, or separated by commas.
    #[arg(
        long = "ip",
        env = "STELLAR_PEERS_IP",
        value_name = "IP",
        value_delimiter = ','
    )]
    pub ips: Vec<IpAddr>,

    /// Days for which the serving certificate is valid, from 1 to 36500.
    #[arg(
        long,
        env = "STELLAR_PEERS_DAYS",
        default_value_t = 365,
        value_parser = clap::value_parser!(u32).range(1..=36_500)
    )]
    pub days: u32,

    /// Days for which the CA is valid, from 1 to 36500; not fewer than --days.
    #[arg(
        long,
        env = "STELLAR_PEERS_CA_DAYS",
        default_value_t = 3650,
        value_parser = clap::value_parser!(u32).range(1..=36_500)
    )]
    pub ca_days: u32,
}

impl CertsArgs {
    fn names(&self) -> ServingNames {
        ServingNames {
            service: self.service.clone(),
            namespace: self.own_namespace.clone(),
            cluster_domain: self.cluster_domain.clone(),
            dns_names: self.dns_names.clone(),
            ips: self.ips.clone(),
        }
    }
}

/// Makes what `args` asks for and says so on stdout. `connect` is called for a Secret only.
///
/// # Errors
/// [`CertsError`], also where stdout is closed.
pub async fn run(
    args: &CertsArgs,
    connect: impl AsyncFnOnce() -> Result<Client, kube::Error>,
    now: Timestamp,
) -> Result<(), CertsError> {
    let made = make(args, connect, now).await?;
    writeln!(io::stdout(), "{made}").map_err(CertsError::Print)
}

/// [`run`] without the printing.
///
/// # Errors
/// [`CertsError`]; a file or Secret that was there is then as it was, unless the disk failed
/// between two files.
pub async fn make(
    args: &CertsArgs,
    connect: impl AsyncFnOnce() -> Result<Client, kube::Error>,
    now: Timestamp,
) -> Result<Made, CertsError> {
    let destination = match (&args.out_dir, &args.secret) {
        (Some(dir), _) => {
            write_folder(args, dir, now)?;
            Destination::Folder(dir.clone())
        }
        (None, Some(name)) => {
            let secret = new_secret(args, name, now)?;
            let client = connect().await.map_err(CertsError::Connect)?;
            write_secret(client, &secret, args).await?;
            Destination::Secret(name.clone())
        }
        (None, None) => return Err(CertsError::NoDestination),
    };
    Ok(Made {
        destination,
        namespace: args.own_namespace.clone(),
        is_renewal: args.renew,
        not_after: now + days(args.days),
    })
}

fn days(count: u32) -> Duration {
    Duration::from_hours(24) * count
}

fn write_folder(args: &CertsArgs, dir: &Path, now: Timestamp) -> Result<(), CertsError> {
    let path = |name| dir.join(name);
    let authority = if args.renew {
        let read = |name| {
            let path = path(name);
            fs::read_to_string(&path).map_err(|source| CertsError::NoAuthority { path, source })
        };
        Authority::from_pem(&read(AUTHORITY_FILE)?, &read(AUTHORITY_KEY_FILE)?)?
    } else {
        let files = [
            AUTHORITY_FILE,
            AUTHORITY_KEY_FILE,
            CERTIFICATE_FILE,
            KEY_FILE,
        ]
        .map(path);
        let existing = files.into_iter().find(|path| path.exists());
        if let Some(existing) = existing.filter(|_| !args.force) {
            return Err(CertsError::FileExists(existing));
        }
        Authority::generate(days(args.ca_days), now)?
    };
    let PemPair { certificate, key } = authority.issue(&args.names(), days(args.days), now)?;

    fs::create_dir_all(dir).map_err(|source| CertsError::Write {
        path: dir.to_owned(),
        source,
    })?;
    let replace = |name, content: &[u8], mode| {
        replace_file(dir, name, content, mode).map_err(|source| CertsError::Write {
            path: path(name),
            source,
        })
    };
    if !args.renew {
        let certificate = authority.certificate_pem();
        replace(AUTHORITY_FILE, certificate.as_bytes(), MODE_PUBLIC)?;
        let key = authority.key_pem();
        replace(AUTHORITY_KEY_FILE, key.as_bytes(), MODE_PRIVATE)?;
    }
    replace(CERTIFICATE_FILE, &certificate, MODE_PUBLIC)?;
    replace(KEY_FILE, &key, MODE_PRIVATE)
}

/// Writes a new file and moves it into place: no reader sees half of it, and `mode` holds from
/// its first byte, whatever the old file had.
fn replace_file(dir: &Path, name: &str, content: &[u8], mode: u32) -> io::Result<()> {
    let fresh = dir.join(format!(".{name}.new"));
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        // What a crash of an earlier run left is gone, or there was none.
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&fresh)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&fresh, dir.join(name))
}

fn new_secret(args: &CertsArgs, name: &str, now: Timestamp) -> Result<Secret, CertsError> {
    let authority = Authority::generate(days(args.ca_days), now)?;
    let PemPair { certificate, key } = authority.issue(&args.names(), days(args.days), now)?;
    let data = [
        (CERTIFICATE_FILE, certificate),
        (KEY_FILE, key),
        (AUTHORITY_FILE, authority.certificate_pem().into()),
    ];
    Ok(Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(args.own_namespace.clone()),
            labels: Some(BTreeMap::from([(LABEL_NAME.into(), STELLAR_PEERS.into())])),
            ..Default::default()
        },
        type_: Some("kubernetes.io/tls".to_owned()),
        data: Some(data.map(|(key, pem)| (key.into(), ByteString(pem))).into()),
        ..Default::default()
    })
}

/// Creates the Secret, which fails where it exists, or with `--force` applies it.
async fn write_secret(client: Client, secret: &Secret, args: &CertsArgs) -> Result<(), CertsError> {
    let api = Api::<Secret>::namespaced(client, &args.own_namespace);
    let name = secret.metadata.name.as_deref().unwrap_or_default();
    let written = if args.force {
        let params = PatchParams::apply(STELLAR_PEERS).force();
        api.patch(name, &params, &Patch::Apply(secret)).await
    } else {
        let params = PostParams {
            field_manager: Some(STELLAR_PEERS.to_owned()),
            ..Default::default()
        };
        api.create(&params, secret).await
    };
    let secret = || format!("{}/{name}", args.own_namespace);
    match written {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_already_exists() => {
            Err(CertsError::SecretExists(secret()))
        }
        Err(source) => Err(CertsError::Secret {
            secret: secret(),
            source,
        }),
    }
}

/// What was made. `Display` is what the command prints: the fact, then what to do with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    destination: Destination,
    namespace: String,
    is_renewal: bool,
    not_after: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Destination {
    Folder(PathBuf),
    Secret(String),
}

impl fmt::Display for Made {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            namespace,
            not_after,
            ..
        } = self;
        match &self.destination {
            Destination::Folder(dir) if self.is_renewal => {
                let dir = dir.display();
                writeln!(
                    f,
                    "Renewed {dir}/tls.crt and tls.key with the CA that was there, valid until \
                     {not_after:.0}."
                )?;
                write!(
                    f,
                    "Next: put both into the Secret that is mounted at --tls-dir; the caBundle \
                     stays."
                )
            }
            Destination::Folder(dir) => {
                let dir = dir.display();
                writeln!(
                    f,
                    "Wrote ca.crt, ca.key, tls.crt and tls.key to {dir}, valid until \
                     {not_after:.0}."
                )?;
                writeln!(
                    f,
                    "Next: kubectl -n {namespace} create secret generic stellar-peers-tls \
                     --type=kubernetes.io/tls --from-file={dir}/tls.crt --from-file={dir}/tls.key \
                     --from-file={dir}/ca.crt"
                )?;
                write!(
                    f,
                    "Put `base64 -w0 {dir}/ca.crt` into the registration's caBundle, and keep \
                     ca.key out of the cluster: only `certs --renew` needs it."
                )
            }
            Destination::Secret(name) => {
                writeln!(
                    f,
                    "Wrote Secret {namespace}/{name} with tls.crt, tls.key and ca.crt, valid until \
                     {not_after:.0}."
                )?;
                write!(
                    f,
                    "Next: mount it at --tls-dir, and put the CA into the registration's \
                     caBundle: kubectl -n {namespace} get secret {name} -o \
                     jsonpath='{{.data.ca\\.crt}}'"
                )
            }
        }
    }
}

/// Why no certificate was made or kept.
#[derive(Debug, thiserror::Error)]
pub enum CertsError {
    /// Neither a folder nor a Secret was named.
    #[error("nowhere to write to; give --out-dir or --secret")]
    NoDestination,
    /// A file of an earlier run. Nothing was written.
    #[error("{0} exists; --renew keeps the CA and renews the rest, --force replaces all")]
    FileExists(PathBuf),
    /// `--renew` without a CA to renew with.
    #[error("cannot read {path}; --renew needs ca.crt and ca.key of an earlier run")]
    NoAuthority {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk is full, or the folder belongs to somebody else.
    #[error("cannot write {path}; choose another --out-dir or make room")]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A flag that no certificate can be made from, or a CA that cannot sign.
    #[error("no certificate could be made; nothing was written")]
    Generate(#[from] GenerateError),
    /// No kubeconfig, or one that is not usable.
    #[error("no access to a cluster; check --kubeconfig and --context")]
    Connect(#[source] kube::Error),
    /// A Secret of that name. Nothing was written.
    #[error("Secret {0} exists; --force replaces its certificate and its CA")]
    SecretExists(String),
    /// The API server refused or was not reached. Trying again is safe.
    #[error(
        "cannot write Secret {secret}; it takes `create`, and with --force `patch`, on secrets \
         there, and one of another type must be deleted first"
    )]
    Secret {
        /// Its namespace and name.
        secret: String,
        /// What the API server said.
        source: kube::Error,
    },
    /// Stdout is closed. The certificates are written.
    #[error("cannot say on stdout what was made; it is made")]
    Print(#[source] io::Error),
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, os::unix::fs::PermissionsExt as _};

    use clap::Parser;
    use http::{Method, Request, Response};
    use http_body_util::BodyExt as _;
    use kube::client::Body;
    use serde_json::{Value, json};
    use tokio::sync::mpsc;

    use super::*;
    use crate::tls::load_files;

    const NOON: Timestamp = Timestamp::constant(1_780_000_000, 0);

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: CertsArgs,
    }

    fn parse(flags: &[&str]) -> Result<CertsArgs, clap::Error> {
        let name = std::iter::once(&"certs");
        Cli::try_parse_from(name.chain(flags)).map(|cli| cli.args)
    }

    async fn into(dir: &Path, flags: &[&str]) -> Result<Made, CertsError> {
        let out_dir = format!("--out-dir={}", dir.display());
        let flags = [&[out_dir.as_str()], flags].concat();
        let args = parse(&flags).unwrap();
        make(&args, async || unreachable!("no cluster is needed"), NOON).await
    }

    fn read(dir: &Path, name: &str) -> Vec<u8> {
        fs::read(dir.join(name)).unwrap()
    }

    #[test]
    fn the_arguments_are_well_formed() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_destination_is_needed_and_only_one() {
        assert!(parse(&[]).is_err());
        assert!(parse(&["--out-dir=a", "--secret=b"]).is_err());
        assert!(parse(&["--secret=b", "--renew"]).is_err());
        assert!(parse(&["--out-dir=a", "--days=0"]).is_err());
        let args = parse(&["--secret=b", "--ip=10.0.0.1,10.0.0.2", "--ip=::1"]).unwrap();
        assert_eq!(args.ips.len(), 3);
        assert_eq!((args.days, args.ca_days), (365, 3650));
    }

    #[tokio::test]
    async fn a_folder_gets_a_pair_that_serves_and_keys_that_only_the_owner_reads() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("new/certs");
        let made = into(&dir, &["--ip=127.0.0.1"]).await.unwrap();
        let certificate = load_files(&dir).unwrap();
        assert_eq!(certificate.not_after(), NOON + days(365));
        for (name, expected) in [
            (AUTHORITY_FILE, MODE_PUBLIC),
            (AUTHORITY_KEY_FILE, MODE_PRIVATE),
            (CERTIFICATE_FILE, MODE_PUBLIC),
            (KEY_FILE, MODE_PRIVATE),
        ] {
            let granted = fs::metadata(dir.join(name)).unwrap().permissions().mode();
            assert_eq!(granted & 0o777 & !expected, 0, "{name}: {granted:o}");
        }
        assert_eq!(
            fs::read_dir(&dir).unwrap().count(),
            4,
            "nothing else is left"
        );
        let text = made.to_string();
        assert_eq!(text.lines().count(), 3);
        assert!(text.contains(&dir.display().to_string()) && text.contains("caBundle"));
    }

    #[tokio::test]
    async fn what_is_there_stays_without_force() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(KEY_FILE), "mine").unwrap();
        let error = into(dir.path(), &[]).await.unwrap_err();
        assert!(error.to_string().contains("tls.key exists; "), "{error}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);

        into(dir.path(), &["--force"]).await.unwrap();
        load_files(dir.path()).unwrap();
        let key = fs::metadata(dir.path().join(KEY_FILE)).unwrap();
        assert_eq!(key.permissions().mode() & 0o777, MODE_PRIVATE);
    }

    #[tokio::test]
    async fn renew_keeps_the_ca() {
        let dir = tempfile::tempdir().unwrap();
        let error = into(dir.path(), &["--renew"]).await.unwrap_err();
        assert!(matches!(error, CertsError::NoAuthority { .. }));

        into(dir.path(), &[]).await.unwrap();
        let (authority, key) = (read(dir.path(), AUTHORITY_FILE), read(dir.path(), KEY_FILE));
        let made = into(dir.path(), &["--renew", "--days=30"]).await.unwrap();
        assert_eq!(read(dir.path(), AUTHORITY_FILE), authority);
        assert_ne!(read(dir.path(), KEY_FILE), key);
        let certificate = load_files(dir.path()).unwrap();
        assert_eq!(certificate.not_after(), NOON + days(30));
        assert!(made.to_string().contains("the caBundle stays"));
    }

    #[tokio::test]
    async fn a_flag_that_makes_no_certificate_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        for flags in [
            ["--days=20", "--ca-days=10"],
            ["--dns-name=a b", "--days=1"],
        ] {
            let error = into(dir.path(), &flags).await.unwrap_err();
            assert!(matches!(error, CertsError::Generate(_)), "{error}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    /// A cluster that answers each write with `status`, and what was written to it.
    fn cluster(status: u16, answer: Value) -> (Client, mpsc::UnboundedReceiver<(Method, Value)>) {
        let (seen, writes) = mpsc::unbounded_channel();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (seen, answer) = (seen.clone(), answer.clone());
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let body = serde_json::from_slice::<Value>(&body).unwrap();
                seen.send((head.method, body.clone())).unwrap();
                let answer = if answer.is_null() { body } else { answer };
                let answer = Body::from(serde_json::to_vec(&answer).unwrap());
                let response = Response::builder().status(status).body(answer);
                Ok::<_, Infallible>(response.unwrap())
            }
        });
        (Client::new(service, "default"), writes)
    }

    fn refusal(code: u16, reason: &str) -> Value {
        json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason })
    }

    #[tokio::test]
    async fn a_secret_is_created_with_a_pair_that_serves_and_without_the_cas_key() {
        let (client, mut writes) = cluster(201, Value::Null);
        let args = parse(&["--secret=peers-tls", "--own-namespace=ops"]).unwrap();
        let made = make(&args, async || Ok(client), NOON).await.unwrap();
        let (method, body) = writes.recv().await.unwrap();
        assert_eq!(method, Method::POST);
        let secret: Secret = serde_json::from_value(body).unwrap();
        assert_eq!(secret.type_.as_deref(), Some("kubernetes.io/tls"));
        let data = secret.data.unwrap();
        assert!(data.keys().eq([AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE]));
        let pair = PemPair {
            certificate: data[CERTIFICATE_FILE].0.clone(),
            key: data[KEY_FILE].0.clone(),
        };
        crate::tls::ServingCertificate::from_pem(&pair, "the Secret").unwrap();
        assert!(made.to_string().contains("get secret peers-tls -o"));
    }

    #[tokio::test]
    async fn a_secret_that_exists_stays_without_force() {
        let (client, _writes) = cluster(409, refusal(409, "AlreadyExists"));
        let args = parse(&["--secret=peers-tls"]).unwrap();
        let error = make(&args, async || Ok(client), NOON).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "Secret stellar-peers/peers-tls exists; --force replaces its certificate and its CA"
        );

        let (client, mut writes) = cluster(200, Value::Null);
        let args = parse(&["--secret=peers-tls", "--force"]).unwrap();
        make(&args, async || Ok(client), NOON).await.unwrap();
        assert_eq!(writes.recv().await.unwrap().0, Method::PATCH);
    }

    #[tokio::test]
    async fn a_refused_secret_names_the_rights_that_it_takes() {
        let (client, _writes) = cluster(403, refusal(403, "Forbidden"));
        let args = parse(&["--secret=peers-tls"]).unwrap();
        let error = make(&args, async || Ok(client), NOON).await.unwrap_err();
        assert!(error.to_string().contains("`create`"), "{error}");
    }
}
