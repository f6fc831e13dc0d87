//! A namespace of validators as the core sees it, without an API server.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use jiff::Timestamp;
use stellar_peers::{
    api::{PodObject, StatefulSetObject, StellarNodeObject},
    domain::{
        Decision, Memory, Moment, Now, Policy, Snapshot, decide,
        injection::{Parts, TemplateView},
        node::NodeName,
        snapshot::{PodView, StatefulSetView, StellarNodeView},
    },
};

use crate::{
    validator::{NAMESPACE, Validator},
    views::{parse, stored},
};

/// A namespace in which nothing changes but the time.
pub(crate) struct Namespace {
    pub(crate) snapshot: Snapshot,
    memory: Memory,
    policy: Policy,
    passed: Duration,
}

impl Namespace {
    /// Validators that run without us: all Ready, none with our parts, and their list just written.
    pub(crate) fn before_us(validator: &Validator, validators: usize) -> Self {
        let mut namespace = Self::unseen(validator, validators);
        namespace.carry_out();
        namespace
    }

    /// Validators that all joined while we looked on, and carry all of our parts and the present membership.
    pub(crate) fn settled(validator: &Validator, validators: usize) -> Self {
        let mut namespace = Self::unseen(validator, validators);
        namespace.each_template(|template| template.parts = Parts::Whole);
        let mut networks = namespace.pass().discovery.networks;
        let (_, network) = networks.pop_first().expect("they are all of one network");
        let hash = network.hash().to_string();
        namespace.each_template(|template| template.membership = Some(hash.clone()));
        namespace.carry_out();
        namespace
    }

    fn unseen(validator: &Validator, validators: usize) -> Self {
        Self {
            snapshot: snapshot(validator, validators),
            memory: Memory::default(),
            policy: Policy::default(),
            passed: Duration::ZERO,
        }
    }

    fn each_template(&mut self, change: impl Fn(&mut TemplateView)) {
        for set in Arc::make_mut(&mut self.snapshot.stateful_sets).values_mut() {
            change(&mut Arc::make_mut(set).template);
        }
    }

    /// Does what a pass decides about the list and about who joined.
    fn carry_out(&mut self) {
        let decision = self.pass();
        for (_, uid) in &decision.joins {
            self.memory.joined(uid);
        }
        let list = decision
            .list
            .expect("a namespace with candidates has a list");
        self.snapshot.config_map = Some(Arc::new(stored(&list)));
    }

    /// One pass, ten minutes after the one before.
    pub(crate) fn pass(&mut self) -> Decision {
        self.passed += Duration::from_mins(10);
        let now = Now {
            moment: Moment(self.passed),
            wall: Timestamp::UNIX_EPOCH,
        };
        decide(&self.snapshot, &mut self.memory, &self.policy, now)
    }
}

/// Copies of a validator, each with a name, an identity and an address of its own.
fn snapshot(validator: &Validator, validators: usize) -> Snapshot {
    let node = StellarNodeView::from(&parse::<StellarNodeObject>(&validator.stellar_node));
    let set = StatefulSetView::from(&parse::<StatefulSetObject>(&validator.stateful_set));
    let pod = PodView::from(&parse::<PodObject>(&validator.pod));
    let node = Arc::new(node);
    let mut snapshot = Snapshot {
        namespace: NAMESPACE.to_owned(),
        ..Snapshot::default()
    };
    for number in 0..validators {
        let text = format!("validator-{number}");
        let name = NodeName::new(&text).expect("a name");
        // As long as real ones are.
        let uid = format!("00000000-0000-4000-8000-{number:012}");
        let number = u32::try_from(number).expect("a few thousand validators");
        let address = Ipv4Addr::from_bits(Ipv4Addr::new(10, 0, 0, 1).to_bits() + number);
        let set = StatefulSetView {
            uid: uid.clone(),
            ..set.clone()
        };
        let pod = PodView {
            uid: uid.replace("-4000-", "-4001-"),
            owner: uid,
            instance: Some(text.clone()),
            ips: vec![address.into()],
            ..pod.clone()
        };
        Arc::make_mut(&mut snapshot.stellar_nodes).insert(name.clone(), Arc::clone(&node));
        Arc::make_mut(&mut snapshot.stateful_sets).insert(name, Arc::new(set));
        Arc::make_mut(&mut snapshot.pods).insert(format!("{text}-0"), Arc::new(pod));
    }
    snapshot
}
