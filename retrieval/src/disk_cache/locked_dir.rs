//! The cache's directory, held by one process at a time.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// A directory and the lock on it, which the system releases when the process ends however it ends.
#[derive(Debug)]
pub(super) struct LockedDir {
    path: PathBuf,
    lock: File,
}

impl LockedDir {
    /// Creates the directory if need be and locks it. An error of kind `ResourceBusy` when somebody else has it.
    pub(super) fn acquire(path: &Path) -> io::Result<Self> {
        fs::create_dir_all(path)?;
        let lock = File::options().create(true).write(true).truncate(false).open(lock_path(path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), lock }),
            Err(TryLockError::WouldBlock) => Err(io::Error::new(
                io::ErrorKind::ResourceBusy,
                format!("the disk cache at {} is in use", path.display()),
            )),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The directory.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// An error unless the path still leads to the directory that was locked. After somebody removed or replaced
    /// it, files created or removed there would be another's.
    pub(super) fn check(&self) -> io::Result<()> {
        let held = self.lock.metadata()?;
        let found = fs::metadata(lock_path(&self.path))?;
        if (held.dev(), held.ino()) == (found.dev(), found.ino()) {
            return Ok(());
        }
        Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("the disk cache at {} was replaced", self.path.display()),
        ))
    }
}

fn lock_path(dir: &Path) -> PathBuf {
    dir.join("lock")
}
