//! Certificates from a folder, usually a mounted Secret that somebody else renews.

use std::{
    convert::Infallible,
    error::Error,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use tracing::{info, warn};

use super::{
    CERTIFICATE_FILE, CertificateError, CertificateStore, KEY_FILE, PemPair, ServingCertificate,
    store::ToldValidity,
};

/// Reads and checks the pair in `dir` once.
///
/// # Errors
/// [`CertificateError`], which names the file.
pub fn load_files(dir: &Path) -> Result<ServingCertificate, CertificateError> {
    judge(&look_at(dir), dir)
}

/// Keeps `store` in line with the pair in `dir`, for ever.
///
/// Looks every `interval` and compares contents. That needs no inotify and survives whatever the
/// kubelet does with its symlinks (it swaps `..data`, two links away from the file).
///
/// *Guarantees*: an empty store takes the first good pair at once. A working pair is replaced
/// only by one that is good and was seen in two looks in a row, so that a look between the
/// writing of two files does no harm. A bad pair is logged once for each change of the files, and
/// the working one stays.
///
/// `clock` is asked after each look, since a certificate expires without any change of its file.
pub async fn watch_files(
    dir: PathBuf,
    store: Arc<CertificateStore>,
    interval: Duration,
    clock: impl Fn() -> Timestamp + Send,
) -> Infallible {
    let mut looks = Looks::default();
    let mut told = ToldValidity::default();
    loop {
        let look = {
            let dir = dir.clone();
            tokio::task::spawn_blocking(move || look_at(&dir)).await
        };
        // A join error means that the runtime is going down: the sleep below ends this task.
        if let Ok(look) = look
            && let Some(news) = looks.news(look, store.has_certificate())
        {
            take_up(&news, &dir, &store);
        }
        told.tell(&store, clock());
        tokio::time::sleep(interval).await;
    }
}

/// What the last looks showed, so that each change is acted upon once.
#[derive(Debug)]
pub(super) struct Looks<T> {
    previous: Option<T>,
    judged: Option<T>,
}

impl<T> Default for Looks<T> {
    fn default() -> Self {
        Self {
            previous: None,
            judged: None,
        }
    }
}

impl<T: Clone + PartialEq> Looks<T> {
    /// From a look that was acted upon already.
    pub(super) fn since(look: T) -> Self {
        Self {
            previous: Some(look.clone()),
            judged: Some(look),
        }
    }

    /// `look`, if it is settled and was not acted upon yet.
    pub(super) fn news(&mut self, look: T, is_serving: bool) -> Option<T> {
        let is_settled = !is_serving || self.previous.as_ref() == Some(&look);
        let is_known = self.judged.as_ref() == Some(&look);
        self.previous = Some(look.clone());
        if !is_settled || is_known {
            return None;
        }
        self.judged = Some(look.clone());
        Some(look)
    }
}

fn take_up(look: &Look, dir: &Path, store: &CertificateStore) {
    match judge(look, dir) {
        Ok(certificate) => {
            let not_after = certificate.not_after();
            info!(dir = %dir.display(), %not_after, "Loaded serving certificate");
            store.replace(certificate);
        }
        Err(error) => warn!(
            error = &error as &dyn Error,
            serving = store.has_certificate(),
            "Refused serving certificate, a change of its files is taken up by itself"
        ),
    }
}

/// What a look at the folder showed: two are equal where nothing changed in between.
type Look = Result<PemPair, Unreadable>;

/// A file that could not be read, in a form that can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub(super) path: PathBuf,
    pub(super) kind: io::ErrorKind,
}

pub(super) fn read(path: PathBuf) -> Result<Vec<u8>, Unreadable> {
    fs::read(&path).map_err(|error| Unreadable {
        path,
        kind: error.kind(),
    })
}

fn look_at(dir: &Path) -> Look {
    Ok(PemPair {
        certificate: read(dir.join(CERTIFICATE_FILE))?,
        key: read(dir.join(KEY_FILE))?,
    })
}

