//! What people do.

use std::time::Duration;

use serde_json::{Value, json};
use stellar_peers::api::names;

use super::{Deed, Undo};
use crate::{
    people::What,
    plan::{NETWORKS, Shape, new_validator},
    world::World,
};

/// Most validators that there are at once: each costs time.
const VALIDATORS_MAX: usize = 8;

impl World {
    pub(super) async fn change_validators(&mut self, deed: Deed) {
        if matches!(deed, Deed::Create | Deed::CreateMany) {
            let count = if deed == Deed::Create { 1 } else { 3 };
            for _ in 0..count {
                self.create_another().await;
            }
            return;
        }
        let Some((name, shape)) = self.some_validator() else {
            return;
        };
        match deed {
            Deed::Delete => {
                self.delete(&name, shape).await;
            }
            Deed::Recreate => {
                let again = self
                    .plan
                    .validators
                    .iter()
                    .chain(&self.made)
                    .find(|it| it.name == name);
                if let Some(again) = again.cloned() {
                    self.delete(&name, shape).await;
                    self.later(Duration::ZERO, Duration::from_secs(2), Undo::Create(again));
                }
            }
            Deed::Suspend => {
                let change = match shape {
                    Shape::Operator => json!({"spec": {"suspended": true}}),
                    Shape::Chart => json!({"spec": {"replicas": 0}}),
                };
                self.people.merge(object(&name, shape), change).await;
                self.for_a_while(Undo::Resume(name));
            }
            Deed::ChangePort => {
                let port = self.random.within(11_600, 11_605);
                let change = match shape {
                    Shape::Operator => json!({"spec": {"validatorConfig": {"peerPort": port}}}),
                    Shape::Chart => annotated(names::PORT, port.to_string()),
                };
                self.people.merge(object(&name, shape), change).await;
            }
            _ => {
                let change = annotated(names::INJECT, "disabled");
                self.people.merge(object(&name, shape), change).await;
                self.for_a_while(Undo::OptIn(name));
            }
        }
    }

    async fn create_another(&mut self) {
        if self.observer.lock().truth.sets.len() >= VALIDATORS_MAX {
            return;
        }
        let index = (self.plan.validators.len() + self.made.len()) as u64;
        let validator = new_validator(&mut self.random, index, true, true);
        self.people.create(&validator).await;
        self.made.push(validator);
    }

    async fn delete(&mut self, name: &str, shape: Shape) {
        self.people.delete(object(name, shape), "Background").await;
    }

