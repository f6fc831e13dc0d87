use std::time::Duration;

use super::*;
use crate::domain::fixtures::{Cluster, hash_of};

impl Cluster {
    fn status(&mut self) -> Status {
        let now = self.now();
        let decision = self.decide();
        status(&self.snapshot, &decision, &self.memory, &self.policy, now)
    }

    /// By somebody who has seen nothing before.
    fn look_once(&self) -> Status {
        look_once(&self.snapshot, &self.policy, self.now().wall)
    }
}

fn node<'a>(status: &'a Status, name: &str) -> &'a NodeStatus {
    status.nodes.iter().find(|node| node.name == name).unwrap()
}

#[test]
fn a_quiet_network_is_ready_with_its_addresses() {
    let mut cluster = Cluster::settled(&["a", "b", "c"]);
    let status = cluster.status();
    assert!(status.is_quiet(), "{status:#?}");
    let network = &status.networks[0];
    assert_eq!((network.members, network.ready, network.current), (3, 3, 3));
    assert_eq!((network.next.as_deref(), network.due), (None, 0));
    let a = node(&status, "a");
    assert_eq!((a.phase, a.info.as_str()), (Phase::Ready, "10.0.0.1:11625"));
    let list = status.list.unwrap();
    assert!(list.up_to_date && list.peers == 3 && list.written.is_some());
}

#[test]
fn one_restarts_and_the_others_wait_for_it() {
    let mut cluster = Cluster::settled(&["a", "b", "c"]);
    cluster.add("d");
    cluster.inject("d", &hash_of(&["a", "b", "c", "d"]));
    cluster.after(Duration::ZERO);
    let settling = cluster.status();
    assert_eq!(
        node(&settling, "a").held.as_ref().unwrap().reason,
        "Settling"
    );
    let next = settling.networks[0].next.as_deref().unwrap();
    assert!(
        next.starts_with("a: the membership changed") && next.ends_with("30s more"),
        "{next}"
    );

    cluster.after(Duration::from_secs(61));
    assert_eq!(node(&cluster.status(), "a").phase, Phase::Due);
    cluster.restart("a", &hash_of(&["a", "b", "c", "d"]));
    cluster.after(Duration::ZERO);
    cluster.after(Duration::from_secs(6));
    let status = cluster.status();
    let a = node(&status, "a");
    assert_eq!(
        (a.phase, a.info.as_str()),
        (Phase::Restarting, "Ready for 6s of 1m")
    );
    assert_eq!(node(&status, "b").phase, Phase::Waiting);
    let network = &status.networks[0];
    assert_eq!((network.current, network.due), (2, 2));
    assert!(
        network
            .next
            .as_deref()
            .unwrap()
            .starts_with("b: a restarts")
    );
}

#[test]
fn what_needs_a_person_is_held() {
    let mut cluster = Cluster::settled(&["a", "b"]);
    cluster.add("c");
    cluster.inject("c", &hash_of(&["a", "b", "c"]));
    cluster.set("a", |set| set.paused = true);
    cluster.set("b", |set| set.paused = true);
    cluster.after(Duration::ZERO);
    cluster.after(Duration::from_mins(1));
    let status = cluster.status();
    let a = node(&status, "a");
    assert_eq!(
        (a.phase, a.stale.as_deref()),
        (Phase::Held, Some("Membership"))
    );
    assert!(a.info.contains("peers.stellar.org/paused"), "{}", a.info);
    assert_eq!(
        status.networks[0].next.as_deref(),
        Some("nobody: 2 due, and all held")
    );
}

#[test]
fn whoever_is_left_out_has_a_reason() {
    let mut cluster = Cluster::settled(&["a", "b"]);
    cluster.node("b", |node| node.suspended = true);
    cluster.pod("a", |pod| pod.ready = false);
    cluster.after(Duration::ZERO);
    let status = cluster.status();
    let b = node(&status, "b");
    assert_eq!((b.phase, b.network.as_str()), (Phase::LeftOut, "testnet"));
    assert_eq!(b.left_out.as_ref().unwrap().reason, "Suspended");
    let a = node(&status, "a");
    assert_eq!(a.phase, Phase::NotReady);
    assert_eq!(a.info, "the pod is not Ready; listed as 10.0.0.1:11625");
}

#[test]
fn one_look_takes_time_from_what_is_written_down() {
    let mut cluster = Cluster::settled(&["a", "b", "c"]);
    cluster.add("d");
    let hash = hash_of(&["a", "b", "c", "d"]);
    cluster.inject("d", &hash);
    cluster.after(Duration::ZERO);
    assert_eq!(
        node(&cluster.look_once(), "a")
            .held
            .as_ref()
            .unwrap()
            .reason,
        "Settling"
    );
    cluster.after(Duration::from_mins(2));
    let at = crate::domain::time::rfc3339(cluster.now().wall);
    for name in ["a", "b", "c", "d"] {
        cluster.pod(name, |pod| {
            pod.ready_changed_at = Some("2020-01-01T00:00:00Z".to_owned());
        });
    }
    assert_eq!(node(&cluster.look_once(), "a").phase, Phase::Due);
    cluster.restart("a", &hash);
    cluster.pod("a", |pod| pod.ready_changed_at = Some(at));
    cluster.after(Duration::from_secs(6));
    let look = cluster.look_once();
    let a = node(&look, "a");
    assert_eq!(
        (a.phase, a.info.as_str()),
        (Phase::Restarting, "Ready for 6s of 1m")
    );
    assert_eq!(node(&look, "b").held.as_ref().unwrap().reason, "Budget");
}

#[test]
fn a_status_reads_back_as_it_was_written() {
    let mut cluster = Cluster::settled(&["a", "b"]);
    cluster.declare(
        "a",
        "[QUORUM_SET]\nVALIDATORS = [\"$a\", \"$b\"]\nTHRESHOLD_PERCENT = 100\n",
    );
    cluster.node("b", |node| node.suspended = true);
    let status = cluster.status();
    assert_eq!(status.networks[0].tolerates, Some(Tolerates::All));
    let text = serde_json::to_string(&status).unwrap();
    assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), status);
}
