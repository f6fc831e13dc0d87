//! The objects, the one counter of resource versions, and the bounded history that watches read.
//!
//! # Guarantees
//! Every write moves the counter by one, gives the object that version and appends one event to its kind's history.
//! Iteration is in key order, so equal histories give equal answers.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use serde_json::Value;
use tokio::sync::Notify;

use super::{
    kinds::{self, Kind},
    object::{Key, Object, owner_uids, set_meta},
};

/// Which table: a stable index for the life of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TableId(usize);

/// One write, as watches and controllers see it.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) version: u64,
    /// The object before; none for a creation.
    pub(super) before: Option<Arc<Object>>,
    /// The object after; none for a removal.
    pub(super) after: Option<Arc<Object>>,
    gone: OnceLock<Object>,
}

impl Event {
    /// The object as it was last, with this event's version: what a `DELETED` event carries.
    pub(super) fn gone(&self) -> Option<&Object> {
        let before = self.before.as_ref()?;
        Some(self.gone.get_or_init(|| {
            let mut value = before.value().clone();
            set_meta(
                &mut value,
                "resourceVersion",
                Some(self.version.to_string().into()),
            );
            Object::new(value)
        }))
    }
}

/// One write to the store, as it happens.
#[derive(Clone, Copy, Debug)]
pub struct Change<'a> {
    /// The resource's plural name.
    pub resource: &'a str,
    /// Who wrote; [`None`] for the sandbox's own controllers and kubelet.
    pub author: Option<&'a Author>,
    /// The object before; none for a creation.
    pub before: Option<&'a Value>,
    /// The object after; none for a removal.
    pub after: Option<&'a Value>,
}

/// Whose request a write was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// The user.
    pub user: String,
    /// When the request arrived, since the sandbox was made.
    pub issued: Duration,
}

/// Is told of each write while it is made.
type Witness = Box<dyn FnMut(Change<'_>) + Send>;

/// One kind's objects.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) kind: Arc<Kind>,
    /// False once the `CustomResourceDefinition` is gone.
    served: bool,
    objects: BTreeMap<Key, Arc<Object>>,
    history: VecDeque<Arc<Event>>,
    /// A watch from before this version can't be served.
    forgotten: u64,
    /// The newest event that is no longer in the history.
    lost: u64,
    changed: Arc<Notify>,
}

impl Table {
    fn new(kind: Arc<Kind>, forgotten: u64) -> Self {
        Self {
            kind,
            served: true,
            objects: BTreeMap::new(),
            history: VecDeque::new(),
            forgotten,
            lost: 0,
            changed: Arc::default(),
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Arc<Object>> {
        self.objects.get(key)
    }

    /// The objects of a namespace, or of all for an empty one, in order.
    pub(super) fn list<'a>(&'a self, namespace: &str) -> impl Iterator<Item = &'a Arc<Object>> {
        let start = Key::new(namespace, "");
        self.objects
            .range(start..)
            .take_while(move |(key, _)| namespace.is_empty() || key.namespace == namespace)
            .map(|(_, object)| object)
    }

    /// The objects of a namespace whose names begin with `prefix`, in order.
    pub(super) fn with_prefix<'a>(
        &'a self,
        namespace: &'a str,
        prefix: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Object>> {
        self.objects
            .range(Key::new(namespace, prefix)..)
            .take_while(move |(key, _)| key.namespace == namespace && key.name.starts_with(prefix))
            .map(|(_, object)| object)
    }

    /// The events after `version`, oldest first.
    pub(super) fn events_after(&self, version: u64) -> impl Iterator<Item = &Arc<Event>> {
        self.history.range(
            self.history
                .partition_point(|event| event.version <= version)..,
        )
    }

    /// A watch from before this version can't be served.
    pub(super) const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The newest event that is no longer in the history: an open watch that has not read it is cut off.
    pub(super) const fn lost(&self) -> u64 {
        self.lost
    }

    /// Wakes at each write to this table.
    pub(super) fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.changed)
    }

    fn forget_all(&mut self, version: u64) {
        if let Some(newest) = self.history.back() {
            self.lost = newest.version;
        }
        self.history.clear();
        self.forgotten = version;
    }
}

