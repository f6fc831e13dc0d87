//! What is told of a validator besides restarts.

use super::*;
use crate::{
    api::PodObject,
    domain::{
        injection::CannotRender, policy::InjectMode, render_wait::RenderWait, snapshot::PodView,
    },
};
use serde_json::json;

fn told(cluster: &mut Cluster) -> Vec<(String, &'static str)> {
    let notices = cluster.pass().plan.notices.into_iter();
    notices.map(|it| (it.node.to_string(), it.reason)).collect()
}

#[test]
fn a_list_that_is_only_mounted_is_told_where_it_should_be_more() {
    let mut cluster = joined();
    cluster.set("v1", |set| {
        set.template.not_rendered = Some(CannotRender::Unnamed);
    });
    assert_eq!(told(&mut cluster), []);
    cluster.policy.inject = InjectMode::Render {
        image: "ours".to_owned(),
    };
    assert_eq!(told(&mut cluster), [("v1".to_owned(), "NotRendered")]);
    cluster.set("v1", |set| set.template.parts = Parts::Absent);
    assert_eq!(told(&mut cluster), [], "it is not even mounted");
}

#[test]
fn several_replicas_of_one_seed_are_told() {
    let mut cluster = joined();
    cluster.set("v2", |set| set.replicas = 3);
    assert_eq!(told(&mut cluster), [("v2".to_owned(), "SharedSeed")]);
}

#[test]
fn a_pod_that_waits_in_our_init_container_is_told_once_however_the_kubelet_calls_it() {
    let mut cluster = joined();
    let view = |reason: &str| {
        let statuses = json!([
            {"name": "core-init", "state": {"waiting": {"reason": "ErrImagePull"}}},
            {"name": "stellar-peers-render", "state": {"waiting": {"reason": reason, "message": "403"}}},
        ]);
        let pod = json!({"metadata": {}, "status": {"initContainerStatuses": statuses}});
        PodView::from(&serde_json::from_value::<PodObject>(pod).unwrap())
    };
    assert_eq!(view("ErrImagePull"), view("ImagePullBackOff"), "no news");
    assert_eq!(
        view("PodInitializing").render_wait,
        None,
        "another's trouble"
    );
    let wait = view("ImagePullBackOff").render_wait;
    assert_eq!(wait, Some(RenderWait::NotPulled));
    cluster.pod("v2", |pod| pod.render_wait = wait);
    let notices = cluster.pass().plan.notices;
    let [notice] = &*notices else {
        panic!("{notices:?}")
    };
    assert_eq!(
        (notice.node.as_str(), notice.reason),
        ("v2", "RenderNotStarted")
    );
    assert!(
        notice
            .note
            .starts_with("pod v2-0 can't start: of its init container")
    );
}
