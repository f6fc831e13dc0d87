//! Installed, used and taken away again.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::api::{
    apps::v1::StatefulSet,
    coordination::v1::Lease,
    core::v1::{ConfigMap, Pod},
    rbac::v1::{ClusterRole, PolicyRule, Role},
};
use kube::{
    Api, Resource,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use stellar_peers::{api::names, sandbox::fixtures};

use super::{Installation, NAMESPACE, RELEASE, SECRET, pods::spawn};
use crate::{
    real::{control_plane::eventually, installed_world},
    stories,
};

const SOON: Duration = Duration::from_mins(1);
/// What stays when the release is gone.
const DEFINITION: &str = "customresourcedefinition.apiextensions.k8s.io/stellarnodes.stellar.org";
/// Rights that only a lost race takes: a patch whose test fails is followed by a look at why.
const RARELY_USED: [(&str, &str); 1] = [("get", "statefulsets")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a control plane: make e2e"]
async fn installed_with_default_values_it_does_its_work_with_the_rights_it_has_and_leaves_no_trace()
{
    let installation = Arc::new(Installation::prepare().await);
    let before = installation.objects().await;
    installation.apply("install", &[]).await;
    // The namespace lets in only pods without any privilege.
    let deployment = format!("deployment/{RELEASE}");
    installation
        .kubectl(&[
            "rollout",
            "status",
            "-n",
            NAMESPACE,
            &deployment,
            "--timeout=60s",
        ])
        .await;
    installation.roll_out().await;
    assert_eq!(installation.replicas().len(), 2);
    installation.injects("default").await;
    installation.passes_its_test().await;

    let mut world = installed_world("a_third_joins", &installation).await;
    stories::joining::a_third_restarts_the_old_ones_once_each_and_is_not_restarted_itself(
        &mut world,
    )
    .await;
    world.end().await;
    let mut world = installed_world("one_is_down", &installation).await;
    stories::restarts::a_stale_validator_that_is_down_goes_first_and_its_old_pod_is_deleted(
        &mut world,
    )
    .await;
    world.end().await;
    installation.elects_again_without_its_lease().await;
    installation.repairs_its_certificate().await;

    assert_eq!(installation.refused(), []);
    let rights = installation.rights().await;
    installation.helm(&["uninstall", RELEASE, "--wait"]).await;
    let unused = installation.end_and_find_unused(&rights).await;
    assert!(unused.is_empty(), "no scenario needs {unused:#?}");

    let after = installation.objects().await;
    let left: Vec<&String> = after.difference(&before).collect();
    assert_eq!(left, [DEFINITION]);
    installation.starts("default", "core-a").await;
}

/// As under Argo CD, where nothing about a certificate is rendered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a control plane: make e2e"]
async fn in_mode_self_the_program_makes_the_certificate_and_upgrades_leave_it_alone() {
    let installation = Installation::prepare().await;
    let before = installation.objects().await;
    installation.apply("install", &["tls.mode=self"]).await;
    installation.roll_out().await;
    installation.injects("default").await;
    let made = installation.secret(SECRET).await;
    assert_eq!(made.len(), 4, "{:?}", made.keys());
    // Both replicas started at once, and the second took the first one's.
    let logs = installation.replicas().into_iter().map(|pod| pod.log());
    let logs: Vec<String> = logs.collect();
    let made_by = |log: &&String| log.contains("Made a CA and a serving certificate");
    assert_eq!((logs.len(), logs.iter().filter(made_by).count()), (2, 1));
    installation
        .apply("upgrade", &["tls.mode=self", "podLabels.upgrade=one"])
        .await;
    installation.roll_out().await;
    assert_eq!(installation.secret(SECRET).await, made);
    installation.injects("default").await;
    installation.repairs_its_certificate().await;
    installation.passes_its_test().await;
    assert_eq!(installation.refused(), []);
    installation.helm(&["uninstall", RELEASE, "--wait"]).await;
    installation.end_pods().await;
    let after = installation.objects().await;
    assert_eq!(after.difference(&before).collect::<Vec<_>>(), [DEFINITION]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a control plane: make e2e"]
async fn installed_for_one_namespace_it_sees_and_touches_no_other() {
    let installation = Installation::prepare().await;
    let ours = installation.plane.namespace("ours").await;
    let others = installation.plane.namespace("others").await;
    let namespaces = format!("namespaces={{{ours}}}");
    installation.apply("install", &[&namespaces]).await;
    installation.roll_out().await;
    for namespace in [&ours, &others] {
        for name in ["core-a", "core-b"] {
            installation.starts(namespace, name).await;
        }
    }
    let lists =
        |namespace: &str| Api::<ConfigMap>::namespaced(installation.admin.clone(), namespace);
    eventually("both are listed", SOON, async || {
        let list = lists(&ours)
            .get_opt(names::STELLAR_PEERS)
            .await
            .ok()
            .flatten();
        let peers = list.and_then(|list| list.data?.remove(names::KEY_KNOWN_PEERS));
        peers.is_some_and(|peers| peers.lines().count() == 2)
    })
    .await;
    assert!(
        lists(&others)
            .get_opt(names::STELLAR_PEERS)
            .await
            .unwrap()
            .is_none()
    );
    let volumes = async |namespace: &str| {
        let sets = Api::<StatefulSet>::namespaced(installation.admin.clone(), namespace);
        let set = sets.get("core-a").await.expect("it is there");
        let spec = set.spec.and_then(|spec| spec.template.spec);
        let volumes = spec.and_then(|spec| spec.volumes).unwrap_or_default();
        volumes
            .into_iter()
            .map(|volume| volume.name)
            .collect::<Vec<_>>()
    };
    assert!(
        volumes(&ours)
            .await
            .contains(&names::STELLAR_PEERS.to_owned())
    );
    assert!(
        !volumes(&others)
            .await
            .contains(&names::STELLAR_PEERS.to_owned())
    );
    installation.passes_its_test().await;

    assert_eq!(installation.refused(), []);
    let names: BTreeSet<String> = objects::<ClusterRole>(&installation).await;
    assert_eq!(names, BTreeSet::from([format!("{RELEASE}-{NAMESPACE}")]));
    installation.helm(&["uninstall", RELEASE, "--wait"]).await;
    installation.end_pods().await;
    for entry in installation.audit() {
        let is_named = entry.uri.contains(&format!(
            "fieldSelector=metadata.name%3D{RELEASE}-{NAMESPACE}"
        ));
        let is_known = [&ours, NAMESPACE].contains(&entry.namespace.as_str())
            || (entry.resource == "mutatingwebhookconfigurations"
                && (is_named || !entry.name.is_empty()));
        assert!(is_known, "outside of its namespaces: {entry:?}");
    }
}

/// Names of the chart's objects of a kind, in all namespaces.
async fn objects<K>(installation: &Installation) -> BTreeSet<String>
where
    K: Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    list::<K>(installation)
        .await
        .into_iter()
        .filter_map(|it| it.meta().name.clone())
        .collect()
}

async fn list<K>(installation: &Installation) -> Vec<K>
where
    K: Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let ours = ListParams::default().labels(&format!("app.kubernetes.io/instance={RELEASE}"));
    let listed = Api::<K>::all(installation.admin.clone()).list(&ours).await;
    listed.expect("the admin may list").items
}

impl Installation {
    /// A StatefulSet that opts in gets our parts when it is created: by the API server's call through the Service.
    pub(crate) async fn injects(&self, namespace: &str) {
        eventually("what is created is injected", SOON, async || {
            self.injected(namespace)
                .await
                .is_ok_and(|injected| injected)
        })
        .await;
    }

    /// Whether a StatefulSet that is created now, for a try, gets our parts.
    pub(super) async fn injected(&self, namespace: &str) -> kube::Result<bool> {
        let sets = Api::<StatefulSet>::namespaced(self.admin.clone(), namespace);
        let set = serde_json::from_value(fixtures::chart_stateful_set(namespace, "a-try"));
        let set: StatefulSet = set.expect("it is one");
        let dry_run = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        let created = sets.create(&dry_run, &set).await?;
        let spec = created.spec.and_then(|spec| spec.template.spec);
        let mut volumes = spec
            .into_iter()
            .flat_map(|spec| spec.volumes.unwrap_or_default());
        Ok(volumes.any(|volume| volume.name == names::STELLAR_PEERS))
    }

    /// A validator of SDF's chart comes up.
    pub(super) async fn starts(&self, namespace: &str, name: &str) {
        for object in [
            fixtures::headless_service(namespace, name),
            fixtures::chart_stateful_set(namespace, name),
        ] {
            fixtures::create(&self.admin, &object)
                .await
                .expect("it is new");
        }
        let pods = Api::<Pod>::namespaced(self.admin.clone(), namespace);
        eventually("the validator starts", SOON, async || {
            let pod = pods.get_opt(&format!("{name}-0")).await.ok().flatten();
            let conditions = pod.and_then(|pod| pod.status?.conditions);
            conditions
                .into_iter()
                .flatten()
                .any(|it| it.type_ == "Ready" && it.status == "True")
        })
        .await;
    }

    /// `helm test`: the pod that it makes runs `check`, at the addresses that things have here.
    pub(super) async fn passes_its_test(&self) {
        let pods = Api::<Pod>::namespaced(self.admin.clone(), self.namespace);
        let name = format!("{RELEASE}-check");
        let running = async {
            let pod = loop {
                if let Ok(Some(pod)) = pods.get_opt(&name).await {
                    break pod.spec.expect("it has a spec");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            };
            let replica = self.replicas().remove(0);
            let [container] = &pod.containers[..] else {
                panic!("the pod has one container")
            };
            let http = format!("--http-address=127.0.0.1:{}", replica.http_port);
            let is_address = |it: &String| it.starts_with("--http-address=");
            let mut arguments = container.args.clone().expect("it has arguments");
            assert_eq!(
                arguments.iter().filter(|it| is_address(it)).count(),
                1,
                "{arguments:?}"
            );
            arguments
                .iter_mut()
                .filter(|it| is_address(it))
                .for_each(|it| it.clone_from(&http));
            let webhook = replica.webhook.map(|it| format!("--webhook-address={it}"));
            arguments.extend(webhook);
            let account = pod.service_account_name.expect("it has an account");
            let environment = self.environment(container, &account).await;
            let mut process = spawn(&self.folder.path().join("check"), &arguments, &environment);
            let status = loop {
                match process.ended().expect("it is our child") {
                    Some(status) => break status,
                    None => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            };
            let said = process.log_text();
            let phase = if status.success() {
                "Succeeded"
            } else {
                "Failed"
            };
            let done = Patch::Merge(json!({"status": {"phase": phase}}));
            pods.patch_status(&name, &PatchParams::default(), &done)
                .await
                .expect("the pod is there");
            said
        };
        let (tested, said) = tokio::join!(
            self.try_helm(&["test", RELEASE, "--timeout", "60s"]),
            running
        );
        let told = String::from_utf8_lossy(&tested.stdout);
        assert!(tested.status.success(), "helm test: {told}\n{said}");
        let is_wrong = |line: &str| line.starts_with('‼') || line.starts_with('×');
        assert!(!said.lines().any(is_wrong), "{said}");
        assert!(said.contains("√ the certificate verifies"), "{said}");
    }

    async fn elects_again_without_its_lease(&self) {
        let leases = Api::<Lease>::namespaced(self.admin.clone(), self.namespace);
        let deleted = leases
            .delete(names::STELLAR_PEERS, &DeleteParams::default())
            .await;
        deleted.expect("the Lease is there");
        eventually("somebody leads again", SOON, async || {
            let lease = leases.get_opt(names::STELLAR_PEERS).await.ok().flatten();
            let holder = lease.and_then(|lease| lease.spec?.holder_identity);
            holder.is_some_and(|holder| !holder.is_empty())
        })
        .await;
    }

    /// The Secret is deleted, and another CA written over the registered one: the program puts both right.
    async fn repairs_its_certificate(&self) {
        self.kubectl(&["delete", "secret", "-n", self.namespace, SECRET])
            .await;
        eventually("there is a certificate again", SOON, async || {
            self.secret(SECRET).await.len() == 4
        })
        .await;
        let scribble =
            r#"[{"op": "replace", "path": "/webhooks/0/clientConfig/caBundle", "value": ""}]"#;
        let registration = ["patch", "mutatingwebhookconfiguration", RELEASE];
        let patch = ["--type=json", "-p", scribble];
        self.kubectl(&[&registration[..], &patch[..]].concat())
            .await;
        self.injects("default").await;
    }

    /// Ends our program, so that its watches end and are in the audit log, and compares what it asked for with what
    /// the roles, as they were, allow.
    async fn end_and_find_unused(&self, rights: &BTreeSet<(String, String)>) -> Vec<String> {
        self.end_pods().await;
        let used: BTreeSet<(String, String)> = self
            .audit()
            .into_iter()
            .filter(|entry| entry.code < 300)
            .flat_map(|entry| {
                // An apply that creates takes both rights.
                let creates = entry.verb == "patch" && entry.code == 201;
                let also = creates.then(|| ("create".to_owned(), entry.resource.clone()));
                also.into_iter().chain([(entry.verb, entry.resource)])
            })
            .collect();
        let is_rare = |verb: &str, resource: &str| RARELY_USED.contains(&(verb, resource));
        let unused = rights.difference(&used);
        unused
            .filter(|(verb, resource)| !is_rare(verb, resource))
            .map(|(verb, resource)| format!("{verb} {resource}"))
            .collect()
    }

    /// Every verb and resource that the chart's roles allow.
    async fn rights(&self) -> BTreeSet<(String, String)> {
        let cluster = list::<ClusterRole>(self)
            .await
            .into_iter()
            .flat_map(|role| role.rules.unwrap_or_default());
        let namespaced = list::<Role>(self)
            .await
            .into_iter()
            .flat_map(|role| role.rules.unwrap_or_default());
        let rules: Vec<PolicyRule> = cluster.chain(namespaced).collect();
        let mut rights = BTreeSet::new();
        for rule in rules {
            for resource in rule.resources.iter().flatten() {
                let verbs = rule.verbs.iter();
                rights.extend(verbs.map(|verb| (verb.clone(), resource.clone())));
            }
        }
        rights
    }
}