/// Everything that is stored.
pub(super) struct Store {
    version: u64,
    uids: u64,
    tables: Vec<Table>,
    /// Who names whom as its owner: from the owner's uid to the dependents.
    dependents: BTreeMap<String, BTreeSet<(TableId, Key)>>,
    /// All objects by uid, for the garbage collector.
    whereabouts: BTreeMap<String, (TableId, Key)>,
    history_events_max: usize,
    /// What the controllers have not seen yet; none while nobody runs them.
    journal: Option<VecDeque<(TableId, Arc<Event>)>>,
    author: Option<Author>,
    witness: Option<Witness>,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("version", &self.version)
            .field("tables", &self.tables)
            .finish_non_exhaustive()
    }
}

impl Store {
    pub(super) fn new(history_events_max: usize) -> Self {
        let tables = kinds::built_in()
            .into_iter()
            .map(|kind| Table::new(kind, 0))
            .collect();
        Self {
            version: 0,
            uids: 0,
            tables,
            dependents: BTreeMap::new(),
            whereabouts: BTreeMap::new(),
            history_events_max,
            journal: None,
            author: None,
            witness: None,
        }
    }

    /// Tells `witness` of each write from now on.
    pub(super) fn set_witness(&mut self, witness: Witness) {
        self.witness = Some(witness);
    }

    /// Whose the next writes are.
    pub(super) fn set_author(&mut self, author: Option<Author>) {
        self.author = author;
    }

