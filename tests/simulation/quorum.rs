//! Quorum sets as the seed declares them, and what they tolerate: a model of our own, which parses nothing.

use std::fmt::Write;

use crate::random::Random;

/// So many percent of the entries, each a validator or a set, have to agree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QuorumSet {
    percent: u64,
    validators: Vec<String>,
    inner: Vec<QuorumSet>,
}

impl QuorumSet {
    pub(crate) fn draw(random: &mut Random, names: &[String]) -> Self {
        let percent = *random.pick(&[51, 60, 67, 75, 100]).expect("there are some");
        if names.len() < 4 || random.percent(60) {
            return Self {
                percent,
                validators: names.to_vec(),
                inner: Vec::new(),
            };
        }
        let (first, second) = names.split_at(names.len() / 2);
        let inner = |validators: &[String], percent| Self {
            percent,
            validators: validators.to_vec(),
            inner: Vec::new(),
        };
        Self {
            percent,
            validators: first[..1].to_vec(),
            inner: vec![inner(&first[1..], 51), inner(second, 67)],
        }
    }

    /// Whether enough agree where only those of whom `is_up` holds do.
    pub(crate) fn is_satisfied(&self, is_up: &dyn Fn(&str) -> bool) -> bool {
        let up = self.validators.iter().filter(|name| is_up(name)).count()
            + self
                .inner
                .iter()
                .filter(|set| set.is_satisfied(is_up))
                .count();
        let entries = (self.validators.len() + self.inner.len()) as u64;
        up as u64 >= (entries * self.percent).div_ceil(100)
    }

    /// As stellar-core's config has it.
    pub(crate) fn to_toml(&self) -> String {
        let mut toml = String::new();
        self.write("QUORUM_SET", &mut toml);
        toml
    }

    fn write(&self, table: &str, toml: &mut String) {
        let names: Vec<String> = self
            .validators
            .iter()
            .map(|name| format!("\"${name}\""))
            .collect();
        let (percent, names) = (self.percent, names.join(", "));
        let _ = write!(
            toml,
            "[{table}]\nTHRESHOLD_PERCENT = {percent}\nVALIDATORS = [{names}]\n"
        );
        for (index, set) in self.inner.iter().enumerate() {
            set.write(&format!("{table}.{}", index + 1), toml);
        }
    }
}
