//! `metadata.managedFields`: who owns which fields of an object, and when each last wrote.

use serde_json::{Value, json};

use super::{
    fields::{Comparison, FieldSet},
    kinds::Kind,
    object::{items, map_mut},
};

/// Who wrote, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Writer {
    pub(super) manager: String,
    pub(super) operation: Operation,
    pub(super) subresource: String,
}

/// How somebody wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Apply,
    Update,
}

impl Operation {
    const fn name(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// The owners of an object's fields. Most writes change no owner: then nothing is written back.
#[derive(Debug, Default)]
pub(super) struct Owners {
    entries: Vec<Owner>,
    has_changed: bool,
}

#[derive(Debug)]
struct Owner {
    writer: Writer,
    set: FieldSet,
    time: String,
}

impl Owners {
    pub(super) fn of(object: &Value) -> Self {
        let entries = items(&object["metadata"], "managedFields")
            .iter()
            .map(Owner::parse);
        Self {
            entries: entries.collect(),
            has_changed: false,
        }
    }

    /// Writes the entries in the real server's order: what was applied first, then by time.
    pub(super) fn write_to(self, object: &mut Value, kind: &Kind) {
        if !self.has_changed {
            return;
        }
        let mut owners: Vec<_> = self
            .entries
            .iter()
            .filter(|owner| !owner.set.is_empty())
            .collect();
        owners.sort_by(|one, other| one.rank().cmp(&other.rank()));
        let entries: Vec<_> = owners
            .into_iter()
            .map(|owner| owner.to_json(kind))
            .collect();
        let metadata = map_mut(object, "metadata");
        if entries.is_empty() {
            metadata.remove("managedFields");
        } else {
            metadata.insert("managedFields".to_owned(), entries.into());
        }
    }

    fn find(&self, writer: &Writer) -> Option<&Owner> {
        self.entries.iter().find(|owner| owner.writer == *writer)
    }

    fn find_mut(&mut self, writer: &Writer) -> Option<&mut Owner> {
        self.entries
            .iter_mut()
            .find(|owner| owner.writer == *writer)
    }

    pub(super) fn set_of(&self, writer: &Writer) -> Option<&FieldSet> {
        self.find(writer).map(|owner| &owner.set)
    }

    pub(super) fn sets(&self) -> impl Iterator<Item = &FieldSet> {
        self.entries.iter().map(|owner| &owner.set)
    }

    /// Gives a writer its set; says whether that made a difference.
    pub(super) fn assign(&mut self, writer: &Writer, set: FieldSet) -> bool {
        match self.find_mut(writer) {
            Some(owner) if owner.set == set => return false,
            Some(owner) => owner.set = set,
            None => self.entries.push(Owner {
                writer: writer.clone(),
                set,
                time: String::new(),
            }),
        }
        self.has_changed = true;
        true
    }

    pub(super) fn set_time(&mut self, writer: &Writer, time: &str) {
        if let Some(owner) = self.find_mut(writer).filter(|owner| owner.time != time) {
            time.clone_into(&mut owner.time);
            self.has_changed = true;
        }
    }

    /// What others than `writer` own of the changed fields.
    pub(super) fn conflicts(
        &self,
        writer: &Writer,
        changed: &FieldSet,
    ) -> Vec<(&str, Vec<String>)> {
        let others = self.entries.iter().filter(|owner| owner.writer != *writer);
        let mut conflicts: Vec<_> = others
            .filter(|other| other.set.intersects(changed))
            .map(|other| {
                (
                    other.writer.manager.as_str(),
                    other.set.intersection(changed).paths(),
                )
            })
            .collect();
        conflicts.sort();
        conflicts
    }

    pub(super) fn take_from_others(&mut self, writer: &Writer, what: &Comparison) {
        for other in self
            .entries
            .iter_mut()
            .filter(|owner| owner.writer != *writer)
        {
            for taken in [&what.changed, &what.removed] {
                if other.set.intersects(taken) {
                    other.set.subtract(taken);
                    self.has_changed = true;
                }
            }
        }
    }
}

impl Owner {
    fn parse(entry: &Value) -> Self {
        let text = |field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        let operation = if entry["operation"] == "Apply" {
            Operation::Apply
        } else {
            Operation::Update
        };
        Self {
            writer: Writer {
                manager: text("manager"),
                operation,
                subresource: text("subresource"),
            },
            set: FieldSet::from_json(&entry["fieldsV1"]),
            time: text("time"),
        }
    }

    fn rank(&self) -> (&str, &str, &str, &str) {
        let Writer {
            manager,
            operation,
            subresource,
        } = &self.writer;
        (operation.name(), &self.time, manager, subresource)
    }

    fn to_json(&self, kind: &Kind) -> Value {
        let Writer {
            manager,
            operation,
            subresource,
        } = &self.writer;
        let mut entry = json!({
            "manager": manager, "operation": operation.name(), "apiVersion": kind.api_version(),
            "fieldsType": "FieldsV1", "fieldsV1": self.set.to_json(),
        });
        for (field, value) in [("time", &self.time), ("subresource", subresource)] {
            if !value.is_empty() {
                entry[field] = value.as_str().into();
            }
        }
        entry
    }
}
