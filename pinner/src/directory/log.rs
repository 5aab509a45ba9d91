//! The files of the directory: records one behind the other, an index of them in memory, and two generations. When the
//! younger is half of what there may be, the older is dropped and a new one begun.
//!
//! A record is a head (see [`HEAD_LEN`]), the keys of its blocks, and the statement as it was told. Its checksum covers all
//! of it, so whatever a crash or the disk makes of a file is noticed: what follows a damaged record is left away.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use protocol::{
    places::{BLOCKS_MAX, PLACES_LEN_MAX},
    time::UnixMillis,
};

/// Checksum (the first 8 bytes of BLAKE3 of all that follows), time, length of the statement, number of keys.
const HEAD_LEN: usize = 8 + 8 + 4 + 2;
const KEY_LEN: usize = 8;
/// Ends the names of files.
const SUFFIX: &str = ".places";

/// A statement, with what it is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) time: UnixMillis,
    /// One for each of its blocks.
    pub(super) keys: Vec<u64>,
    pub(super) text: String,
}

/// Where a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    generation: u32,
    offset: u32,
}

/// Both generations and the index.
#[derive(Debug)]
pub(super) struct Log {
    /// `None` in memory only.
    dir: Option<PathBuf>,
    old: Option<Generation>,
    young: Generation,
    index: HashMap<u64, Place>,
    /// Of one generation.
    bytes_max: u32,
    /// Keys in one generation.
    keys_max: usize,
}

#[derive(Debug)]
struct Generation {
    number: u32,
    storage: Storage,
    bytes: u32,
    keys: usize,
    /// When its youngest statement was made.
    newest: UnixMillis,
}

#[derive(Clone, Debug)]
enum Storage {
    File(Arc<File>),
    Memory(Arc<Mutex<Vec<u8>>>),
}

impl Storage {
    fn read_exact_at(&self, bytes: &mut [u8], offset: u32) -> io::Result<()> {
        match self {
            Self::File(file) => file.read_exact_at(bytes, offset.into()),
            Self::Memory(memory) => {
                let memory = memory.lock();
                let found = memory.get(offset as usize..).and_then(|rest| rest.get(..bytes.len()));
                bytes.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }

    fn write_all_at(&self, bytes: &[u8], offset: u32) -> io::Result<()> {
        match self {
            Self::File(file) => file.write_all_at(bytes, offset.into()),
            Self::Memory(memory) => {
                let mut memory = memory.lock();
                memory.truncate(offset as usize);
                memory.extend_from_slice(bytes);
                Ok(())
            }
        }
    }
}

/// Reads one record, without the log.
pub(super) struct Reader {
    storage: Storage,
    offset: u32,
}

impl Reader {
    /// The record; `None` when what is there is none.
    pub(super) fn read(self) -> Option<Record> {
        read_record(&self.storage, self.offset).map(|(record, _)| record)
    }
}

impl Log {
    /// Reads what is in `dir`, which is made if it is missing and belongs to this log alone.
    pub(super) fn open(dir: &Path, bytes_max: u64, keys_max: usize) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let mut numbers: Vec<u32> = Vec::new();
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name();
            numbers.extend(name.to_str().and_then(|name| name.strip_suffix(SUFFIX)?.parse::<u32>().ok()));
        }
        numbers.sort_unstable();
        let old = numbers.len().saturating_sub(2);
        for number in numbers.drain(..old) {
            fs::remove_file(path(dir, number))?;
        }
        let young = numbers.pop().unwrap_or(1);
        let mut log =
            Self::new(Some(dir.to_path_buf()), bytes_max, keys_max, Generation::create(dir, young)?);
        // The older first: of a key that is in both the younger record counts.
        if let Some(number) = numbers.pop() {
            let generation = Generation::create(dir, number)?;
            log.old = Some(log.taken_in(generation)?);
        }
        let young = Generation::create(dir, young)?;
        log.young = log.taken_in(young)?;
        Ok(log)
    }