    /// The newest resource version.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn find(&self, group: &str, version: &str, plural: &str) -> Option<TableId> {
        let found = |table: &Table| {
            table.served && table.kind.is(group, plural) && table.kind.version == version
        };
        self.tables.iter().position(found).map(TableId)
    }

    /// By the name that error messages use: `pods`, `statefulsets.apps`.
    pub(super) fn find_qualified(&self, resource: &str) -> Option<TableId> {
        self.kinds()
            .find(|(_, kind)| kind.qualified() == resource)
            .map(|(id, _)| id)
    }

    /// The table of a built-in kind.
    pub(super) fn built_in(&self, group: &str, plural: &str) -> TableId {
        let found = self
            .tables
            .iter()
            .position(|table| table.kind.is(group, plural));
        TableId(found.expect("the sandbox's own code names kinds of the built-in table"))
    }

    pub(super) fn table(&self, id: TableId) -> &Table {
        &self.tables[id.0]
    }

    /// The served kinds.
    pub(super) fn kinds(&self) -> impl Iterator<Item = (TableId, &Arc<Kind>)> {
        self.tables
            .iter()
            .enumerate()
            .filter(|(_, table)| table.served)
            .map(|(id, table)| (TableId(id), &table.kind))
    }

    /// Serves a custom resource, or serves it again.
    pub(super) fn serve(&mut self, kind: Kind) {
        let known = self
            .tables
            .iter_mut()
            .find(|t| t.kind.group == kind.group && t.kind.plural == kind.plural);
        match known {
            Some(table) => {
                table.served = true;
                table.kind = Arc::new(kind);
            }
            None => self.tables.push(Table::new(Arc::new(kind), self.version)),
        }
    }

    /// Stops serving a custom resource; its objects are removed.
    pub(super) fn unserve(&mut self, group: &str, plural: &str) {
        let Some(id) = self
            .tables
            .iter()
            .position(|table| table.kind.is(group, plural))
        else {
            return;
        };
        let keys: Vec<_> = self.tables[id].objects.keys().cloned().collect();
        for key in keys {
            self.remove(TableId(id), &key);
        }
        self.tables[id].served = false;
    }

    /// A uid that was never given before, the same in each run.
    pub(super) fn new_uid(&mut self) -> String {
        self.uids += 1;
        format!("5a4db0c5-0000-4000-8000-{:012x}", self.uids)
    }

    /// What follows a `generateName`: five characters as the real server draws them, but the same in each run.
    pub(super) fn new_suffix(&mut self) -> String {
        self.uids += 1;
        safe_characters(self.uids).take(5).collect()
    }

    /// Writes an object under its own name, and gives it the next version.
    pub(super) fn put(&mut self, id: TableId, mut value: Value) -> Arc<Object> {
        self.version += 1;
        set_meta(
            &mut value,
            "resourceVersion",
            Some(self.version.to_string().into()),
        );
        let key = Key::of(&value);
        let object = Arc::new(Object::new(value));
        let before = self.tables[id.0]
            .objects
            .insert(key.clone(), Arc::clone(&object));
        self.whereabouts
            .insert(object.uid().to_owned(), (id, key.clone()));
        self.index_owners(id, &key, before.as_deref(), Some(&object));
        self.record(id, before, Some(Arc::clone(&object)));
        object
    }

    /// Removes an object; gives back what it was, with the version of its removal.
    pub(super) fn remove(&mut self, id: TableId, key: &Key) -> Option<Arc<Event>> {
        let before = self.tables[id.0].objects.remove(key)?;
        self.version += 1;
        self.whereabouts.remove(before.uid());
        self.index_owners(id, key, Some(&before), None);
        Some(self.record(id, Some(before), None))
    }

    /// Where the object with this uid is, if it exists.
    pub(super) fn whereabouts(&self, uid: &str) -> Option<(TableId, Key)> {
        self.whereabouts.get(uid).cloned()
    }

    /// Who names the object of this uid as its owner.
    pub(super) fn dependents(&self, uid: &str) -> Vec<(TableId, Key)> {
        self.dependents
            .get(uid)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    /// Forgets all events so far: a watch from an older version gets 410.
    pub(super) fn compact(&mut self) {
        let version = self.version;
        for table in &mut self.tables {
            table.forget_all(version);
        }
    }

    /// Starts collecting events for the controllers, beginning with everything that exists.
    pub(super) fn open_journal(&mut self) {
        let existing = |(id, table): (usize, &Table)| {
            let events = table.objects.values().map(move |object| {
                let after = Some(Arc::clone(object));
                (
                    TableId(id),
                    Arc::new(Event {
                        version: 0,
                        before: None,
                        after,
                        gone: OnceLock::new(),
                    }),
                )
            });
            events.collect::<Vec<_>>()
        };
        self.journal = Some(self.tables.iter().enumerate().flat_map(existing).collect());
    }

    pub(super) fn close_journal(&mut self) {
        self.journal = None;
    }

    /// Whether there is something that the controllers have not seen.
    pub(super) fn has_news(&self) -> bool {
        self.journal
            .as_ref()
            .is_some_and(|journal| !journal.is_empty())
    }

    /// The next event that the controllers have not seen.
    pub(super) fn next_in_journal(&mut self) -> Option<(TableId, Arc<Event>)> {
        self.journal.as_mut()?.pop_front()
    }

    fn index_owners(
        &mut self,
        id: TableId,
        key: &Key,
        before: Option<&Object>,
        after: Option<&Object>,
    ) {
        for uid in before.iter().flat_map(|object| owner_uids(object.value())) {
            if let Some(entry) = self.dependents.get_mut(uid) {
                entry.remove(&(id, key.clone()));
                if entry.is_empty() {
                    self.dependents.remove(uid);
                }
            }
        }
        for uid in after.iter().flat_map(|object| owner_uids(object.value())) {
            self.dependents
                .entry(uid.to_owned())
                .or_default()
                .insert((id, key.clone()));
        }
    }

    fn record(
        &mut self,
        id: TableId,
        before: Option<Arc<Object>>,
        after: Option<Arc<Object>>,
    ) -> Arc<Event> {
        let event = Arc::new(Event {
            version: self.version,
            before,
            after,
            gone: OnceLock::new(),
        });
        let table = &mut self.tables[id.0];
        table.history.push_back(Arc::clone(&event));
        if table.history.len() > self.history_events_max
            && let Some(oldest) = table.history.pop_front()
        {
            table.forgotten = oldest.version;
            table.lost = oldest.version;
        }
        table.changed.notify_waiters();
        if let Some(witness) = &mut self.witness {
            witness(Change {
                resource: &table.kind.plural,
                author: self.author.as_ref(),
                before: event.before.as_deref().map(Object::value),
                after: event.after.as_deref().map(Object::value),
            });
        }
        if let Some(journal) = &mut self.journal {
            journal.push_back((id, Arc::clone(&event)));
        }
        event
    }
}

/// A number's digits in the alphabet that Kubernetes uses in names: nothing in it spells a word.
pub(super) fn safe_characters(mut number: u64) -> impl Iterator<Item = char> {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    std::iter::repeat_with(move || {
        let digit = usize::try_from(number % 27).unwrap_or_default();
        number /= 27;
        char::from(ALPHABET[digit])
    })
}

/// The bytes of an event for a watcher.
pub(super) fn watch_line(kind: &str, object: &Bytes) -> Bytes {
    let mut line = Vec::with_capacity(object.len() + kind.len() + 24);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.extend_from_slice(object);
    line.extend_from_slice(b"}\n");
    line.into()
}
