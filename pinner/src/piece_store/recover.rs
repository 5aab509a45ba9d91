//! Opening a store: after a clean end, after a crash, and after its index was lost.
//!
//! The index file knows up to which record it is complete; the records behind that are replayed, with every piece among
//! them hashed. A torn tail is cut off. If the index file is missing or damaged, all logs are replayed and the large files
//! are looked through: that is the only time that the disk is walked.

use std::{
    collections::{BTreeSet, HashSet},
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    path::Path,
};

use bao_tree::blake3;
use protocol::ids::PieceHash;

use super::{
    OpenError, PieceStoreConfig, disk,
    index::{Change, Index, IndexError},
    large::LargeFiles,
    ledger::{Entry, Kind, Ledger},
    logs::{ActiveLog, LOG_HEADER_LEN, Logs, sync_dir},
    record::{Body, Place, Record, Salt},
    scan::Scan,
};

/// The parts of a store that has been brought to a consistent state.
pub(super) struct Opened {
    pub(super) index: Index,
    pub(super) logs: Logs,
    pub(super) large: LargeFiles,
    pub(super) lock: File,
    pub(super) active: Option<ActiveLog>,
    pub(super) next_log: u32,
}

const FORMAT_MAGIC: [u8; 8] = *b"PnStore\x01";
const INDEX: &str = "index.redb";
/// Says that the index file was found damaged in use.
const DAMAGED: &str = "index.damaged";
/// How many starts in a row have ended before their first checkpoint.
const STARTS: &str = "unclean.starts";
/// After so many of them the index file is checked page by page: reading a damaged one may end the process.
const STARTS_BEFORE_CHECK: u32 = 3;
/// After so many the check itself is suspect.
const STARTS_BEFORE_REBUILD: u32 = 6;
/// How many entries are looked at in one go.
const PAGE: usize = 1024;

