//! What is told of a validator besides restarts.

use super::*;
use crate::domain::{injection::CannotRender, policy::InjectMode};

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
