//! What the caller asks for: by environment, and by the arguments that `cargo test` hands to every test program.

use std::env;

/// Seeds that a plain `cargo test` plays.
const SEEDS_DEFAULT: u64 = 600;

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Task {
    /// Many seeds, from the first.
    Many { first: u64, count: u64 },
    /// One, with its trace.
    One(u64),
    /// Only say what there is.
    List,
    /// Nothing: other tests are asked for.
    Nothing,
}

impl Task {
    pub(crate) fn from_env() -> Self {
        let mut filters = Vec::new();
        for argument in env::args().skip(1) {
            match argument.as_str() {
                "--list" => return Self::List,
                "--ignored" => return Self::Nothing,
                option if option.starts_with('-') => {}
                filter => filters.push(filter.to_owned()),
            }
        }
        if !filters.is_empty()
            && !filters
                .iter()
                .any(|filter| "simulation".contains(filter.as_str()))
        {
            return Self::Nothing;
        }
        match number("SIM_SEED") {
            Some(seed) => Self::One(seed),
            None => Self::Many {
                first: number("SIM_FIRST").unwrap_or(0),
                count: number("SIM_SEEDS").unwrap_or(SEEDS_DEFAULT),
            },
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")),
    )
}
