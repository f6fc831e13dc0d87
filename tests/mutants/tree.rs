//! A copy of the source, to be broken, built and run beside the real one.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use crate::mutations::Mutation;

/// What Cargo needs.
const PARTS: [&str; 8] = [
    "Cargo.toml",
    "Cargo.lock",
    "rust-toolchain.toml",
    "crates",
    "src",
    "tests",
    "benches",
    "docs",
];

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// How a run of the simulation ended.
pub(crate) enum Found {
    /// With this violation.
    Violation(String),
    /// All seeds held.
    Nothing,
}

/// The copy.
pub(crate) struct Tree {
    folder: PathBuf,
    broken: Option<&'static Mutation>,
}

impl Tree {
    /// Copies the source. What is the same as in an earlier copy is left as it is, so that it need not be built again.
    pub(crate) fn copy() -> io::Result<Self> {
        let folder = root().join("target/mutants");
        fs::create_dir_all(&folder)?;
        for part in PARTS {
            copy(&root().join(part), &folder.join(part))?;
        }
        Ok(Self {
            folder,
            broken: None,
        })
    }

    /// Breaks the copy, builds it and runs the simulation.
    pub(crate) fn run_with(&mut self, mutation: &'static Mutation) -> io::Result<Found> {
        self.mend()?;
        self.broken = Some(mutation);
        let text = mutation.applied().map_err(io::Error::other)?;
        fs::write(self.folder.join(mutation.file), text)?;
        let built = self.cargo(&["--no-run"])?;
        if !built.status.success() {
            let errors = String::from_utf8_lossy(&built.stderr).into_owned();
            return Err(io::Error::other(format!(
                "{} does not compile:\n{errors}",
                mutation.name
            )));
        }
        let run = self.cargo(&[])?;
        self.mend()?;
        if run.status.success() {
            return Ok(Found::Nothing);
        }
        let text = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
        let line = text.lines().find(|line| line.contains("violated"));
        Ok(Found::Violation(
            line.unwrap_or("failed in another way").trim().to_owned(),
        ))
    }

    fn mend(&mut self) -> io::Result<()> {
        match self.broken.take() {
            Some(mutation) => copy(
                &root().join(mutation.file),
                &self.folder.join(mutation.file),
            ),
            None => Ok(()),
        }
    }

    fn cargo(&self, arguments: &[&str]) -> io::Result<Output> {
        Command::new(env!("CARGO"))
            .args(["test", "--quiet", "--features", "sandbox"])
            .args(["--test", "simulation"])
            .args(arguments)
            .current_dir(&self.folder)
            // Never where the real one is built: Cargo would take the one's objects for the other's.
            .env("CARGO_TARGET_DIR", self.folder.join("target"))
            .env("CARGO_INCREMENTAL", "1")
            .output()
    }
}

/// Copies a file or a folder, but for what is the same.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if from.is_dir() {
        fs::create_dir_all(to)?;
        for entry in fs::read_dir(to)? {
            let entry = entry?;
            if !from.join(entry.file_name()).exists() {
                remove(&entry.path())?;
            }
        }
        for entry in fs::read_dir(from)? {
            let name = entry?.file_name();
            copy(&from.join(&name), &to.join(&name))?;
        }
        return Ok(());
    }
    let content = fs::read(from)?;
    if fs::read(to).is_ok_and(|present| present == content) {
        return Ok(());
    }
    fs::write(to, content)
}

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}
