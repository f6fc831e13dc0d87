//! The rules of restarts, on small clusters.

mod down;
mod held;
mod notices;
mod order;
mod patch;
mod quorum;
mod scribbles;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    api::names,
    domain::{
        decision::Decision,
        fixtures::{Cluster, hash_of, name},
        injection::{Parts, Template, TemplateView},
        notes::{Restart, short_uid},
        peer::PeerPort,
        policy::OnZeroTolerance,
    },
};

const SETTLE: Duration = Duration::from_secs(30);
const MIN_READY: Duration = Duration::from_mins(1);
const BOOTSTRAP_AFTER: Duration = Duration::from_mins(1);
const THREE: [&str; 3] = ["v1", "v2", "v3"];

type Change = fn(&mut Cluster);

fn starts(decision: &Decision) -> Vec<&str> {
    decision
        .plan
        .starts()
        .map(|start| start.node.as_str())
        .collect()
}

fn held<'a>(decision: &'a Decision, node: &str) -> &'a Held {
    match &decision.plan.verdicts[&name(node)] {
        Verdict::Held(_, held) => held,
        Verdict::Start(_) => panic!("{node} starts"),
    }
}

/// A settled network that somebody joined, ready to restart.
fn joined() -> Cluster {
    let mut cluster = Cluster::settled(&THREE);
    cluster.add("v4");
    cluster.inject("v4", &hash_of(&["v1", "v2", "v3", "v4"]));
    cluster.pass();
    cluster.after(MIN_READY);
    cluster
}