fn judge(look: &Look, dir: &Path) -> Result<ServingCertificate, CertificateError> {
    match look {
        Ok(pair) => ServingCertificate::from_pem(pair, &dir.display().to_string()),
        Err(Unreadable { path, kind }) => Err(CertificateError::UnreadableFile {
            path: path.display().to_string(),
            source: (*kind).into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, os::unix::fs::symlink};

    use super::*;
    use crate::tls::generate::tests::{DAY, NOON, authority, names};

    const INTERVAL: Duration = Duration::from_millis(5);

    fn pair(days: u32) -> PemPair {
        authority().issue(&names(), DAY * days, NOON).unwrap()
    }

    fn write(dir: &Path, pair: &PemPair) {
        fs::create_dir_all(dir).unwrap();
        fs::write(dir.join(CERTIFICATE_FILE), &pair.certificate).unwrap();
        fs::write(dir.join(KEY_FILE), &pair.key).unwrap();
    }

    /// A mounted Secret as the kubelet lays it out: file → `..data/file` → `..<date>/file`.
    fn publish(mount: &Path, version: &str, pair: &PemPair) {
        write(&mount.join(version), pair);
        symlink(version, mount.join("..data_tmp")).unwrap();
        fs::rename(mount.join("..data_tmp"), mount.join("..data")).unwrap();
        for name in [CERTIFICATE_FILE, KEY_FILE] {
            if !mount.join(name).exists() {
                symlink(Path::new("..data").join(name), mount.join(name)).unwrap();
            }
        }
    }

    /// Runs the watcher beside `steps`.
    async fn watching(dir: &Path, store: &Arc<CertificateStore>, steps: impl Future<Output = ()>) {
        let watcher = watch_files(dir.to_owned(), Arc::clone(store), INTERVAL, || NOON);
        tokio::select! {
            never = watcher => match never {},
            () = steps => {}
            () = tokio::time::sleep(Duration::from_secs(30)) => panic!("the state never came"),
        }
    }

    async fn until_days_left(store: &CertificateStore, days: u32) {
        let wanted = NOON + DAY * days;
        while store.current().is_none_or(|c| c.not_after() != wanted) {
            tokio::time::sleep(INTERVAL).await;
        }
    }

    #[tokio::test]
    async fn symlink_swaps_of_the_kubelet_are_followed() {
        let mount = tempfile::tempdir().unwrap();
        let store = Arc::new(CertificateStore::default());
        publish(mount.path(), "..one", &pair(1));
        watching(mount.path(), &store, async {
            for (version, days) in [("..two", 2), ("..three", 3)] {
                until_days_left(&store, days - 1).await;
                publish(mount.path(), version, &pair(days));
                until_days_left(&store, days).await;
            }
        })
        .await;
    }

    #[tokio::test]
    async fn files_that_come_late_fill_an_empty_store() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(CertificateStore::default());
        watching(dir.path(), &store, async {
            write(dir.path(), &pair(1));
            until_days_left(&store, 1).await;
        })
        .await;
    }

    #[test]
    fn a_broken_pair_keeps_the_working_one_and_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let (store, mut looks) = (CertificateStore::default(), Looks::default());
        let mut look = || {
            let news = looks.news(look_at(dir.path()), store.has_certificate())?;
            take_up(&news, dir.path(), &store);
            store.current().map(|c| c.not_after())
        };
        let one_day = Some(NOON + DAY);

        write(dir.path(), &pair(1));
        assert_eq!(
            look(),
            one_day,
            "an empty store takes the first pair at once"
        );
        let key = pair(2).key;
        write(dir.path(), &PemPair { key, ..pair(2) });
        assert_eq!(look(), None, "the second file may still be on its way");
        assert_eq!(
            look(),
            one_day,
            "settled and broken: judged, and the old pair stays"
        );
        assert_eq!(look(), None, "and not judged again");
        write(dir.path(), &pair(3));
        assert_eq!([look(), look()], [None, Some(NOON + DAY * 3)]);
    }

    #[test]
    fn a_missing_file_is_named_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let error = load_files(dir.path()).unwrap_err().to_string();
        assert!(error.contains(CERTIFICATE_FILE) && error.contains("--tls-dir"));
    }
}
