//! What is written down, and what differs from it.

use std::{collections::BTreeMap, env, fmt::Write, fs, path::PathBuf, process::ExitCode};

/// Per cent by which a count may be above what is written down. One that is as far below is to be written down.
const ROOM: u64 = 5;

/// Instructions of a round, by the name of the work.
pub(crate) struct Budget(BTreeMap<String, u64>);

impl Budget {
    /// The one beside this file.
    pub(crate) fn committed() -> Self {
        let text = fs::read_to_string(path()).unwrap_or_default();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let entry = |line: &str| {
            let (name, count) = line.split_once(' ')?;
            Some((name.to_owned(), count.trim().parse().ok()?))
        };
        Self(lines.filter_map(entry).collect())
    }

    /// Prints each count beside what is written down; fails where one is too high. With `UPDATE=1` writes them down.
    pub(crate) fn judge(&self, counts: &[(&str, u64)]) -> ExitCode {
        println!("instructions a round, and what is written down:");
        let mut is_over = false;
        for (name, count) in counts {
            let verdict = match self.0.get(*name) {
                None => "not written down",
                Some(budget) if *count > budget + budget * ROOM / 100 => "too many",
                Some(budget) if *count < budget - budget * ROOM / 100 => {
                    "fewer: UPDATE=1 writes that down"
                }
                Some(_) => "",
            };
            is_over |= matches!(verdict, "too many" | "not written down");
            let budget = self.0.get(*name).map_or_else(String::new, u64::to_string);
            let line = format!("  {name:<28} {count:>12} {budget:>12}  {verdict}");
            println!("{}", line.trim_end());
        }
        if env::var_os("UPDATE").is_some() {
            write(counts);
            return ExitCode::SUCCESS;
        }
        if is_over {
            println!(
                "more than {ROOM} % above tests/instructions/budget.txt: make it less, or UPDATE=1 and say why"
            );
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }
}

fn write(counts: &[(&str, u64)]) {
    let mut text = "# Instructions by callgrind, of the tests' build. UPDATE=1 cargo test --features sandbox --test instructions\n".to_owned();
    for (name, count) in counts {
        writeln!(text, "{name} {count}").expect("a String takes all");
    }
    fs::write(path(), text).expect("the file can be written");
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/instructions/budget.txt")
}
