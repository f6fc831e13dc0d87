//! The kubelet's part: containers of the chart as processes.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Container, PodSpec, Secret, Volume},
};
use kube::Api;

use super::{Installation, RELEASE};
use crate::{
    kubelet::publish,
    real::{
        control_plane::{Process, eventually},
        free_port, http,
    },
};

const PATIENCE: Duration = Duration::from_mins(1);

/// One replica.
pub(crate) struct Pod {
    process: std::sync::Mutex<Option<Process>>,
    pub(crate) webhook: Option<SocketAddr>,
    pub(crate) http_port: u16,
    /// How long it goes on serving while it is taken out of the Service.
    pre_stop: Duration,
    mounts: Vec<Mount>,
}

/// A mounted Secret or ConfigMap.
struct Mount {
    source: Source,
    folder: PathBuf,
}

/// Where the files of a mount are from.
enum Source {
    Secret(String),
    ConfigMap(String),
}

impl Installation {
    /// Starts as many replicas as the Deployment says and puts them behind the Service once they are ready, as a
    /// rolling update does: each one of before is taken away when a new one is ready.
    pub(crate) async fn roll_out(&self) {
        let (count, template) = self.deployment().await;
        let mut old = self.replicas().into_iter();
        // A Deployment starts its first replicas at once, and then replaces one after the other.
        let at_once = if old.len() == 0 { count } else { 1 };
        for _ in (0..count).step_by(at_once) {
            let mut new = Vec::new();
            for _ in 0..at_once {
                new.push(Arc::new(self.start(&template).await));
            }
            for pod in new {
                self.take_in(pod).await;
                self.take_away(old.next()).await;
            }
        }
        for pod in old {
            self.take_away(Some(pod)).await;
        }
    }

    /// Ends all replicas, as the kubelet does for a Deployment that is gone.
    pub(crate) async fn end_pods(&self) {
        for pod in self.replicas() {
            self.take_away(Some(pod)).await;
        }
    }

    /// Kills a replica as by kill -9. It is out of the Service at once: a kubelet sees its container end. What it was
    /// answering just then nobody answers.
    pub(crate) async fn kill(&self, pod: &Arc<Pod>) {
        self.lock().retain(|other| !Arc::ptr_eq(other, pod));
        self.put_behind_service().await;
        drop(pod.process.lock().expect("nobody panicked").take());
    }

    /// Starts one more replica as the Deployment has it, and puts it behind the Service once it is ready.
    pub(crate) async fn start_another(&self) {
        let (_, template) = self.deployment().await;
        let pod = Arc::new(self.start(&template).await);
        self.take_in(pod).await;
    }

    /// How many replicas the Deployment wants, and of what.
    async fn deployment(&self) -> (usize, PodSpec) {
        let deployments = Api::<Deployment>::namespaced(self.admin.clone(), self.namespace);
        let deployment = deployments.get(RELEASE).await;
        let deployment = deployment.expect("the chart has a Deployment");
        let spec = deployment.spec.expect("it has a spec");
        let count = usize::try_from(spec.replicas.unwrap_or(1)).expect("a count");
        (count, spec.template.spec.expect("it has pods"))
    }

    /// Puts a replica behind the Service once it is ready.
    async fn take_in(&self, pod: Arc<Pod>) {
        eventually("a new replica is ready", PATIENCE, async || {
            pod.assert_runs();
            pod.is_ready().await
        })
        .await;
        self.lock().push(pod);
        self.put_behind_service().await;
    }

    /// What replicas have mounted, anew: as the kubelet does within a minute.
    pub(crate) async fn refresh_mounts(&self) {
        for mount in self.replicas().iter().flat_map(|pod| &pod.mounts) {
            publish(&mount.folder, &version(), &self.files(&mount.source).await);
        }
    }

    pub(crate) async fn is_ready(&self) -> bool {
        let pods = self.replicas();
        for pod in &pods {
            if !pod.is_ready().await {
                return false;
            }
        }
        !pods.is_empty()
    }

    pub(crate) fn replicas(&self) -> Vec<Arc<Pod>> {
        self.lock().clone()
    }

