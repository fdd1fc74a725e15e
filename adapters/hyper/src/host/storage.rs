//! Bytes under names, in a directory.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes under names, each in a file of a directory that is replaced as a whole or not at all.
///
/// Writing is in two steps, because it may block: [`put`](Self::put) takes the bytes, and [`flush`](Self::flush), called
/// where one may block, writes what was taken. Of what is put under one name before it is written only the last is.
#[derive(Debug)]
pub struct Storage {
    directory: PathBuf,
    taken: Mutex<BTreeMap<String, Vec<u8>>>,
    /// Held while writing, so that an older value never follows a newer one.
    writing: Mutex<()>,
}

impl Storage {
    /// Storage in a directory, which is made if it is not there. Two processes must not share one.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn new(directory: impl Into<PathBuf>) -> io::Result<Self> {
        let directory = directory.into();
        fs::create_dir_all(&directory)?;
        Ok(Self { directory, taken: Mutex::default(), writing: Mutex::default() })
    }

    /// What was put under a name last, by this process or one before. `None`: nothing, or it cannot be read.
    #[must_use]
    pub fn load(&self, name: &str) -> Option<Vec<u8>> {
        if let Some(bytes) = lock(&self.taken).get(name) {
            return Some(bytes.clone());
        }
        // It may be on its way from there to the file.
        let _writing = lock(&self.writing);
        fs::read(self.path(name)).ok()
    }

    /// Takes bytes to be written by the next [`flush`](Self::flush).
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        lock(&self.taken).insert(name.to_owned(), bytes);
    }

    /// Writes what was put. Blocks. What cannot be written is dropped, with a warning.
    pub fn flush(&self) {
        let _writing = lock(&self.writing);
        // In a statement of its own: nobody who puts is to wait for the disk.
        while let Some((name, bytes)) = self.next() {
            let path = self.path(&name);
            if let Err(error) = replace(&path, &bytes) {
                tracing::warn!(path = %path.display(), %error, "cannot be stored");
            }
        }
    }

    fn next(&self) -> Option<(String, Vec<u8>)> {
        lock(&self.taken).pop_first()
    }

    /// The file of a name. No two names share one, however the file system takes upper and lower case.
    fn path(&self, name: &str) -> PathBuf {
        let mut file = String::with_capacity(name.len() + 9);
        for byte in name.bytes() {
            match byte {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => file.push(char::from(byte)),
                _ => write!(file, "%{byte:02x}").expect("a string takes all"),
            }
        }
        self.directory.join(file + ".periplus")
    }
}

/// Writes a file beside, and puts it in the place of the old one when the disk has it.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let beside = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(&beside, path)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that is gone afterwards.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let place = std::env::temp_dir().join(format!("periplus-storage-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&place);
            Self(place)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_was_put_last_is_loaded_before_and_after_it_is_written_and_by_the_next_process() {
        let place = Place::new("last");
        let storage = Storage::new(&place.0).unwrap();
        assert_eq!(storage.load("sets"), None);
        storage.put("sets", b"one".to_vec());
        storage.put("sets", b"two".to_vec());
        assert_eq!(storage.load("sets").unwrap(), b"two");
        storage.flush();
        assert_eq!(storage.load("sets").unwrap(), b"two");
        storage.put("sets", b"three".to_vec());
        storage.flush();
        assert_eq!(Storage::new(&place.0).unwrap().load("sets").unwrap(), b"three");
        assert_eq!(fs::read_dir(&place.0).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn names_are_told_apart_and_stay_in_the_directory() {
        let place = Place::new("names");
        let storage = Storage::new(place.0.join("inner")).unwrap();
        let names = ["a", "A", "../a", "a/b", "a%2fb", "", ".", "http://[::1]:7171", "ä"];
        for name in names {
            storage.put(name, name.as_bytes().to_vec());
        }
        storage.flush();
        for name in names {
            assert_eq!(storage.load(name).unwrap(), name.as_bytes(), "{name:?}");
        }
        assert_eq!(fs::read_dir(&place.0).unwrap().count(), 1);
        assert_eq!(fs::read_dir(place.0.join("inner")).unwrap().count(), names.len());
    }

    #[test]
    fn a_write_that_fails_leaves_what_was_there() {
        let place = Place::new("fails");
        let storage = Storage::new(&place.0).unwrap();
        storage.put("sets", b"one".to_vec());
        storage.flush();
        // A directory where the file beside is to be: it cannot be opened.
        fs::create_dir(place.0.join("sets.new")).unwrap();
        storage.put("sets", b"two".to_vec());
        storage.flush();
        assert_eq!(storage.load("sets").unwrap(), b"one");
    }
}