pub(super) fn open(dir: &Path, config: &PieceStoreConfig) -> Result<Opened, OpenError> {
    fs::create_dir_all(dir)?;
    let lock = lock(dir)?;
    disk::make_dirs(dir)?;
    let salt = read_or_make_format(dir)?;
    let logs = Logs::new(dir.join("logs"), salt);
    let large = LargeFiles::new(dir.join("large"), dir.join("tmp"), salt);
    let starts = begin_life(dir)?;
    let (index, is_new) = open_index(dir, config, starts)?;
    let (touched, damaged) = (HashSet::new(), Vec::new());
    let mut recovery = Recovery { config, logs: &logs, large: &large, index: &index, touched, damaged };
    let (active, next_log) = if is_new {
        // A crash in the middle must not leave an index that looks complete.
        File::create(dir.join(DAMAGED))?.sync_all()?;
        let rebuilt = recovery.rebuild()?;
        remove_if_there(&dir.join(DAMAGED))?;
        rebuilt
    } else {
        recovery.replay_tail()?
    };
    Ok(Opened { index, logs, large, lock, active, next_log })
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(dir.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(dir.display().to_string())),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

/// The salt of the store. A lost format file is restored from any log.
fn read_or_make_format(dir: &Path) -> Result<Salt, OpenError> {
    let path = dir.join("format");
    let unknown = || OpenError::UnknownFormat(dir.display().to_string());
    match fs::read(&path) {
        Ok(bytes) => {
            if let Some(salt) = parse_format(&bytes) {
                return Ok(salt);
            }
            if bytes.get(..7) == Some(&FORMAT_MAGIC[..7])
                && bytes.get(7) != Some(&FORMAT_MAGIC[7])
                && bytes.len() != 28
            {
                return Err(unknown());
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let logs = dir.join("logs");
    let salt = match Logs::find_salt(&logs)? {
        Some(salt) => salt,
        None if fs::read_dir(&logs)?.next().is_some() => return Err(unknown()),
        None => {
            let mut salt = [0; 16];
            getrandom::fill(&mut salt).map_err(io::Error::other)?;
            salt
        }
    };
    let tmp = dir.join("format.new");
    let mut file = File::create(&tmp)?;
    file.write_all(&format_bytes(&salt))?;
    file.sync_all()?;
    fs::rename(&tmp, &path)?;
    sync_dir(dir)?;
    Ok(salt)
}

fn format_bytes(salt: &Salt) -> Vec<u8> {
    let mut bytes = [&FORMAT_MAGIC[..], salt].concat();
    let check = blake3::hash(&bytes);
    bytes.extend_from_slice(&check.as_bytes()[..4]);
    bytes
}

fn parse_format(bytes: &[u8]) -> Option<Salt> {
    let salt = bytes.get(8..24)?.first_chunk()?;
    (bytes == format_bytes(salt)).then_some(*salt)
}

/// Counts a start and returns how many before it in a row came to nothing.
fn begin_life(dir: &Path) -> io::Result<u32> {
    let path = dir.join(STARTS);
    let before = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0_u32);
    fs::write(&path, before.saturating_add(1).to_string())?;
    Ok(before)
}

/// Forgets the count of [`begin_life`].
pub(super) fn end_life(dir: &Path) {
    if let Err(error) = remove_if_there(&dir.join(STARTS)) {
        tracing::warn!(%error, "cannot remove the count of starts");
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Moves the index file out of the way.
pub(super) fn discard_index(dir: &Path) -> io::Result<()> {
    match fs::rename(dir.join(INDEX), dir.join("index.redb.old")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => sync_dir(dir),
    }
}

/// Opens the index file; `true` if it is a new one and has to be filled.
fn open_index(dir: &Path, config: &PieceStoreConfig, starts: u32) -> Result<(Index, bool), OpenError> {
    let suspect = dir.join(DAMAGED).exists() || starts >= STARTS_BEFORE_REBUILD;
    if dir.join(INDEX).exists() && !suspect {
        match Index::open(dir, config.index_cache_bytes, starts >= STARTS_BEFORE_CHECK) {
            // A file without counters comes from a first start that did not get far.
            Ok(index) => {
                let is_new = index.ledger(|ledger| *ledger == Ledger::default());
                return Ok((index, is_new));
            }
            Err(error) => tracing::error!(%error, "index file cannot be opened and is built anew"),
        }
    }
    discard_index(dir)?;
    Ok((Index::open(dir, config.index_cache_bytes, false)?, true))
}

/// Bringing index, logs and large files into agreement.
struct Recovery<'a> {
    config: &'a PieceStoreConfig,
    logs: &'a Logs,
    large: &'a LargeFiles,
    index: &'a Index,
    /// Pieces that a replayed record is about.
    touched: HashSet<PieceHash>,
    /// Records whose content is damaged, with nothing sound behind them so far.
    damaged: Vec<(Record, Place)>,
}

impl Recovery<'_> {
    /// Replays what the index file has not seen.
    fn replay_tail(&mut self) -> Result<(Option<ActiveLog>, u32), OpenError> {
        let end = self.index.ledger(|ledger| ledger.end);
        let mut log = end.log;
        let mut from = u64::from(end.offset);
        let mut last_end = from;
        while log < u32::MAX && (log == end.log || self.logs.len(log)?.is_some()) {
            last_end = self.replay_log(log, from, &mut |_| ())?;
            log += 1;
            from = LOG_HEADER_LEN as u64;
        }
        self.settle_files(false)?;
        self.forget_removed_logs()?;
        self.finish(log - 1, last_end)
    }

    /// Compaction removes a log first and notes it afterwards.
    fn forget_removed_logs(&self) -> io::Result<()> {
        let emptied = |ledger: &Ledger| -> Vec<u32> {
            ledger.logs.keys().copied().filter(|log| ledger.live_of_pieces(*log) == 0).collect()
        };
        for log in self.index.ledger(emptied) {
            if self.logs.len(log)?.is_none() {
                self.index.change_ledger(|ledger| ledger.forget_log(log));
            }
        }
        Ok(())
    }

    /// Fills an empty index from everything that is on disk.
    fn rebuild(&mut self) -> Result<(Option<ActiveLog>, u32), OpenError> {
        let numbers = self.logs.numbers()?;
        let mut deleted = BTreeSet::new();
        let mut last_end = LOG_HEADER_LEN as u64;
        for &log in &numbers {
            self.index.change_ledger(|ledger| ledger.extend_to(log, LOG_HEADER_LEN as u64));
        }
        for &log in &numbers {
            last_end = self.replay_log(log, LOG_HEADER_LEN as u64, &mut |record| {
                let hash = record.body.hash();
                if matches!(record.body, Body::Delete { .. }) {
                    deleted.insert(hash)
                } else {
                    deleted.remove(&hash)
                };
            })?;
        }
        self.settle_files(true)?;
        let last = numbers.last().copied().unwrap_or(0);
        let (mut active, mut next_log) = self.finish(last, last_end)?;
        self.adopt_unrecorded(&deleted, &mut active, &mut next_log)?;
        self.check_large_files()?;
        self.checkpoint()?;
        Ok((active, next_log))
    }

    /// Applies the records of one log from an offset on. Returns where its last sound record ends.
    fn replay_log(&mut self, log: u32, from: u64, seen: &mut dyn FnMut(&Record)) -> Result<u64, OpenError> {
        let Some(mut scan) = Scan::new(self.logs, log, from)? else { return Ok(from) };
        let mut end = from;
        while let Some(found) = scan.next_record()? {
            if !found.content_is_sound() {
                self.damaged.push((found.record, found.place));
                continue;
            }
            // Something sound follows, so this was not the torn end of the log: the pieces are known and damaged.
            for (record, place) in std::mem::take(&mut self.damaged) {
                self.apply(&record, place)?;
                self.mark(record.body.hash())?;
            }
            end = found.end();
            seen(&found.record);
            self.apply(&found.record, found.place)?;
            if self.index.waiting() >= self.config.checkpoint_changes {
                self.checkpoint()?;
            }
        }
        self.index.change_ledger(|ledger| ledger.extend_to(log, end));
        let len = self.logs.len(log)?.unwrap_or(0);
        if len > end {
            tracing::warn!(file = log, offset = end, bytes = len, "end of the log is torn");
        }
        Ok(end)
    }

    fn apply(&mut self, record: &Record, place: Place) -> Result<(), IndexError> {
        let hash = record.body.hash();
        let before = self.index.get(&hash)?;
        let after = Entry::after(record, place, before);
        self.index.apply(&[Change { record: *record, place, before, after }]);
        self.touched.insert(hash);
        Ok(())
    }

    /// Marks a piece as damaged without a record of it: the index file keeps the mark from the next checkpoint on.
    fn mark(&mut self, hash: PieceHash) -> Result<(), IndexError> {
        let Some(entry) = self.index.get(&hash)?.filter(|entry| !entry.corrupt) else { return Ok(()) };
        tracing::error!(piece = %hash, "piece is damaged");
        let (data_len, stored_at) = (entry.data_len, entry.stored_at);
        self.apply(&Record { body: Body::Corrupt(hash), data_len, stored_at }, entry.place)
    }

    /// Gives finished files their names, and removes what belongs to no piece. With `all`, also where no record was
    /// replayed.
    fn settle_files(&mut self, all: bool) -> Result<(), OpenError> {
        for (hash, tmp) in self.large.leftovers()? {
            let entry = self.index.get(&hash)?;
            let is_wanted = entry.is_some_and(|entry| entry.kind == Kind::Large);
            if is_wanted && (all || self.touched.contains(&hash)) {
                self.large.adopt(tmp, &hash)?;
            }
        }
        for hash in std::mem::take(&mut self.touched) {
            match self.index.get(&hash)? {
                Some(Entry { kind: Kind::Large, .. }) => {
                    if self.large.footer_of_file(&self.large.path(&hash), &hash).is_none() {
                        self.mark(hash)?;
                    }
                }
                _ => self.large.remove(&hash)?,
            }
        }
        Ok(())
    }

    /// Opens the last log for further records, and writes the index down.
    fn finish(&mut self, last: u32, end: u64) -> Result<(Option<ActiveLog>, u32), OpenError> {
        let active = match last {
            0 => None,
            // Without a record there may not even be a whole header: a crash fell into the making of the log.
            _ if end <= LOG_HEADER_LEN as u64 => Some(self.logs.create(last)?),
            _ => self.logs.resume(last, end)?,
        };
        self.checkpoint()?;
        Ok((active, last.saturating_add(1)))
    }

    fn checkpoint(&self) -> Result<(), OpenError> {
        self.large.sync_names()?;
        self.index.write_frozen()?;
        self.index.freeze();
        self.index.write_frozen()?;
        Ok(())
    }

    /// Takes in large files whose records are lost.
    fn adopt_unrecorded(
        &mut self,
        deleted: &BTreeSet<PieceHash>,
        active: &mut Option<ActiveLog>,
        next_log: &mut u32,
    ) -> Result<(), OpenError> {
        let mut buffer = Vec::new();
        let mut records = Vec::new();
        for hash in self.large.walk()? {
            if self.index.get(&hash)?.is_some() {
                continue;
            }
            match self.large.footer_of_file(&self.large.path(&hash), &hash) {
                Some(Record { body: Body::Footer(meta), data_len, stored_at })
                    if !deleted.contains(&hash) =>
                {
                    records.push(Record { body: Body::Large(meta), data_len, stored_at });
                }
                _ => self.large.remove(&hash)?,
            }
        }
        if records.is_empty() {
            return Ok(());
        }
        if active.is_none() {
            *active = Some(self.logs.create(*next_log)?);
            *next_log = next_log.saturating_add(1);
        }
        let Some(log) = active else { return Ok(()) };
        let mut places = Vec::new();
        for record in &records {
            let offset = u32::try_from(log.end + buffer.len() as u64).map_err(io::Error::other)?;
            let place = Place { log: log.log, offset };
            buffer.extend_from_slice(&record.encode(self.logs.salt(), place));
            places.push(place);
        }
        log.append(&buffer, &self.logs.faults)?;
        for (record, place) in records.iter().zip(places) {
            self.apply(record, place)?;
        }
        self.touched.clear();
        Ok(())
    }

    /// Marks the large pieces whose files are gone or incomplete.
    fn check_large_files(&mut self) -> Result<(), OpenError> {
        let mut after = None;
        loop {
            let page = self.index.list(after, PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(*last);
            for (hash, _) in page.iter().filter(|(_, entry)| entry.kind == Kind::Large) {
                if self.large.footer_of_file(&self.large.path(hash), hash).is_none() {
                    self.mark(*hash)?;
                }
            }
        }
    }
}
