//! Files that are replaced while a process runs: looked at now and then, and read whole when one has changed.
//!
//! A file that is missing, too large, unusable or being written never takes the place of what was read before. Files are
//! read and not mapped: overwriting a mapped file in place changes, or kills, the process that maps it.

use std::{
    fmt,
    fs::{self, File, Metadata},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use parking_lot::Mutex;

/// Why a file was not taken. `E` is what the caller finds wrong with its content.
#[derive(Debug, thiserror::Error)]
pub enum LoadError<E: fmt::Display> {
    /// There is no file.
    #[error("{0} is missing")]
    Missing(PathBuf),
    /// The file, or what bears its name, cannot be read.
    #[error("{path} cannot be read: {cause}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// The file is larger than the configuration allows.
    #[error("{path} has {size_bytes} bytes, more than bytes_max = {bytes_max}")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        size_bytes: u64,
        /// The bound.
        bytes_max: u64,
    },
    /// The file does not hold what it should.
    #[error("{path}: {cause}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: E,
    },
}

/// What [`WatchedFiles::reload`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The files are what they were.
    Unchanged,
    /// A file is being written; all are looked at again next time.
    Postponed,
    /// What is in the files now is in use.
    Loaded,
}

/// Files that belong together, and what they were when they were looked at last.
#[derive(Debug)]
pub struct WatchedFiles {
    paths: Vec<PathBuf>,
    bytes_max: u64,
    /// One for each path; nothing before the first look. The lock makes reloads one at a time.
    seen: Mutex<Vec<Seen>>,
}

/// What stood at a path when it was looked at; equal when nothing has changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// No file, or none that can be read.
    Unavailable(io::ErrorKind),
    /// A file of this identity.
    File(Fingerprint),
}

/// What tells one file, or one content of it, from the next. The change time is there because copying tools set the
/// modification time back to that of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    device: u64,
    inode: u64,
    size_bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl WatchedFiles {
    /// Watches `paths`, none of which may have more than `bytes_max` bytes. Nothing is read yet.
    pub fn new(paths: Vec<PathBuf>, bytes_max: u64) -> Self {
        Self { paths, bytes_max, seen: Mutex::default() }
    }

    /// The files, in the order in which they were given.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// If any file is another than last time, reads all, has `read` make something of each one's bytes, and gives what came
    /// of it to `put`, in order. Blocks meanwhile.
    ///
    /// On an error nothing is put. An error is given once; after that it is [`Reload::Unchanged`] until a file changes. A
    /// file that could not be read, rather than used, is tried again each time.
    pub fn reload<T, E: fmt::Display>(
        &self,
        mut read: impl FnMut(&Path, Vec<u8>) -> Result<T, E>,
        put: impl FnOnce(Vec<T>),
    ) -> Result<Reload, LoadError<E>> {
        let mut seen = self.seen.lock();
        // Looked at before they are read: a change in between differs from what is noted here, and is found next time.
        let mut now: Vec<Seen> = self.paths.iter().map(|path| Seen::at(path)).collect();
        if *seen == now {
            return Ok(Reload::Unchanged);
        }
        let mut loaded = Vec::with_capacity(self.paths.len());
        for (path, at) in self.paths.iter().zip(0..) {
            match self.read_one(path, &mut read) {
                Ok(Some((fingerprint, value))) => {
                    now[at] = Seen::File(fingerprint);
                    loaded.push(value);
                }
                Ok(None) => return Ok(Reload::Postponed),
                Err(error) => {
                    now[at] = error.seen(now[at]);
                    if *seen == now {
                        return Ok(Reload::Unchanged);
                    }
                    *seen = now;
                    return Err(error);
                }
            }
        }
        *seen = now;
        put(loaded);
        Ok(Reload::Loaded)
    }

    /// Reads a file and says which one it was; `None` when it changed meanwhile: what was read may be half of two versions.
    fn read_one<T, E: fmt::Display>(
        &self,
        path: &Path,
        read: &mut impl FnMut(&Path, Vec<u8>) -> Result<T, E>,
    ) -> Result<Option<(Fingerprint, T)>, LoadError<E>> {
        let unreadable = |cause: io::Error| match cause.kind() {
            io::ErrorKind::NotFound => LoadError::Missing(path.to_owned()),
            _ => LoadError::Unreadable { path: path.to_owned(), cause },
        };
        // Asked before opening, as opening a pipe would wait for a writer.
        if !fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(unreadable(io::Error::other("not a regular file")));
        }
        let file = File::open(path).map_err(unreadable)?;
        let fingerprint = |file: &File| file.metadata().map(|metadata| Fingerprint::of(&metadata));
        let before = fingerprint(&file).map_err(unreadable)?;
        if before.size_bytes > self.bytes_max {
            let (size_bytes, bytes_max) = (before.size_bytes, self.bytes_max);
            return Err(LoadError::TooLarge { path: path.to_owned(), size_bytes, bytes_max });
        }
        let bytes = read_exactly(&file, before.size_bytes).map_err(unreadable)?;
        match bytes {
            Some(bytes) if fingerprint(&file).map_err(unreadable)? == before => {
                let unusable = |cause| LoadError::Unusable { path: path.to_owned(), cause };
                Ok(Some((before, read(path, bytes).map_err(unusable)?)))
            }
            _ => Ok(None),
        }
    }
}

