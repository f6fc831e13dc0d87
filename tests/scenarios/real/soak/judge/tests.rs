use stellar_peers::{
    api::names,
    domain::{injection::TemplateView, node::Network, peer::PeerPort, peer_list::RecordedNode},
};

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A namespace in which `a` and `b` are Ready, and `a` is about to be restarted for what `b` joined.
struct Story {
    namespace: Namespace,
    now: Instant,
}

fn set(membership: &str, restarted_at: Option<&str>, revision: &str) -> Box<StatefulSetView> {
    Box::new(StatefulSetView {
        uid: "uid".to_owned(),
        // The controller acts on a new template a moment later, and then there is a new revision.
        generation: i64::from(restarted_at.is_some()),
        observed_generation: i64::from(revision != "1"),
        replicas: 1,
        update_revision: revision.to_owned(),
        template: TemplateView {
            membership: Some(membership.to_owned()),
            restarted_at: restarted_at.map(str::to_owned),
            parts: Parts::Whole,
            ..TemplateView::default()
        },
        ..StatefulSetView::default()
    })
}

fn pod(is_ready: bool, revision: &str) -> Change {
    let pod = PodView {
        owner: "uid".to_owned(),
        ready: is_ready,
        revision: revision.to_owned(),
        ..PodView::default()
    };
    Change::Pod("pod-0".to_owned(), Some(Box::new(pod)))
}

fn record(nodes: &[&str]) -> Record {
    let node = |name: &&str| RecordedNode {
        name: NodeName::new(name).expect("a name"),
        network: Network::new("testnet"),
        port: PeerPort::DEFAULT,
        addresses: Vec::new(),
        ready: true,
        member: true,
        uid: "uid".to_owned(),
    };
    Record {
        writer: names::STELLAR_PEERS.to_owned(),
        nodes: nodes.iter().map(node).collect(),
    }
}

fn hash(nodes: &[&str]) -> String {
    hashes(&record(nodes))["a"].clone()
}

impl Story {
    fn begin() -> Self {
        let mut story = Self {
            namespace: Namespace::default(),
            now: Instant::now(),
        };
        for name in ["a", "b"] {
            story.is_fine(Change::Set(
                name.to_owned(),
                Some(set(&hash(&["a"]), None, "1")),
            ));
            story.pod(name, true, "1");
        }
        story.lists(&["a", "b"]);
        story
    }

    fn see(&mut self, change: Change) -> Vec<String> {
        self.namespace.see(change, self.now)
    }

    fn is_fine(&mut self, change: Change) {
        assert_eq!(self.see(change), Vec::<String>::new());
    }

    fn pod(&mut self, node: &str, is_ready: bool, revision: &str) {
        let Change::Pod(_, pod) = pod(is_ready, revision) else {
            unreachable!("it is one");
        };
        self.is_fine(Change::Pod(format!("{node}-0"), pod));
    }

    fn lists(&mut self, nodes: &[&str]) {
        let list = ListView {
            peers: nodes.len(),
            record: Some(record(nodes)),
        };
        self.is_fine(Change::List(Some(list)));
    }

    fn restart(&mut self, node: &str, members: &[&str], at: &str) -> Vec<String> {
        let set = set(&hash(members), Some(at), "1");
        self.see(Change::Set(node.to_owned(), Some(set)))
    }

    /// The pod is replaced by one of the new template.
    fn comes_back(&mut self, node: &str, members: &[&str], at: &str) {
        self.is_fine(Change::Set(
            node.to_owned(),
            Some(set(&hash(members), Some(at), "2")),
        ));
        self.pod(node, false, "2");
        self.pod(node, true, "2");
    }
}

#[test]
fn one_after_the_other_once_each_is_right() {
    let mut story = Story::begin();
    assert_eq!(story.restart("a", &["a", "b"], "t1"), Vec::<String>::new());
    story.comes_back("a", &["a", "b"], "t1");
    assert_eq!(story.restart("b", &["a", "b"], "t2"), Vec::<String>::new());
    assert_eq!(
        (story.namespace.restarts, story.namespace.membership_changes),
        (2, 1)
    );
}

#[test]
fn two_at_once_are_found() {
    let mut story = Story::begin();
    story.restart("a", &["a", "b"], "t1");
    let expected = ["b was restarted while a was not back yet from its own restart"];
    assert_eq!(story.restart("b", &["a", "b"], "t2"), expected);
}

#[test]
fn a_restart_while_another_has_been_down_is_found() {
    let mut story = Story::begin();
    story.pod("b", false, "1");
    story.now += DECISION + SECOND;
    let expected = ["a was restarted though b had been down for more than 8s"];
    assert_eq!(story.restart("a", &["a", "b"], "t1"), expected);
}

#[test]
fn a_second_restart_for_the_same_membership_is_found() {
    let mut story = Story::begin();
    story.restart("a", &["a", "b"], "t1");
    story.comes_back("a", &["a", "b"], "t1");
    let told = story.restart("a", &["a", "b"], "t2");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("a was restarted again for the membership v1:"));
}

#[test]
fn a_restart_for_a_membership_that_never_was_or_is_long_gone_is_found() {
    let mut story = Story::begin();
    assert_eq!(story.restart("a", &["a", "b", "c"], "t1").len(), 1);
    let mut story = Story::begin();
    story.lists(&["a", "b", "c"]);
    story.now += MEMBERSHIP_OF_BEFORE;
    story.lists(&["a", "b", "c", "d"]);
    assert_eq!(
        story.restart("a", &["a", "b", "c"], "t1"),
        Vec::<String>::new(),
        "it was in force a moment ago"
    );
    story.comes_back("a", &["a", "b", "c"], "t1");
    story.now += MEMBERSHIP_OF_BEFORE + SECOND;
    assert_eq!(story.restart("a", &["a", "b"], "t2").len(), 1);
}

#[test]
fn an_emptied_and_a_deleted_list_are_found() {
    let empty = ListView {
        peers: 0,
        record: Some(record(&["a", "b"])),
    };
    for list in [Some(empty), None] {
        let told = Story::begin().see(Change::List(list));
        assert_eq!(told, ["the list was emptied: it had 2 peers"]);
    }
}