    pub(crate) fn log_tail(&self) -> String {
        let tails: Vec<String> = self.lock().iter().map(|pod| pod.log_tail()).collect();
        tails.join("\n\n")
    }

    pub(crate) async fn secret(&self, name: &str) -> BTreeMap<String, Vec<u8>> {
        let secrets = Api::<Secret>::namespaced(self.admin.clone(), self.namespace);
        let secret = secrets.get_opt(name).await.expect("the API server answers");
        let data = secret.and_then(|secret| secret.data).unwrap_or_default();
        data.into_iter()
            .map(|(key, value)| (key, value.0))
            .collect()
    }

    async fn files(&self, source: &Source) -> BTreeMap<String, Vec<u8>> {
        match source {
            Source::Secret(name) => self.secret(name).await,
            Source::ConfigMap(name) => {
                let maps = Api::<ConfigMap>::namespaced(self.admin.clone(), self.namespace);
                let map = maps.get(name).await.expect("a pod waits for its ConfigMap");
                let data = map.data.unwrap_or_default().into_iter();
                data.map(|(key, text)| (key, text.into_bytes())).collect()
            }
        }
    }

    /// Starts the one container of a pod.
    async fn start(&self, template: &PodSpec) -> Pod {
        let [container] = &template.containers[..] else {
            panic!("the pod has one container");
        };
        let folder = self.folder.path().join(format!("pod-{}", free_port()));
        let mounts = self.mount(template, container, &folder).await;
        let (webhook, http_port) = (
            SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())),
            free_port(),
        );
        let mut arguments = container.args.clone().unwrap_or_default();
        let serves = arguments
            .iter()
            .any(|it| it.starts_with("--webhook-listen="));
        for argument in &mut arguments {
            let Some((flag, value)) = argument.split_once('=') else {
                continue;
            };
            let here = match flag {
                "--webhook-listen" => webhook.to_string(),
                "--http-listen" => format!("127.0.0.1:{http_port}"),
                _ => match mounts.iter().find_map(|it| it.1.in_it(&it.0, value)) {
                    Some(path) => path.display().to_string(),
                    None => continue,
                },
            };
            *argument = format!("{flag}={here}");
        }
        let account = template
            .service_account_name
            .as_deref()
            .unwrap_or("default");
        let environment = self.environment(container, account).await;
        let process = spawn(&folder, &arguments, &environment);
        Pod {
            process: std::sync::Mutex::new(Some(process)),
            webhook: serves.then_some(webhook),
            http_port,
            pre_stop: pre_stop(container),
            mounts: mounts.into_iter().map(|(_, mount)| mount).collect(),
        }
    }

    /// What the container mounts, with the paths at which it looks for it.
    async fn mount(
        &self,
        template: &PodSpec,
        container: &Container,
        folder: &Path,
    ) -> Vec<(String, Mount)> {
        let mut mounts = Vec::new();
        for mount in container.volume_mounts.iter().flatten() {
            let volume = template
                .volumes
                .iter()
                .flatten()
                .find(|volume| volume.name == mount.name);
            let source = volume.and_then(Source::of);
            let source = source.expect("the chart mounts Secrets and ConfigMaps, and nothing else");
            let folder = folder.join(&mount.name);
            publish(&folder, &version(), &self.files(&source).await);
            mounts.push((mount.mount_path.clone(), Mount { source, folder }));
        }
        mounts
    }

    /// The container's environment, and a kubeconfig with a token of its account.
    pub(super) async fn environment(
        &self,
        container: &Container,
        account: &str,
    ) -> Vec<(String, String)> {
        let kubeconfig = self
            .plane
            .kubeconfig_for_service_account(self.namespace, account)
            .await;
        let given = container.env.iter().flatten();
        let given =
            given.filter_map(|variable| Some((variable.name.clone(), variable.value.clone()?)));
        let access = (
            "STELLAR_PEERS_KUBECONFIG".to_owned(),
            kubeconfig.display().to_string(),
        );
        given.chain([access]).collect()
    }

    /// The Service's endpoints are the replicas that there are.
    async fn put_behind_service(&self) {
        let endpoints: Vec<SocketAddr> = self.lock().iter().filter_map(|pod| pod.webhook).collect();
        for asked in self.asked().await {
            self.plane.route(&asked, &endpoints);
        }
    }

    /// Out of the Service, then the hook before the stop, then the signal.
    async fn take_away(&self, pod: Option<Arc<Pod>>) {
        let Some(pod) = pod else { return };
        self.lock().retain(|other| !Arc::ptr_eq(other, &pod));
        let services = Api::<k8s_openapi::api::core::v1::Service>::namespaced(
            self.admin.clone(),
            self.namespace,
        );
        let service = services.get_opt(RELEASE).await;
        if service.expect("the API server answers").is_some() {
            self.put_behind_service().await;
        }
        tokio::time::sleep(pod.pre_stop).await;
        let process = pod.process.lock().expect("nobody panicked").take();
        let ending = tokio::task::spawn_blocking(move || process.map(Process::terminate));
        let ended = ending
            .await
            .expect("the thread ends")
            .expect("it ran")
            .expect("it can be waited for");
        let ended = ended.expect("it ended in time");
        assert!(ended.success(), "a replica that was told to stop: {ended}");
    }
}

