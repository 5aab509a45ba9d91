//! The index: piece hash -> [`Entry`], on disk in one redb file, with the newest changes in memory above it.
//!
//! The logs are the journal, so the redb file may lag: a group of puts only changes the overlay. A checkpoint freezes the
//! overlay, merges it into redb in key order in one durable transaction together with the [`Ledger`] of that moment, and
//! drops it. Each page of the file is thus written once per checkpoint instead of once per put, and puts go on meanwhile.
//! If the file cannot be written, the overlay stays and nothing is lost.

use std::{
    collections::{BTreeMap, btree_map},
    fs, io,
    iter::Peekable,
    ops::Bound,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::{Mutex, RwLock};
use protocol::ids::PieceHash;
use redb::{
    Database, Durability, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _,
    TableDefinition,
};

use super::{
    ledger::{ENTRY_LEN, Entry, Ledger},
    record::{Place, Record},
};

const PIECES: TableDefinition<'_, &[u8; 32], &[u8; ENTRY_LEN]> = TableDefinition::new("pieces");
/// Hashes of corrupt pieces that have not been reported.
const PROBLEMS: TableDefinition<'_, &[u8; 32], ()> = TableDefinition::new("problems");
const STATE: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("state");
const LEDGER_KEY: &str = "ledger";
const SCRUB_KEY: &str = "scrub_cursor";

/// Why the index does not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum IndexError {
    /// redb failed; the file is opened again on the next use.
    #[error("index file failed")]
    Redb(#[source] Box<redb::Error>),
    /// The file holds bytes that cannot be right. It is rebuilt when the store is opened the next time.
    #[error("index file is damaged")]
    Damaged,
}

impl<E: Into<redb::Error>> From<E> for IndexError {
    fn from(error: E) -> Self {
        let error = error.into();
        if matches!(error, redb::Error::Corrupted(_)) { Self::Damaged } else { Self::Redb(Box::new(error)) }
    }
}

type Changes = BTreeMap<PieceHash, Option<Entry>>;

/// One record that has been made durable, and what it does to its piece.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) record: Record,
    pub(super) place: Place,
    pub(super) before: Option<Entry>,
    pub(super) after: Option<Entry>,
}

/// An overlay on its way into redb, with the state of the store that belongs to it.
struct Frozen {
    changes: Changes,
    ledger: Vec<u8>,
    scrub_cursor: Option<PieceHash>,
}

#[derive(Default)]
struct Overlay {
    fresh: Changes,
    frozen: Option<Arc<Frozen>>,
    ledger: Ledger,
    scrub_cursor: Option<PieceHash>,
    /// Something besides the entries has changed since the last checkpoint.
    touched: bool,
}

impl Overlay {
    fn get(&self, hash: &PieceHash) -> Option<&Option<Entry>> {
        let frozen = || self.frozen.as_ref().and_then(|frozen| frozen.changes.get(hash));
        self.fresh.get(hash).or_else(frozen)
    }
}

pub(super) struct Index {
    path: PathBuf,
    damaged_marker: PathBuf,
    cache_bytes: usize,
    base: Mutex<Option<Arc<Database>>>,
    overlay: RwLock<Overlay>,
}

impl Index {
    /// Opens the file, or makes it. With `check`, every page is verified first, which reads the whole file.
    pub(super) fn open(dir: &Path, cache_bytes: usize, check: bool) -> Result<Self, IndexError> {
        let path = dir.join("index.redb");
        let damaged_marker = dir.join("index.damaged");
        let mut base = open_file(&path, cache_bytes)?;
        if check && !base.check_integrity()? {
            return Err(IndexError::Damaged);
        }
        let mut overlay = Overlay::default();
        let read = base.begin_read()?;
        match read.open_table(STATE) {
            Err(redb::TableError::TableDoesNotExist(_)) => {}
            Err(error) => return Err(error.into()),
            Ok(state) => {
                let bytes = state.get(LEDGER_KEY)?.ok_or(IndexError::Damaged)?;
                overlay.ledger = Ledger::decode(bytes.value()).ok_or(IndexError::Damaged)?;
                if let Some(cursor) = state.get(SCRUB_KEY)? {
                    overlay.scrub_cursor = cursor.value().try_into().ok().map(PieceHash);
                }
            }
        }
        drop(read);
        let base = Mutex::new(Some(Arc::new(base)));
        Ok(Self { path, damaged_marker, cache_bytes, base, overlay: RwLock::new(overlay) })
    }

    fn base(&self) -> Result<Arc<Database>, IndexError> {
        let mut base = self.base.lock();
        if let Some(base) = &*base {
            return Ok(Arc::clone(base));
        }
        let reopened = Arc::new(open_file(&self.path, self.cache_bytes)?);
        *base = Some(Arc::clone(&reopened));
        Ok(reopened)
    }

