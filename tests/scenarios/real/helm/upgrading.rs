//! Upgrades and rollbacks while validators are created.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use k8s_openapi::api::{admissionregistration::v1::MutatingWebhookConfiguration, core::v1::Secret};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use super::{Installation, NAMESPACE, RELEASE, SECRET};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a control plane: make e2e"]
async fn two_upgrades_keep_the_ca_and_fail_no_admission() {
    let installation = Arc::new(Installation::prepare().await);
    // A call that fails would refuse the write then.
    let fails = "webhook.failurePolicy=Fail";
    installation.apply("install", &[fails]).await;
    installation.roll_out().await;
    installation.injects("default").await;
    let made = installation.authority().await;
    assert!(!made.is_empty());

    let admissions = Admissions::start(&installation);
    for values in [
        [fails, "podLabels.upgrade=one"],
        [fails, "podLabels.upgrade=two"],
    ] {
        installation.apply("upgrade", &values).await;
        installation.roll_out().await;
        assert_eq!(installation.authority().await, made);
    }
    let chart = super::chart().display().to_string();
    installation
        .helm(&[
            "upgrade",
            RELEASE,
            &chart,
            "--reuse-values",
            "--set",
            "podLabels.upgrade=three",
        ])
        .await;
    installation.roll_out().await;
    assert_eq!(installation.authority().await, made);
    installation.helm(&["rollback", RELEASE, "1"]).await;
    installation.roll_out().await;
    assert_eq!(installation.authority().await, made);
    let (done, faults) = admissions.end().await;
    assert_eq!(faults, Vec::<String>::new(), "of {done}");
    assert!(done > 100, "only {done} admissions were tried");
    assert_eq!(installation.refused(), []);
    installation.end_pods().await;
}

/// Helm merges three ways: what the last revision rendered, what this one renders, and what is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a control plane: make e2e"]
async fn what_the_program_renewed_no_upgrade_and_no_rollback_puts_back() {
    for mode in ["tls.mode=helm", "tls.mode=self"] {
        let installation = Installation::prepare().await;
        installation.apply("install", &[mode]).await;
        installation.apply("upgrade", &[mode]).await;
        let installed = installation.certificate_state().await;
        let is_rendered = mode == "tls.mode=helm";
        assert_eq!(
            installed[SECRET]
                .as_object()
                .is_some_and(|data| data.len() == 4),
            is_rendered,
            "{installed:#}"
        );
        assert_eq!(
            installed["caBundle"][0].is_string(),
            is_rendered,
            "{installed:#}"
        );

        let renewed = installation.renew_as_the_program_does().await;
        let again = |state: &Value, what: &str| assert_eq!(*state, renewed, "{mode}: {what}");
        installation
            .apply("upgrade", &[mode, "podLabels.upgrade=one"])
            .await;
        again(&installation.certificate_state().await, "an upgrade");
        let chart = super::chart().display().to_string();
        installation
            .helm(&["upgrade", RELEASE, &chart, "--reuse-values"])
            .await;
        again(
            &installation.certificate_state().await,
            "an upgrade with the values of before",
        );
        installation.helm(&["rollback", RELEASE, "3"]).await;
        again(
            &installation.certificate_state().await,
            "a rollback to after the renewal",
        );
        installation.helm(&["rollback", RELEASE, "2"]).await;
        let rolled_back = installation.certificate_state().await;
        assert_eq!(
            rolled_back[SECRET], renewed[SECRET],
            "{mode}: the pair stays in any rollback but to the first"
        );
        if mode == "tls.mode=self" {
            again(&rolled_back, "a rollback to before the renewal");
            installation.helm(&["rollback", RELEASE, "1"]).await;
            again(
                &installation.certificate_state().await,
                "a rollback to the first revision",
            );
        } else {
            // Revision 2 was rendered with the CA of then: what the program repairs, since it watches this.
            assert_eq!(rolled_back["caBundle"], installed["caBundle"]);
            installation.helm(&["rollback", RELEASE, "1"]).await;
            let first = installation.certificate_state().await;
            assert_eq!(
                first, installed,
                "{mode}: the first revision has a pair and its CA, which fit together"
            );
        }

        // A release whose Secret is gone can be upgraded and rolled back all the same.
        installation
            .kubectl(&["delete", "secret", "-n", NAMESPACE, SECRET])
            .await;
        installation.helm(&["rollback", RELEASE, "3"]).await;
        installation
            .kubectl(&["delete", "secret", "-n", NAMESPACE, SECRET])
            .await;
        installation.apply("upgrade", &[mode]).await;
        let anew = installation.certificate_state().await;
        assert_eq!(
            anew[SECRET].as_object().is_some_and(|data| data.len() == 4),
            is_rendered,
            "{anew:#}"
        );
        installation.helm(&["uninstall", RELEASE]).await;
        assert!(installation.secret(SECRET).await.is_empty());
    }
}

