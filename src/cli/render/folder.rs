//! Copying a folder as the kubelet lays it out, file by file and each at once.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

/// What a file is called until it is whole. One of a run that was killed is removed by the next.
const UNFINISHED: &str = ".stellar-peers-render";

/// A regular file of the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SourceFile {
    /// Where it is.
    pub(super) path: PathBuf,
    /// Where it is within its folder.
    pub(super) relative: PathBuf,
    /// Who may do what, without the bits for set-id.
    mode: u32,
}

/// What can't be looked at, and why.
pub(super) type Unreadable = (PathBuf, io::Error);

/// Whether both are one folder, by whatever path.
pub(super) fn is_same(one: &Path, other: &Path) -> bool {
    let real = |path| fs::canonicalize(path).ok();
    real(one).is_some_and(|it| Some(it) == real(other))
}

/// The regular files of a folder and of those below it, symlinks followed, sorted by name. Left out are names that
/// begin with `..`, which are the kubelet's own, the folder `except`, and folders that hold themselves.
///
/// # Errors
/// The folder itself can't be listed.
pub(super) fn files_in(
    folder: &Path,
    except: &Path,
) -> io::Result<(Vec<SourceFile>, Vec<Unreadable>)> {
    let mut walk = Walk::default();
    walk.above.extend(fs::canonicalize(except));
    walk.folder(folder, Path::new(""))?;
    Ok((walk.files, walk.unreadable))
}

#[derive(Default)]
struct Walk {
    files: Vec<SourceFile>,
    unreadable: Vec<Unreadable>,
    /// The real paths of the folders that the walk is in.
    above: Vec<PathBuf>,
}

impl Walk {
    fn folder(&mut self, folder: &Path, relative: &Path) -> io::Result<()> {
        let real = fs::canonicalize(folder)?;
        if self.above.contains(&real) {
            return Ok(());
        }
        let mut names = fs::read_dir(folder)?
            .map(|entry| entry.map(|it| it.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        self.above.push(real);
        for name in names {
            if name.as_encoded_bytes().starts_with(b"..") {
                continue;
            }
            let (path, relative) = (folder.join(&name), relative.join(&name));
            if let Err(error) = self.entry(path, &relative) {
                self.unreadable.push((relative, error));
            }
        }
        self.above.pop();
        Ok(())
    }

    fn entry(&mut self, path: PathBuf, relative: &Path) -> io::Result<()> {
        let metadata = fs::metadata(&path)?;
        if metadata.is_dir() {
            return self.folder(&path, relative);
        }
        if metadata.is_file() {
            self.files.push(SourceFile {
                path,
                relative: relative.to_owned(),
                mode: metadata.permissions().mode() & 0o777,
            });
        }
        Ok(())
    }
}

/// Puts a file into a folder, in the place and with the mode that it has in its source. What is there is replaced, even
/// where it can't be written to.
///
/// # Errors
/// What is there, if anything, is as before.
pub(super) fn write(folder: &Path, file: &SourceFile, content: &[u8]) -> io::Result<()> {
    let target = folder.join(&file.relative);
    let parent = target.parent().unwrap_or(folder);
    fs::create_dir_all(parent)?;
    let unfinished = parent.join(UNFINISHED);
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written =
        fill(&unfinished, content, file.mode).and_then(|()| fs::rename(&unfinished, &target));
    if written.is_err() {
        // It may hold the seed. Where it can't be removed, nothing better can be done.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

/// A new file, for us alone until it has all its content; then of its mode, whatever the umask.
fn fill(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()
}