    /// After an I/O error redb refuses to go on; a damaged file must not be trusted again.
    fn note<T>(&self, result: Result<T, IndexError>) -> Result<T, IndexError> {
        match &result {
            Ok(_) => {}
            Err(IndexError::Redb(_)) => *self.base.lock() = None,
            Err(IndexError::Damaged) => {
                tracing::error!(path = %self.path.display(), "index file is damaged, it will be rebuilt at the next start");
                if let Err(error) = fs::File::create(&self.damaged_marker) {
                    tracing::error!(%error, "cannot mark the index file as damaged");
                }
            }
        }
        result
    }

    /// What is known of a piece.
    pub(super) fn get(&self, hash: &PieceHash) -> Result<Option<Entry>, IndexError> {
        if let Some(known) = self.overlay.read().get(hash) {
            return Ok(*known);
        }
        self.note(self.get_from_base(hash))
    }

    fn get_from_base(&self, hash: &PieceHash) -> Result<Option<Entry>, IndexError> {
        let read = self.base()?.begin_read()?;
        let pieces = match read.open_table(PIECES) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            other => other?,
        };
        let Some(found) = pieces.get(&hash.0)? else { return Ok(None) };
        Entry::decode(hash, found.value()).map(Some).ok_or(IndexError::Damaged)
    }

    /// Takes over what durable records say.
    pub(super) fn apply(&self, changes: &[Change]) {
        let mut overlay = self.overlay.write();
        for Change { record, place, before, after } in changes {
            overlay.ledger.apply(record, *place, before.as_ref(), after.as_ref());
            overlay.fresh.insert(record.body.hash(), *after);
        }
        overlay.touched = true;
    }

    /// Notes that a corrupt piece has been reported. Kept from the next checkpoint on.
    pub(super) fn set_reported(&self, hash: PieceHash) -> Result<(), IndexError> {
        if let Some(entry) = self.get(&hash)?
            && entry.corrupt
        {
            self.overlay.write().fresh.insert(hash, Some(Entry { reported: true, ..entry }));
        }
        Ok(())
    }

    /// Looks at the counters.
    pub(super) fn ledger<T>(&self, look: impl FnOnce(&Ledger) -> T) -> T {
        look(&self.overlay.read().ledger)
    }

    /// Changes the counters otherwise than by a record.
    pub(super) fn change_ledger(&self, change: impl FnOnce(&mut Ledger)) {
        let mut overlay = self.overlay.write();
        change(&mut overlay.ledger);
        overlay.touched = true;
    }

    /// The piece after which scrubbing goes on; `None` at the start.
    pub(super) fn scrub_cursor(&self) -> Option<PieceHash> {
        self.overlay.read().scrub_cursor
    }

    pub(super) fn set_scrub_cursor(&self, cursor: Option<PieceHash>) {
        let mut overlay = self.overlay.write();
        overlay.scrub_cursor = cursor;
        overlay.touched = true;
    }

    /// How many changes wait for the next checkpoint.
    pub(super) fn waiting(&self) -> usize {
        self.overlay.read().fresh.len()
    }

    /// Up to `limit` pieces after `after`, in the order of their hashes.
    pub(super) fn list(
        &self,
        after: Option<PieceHash>,
        limit: usize,
    ) -> Result<Vec<(PieceHash, Entry)>, IndexError> {
        self.note(self.list_merged(after, limit))
    }

    fn list_merged(
        &self,
        after: Option<PieceHash>,
        limit: usize,
    ) -> Result<Vec<(PieceHash, Entry)>, IndexError> {
        let overlay = self.overlay.read();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let nothing = Changes::new();
        let frozen = overlay.frozen.as_ref().map_or(&nothing, |frozen| &frozen.changes);
        let mut fresh = overlay.fresh.range((from, Bound::Unbounded)).peekable();
        let mut frozen = frozen.range((from, Bound::Unbounded)).peekable();
        let read = self.base()?.begin_read()?;
        let pieces = match read.open_table(PIECES) {
            Err(redb::TableError::TableDoesNotExist(_)) => None,
            other => Some(other?),
        };
        let from = after.as_ref().map_or(Bound::Unbounded, |hash| Bound::Excluded(&hash.0));
        let mut stored = match &pieces {
            Some(pieces) => Some(pieces.range::<&[u8; 32]>((from, Bound::Unbounded))?.peekable()),
            None => None,
        };
        let mut found = Vec::new();
        let mut last = after;
        while found.len() < limit {
            let below = match stored.as_mut().and_then(Peekable::peek) {
                Some(Ok((hash, _))) => Some(PieceHash(*hash.value())),
                Some(Err(_)) => return Err(IndexError::Damaged),
                None => None,
            };
            let candidates = [below, key(&mut frozen), key(&mut fresh)];
            let Some(hash) = candidates.into_iter().flatten().min() else { break };
            if last.is_some_and(|last| last >= hash) {
                return Err(IndexError::Damaged);
            }
            last = Some(hash);
            let mut entry = None;
            if below == Some(hash)
                && let Some(Ok((_, value))) = stored.as_mut().and_then(Iterator::next)
            {
                entry = Some(Entry::decode(&hash, value.value()).ok_or(IndexError::Damaged)?);
            }
            for newer in [&mut frozen, &mut fresh] {
                if let Some((_, change)) = newer.next_if(|(found, _)| **found == hash) {
                    entry = *change;
                }
            }
            found.extend(entry.map(|entry| (hash, entry)));
        }
        Ok(found)
    }

    /// Up to `limit` corrupt pieces that have not been reported.
    pub(super) fn problems(&self, limit: usize) -> Result<Vec<PieceHash>, IndexError> {
        self.note(self.problems_merged(limit))
    }

    fn problems_merged(&self, limit: usize) -> Result<Vec<PieceHash>, IndexError> {
        let overlay = self.overlay.read();
        let is_open = |entry: &Option<Entry>| entry.is_some_and(|entry| entry.corrupt && !entry.reported);
        let frozen = overlay.frozen.iter().flat_map(|frozen| &frozen.changes);
        let frozen = frozen.filter(|(hash, _)| !overlay.fresh.contains_key(hash));
        let newest = overlay.fresh.iter().chain(frozen).filter(|(_, entry)| is_open(entry));
        let mut found: Vec<_> = newest.map(|(hash, _)| *hash).take(limit).collect();
        let read = self.base()?.begin_read()?;
        let problems = match read.open_table(PROBLEMS) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(found),
            other => other?,
        };
        for item in problems.iter()? {
            if found.len() >= limit {
                break;
            }
            let hash = PieceHash(*item?.0.value());
            if overlay.get(&hash).is_none() {
                found.push(hash);
            }
        }
        Ok(found)
    }

    /// Sets the overlay aside for [`Index::write_frozen`]. Does nothing while one is already waiting to be written.
    pub(super) fn freeze(&self) {
        let mut overlay = self.overlay.write();
        if overlay.frozen.is_some() || (!overlay.touched && overlay.fresh.is_empty()) {
            return;
        }
        let changes = std::mem::take(&mut overlay.fresh);
        let (ledger, scrub_cursor) = (overlay.ledger.encode(), overlay.scrub_cursor);
        overlay.frozen = Some(Arc::new(Frozen { changes, ledger, scrub_cursor }));
        overlay.touched = false;
    }

    /// Whether an overlay waits to be written.
    pub(super) fn is_frozen(&self) -> bool {
        self.overlay.read().frozen.is_some()
    }

    /// Writes what was frozen into the file, durably. Readers and [`Index::apply`] go on meanwhile.
    ///
    /// After an error the changes stay in memory, and the next call tries again.
    pub(super) fn write_frozen(&self) -> Result<(), IndexError> {
        let Some(frozen) = self.overlay.read().frozen.clone() else { return Ok(()) };
        self.note(self.base().and_then(|base| merge(&base, &frozen)))?;
        self.overlay.write().frozen = None;
        Ok(())
    }
}

