//! Whether a folder is in memory.

use std::{
    ffi::OsString,
    fs,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
};

/// File systems that never reach a disk but by swapping.
const IN_MEMORY: [&str; 2] = ["tmpfs", "ramfs"];

/// Whether a folder is in memory; [`None`] where nobody says, as on other systems than Linux.
pub(super) fn is_in_memory(folder: &Path) -> Option<bool> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let kind = kind_of(&mounts, &fs::canonicalize(folder).ok()?)?;
    Some(IN_MEMORY.contains(&kind))
}

/// The file system of a path: that of the deepest mount above it, and of those at one place the last.
///
/// Source: proc(5). The fifth field is the mount point; the type follows a field that is `-` alone.
fn kind_of<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let mount = |line: &'a str| {
        let point = unescaped(line.split(' ').nth(4)?);
        let kind = line.split_once(" - ")?.1.split(' ').next()?;
        path.starts_with(&point)
            .then(|| (point.components().count(), kind))
    };
    let deepest = mounts
        .lines()
        .filter_map(mount)
        .max_by_key(|(depth, _)| *depth);
    deepest.map(|(_, kind)| kind)
}

/// Blanks, tabs, line breaks and backslashes stand as `\` and three octal digits.
fn unescaped(field: &str) -> PathBuf {
    let mut parts = field.split('\\');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, rest) = part.split_at_checked(3).unwrap_or((part, ""));
        bytes.extend(u8::from_str_radix(digits, 8));
        bytes.extend(rest.as_bytes());
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:25 / /run rw shared:2 - tmpfs tmpfs rw,size=1k
31 30 8:1 /a /run/disk rw - ext4 /dev/sda1 rw
32 22 0:26 / /with\\040blank rw - tmpfs a\\040b rw
33 22 8:1 / /twice rw - ext4 /dev/sda1 rw
34 33 0:27 / /twice rw - tmpfs tmpfs rw
no mount at all
";

    #[test]
    fn the_deepest_and_last_mount_says_of_what_kind_a_folder_is() {
        for (path, kind) in [
            ("/etc", "ext4"),
            ("/runner", "ext4"),
            ("/run", "tmpfs"),
            ("/run/a/b", "tmpfs"),
            ("/run/disk/a", "ext4"),
            ("/with blank/a", "tmpfs"),
            ("/twice", "tmpfs"),
        ] {
            assert_eq!(kind_of(MOUNTS, Path::new(path)), Some(kind), "{path}");
        }
        assert_eq!(kind_of("", Path::new("/")), None);
    }
}
