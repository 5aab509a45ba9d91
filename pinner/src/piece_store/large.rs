//! Large pieces: one file each, `large/ab/<hash>`, holding the data from offset 0, then the outboard, then a footer.
//!
//! A file is written under a temporary name in `tmp/` and synced; the log record that makes it a piece is synced next;
//! only then is the file moved to its final name. So a crash leaves either a file in `tmp/` that the tail of the log knows
//! about and the next start moves, or one that no record knows and the next start removes. Nothing is left in `large/` that
//! only a walk over the disk would find.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use protocol::{ids::PieceHash, piece::PieceMeta, time::UnixMillis};

use super::{
    errors::PutError,
    logs::sync_dir,
    outboard::OutboardBuilder,
    record::{Body, FOOTER_PLACE, HEADER_LEN, Record, Salt, outboard_len},
};

pub(super) struct LargeFiles {
    root: PathBuf,
    tmp: PathBuf,
    salt: Salt,
    next: AtomicU64,
    /// Directories in which names have changed since they were last synced.
    touched: Mutex<BTreeSet<PathBuf>>,
}

impl LargeFiles {
    pub(super) fn new(root: PathBuf, tmp: PathBuf, salt: Salt) -> Self {
        Self { root, tmp, salt, next: AtomicU64::new(0), touched: Mutex::default() }
    }

    fn dir(&self, hash: &PieceHash) -> PathBuf {
        self.root.join(format!("{:02x}", hash.0[0]))
    }

    pub(super) fn path(&self, hash: &PieceHash) -> PathBuf {
        self.dir(hash).join(hash.to_string())
    }

    /// Starts a file for a piece.
    fn create_tmp(&self, hash: &PieceHash) -> io::Result<(File, TmpFile)> {
        let path = self.tmp.join(format!("{hash}.{}", self.next.fetch_add(1, Ordering::Relaxed)));
        let file = OpenOptions::new().write(true).create_new(true).open(&path)?;
        Ok((file, TmpFile { path: Some(path) }))
    }

    /// Makes the names in `tmp/` durable.
    pub(super) fn sync_tmp(&self) -> io::Result<()> {
        sync_dir(&self.tmp)
    }

    /// Moves a finished file to its final name.
    pub(super) fn adopt(&self, mut tmp: TmpFile, hash: &PieceHash) -> io::Result<()> {
        let Some(from) = tmp.path.take() else { return Ok(()) };
        let moved = self.rename(&from, hash);
        if moved.is_err() {
            tmp.path = Some(from);
        }
        moved
    }