    pub(super) fn in_memory(bytes_max: u64, keys_max: usize) -> Self {
        Self::new(None, bytes_max, keys_max, Generation::in_memory(1))
    }

    fn new(dir: Option<PathBuf>, bytes_max: u64, keys_max: usize, young: Generation) -> Self {
        let bytes_max = u32::try_from(bytes_max / 2).unwrap_or(u32::MAX);
        Self { dir, old: None, young, index: HashMap::new(), bytes_max, keys_max: keys_max / 2 }
    }

    /// Enters the records of a generation, up to the first that is damaged, and cuts off what follows.
    fn taken_in(&mut self, mut generation: Generation) -> io::Result<Generation> {
        while let Some((record, end)) = read_record(&generation.storage, generation.bytes) {
            let has_room = end <= self.bytes_max && generation.keys + record.keys.len() <= self.keys_max;
            if !has_room {
                break;
            }
            self.enter(&record, Place { generation: generation.number, offset: generation.bytes });
            generation.keys += record.keys.len();
            generation.newest = generation.newest.max(record.time);
            generation.bytes = end;
        }
        if let Storage::File(file) = &generation.storage {
            file.set_len(generation.bytes.into())?;
        }
        Ok(generation)
    }

    fn enter(&mut self, record: &Record, place: Place) {
        for key in &record.keys {
            self.index.insert(*key, place);
        }
    }

    /// Where the newest record of this key is.
    pub(super) fn place(&self, key: u64) -> Option<Place> {
        self.index.get(&key).copied()
    }

    /// Where the record is that all these keys lead to, if it is a young one.
    pub(super) fn place_of_all(&self, keys: &[u64]) -> Option<Place> {
        let place = self.place(*keys.first()?)?;
        let all = keys.iter().all(|key| self.place(*key) == Some(place));
        (all && place.generation == self.young.number).then_some(place)
    }

    /// What reads the record there.
    pub(super) fn reader(&self, place: Place) -> Option<Reader> {
        let mut generations = [Some(&self.young), self.old.as_ref()].into_iter().flatten();
        let found = generations.find(|generation| generation.number == place.generation)?;
        Some(Reader { storage: found.storage.clone(), offset: place.offset })
    }

    /// Forgets a record that turned out to be none.
    pub(super) fn forget(&mut self, place: Place) {
        self.index.retain(|_, found| *found != place);
    }

    /// Writes a record; `false` when it is too large to be kept at all.
    pub(super) fn append(&mut self, record: &Record) -> io::Result<bool> {
        let bytes = record.encode();
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if len > self.bytes_max || record.keys.len() > self.keys_max {
            return Ok(false);
        }
        let fits = self.young.bytes.saturating_add(len) <= self.bytes_max
            && self.young.keys + record.keys.len() <= self.keys_max;
        if !fits {
            self.begin_another()?;
        }
        self.young.storage.write_all_at(&bytes, self.young.bytes)?;
        self.enter(record, Place { generation: self.young.number, offset: self.young.bytes });
        self.young.bytes += len;
        self.young.keys += record.keys.len();
        self.young.newest = self.young.newest.max(record.time);
        Ok(true)
    }

    /// Drops the old generation; the young one is the old one now.
    fn begin_another(&mut self) -> io::Result<()> {
        self.drop_old()?;
        let number = self.young.number.wrapping_add(1).max(1);
        let next = match &self.dir {
            Some(dir) => Generation::create(dir, number)?,
            None => Generation::in_memory(number),
        };
        // Nobody should have written there.
        if let Storage::File(file) = &next.storage {
            file.set_len(0)?;
        }
        self.old = Some(std::mem::replace(&mut self.young, next));
        Ok(())
    }

    fn drop_old(&mut self) -> io::Result<()> {
        let Some(old) = self.old.take() else { return Ok(()) };
        self.index.retain(|_, place| place.generation != old.number);
        match &self.dir {
            Some(dir) => fs::remove_file(path(dir, old.number)),
            None => Ok(()),
        }
    }

