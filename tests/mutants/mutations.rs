//! The ways in which the program is broken.

use std::fs;

use crate::tree::root;

/// One way.
pub(crate) struct Mutation {
    pub(crate) name: &'static str,
    pub(crate) file: &'static str,
    /// What is replaced, and by what. Each occurs exactly once.
    pub(crate) edits: &'static [(&'static str, &'static str)],
}

impl Mutation {
    /// The file's text, broken.
    pub(crate) fn applied(&self) -> Result<String, String> {
        let mut text = fs::read_to_string(root().join(self.file))
            .map_err(|error| format!("{}: {}: {error}", self.name, self.file))?;
        for (from, to) in self.edits {
            let places = text.matches(from).count();
            if places != 1 {
                return Err(format!(
                    "{}: {} has this {places} times, and not once: {from}",
                    self.name, self.file
                ));
            }
            text = text.replacen(from, to, 1);
        }
        Ok(text)
    }
}

pub(crate) const MUTATIONS: &[Mutation] = &[
    Mutation {
        name: "the key of restarts is the addresses",
        file: "src/domain/discovery.rs",
        edits: &[
            (
                "key: membership.hash().clone(),",
                "key: {
                    let at = members.iter().flat_map(|(_, node)| node.addresses(|pod| pod.ready));
                    let at = at.flat_map(|it| it.to_string().into_bytes()).fold(7_u64, |sum, byte| {
                        (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
                    });
                    MembershipHash::parse(&format!(\"v1:{:012x}\", at >> 16))
                        .unwrap_or_else(|| membership.hash().clone())
                },",
            ),
            ("self.membership.hash()\n", "&self.key\n"),
        ],
    },
    Mutation {
        name: "any update is injected",
        file: "src/domain/injection/admit.rs",
        edits: &[(
            "if template == stored || !is_changed_by_writer(object, template, stored, &knowledge) {",
            "if object.is_null() && is_changed_by_writer(object, template, stored, &knowledge) {",
        )],
    },
    Mutation {
        name: "a turn is not fenced",
        file: "src/domain/rollout.rs",
        edits: &[(
            "plan.fences.extend(fences(scene));",
            "let _ = fences(scene);",
        )],
    },
    Mutation {
        name: "adoption is left to the webhook",
        file: "src/domain/rollout/patch.rs",
        edits: &[(
            "let our_port = OurPort::of(&[Template::new(template)]);",
            "let annotations = [
                 (names::MEMBERSHIP, start.hash.to_string()),
                 (names::RESTARTED_AT, rfc3339(at)),
             ];
             operations.extend(injection::annotate(template, \"/spec/template\", &annotations));
             if !operations.is_empty() {
                 return Ok(operations);
             }
             let our_port = OurPort::of(&[Template::new(template)]);",
        )],
    },
    Mutation {
        name: "nothing settles",
        file: "src/domain/rollout/pace.rs",
        edits: &[(
            "            record_lost,\n            settling,\n",
            "            record_lost,\n            settling: settling && record_lost,\n",
        )],
    },
    Mutation {
        name: "the limit is off by one",
        file: "src/domain/rollout/room.rs",
        edits: &[(
            "down.len() >= self.scene.policy.max_unavailable.get()",
            "down.len() > self.scene.policy.max_unavailable.get()",
        )],
    },
    Mutation {
        name: "Ready counts on any revision",
        file: "src/domain/survey.rs",
        edits: &[
            (
                "        set.is_observed()\n            && !self.has_terminating_pod",
                "        !self.has_terminating_pod",
            ),
            (
                "self.pods.iter().all(|pod| pod.ready && pod.updated)",
                "self.pods.iter().all(|pod| pod.ready)",
            ),
        ],
    },
    Mutation {
        name: "only our own restarts count as down",
        file: "src/domain/rollout/pace.rs",
        edits: &[(
            "if is_member && !is_up(",
            "if is_member && node.stateful_set.template.restarted_at.is_some() && !is_up(",
        )],
    },
    Mutation {
        name: "a paused member is forgotten",
        file: "src/domain/rollout/pace.rs",
        edits: &[(
            "if is_member && !is_up(",
            "if is_member && !node.paused && !is_up(",
        )],
    },
    Mutation {
        name: "an error empties the list",
        file: "src/controller/watch.rs",
        edits: &[(
            "                // The store keeps what it has: an error never empties a list.\n",
            "                self.dirty.mark_all(store.replace(self.scope.as_deref(), Vec::new()));\n",
        )],
    },
    Mutation {
        name: "quorum sets are not asked",
        file: "src/domain/rollout/room.rs",
        edits: &[(
            "Tolerance::Exceeded { of } => Step::Wait(Held::Quorum(of)),",
            "Tolerance::Exceeded { of } => Step::Go { halts: Some(of) },",
        )],
    },
    Mutation {
        name: "a pod is deleted though it is Ready",
        file: "src/domain/rollout.rs",
        edits: &[("!pod.ready && !pod.updated", "!pod.updated")],
    },
    Mutation {
        name: "a restart is not remembered",
        file: "src/domain/rollout/due.rs",
        edits: &[(
            "self.reason != Stale::Outage\n",
            "self.reason != Stale::Outage && self.hash.as_str().is_empty()\n",
        )],
    },
    Mutation {
        name: "a network that is mostly down loses its addresses",
        file: "src/domain/discovery.rs",
        edits: &[(
            "let is_cold = 2 * ready < members.len();",
            "let is_cold = bootstraps && 2 * ready < members.len();",
        )],
    },
    Mutation {
        name: "a lost network is not helped",
        file: "src/domain/rollout/due.rs",
        edits: &[(
            "let is_lost = scene.memory.is_lost(&node.network, name) &&",
            "let is_lost = !is_member && scene.memory.is_lost(&node.network, name) &&",
        )],
    },
    Mutation {
        name: "a stuck restart stops nobody",
        file: "src/domain/rollout/pace.rs",
        edits: &[(
            "} else if let Some(stuck) = stuck {",
            "} else if let Some(stuck) = stuck.filter(|it| *it == name) {",
        )],
    },
    Mutation {
        name: "pods that stay behind are left",
        file: "src/domain/rollout.rs",
        edits: &[(
            "plan.deletions.extend(deletions(scene, name, node));",
            "let _ = deletions(scene, name, node);",
        )],
    },
];
