//! Which of the namespace's validators a name in a quorum set means.

use super::NodeName;

/// The validators of a namespace, to be found by the names that quorum sets give them.
#[derive(Clone, Debug, Default)]
pub struct Directory<'a> {
    /// Sorted.
    names: Vec<&'a NodeName>,
    /// The names folded, each with its place in `names`; sorted.
    folded: Vec<(String, usize)>,
}

impl<'a> Directory<'a> {
    /// All validators that a set may mean: those that are down, suspended or deleted too, or they would count as up.
    #[must_use]
    pub fn new(names: impl IntoIterator<Item = &'a NodeName>) -> Self {
        let mut names: Vec<&NodeName> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        let folded = names.iter().enumerate();
        let mut folded: Vec<_> = folded.map(|(at, name)| (fold(name.as_str()), at)).collect();
        folded.sort_unstable();
        Self { names, folded }
    }

    /// The validator that `name` means: the one that is called so; else the only one that is when neither case nor
    /// `-`, `_` and `.` count. Nobody where there is none, or more than one.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&'a NodeName> {
        self.position(name).map(|at| self.names[at])
    }

    /// The same as a place among all names.
    pub(super) fn position(&self, name: &str) -> Option<usize> {
        let exact = self.names.binary_search_by(|it| it.as_str().cmp(name));
        exact.ok().or_else(|| self.loose_position(name))
    }

    /// The same for names that come in order, as a set's do: the one after the last that was found is tried first.
    pub(super) fn position_after(&self, last: &mut usize, name: &str) -> Option<usize> {
        let next = *last + 1;
        let is_next = self.names.get(next).is_some_and(|it| it.as_str() == name);
        let found = if is_next {
            Some(next)
        } else {
            self.position(name)
        };
        *last = found.unwrap_or(*last);
        found
    }

    fn loose_position(&self, name: &str) -> Option<usize> {
        let wanted = fold(name);
        let first = self.folded.partition_point(|(folded, _)| *folded < wanted);
        let mut found = self.folded[first..]
            .iter()
            .take_while(|(folded, _)| *folded == wanted);
        let at = found.next()?.1;
        found.next().is_none().then_some(at)
    }

    /// The place of a validator itself.
    pub(super) fn place(&self, name: &NodeName) -> Option<usize> {
        self.names.binary_search(&name).ok()
    }

    pub(super) fn name(&self, place: usize) -> &'a NodeName {
        self.names[place]
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}

/// What is left of a name when neither case nor separators count.
fn fold(name: &str) -> String {
    name.chars()
        .filter(|c| !"-_.".contains(*c))
        .map(|c| c.to_ascii_lowercase())
        .collect()
}