    pub(super) async fn change_objects(&mut self, deed: Deed) {
        let Some((name, shape)) = self.some_validator() else {
            return;
        };
        let set = What::Set(&name);
        match deed {
            Deed::DeleteSet => {
                if shape == Shape::Operator {
                    self.people.delete(set, "Background").await;
                }
            }
            Deed::OrphanPods => {
                if shape == Shape::Operator {
                    self.people.delete(set, "Orphan").await;
                }
            }
            Deed::ChangeImage => {
                let version = format!("v{}", self.random.within(22, 99));
                let change = match shape {
                    Shape::Operator => json!({"spec": {"version": version}}),
                    Shape::Chart => {
                        json!({"spec": {"template": {"metadata": {"annotations": {"version": version}}}}})
                    }
                };
                self.people.merge(object(&name, shape), change).await;
            }
            Deed::PauseNode => {
                if shape == Shape::Operator {
                    self.people.merge(What::Node(&name), paused(true)).await;
                    self.for_a_while(Undo::UnpauseNode(name));
                }
            }
            Deed::PauseSet => {
                self.people.merge(set, paused(true)).await;
                self.for_a_while(Undo::UnpauseSet(name));
            }
            Deed::DropAnnotations => {
                let none = json!({names::JOINED_AT: null, names::TURN: null});
                let template = json!({names::MEMBERSHIP: null, names::RESTARTED_AT: null});
                let mut change = json!({"metadata": {"annotations": none}});
                if self.random.percent(50) {
                    change["spec"] = json!({"template": {"metadata": {"annotations": template}}});
                }
                self.lose_record();
                self.people.merge(set, change).await;
            }
            Deed::ForgeNotes => {
                self.lose_record();
                self.lose_members();
                self.forge_notes(set).await;
            }
            Deed::OnDelete => {
                let strategy = json!({"type": "OnDelete", "rollingUpdate": null});
                self.people
                    .merge(set, json!({"spec": {"updateStrategy": strategy}}))
                    .await;
                self.for_a_while(Undo::Roll(name));
            }
            _ => {
                let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}});
                self.people
                    .merge(set, json!({"spec": {"updateStrategy": strategy}}))
                    .await;
                self.for_a_while(Undo::Roll(name));
            }
        }
    }

    /// Writes what is none, is nobody's or is long over in the place of a note of ours on the list, and of those on a
    /// StatefulSet.
    async fn forge_notes(&mut self, set: What<'_>) {
        let turn = names::TURN_OF.to_owned() + NETWORKS[0];
        let notes = [
            names::RESTARTS,
            names::DEPARTED,
            names::KEYS,
            names::RECORD_LOST,
            &turn,
        ];
        let texts = [
            "",
            "{",
            "[]",
            "true",
            "v1:000000000000",
            r#"{"v0":"00000000 membership v1:000000000000 - up"}"#,
            r#"{"testnet":["v1:000000000000"]}"#,
        ];
        let times = ["", "never", "2001-01-01T00:00:00Z", "2999-01-01T00:00:00Z"];
        let note = *self.random.pick(&notes).expect("there are some");
        let text = *self.random.pick(&texts).expect("there are some");
        self.people.merge(What::List, annotated(note, text)).await;
        let (note, text) = if self.random.percent(50) {
            (names::JOINED_AT, self.random.pick(&times))
        } else {
            (names::TURN, self.random.pick(&texts))
        };
        let text = *text.expect("there are some");
        self.people.merge(set, annotated(note, text)).await;
    }

    pub(super) async fn change_list(&mut self, deed: Deed) {
        match deed {
            Deed::PauseList => {
                self.people.merge(What::List, paused(true)).await;
                self.for_a_while(Undo::UnpauseList);
            }
            Deed::EditList => {
                let text = *self
                    .random
                    .pick(&["", "10.9.9.9:11625\n", "nonsense"])
                    .expect("some");
                self.people
                    .merge(What::List, json!({"data": {names::KEY_KNOWN_PEERS: text}}))
                    .await;
            }
            Deed::BreakRecord => {
                self.lose_members();
                self.people
                    .merge(What::List, json!({"data": {names::KEY_MEMBERS: "{"}}))
                    .await;
            }
            Deed::DeleteList => {
                self.lose_record();
                self.people.delete(What::List, "Background").await;
            }
            _ => {
                self.people
                    .merge(What::List, json!({"data": {"peers.json": "[]"}}))
                    .await;
            }
        }
    }

    pub(super) async fn undo_by_people(&mut self, undo: Undo) {
        match undo {
            Undo::Resume(name) => match self.shape(&name) {
                Shape::Operator => {
                    self.people
                        .merge(What::Node(&name), json!({"spec": {"suspended": false}}))
                        .await;
                }
                Shape::Chart => {
                    self.people
                        .merge(What::Set(&name), json!({"spec": {"replicas": 1}}))
                        .await;
                }
            },
            Undo::OptIn(name) => {
                let change = annotated(names::INJECT, Value::Null);
                self.people
                    .merge(object(&name, self.shape(&name)), change)
                    .await;
            }
            Undo::Create(validator) => {
                let second = Duration::from_secs(1);
                let is_made = self.people.create(&validator).await;
                if !is_made {
                    self.later(second, second, Undo::Create(validator));
                }
            }
            Undo::UnpauseList => {
                self.people.merge(What::List, paused(false)).await;
            }
            Undo::UnpauseNode(name) => {
                self.people.merge(What::Node(&name), paused(false)).await;
            }
            Undo::UnpauseSet(name) => {
                self.people.merge(What::Set(&name), paused(false)).await;
            }
            Undo::Roll(name) => {
                let strategy = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 0}});
                let change = json!({"spec": {"updateStrategy": strategy}});
                self.people.merge(What::Set(&name), change).await;
            }
            _ => {}
        }
    }

    /// What is known of restarts is gone: nobody can know it any more.
    fn lose_record(&self) {
        let mut observer = self.observer.lock();
        observer.record_lost = Some(observer.now());
    }

    /// Whom the list has named is gone: nobody can know any more who has left since.
    fn lose_members(&self) {
        let mut observer = self.observer.lock();
        observer.members_lost = Some(observer.now());
    }

    fn some_validator(&mut self) -> Option<(String, Shape)> {
        let names: Vec<String> = {
            let observer = self.observer.lock();
            observer.truth.sets.keys().cloned().collect()
        };
        let name = self.random.pick(&names)?.clone();
        let shape = self.shape(&name);
        Some((name, shape))
    }

    fn shape(&self, name: &str) -> Shape {
        let mut all = self.plan.validators.iter().chain(&self.made);
        let validator = all.find(|it| it.name == name);
        validator.map_or(Shape::Operator, |it| it.shape)
    }
}

fn object(name: &str, shape: Shape) -> What<'_> {
    match shape {
        Shape::Operator => What::Node(name),
        Shape::Chart => What::Set(name),
    }
}

fn annotated(name: &str, value: impl Into<Value>) -> Value {
    json!({"metadata": {"annotations": {name: value.into()}}})
}

fn paused(is_paused: bool) -> Value {
    let value = if is_paused {
        json!("true")
    } else {
        Value::Null
    };
    annotated(names::PAUSED, value)
}