    fn rename(&self, from: &Path, hash: &PieceHash) -> io::Result<()> {
        let (dir, to) = (self.dir(hash), self.path(hash));
        match fs::rename(from, &to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match fs::create_dir(&dir) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                    _ => {}
                }
                self.touched.lock().insert(self.root.clone());
                fs::rename(from, &to)?;
            }
            other => other?,
        }
        self.touched.lock().insert(dir);
        Ok(())
    }

    /// Removes the file of a piece, if there is one.
    pub(super) fn remove(&self, hash: &PieceHash) -> io::Result<()> {
        match fs::remove_file(self.path(hash)) {
            Ok(()) => {
                self.touched.lock().insert(self.dir(hash));
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes all moves and removals so far durable.
    pub(super) fn sync_names(&self) -> io::Result<()> {
        let touched = std::mem::take(&mut *self.touched.lock());
        let synced = touched.iter().try_for_each(|dir| sync_dir(dir));
        if synced.is_err() {
            self.touched.lock().extend(touched);
        }
        synced
    }

    /// Opens the file of a piece for reading.
    pub(super) fn open(&self, hash: &PieceHash) -> io::Result<Arc<File>> {
        File::open(self.path(hash)).map(Arc::new)
    }

    /// The footer of an open file; an error of kind `InvalidData` if it is not this piece's.
    pub(super) fn footer(&self, file: &File, hash: &PieceHash, data_len: u32) -> io::Result<Record> {
        let mut bytes = [0; HEADER_LEN];
        file.read_exact_at(&mut bytes, u64::from(data_len) + u64::from(outboard_len(data_len)))?;
        let footer = Record::decode(&bytes, &self.salt, FOOTER_PLACE);
        footer
            .filter(|footer| footer.body.hash() == *hash && footer.data_len == data_len)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "footer does not belong to the piece"))
    }

    /// The footer of a file whose length is not known, if the file is complete.
    pub(super) fn footer_of_file(&self, path: &Path, hash: &PieceHash) -> Option<Record> {
        let file = File::open(path).ok()?;
        let mut bytes = [0; HEADER_LEN];
        let at = file.metadata().ok()?.len().checked_sub(HEADER_LEN as u64)?;
        file.read_exact_at(&mut bytes, at).ok()?;
        let footer = Record::decode(&bytes, &self.salt, FOOTER_PLACE)?;
        let wanted = u64::from(footer.data_len) + u64::from(outboard_len(footer.data_len));
        (footer.body.hash() == *hash && wanted == at).then_some(footer)
    }

    /// What a crash left in `tmp/`: complete pieces by hash, moved under the guard of a [`TmpFile`].
    pub(super) fn leftovers(&self) -> io::Result<Vec<(PieceHash, TmpFile)>> {
        let mut found = Vec::new();
        for item in fs::read_dir(&self.tmp)? {
            let path = item?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let hash = name.split('.').next().and_then(|hash| hash.parse().ok());
            // Dropping the guard removes the file.
            let tmp = TmpFile { path: Some(path.clone()) };
            if let Some(hash) = hash
                && self.footer_of_file(&path, &hash).is_some()
            {
                found.push((hash, tmp));
            }
        }
        Ok(found)
    }

    /// Every name in `large/` that is the hash of a piece. Walks over the disk: only for rebuilding an index.
    pub(super) fn walk(&self) -> io::Result<Vec<PieceHash>> {
        let mut found = Vec::new();
        for dir in fs::read_dir(&self.root)? {
            for item in fs::read_dir(dir?.path())? {
                found.extend(item?.file_name().to_str().and_then(|name| name.parse::<PieceHash>().ok()));
            }
        }
        found.sort_unstable();
        Ok(found)
    }
}

/// A file in `tmp/`, removed when this is dropped.
#[derive(Debug)]
pub(super) struct TmpFile {
    path: Option<PathBuf>,
}

impl Drop for TmpFile {
    fn drop(&mut self) {
        if let Some(path) = self.path.take()
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove a temporary file");
        }
    }
}

/// Writes one large piece while it arrives. Dropping it leaves nothing behind.
pub(super) struct LargeWriter {
    meta: PieceMeta,
    salt: Salt,
    file: File,
    tmp: TmpFile,
    builder: OutboardBuilder,
}

impl LargeWriter {
    pub(super) fn create(files: &LargeFiles, meta: PieceMeta, piece_len: u64) -> Result<Self, PutError> {
        let (file, tmp) = files.create_tmp(&meta.hash)?;
        Ok(Self { meta, salt: files.salt, file, tmp, builder: OutboardBuilder::new(piece_len) })
    }

    /// Hashes and writes the next bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), PutError> {
        let too_long = |_| PutError::WrongLength { hash: self.meta.hash };
        self.builder.update(bytes).map_err(too_long)?;
        self.file.write_all(bytes)?;
        Ok(())
    }

    /// Checks the piece, adds outboard and footer, and syncs the file.
    pub(super) fn finish(mut self, stored_at: UnixMillis) -> Result<(Record, TmpFile), PutError> {
        let data_len = u32::try_from(self.builder.taken()).unwrap_or(u32::MAX);
        let (hash, mut tail) = self.builder.finish().ok_or(PutError::WrongLength { hash: self.meta.hash })?;
        if hash != self.meta.hash {
            return Err(PutError::WrongHash { expected: self.meta.hash, found: hash });
        }
        let footer = Record { body: Body::Footer(self.meta), data_len, stored_at };
        tail.extend_from_slice(&footer.encode(&self.salt, FOOTER_PLACE));
        self.file.write_all(&tail)?;
        self.file.sync_data()?;
        Ok((Record { body: Body::Large(self.meta), ..footer }, self.tmp))
    }
}