impl Seen {
    fn at(path: &Path) -> Self {
        // A link is followed: what it points to is what would be read.
        match fs::metadata(path) {
            Ok(metadata) => Self::File(Fingerprint::of(&metadata)),
            Err(error) => Self::Unavailable(error.kind()),
        }
    }
}

impl<E: fmt::Display> LoadError<E> {
    /// What to remember after this error, when `now` stood at the path: a bad file until it changes, and a failure to
    /// read without the file, so that the same file is tried again.
    fn seen(&self, now: Seen) -> Seen {
        match self {
            Self::Missing(_) => Seen::Unavailable(io::ErrorKind::NotFound),
            Self::Unreadable { cause, .. } => Seen::Unavailable(cause.kind()),
            Self::TooLarge { .. } | Self::Unusable { .. } => now,
        }
    }
}

impl Fingerprint {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size_bytes: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// The whole file, or `None` when it no longer has the size that was seen.
fn read_exactly(file: &File, size_bytes: u64) -> io::Result<Option<Vec<u8>>> {
    let len = usize::try_from(size_bytes).map_err(io::Error::other)?;
    let mut bytes = Vec::new();
    // Room for one byte more, so that reading finds the end without growing.
    bytes.try_reserve_exact(len.saturating_add(1))?;
    file.take(size_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok((bytes.len() == len).then_some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads both files as texts; `bad` is refused.
    fn reload(files: &WatchedFiles, into: &mut Vec<String>) -> Result<Reload, LoadError<&'static str>> {
        let read = |_: &Path, bytes: Vec<u8>| {
            if bytes == b"bad" { Err("it is bad") } else { Ok(String::from_utf8(bytes).unwrap()) }
        };
        files.reload(read, |texts| *into = texts)
    }

    #[test]
    fn several_files_are_taken_together_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::write(&a, "1").unwrap();
        let files = WatchedFiles::new(vec![a.clone(), b.clone()], 10);
        let mut texts = Vec::new();
        assert!(matches!(reload(&files, &mut texts), Err(LoadError::Missing(path)) if path == b));
        assert_eq!(reload(&files, &mut texts).unwrap(), Reload::Unchanged, "told once");
        fs::write(&b, "2").unwrap();
        assert_eq!(reload(&files, &mut texts).unwrap(), Reload::Loaded);
        assert_eq!(texts, ["1", "2"]);
        assert_eq!(reload(&files, &mut texts).unwrap(), Reload::Unchanged);
        fs::write(&a, "one").unwrap();
        fs::write(&b, "bad").unwrap();
        assert!(matches!(reload(&files, &mut texts), Err(LoadError::Unusable { path, .. }) if path == b));
        assert_eq!(texts, ["1", "2"], "the good file does not come alone");
        fs::write(&b, "two and more").unwrap();
        assert!(matches!(reload(&files, &mut texts), Err(LoadError::TooLarge { size_bytes: 12, .. })));
        fs::write(&b, "two").unwrap();
        assert_eq!(reload(&files, &mut texts).unwrap(), Reload::Loaded);
        assert_eq!(texts, ["one", "two"]);
    }

    #[test]
    fn no_files_never_change() {
        let files = WatchedFiles::new(Vec::new(), 10);
        assert_eq!(reload(&files, &mut Vec::new()).unwrap(), Reload::Unchanged);
    }

    #[test]
    fn a_file_that_grew_or_shrank_while_it_was_read_is_not_taken() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        io::Write::write_all(&mut file, b"12345").unwrap();
        let read = |size_bytes| read_exactly(&File::open(file.path()).unwrap(), size_bytes).unwrap();
        assert_eq!(read(5), Some(b"12345".to_vec()));
        assert_eq!(read(4), None, "it grew");
        assert_eq!(read(6), None, "it shrank");
    }
}