impl Source {
    fn of(volume: &Volume) -> Option<Self> {
        let secret = volume.secret.as_ref();
        let secret = secret.and_then(|it| it.secret_name.clone());
        let map = volume.config_map.as_ref().map(|it| it.name.clone());
        secret.map(Self::Secret).or(map.map(Self::ConfigMap))
    }
}

impl Mount {
    /// Where a file or the folder itself is that the container looks for at `path`.
    fn in_it(&self, mount_path: &str, path: &str) -> Option<PathBuf> {
        let below = Path::new(path).strip_prefix(mount_path).ok()?;
        Some(self.folder.join(below))
    }
}

impl Pod {
    /// # Panics
    /// Where it has ended by itself, with the end of its log.
    fn assert_runs(&self) {
        let end = self.end();
        assert!(
            end.is_none(),
            "a replica ended with {}",
            end.unwrap_or_default()
        );
    }

    /// How it ended, where it did so by itself, with the end of its log.
    pub(crate) fn end(&self) -> Option<String> {
        let mut process = self.process.lock().expect("nobody panicked");
        let process = process.as_mut()?;
        let end = process.ended().expect("it is our child")?;
        Some(format!("{end}:\n{}", process.log_tail()))
    }

    /// While it runs.
    pub(crate) fn process_id(&self) -> Option<u32> {
        let process = self.process.lock().expect("nobody panicked");
        process.as_ref().map(Process::id)
    }

    async fn is_ready(&self) -> bool {
        let answer = http(self.http_port, "/readyz").await;
        answer.is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    pub(crate) fn log(&self) -> String {
        let process = self.process.lock().expect("nobody panicked");
        process.as_ref().map(Process::log_text).unwrap_or_default()
    }

    fn log_tail(&self) -> String {
        let process = self.process.lock().expect("nobody panicked");
        process.as_ref().map(Process::log_tail).unwrap_or_default()
    }
}

pub(super) fn spawn(
    folder: &Path,
    arguments: &[String],
    environment: &[(String, String)],
) -> Process {
    fs::create_dir_all(folder).expect("a folder");
    let binary = Path::new(env!("CARGO_BIN_EXE_stellar-peers"));
    let bin_dir = binary.parent().expect("a binary is in a folder");
    let process = Process::spawn_with("stellar-peers", bin_dir, folder, arguments, environment);
    process.expect("our binary starts")
}

fn pre_stop(container: &Container) -> Duration {
    let hook = container
        .lifecycle
        .as_ref()
        .and_then(|it| it.pre_stop.as_ref());
    let sleep = hook
        .and_then(|it| it.sleep.as_ref())
        .map_or(0, |it| it.seconds);
    Duration::from_secs(sleep.try_into().expect("not negative"))
}

/// A name that no version of a mount had before.
fn version() -> String {
    format!("..{}", free_port())
}
