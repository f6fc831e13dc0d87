//! Where figures go that are kept: `docs/benchmarks.md` with what stands in `docs/benchmarks`, but only with `UPDATE=1`.
//! Otherwise to `bench` in the folder of builds, which nobody commits.
//!
//! On the page a measured block stands between two lines, `<!-- measured: NAME -->` and `<!-- end -->`. Each benchmark
//! writes its own and touches nothing else. `tests/tidy.rs` tests this file.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

const END: &str = "<!-- end -->";

/// The folder for tables and pictures. It is there afterwards.
pub(crate) fn folder() -> io::Result<PathBuf> {
    let folder = if is_update() {
        docs().join("benchmarks")
    } else {
        built()
    };
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Puts a block in its place on the page, or without `UPDATE=1` in a file of its own; tells which file that is.
pub(crate) fn write(name: &str, block: &str) -> io::Result<PathBuf> {
    if !is_update() {
        let path = folder()?.join(format!("{name}.md"));
        fs::write(&path, block)?;
        return Ok(path);
    }
    let path = docs().join("benchmarks.md");
    let page = fs::read_to_string(&path)?;
    let missing = || io::Error::other(format!("{} has no block {name}", path.display()));
    fs::write(&path, replaced(&page, name, block).ok_or_else(missing)?)?;
    Ok(path)
}

/// The page with another text in a block. Nothing where it has no such block, or the block no end.
pub(crate) fn replaced(page: &str, name: &str, block: &str) -> Option<String> {
    let begin = format!("<!-- measured: {name} -->\n");
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{begin}\n{}\n\n{END}{after}", block.trim()))
}

fn is_update() -> bool {
    env::var_os("UPDATE").is_some_and(|value| value == "1")
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// Beside what cargo builds, wherever that is.
fn built() -> PathBuf {
    let inside = Path::new(env!("CARGO_TARGET_TMPDIR"));
    inside.parent().unwrap_or(inside).join("bench")
}