fn key(changes: &mut Peekable<btree_map::Range<'_, PieceHash, Option<Entry>>>) -> Option<PieceHash> {
    changes.peek().map(|(hash, _)| **hash)
}

fn open_file(path: &Path, cache_bytes: usize) -> Result<Database, IndexError> {
    Ok(Database::builder().set_cache_size(cache_bytes).create(path)?)
}

fn merge(base: &Database, frozen: &Frozen) -> Result<(), IndexError> {
    let mut write = base.begin_write()?;
    write.set_durability(Durability::Immediate).map_err(io::Error::other).map_err(redb::Error::Io)?;
    // Without it, the first start after a crash would read the whole file.
    write.set_quick_repair(true);
    {
        let mut pieces = write.open_table(PIECES)?;
        let mut problems = write.open_table(PROBLEMS)?;
        let had_problems = !problems.is_empty()?;
        for (hash, entry) in &frozen.changes {
            match entry {
                Some(entry) => pieces.insert(&hash.0, &entry.encode(hash))?,
                None => pieces.remove(&hash.0)?,
            };
            if entry.is_some_and(|entry| entry.corrupt && !entry.reported) {
                problems.insert(&hash.0, ())?;
            } else if had_problems {
                problems.remove(&hash.0)?;
            }
        }
        let mut state = write.open_table(STATE)?;
        state.insert(LEDGER_KEY, frozen.ledger.as_slice())?;
        match &frozen.scrub_cursor {
            Some(cursor) => state.insert(SCRUB_KEY, cursor.0.as_slice())?,
            None => state.remove(SCRUB_KEY)?,
        };
    }
    write.commit()?;
    Ok(())
}
