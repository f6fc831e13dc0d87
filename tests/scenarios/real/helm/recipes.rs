//! The commands of the pages about installing, as they stand there.

use std::{os::unix::fs::symlink, path::Path, sync::Arc, time::Duration};

use tokio::process::Command;

use super::{Installation, SECRET, upgrading::Admissions};
use crate::real::control_plane::{ControlPlane, User, eventually};

const SOON: Duration = Duration::from_mins(1);

/// The shell commands of a page, one text for each block.
pub(super) fn blocks(page: &str, fence: &str) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join(page)).expect("the page is there");
    let fence = format!("{fence}\n");
    let blocks = page.split(&fence).skip(1);
    blocks
        .filter_map(|it| it.split("```").next())
        .map(str::to_owned)
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a control plane: make e2e"]
async fn the_commands_that_install_and_uninstall_work() {
    let installation = Installation::bare("stellar-peers").await;
    for (page, heading) in [
        ("README.md", "## Install it\n\nWith Helm"),
        ("charts/stellar-peers/README.md", "# "),
    ] {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(root.join(page)).expect("the page is there");
        let (_, text) = text.split_once(heading).expect("the heading is there");
        let (_, block) = text.split_once("helm install").expect("it is told");
        let (install, test) = block.split_once("helm test").expect("it is told");
        assert_eq!(
            test.lines().next(),
            Some(" stellar-peers --namespace stellar-peers")
        );
        installation.shell(&format!("helm install{install}")).await;
        installation.roll_out().await;
        installation.injects("default").await;
        installation.passes_its_test().await;
        let uninstall = blocks("charts/stellar-peers/README.md", "```sh").pop();
        installation.shell(&uninstall.expect("it is told")).await;
        installation.end_pods().await;
        assert!(installation.secret(SECRET).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a control plane: make e2e"]
async fn the_recipe_for_certificates_of_ones_own_works_without_a_failed_admission() {
    let installation = Arc::new(Installation::bare("stellar-peers").await);
    let recipe = blocks("certs/README.md", "```sh");
    let [make, install, renew, replace, trust] = &recipe[..] else {
        panic!("the page has five recipes");
    };
    installation.shell(make).await;
    installation.shell(install).await;
    installation.shell("helm upgrade stellar-peers charts/stellar-peers --namespace stellar-peers --reuse-values --set webhook.failurePolicy=Fail").await;
    installation.roll_out().await;
    installation.injects("default").await;
    let admissions = Admissions::start(&installation);
    installation.shell(renew).await;
    installation.takes_up_its_certificate().await;
    installation.shell(replace).await;
    installation.takes_up_its_certificate().await;
    installation.shell(trust).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (done, faults) = admissions.end().await;
    assert_eq!(faults, Vec::<String>::new(), "of {done}");
    assert_eq!(installation.refused(), []);
    installation.end_pods().await;
}

impl Installation {
    /// Runs these lines as a person at the root of the repository does, but for a folder of its own.
    pub(super) async fn shell(&self, lines: &str) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = self.folder.path().join("shell");
        if !folder.exists() {
            std::fs::create_dir_all(&folder).expect("a folder");
            for name in ["charts", "certs", "webhook-config"] {
                symlink(root.join(name), folder.join(name)).expect("a link");
            }
            symlink(root.join("tests/charts/stellar"), folder.join("stellar")).expect("a link");
        }
        let binary = Path::new(env!("CARGO_BIN_EXE_stellar-peers"))
            .parent()
            .expect("it is in a folder");
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!(
            "{}:{}:{path}",
            binary.display(),
            ControlPlane::default_bin_dir().display()
        );
        let mut command = Command::new("bash");
        command
            .args(["-euo", "pipefail", "-c", lines])
            .current_dir(&folder)
            .env("PATH", path);
        command.env("KUBECONFIG", self.plane.kubeconfig_for(User::Admin));
        let output = command.output().await.expect("there is bash");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{lines}: {said}");
    }

    /// The kubelet writes the Secret as it is now, and each replica serves with that certificate then.
    async fn takes_up_its_certificate(&self) {
        let replicas = self.replicas();
        let loads = |text: &str| text.matches("Loaded serving certificate").count();
        let before: Vec<usize> = replicas.iter().map(|pod| loads(&pod.log())).collect();
        self.refresh_mounts().await;
        eventually("each replica has loaded it", SOON, async || {
            let now = replicas.iter().map(|pod| loads(&pod.log()));
            now.zip(&before).all(|(now, before)| now > *before)
        })
        .await;
    }
}
