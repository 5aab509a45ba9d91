//! The log files: `logs/0000001.log`, `0000002.log`, ... Records are appended by one writer and read by anybody.
//!
//! A log starts with a 32-byte header (magic, number, the store's salt, checksum) and is written once, front to back. This
//! file never decides what a record means.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use bao_tree::blake3;
use parking_lot::Mutex;

use super::{
    faults::{Fault, Faults},
    record::Salt,
};

/// Length of the header of a log.
pub(super) const LOG_HEADER_LEN: usize = 32;
const MAGIC: [u8; 8] = *b"PnLog\0\0\x01";

/// How many logs are kept open for reading. 64 logs of 256 MiB are 16 GiB of small pieces.
const OPEN_MAX: usize = 64;

pub(super) struct Logs {
    dir: PathBuf,
    salt: Salt,
    open: Mutex<HashMap<u32, Arc<File>>>,
    pub(super) faults: Faults,
}

impl Logs {
    pub(super) fn new(dir: PathBuf, salt: Salt) -> Self {
        Self { dir, salt, open: Mutex::default(), faults: Faults::default() }
    }

    pub(super) fn salt(&self) -> &Salt {
        &self.salt
    }

    fn path(&self, log: u32) -> PathBuf {
        self.dir.join(format!("{log:07}.log"))
    }

    /// A log, open for reading.
    pub(super) fn file(&self, log: u32) -> io::Result<Arc<File>> {
        let mut open = self.open.lock();
        if let Some(file) = open.get(&log) {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(File::open(self.path(log))?);
        if open.len() >= OPEN_MAX {
            open.clear();
        }
        open.insert(log, Arc::clone(&file));
        Ok(file)
    }

    /// Makes a log, durably. A file that is there already was left by a failed attempt and is emptied.
    pub(super) fn create(&self, log: u32) -> io::Result<ActiveLog> {
        self.faults.check(Fault::Create)?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(self.path(log))?;
        file.write_all_at(&header(log, &self.salt), 0)?;
        file.sync_all()?;
        sync_dir(&self.dir)?;
        self.open.lock().remove(&log);
        Ok(ActiveLog { log, file, end: LOG_HEADER_LEN as u64, sound: true })
    }

    /// Opens a log for appending at `end`, cutting off what lies behind. `None` if it does not reach that far.
    pub(super) fn resume(&self, log: u32, end: u64) -> io::Result<Option<ActiveLog>> {
        let file = match OpenOptions::new().read(true).write(true).open(self.path(log)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let len = file.metadata()?.len();
        let mut found = [0; LOG_HEADER_LEN];
        if len < end || file.read_exact_at(&mut found, 0).is_err() || found != header(log, &self.salt) {
            return Ok(None);
        }
        if len > end {
            file.set_len(end)?;
            file.sync_all()?;
        }
        Ok(Some(ActiveLog { log, file, end, sound: true }))
    }

    /// Length of a log; `None` if there is none of this number.
    pub(super) fn len(&self, log: u32) -> io::Result<Option<u64>> {
        match fs::metadata(self.path(log)) {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes a log. Readers that have it open keep it until they are done.
    pub(super) fn remove(&self, log: u32) -> io::Result<()> {
        self.open.lock().remove(&log);
        match fs::remove_file(self.path(log)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => sync_dir(&self.dir),
        }
    }

    /// The numbers of all logs, found by reading the directory.
    pub(super) fn numbers(&self) -> io::Result<Vec<u32>> {
        let mut numbers = Vec::new();
        for item in fs::read_dir(&self.dir)? {
            let name = item?.file_name();
            let number: Option<u32> =
                name.to_str().and_then(|name| name.strip_suffix(".log")).and_then(|name| name.parse().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// The salt in the header of any log, for a store that has lost its format file.
    pub(super) fn find_salt(dir: &Path) -> io::Result<Option<Salt>> {
        for log in Self::new(dir.to_owned(), [0; 16]).numbers()? {
            let mut found = [0; LOG_HEADER_LEN];
            let path = dir.join(format!("{log:07}.log"));
            let read = File::open(path).and_then(|file| file.read_exact_at(&mut found, 0));
            if let (Ok(()), Some(salt)) = (read, found[12..].first_chunk::<16>())
                && found == header(log, salt)
            {
                return Ok(Some(*salt));
            }
        }
        Ok(None)
    }
}

fn header(log: u32, salt: &Salt) -> [u8; LOG_HEADER_LEN] {
    let mut out = [0; LOG_HEADER_LEN];
    out[..8].copy_from_slice(&MAGIC);
    out[8..12].copy_from_slice(&log.to_le_bytes());
    out[12..28].copy_from_slice(salt);
    let check = blake3::hash(&out[..28]);
    out[28..].copy_from_slice(&check.as_bytes()[..4]);
    out
}

/// Makes the names in a directory durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// The log that records are appended to.
pub(super) struct ActiveLog {
    pub(super) log: u32,
    file: File,
    pub(super) end: u64,
    sound: bool,
}

impl ActiveLog {
    /// Appends and makes durable. After an error nothing of `bytes` is part of the log.
    pub(super) fn append(&mut self, bytes: &[u8], faults: &Faults) -> io::Result<()> {
        let written = faults.check(Fault::Append).and_then(|()| self.file.write_all_at(bytes, self.end));
        if written.is_ok() {
            match faults.check(Fault::Sync).and_then(|()| self.file.sync_data()) {
                Ok(()) => {
                    self.end += bytes.len() as u64;
                    return Ok(());
                }
                Err(error) => {
                    // The kernel may have dropped the pages; nothing written here can be trusted any more.
                    self.sound = false;
                    let _best_effort = self.file.set_len(self.end);
                    return Err(error);
                }
            }
        }
        self.sound = self.file.set_len(self.end).is_ok();
        written
    }

    /// Whether more can be appended. If not, the writer goes on with the next log.
    pub(super) fn is_sound(&self) -> bool {
        self.sound
    }
}