/// What another mode made is in nobody's way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a control plane: make e2e"]
async fn a_release_can_change_where_its_certificate_comes_from() {
    let installation = Installation::prepare().await;
    installation.serve_foreign_kinds().await;
    installation.apply("install", &[]).await;
    let existing = [
        "tls.mode=existing",
        "tls.secretName=mine",
        "tls.caBundle=-----BEGIN CERTIFICATE-----",
    ];
    let modes: [&[&str]; 6] = [
        &["tls.mode=certManager"],
        &["tls.mode=helm"],
        &["tls.mode=self"],
        &existing,
        &["webhook.enabled=false"],
        &["tls.mode=helm"],
    ];
    let made_by_cert_manager = "stellar-peers-cert-manager";
    let secret = ["create", "secret", "generic", "-n", NAMESPACE];
    installation
        .kubectl(&[&secret[..], &[made_by_cert_manager]].concat())
        .await;
    for mode in modes {
        installation.apply("upgrade", mode).await;
    }
    assert_eq!(installation.secret(SECRET).await.len(), 4);
}

/// Helm 4, Flux and Argo CD can apply on the server's side, where what one applied before and leaves out is taken away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a control plane: make e2e"]
async fn applied_on_the_servers_side_nothing_that_was_renewed_is_taken_away_either() {
    let installation = Installation::prepare().await;
    let apply = async |values: &[&str]| {
        let mut objects = super::rendering::render(values).await.expect("it renders");
        let of_certificate = ["Secret", "MutatingWebhookConfiguration"];
        objects.retain(|it| of_certificate.iter().any(|kind| it["kind"] == *kind));
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
        let file = installation.folder.path().join("rendered.json");
        std::fs::write(&file, list.to_string()).expect("a file");
        let file = file.display().to_string();
        let apply = [
            "apply",
            "--server-side",
            "--field-manager=helm",
            "-f",
            &file,
        ];
        installation.kubectl(&apply).await;
    };
    // As the first revision of mode `helm` renders, and then as a later one does: without a pair.
    apply(&[]).await;
    let renewed = installation.renew_as_the_program_does().await;
    apply(&["tls.mode=self"]).await;
    let state = installation.certificate_state().await;
    assert_eq!(state[SECRET], renewed[SECRET]);
    apply(&["tls.mode=self", "commonLabels.a=b"]).await;
    assert_eq!(installation.certificate_state().await, state);
}

impl Installation {
    /// The CA that the registration trusts, once for each webhook.
    async fn authority(&self) -> String {
        self.certificate_state().await["caBundle"][0]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The Secret's data and the caBundles.
    async fn certificate_state(&self) -> Value {
        let secret = self.object("secret", SECRET).await;
        let registration = self.object("mutatingwebhookconfiguration", RELEASE).await;
        let webhooks = registration["webhooks"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let bundles: Vec<&Value> = webhooks
            .iter()
            .map(|it| &it["clientConfig"]["caBundle"])
            .collect();
        json!({SECRET: secret["data"], "caBundle": bundles})
    }

    /// Another pair and its CA, written as the program writes them; gives the state then.
    async fn renew_as_the_program_does(&self) -> Value {
        let manager = PatchParams {
            field_manager: Some("stellar-peers".to_owned()),
            ..PatchParams::default()
        };
        let secrets = Api::<Secret>::namespaced(self.admin.clone(), self.namespace);
        let authority = "bmV3LWNh";
        let data =
            json!({"tls.crt": "bmV3", "tls.key": "bmV3", "ca.crt": authority, "ca.key": "bmV3"});
        let renewed = secrets
            .patch(SECRET, &manager, &Patch::Merge(json!({"data": data})))
            .await;
        renewed.expect("the Secret is there");
        let registrations = Api::<MutatingWebhookConfiguration>::all(self.admin.clone());
        let mut registration = registrations.get(RELEASE).await.expect("it is registered");
        let webhooks = registration.webhooks.iter_mut().flatten();
        let bundles = webhooks.enumerate().map(|(index, _)| {
            json!({"op": "add", "path": format!("/webhooks/{index}/clientConfig/caBundle"), "value": authority})
        });
        let patch: json_patch::Patch = serde_json::from_value(bundles.collect()).expect("a patch");
        let patched = registrations
            .patch(RELEASE, &manager, &Patch::Json::<()>(patch))
            .await;
        patched.expect("the registration is there");
        self.certificate_state().await
    }
}

/// Validators that are created for a try, one after the other.
pub(super) struct Admissions {
    ends: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<Vec<String>>,
}

impl Admissions {
    pub(super) fn start(installation: &Arc<Installation>) -> Self {
        let (ends, done) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicUsize::new(0)),
        );
        let (installation, of_task) = (
            Arc::clone(installation),
            (Arc::clone(&ends), Arc::clone(&done)),
        );
        let task = tokio::spawn(async move {
            let mut faults = Vec::new();
            let (ends, done) = of_task;
            while !ends.load(Ordering::Relaxed) {
                match installation.injected("default").await {
                    Ok(true) => {}
                    Ok(false) => faults.push("not injected".to_owned()),
                    Err(error) => faults.push(error.to_string()),
                }
                done.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            faults
        });
        Self { ends, done, task }
    }

    pub(super) async fn end(self) -> (usize, Vec<String>) {
        self.ends.store(true, Ordering::Relaxed);
        let faults = self.task.await.expect("it ends");
        (self.done.load(Ordering::Relaxed), faults)
    }
}
