//! What a kubelet does before stellar-core starts: it lays mounted files out, and runs the init containers that matter:
//! ours, and the script of SDF's chart.
//!
//! No rig runs containers. This runs their own command lines, with their own mounts, and so stands for them on both.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use k8s_openapi::api::core::v1::{ConfigMap, Container, Pod, PodSpec, Volume, VolumeMount};
use kube::{Api, Client};
use stellar_peers::api::names;
use tempfile::TempDir;

/// The content of ConfigMaps as pods that start now have them mounted.
pub(crate) type Mounted = BTreeMap<String, BTreeMap<String, String>>;

/// The ConfigMaps that a pod mounts, as the API server has them now.
pub(crate) async fn mounted(client: &Client, namespace: &str, pod: &Pod) -> kube::Result<Mounted> {
    let maps = Api::<ConfigMap>::namespaced(client.clone(), namespace);
    let mut mounted = Mounted::new();
    for name in config_maps_of(pod) {
        if let Some(map) = maps.get_opt(&name).await? {
            mounted.insert(name, map.data.unwrap_or_default());
        }
    }
    Ok(mounted)
}

fn config_maps_of(pod: &Pod) -> Vec<String> {
    let volumes = pod.spec.iter().flat_map(|spec| &spec.volumes).flatten();
    let sources = volumes.filter_map(|volume| volume.config_map.as_ref());
    sources.map(|source| source.name.clone()).collect()
}

/// The configuration that the core container of a pod reads when it starts, from the file that `--conf` or the
/// operator's image names.
pub(crate) fn configuration(pod: &Pod, mounted: &Mounted) -> String {
    let spec = pod.spec.as_ref().expect("a pod has a spec");
    let ips = pod.status.iter().flat_map(|status| &status.pod_ips);
    let ips: Vec<&str> = ips.flatten().map(|it| it.ip.as_str()).collect();
    let volumes = Volumes::lay_out(spec, mounted);
    for container in spec.init_containers.iter().flatten() {
        if container.name == names::RENDER_CONTAINER {
            volumes.run(container, &ips.join(","));
        }
        if let [shell, script] = container.command.as_deref().unwrap_or_default()
            && shell == "/bin/bash"
        {
            volumes.run_script(container, script);
        }
    }
    let is_core = |it: &&Container| names::CORE_CONTAINERS.contains(&it.name.as_str());
    let core = spec.containers.iter().find(is_core);
    let core = core.expect("the pod runs stellar-core");
    let mut arguments = core.args.iter().flatten();
    let named = arguments
        .find(|it| *it == "--conf")
        .and_then(|_| arguments.next());
    let path = named.map_or("/config/stellar-core.cfg", String::as_str);
    let file = volumes.file(core, path);
    fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The volumes of one pod, each a folder.
struct Volumes(TempDir);

impl Volumes {
    fn lay_out(spec: &PodSpec, mounted: &Mounted) -> Self {
        let volumes = Self(TempDir::new().expect("a temporary folder"));
        for volume in spec.volumes.iter().flatten() {
            let folder = volumes.folder(&volume.name);
            fs::create_dir_all(&folder).expect("a folder");
            if volume.image.is_some() {
                let binary = env!("CARGO_BIN_EXE_stellar-peers");
                symlink(binary, folder.join("stellar-peers")).expect("a link");
            }
            if let Some(data) = data_of(volume, mounted) {
                publish(&folder, "..first", data);
            }
        }
        volumes
    }

    fn folder(&self, volume: &str) -> PathBuf {
        self.0.path().join(volume)
    }

    /// The command line of a container, where each path below one of its mounts is that of the mounted folder.
    fn run(&self, container: &Container, pod_ips: &str) {
        let here = |argument: &String| match argument.split_once('=') {
            Some((flag, path)) if path.starts_with('/') => {
                format!("{flag}={}", self.file(container, path).display())
            }
            _ => argument.clone(),
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_stellar-peers"));
        command.args(container.args.iter().flatten().map(here));
        command.env_clear();
        for variable in container.env.iter().flatten() {
            let source = variable.value_from.as_ref();
            let field = source.and_then(|it| Some(it.field_ref.as_ref()?.field_path.as_str()));
            assert_eq!(field, Some("status.podIPs"), "{variable:?}");
            command.env(&variable.name, pod_ips);
        }
        let output = command.output().expect("our binary starts");
        assert!(output.status.success(), "{output:?}");
    }

    /// A script of a container, in which each mounted path is that of the mounted folder. stellar-core does nothing.
    fn run_script(&self, container: &Container, script: &str) {
        let text = fs::read_to_string(self.file(container, script)).expect("the script is there");
        let mut mounts: Vec<_> = container.volume_mounts.iter().flatten().collect();
        mounts.sort_by_key(|mount| std::cmp::Reverse(mount.mount_path.len()));
        let text = mounts.iter().fold(text, |text, mount| {
            let folder = self.folder(&mount.name).display().to_string();
            text.replace(&mount.mount_path, &folder)
        });
        let text = format!("stellar-core() {{ :; }}\n{text}");
        let mut command = Command::new("/bin/bash");
        command.args(["-c", &text]).env_clear();
        command
            .env("PATH", "/usr/bin:/bin")
            .env("TMPDIR", self.0.path());
        let output = command.output().expect("there is bash");
        assert!(output.status.success(), "{output:?}");
    }

    /// Where a path of a container is: in the innermost mount that has it.
    fn file(&self, container: &Container, path: &str) -> PathBuf {
        let below = |mount: &VolumeMount| {
            let rest = path.strip_prefix(mount.mount_path.trim_end_matches('/'))?;
            let folder = self.folder(&mount.name);
            let part = folder.join(mount.sub_path.as_deref().unwrap_or_default());
            let file = match rest.strip_prefix('/') {
                Some(rest) => part.join(rest),
                None if rest.is_empty() => part,
                None => return None,
            };
            Some((mount.mount_path.len(), file))
        };
        let mounts = container.volume_mounts.iter().flatten();
        let innermost = mounts.filter_map(below).max_by_key(|(length, _)| *length);
        innermost
            .unwrap_or_else(|| panic!("{path} is mounted in {}", container.name))
            .1
    }
}

fn data_of<'a>(volume: &Volume, mounted: &'a Mounted) -> Option<&'a BTreeMap<String, String>> {
    mounted.get(&volume.config_map.as_ref()?.name)
}

/// Keys as the kubelet lays them out: file → `..data/file` → `<version>/file`, swapped at once.
pub(crate) fn publish<T: AsRef<[u8]>>(mount: &Path, version: &str, data: &BTreeMap<String, T>) {
    fs::create_dir_all(mount.join(version)).expect("a folder");
    for (name, content) in data {
        fs::write(mount.join(version).join(name), content).expect("a file");
    }
    symlink(version, mount.join("..data_tmp")).expect("a link");
    fs::rename(mount.join("..data_tmp"), mount.join("..data")).expect("a link");
    for name in data.keys().filter(|name| !mount.join(name).exists()) {
        symlink(Path::new("..data").join(name), mount.join(name)).expect("a link");
    }
}