    /// Drops generations in which nothing is younger.
    pub(super) fn drop_older_than(&mut self, oldest: UnixMillis) {
        let is_over = |generation: &Generation| generation.keys > 0 && generation.newest < oldest;
        let mut dropped = Ok(());
        if is_over(&self.young) {
            dropped = self.begin_another();
        }
        if self.old.as_ref().is_some_and(is_over) {
            dropped = dropped.and(self.drop_old());
        }
        if let Err(error) = dropped {
            tracing::warn!(%error, "old statements about places could not be removed");
        }
    }

    /// Bytes of all records.
    pub(super) fn bytes(&self) -> u64 {
        u64::from(self.young.bytes) + self.old.as_ref().map_or(0, |old| u64::from(old.bytes))
    }

    /// Blocks that are found.
    pub(super) fn blocks(&self) -> usize {
        self.index.len()
    }
}

impl Generation {
    fn create(dir: &Path, number: u32) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path(dir, number))?;
        Ok(Self::of(number, Storage::File(Arc::new(file))))
    }

    fn in_memory(number: u32) -> Self {
        Self::of(number, Storage::Memory(Arc::default()))
    }

    fn of(number: u32, storage: Storage) -> Self {
        Self { number, storage, bytes: 0, keys: 0, newest: UnixMillis(i64::MIN) }
    }
}

impl Record {
    fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; 8];
        out.extend_from_slice(&self.time.0.to_le_bytes());
        // Both are bounded far below: a statement has a greatest length and number of blocks.
        out.extend_from_slice(&u32::try_from(self.text.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(&u16::try_from(self.keys.len()).unwrap_or(u16::MAX).to_le_bytes());
        for key in &self.keys {
            out.extend_from_slice(&key.to_le_bytes());
        }
        out.extend_from_slice(self.text.as_bytes());
        let sum = checksum(&out[8..]);
        out[..8].copy_from_slice(&sum);
        out
    }
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    let hash = blake3::hash(bytes);
    *hash.as_bytes().first_chunk().expect("32 bytes begin with 8")
}

fn path(dir: &Path, number: u32) -> PathBuf {
    dir.join(format!("{number}{SUFFIX}"))
}

/// The record at an offset and where it ends; `None` when there is none, or a damaged one, or the disk does not give it.
fn read_record(storage: &Storage, offset: u32) -> Option<(Record, u32)> {
    let mut head = [0; HEAD_LEN];
    storage.read_exact_at(&mut head, offset).ok()?;
    let (sum, rest) = head.split_first_chunk::<8>()?;
    let (time, lengths) = rest.split_first_chunk::<8>()?;
    let (text_len, keys) = lengths.split_first_chunk::<4>()?;
    let text_len = usize::try_from(u32::from_le_bytes(*text_len)).ok()?;
    let keys = usize::from(u16::from_le_bytes(*keys.first_chunk()?));
    // Before anything is allocated for it.
    if text_len > PLACES_LEN_MAX || keys > BLOCKS_MAX {
        return None;
    }
    let mut bytes = vec![0; rest.len() + keys * KEY_LEN + text_len];
    storage.read_exact_at(&mut bytes, offset.checked_add(8)?).ok()?;
    if checksum(&bytes) != *sum {
        return None;
    }
    let (rows, text) = bytes.split_at(rest.len()).1.split_at(keys * KEY_LEN);
    let (rows, _) = rows.as_chunks::<KEY_LEN>();
    let record = Record {
        time: UnixMillis(i64::from_le_bytes(*time)),
        keys: rows.iter().map(|row| u64::from_le_bytes(*row)).collect(),
        text: String::from_utf8(text.to_vec()).ok()?,
    };
    let end = u32::try_from(bytes.len()).ok()?.checked_add(offset)?.checked_add(8)?;
    Some((record, end))
}
