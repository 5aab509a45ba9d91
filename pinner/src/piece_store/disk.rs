//! The piece store on disk: its parts, and the trait in terms of them. Opening is in [`super::recover`].

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread,
};

use futures_util::{FutureExt as _, future::BoxFuture};
use protocol::{ids::PieceHash, piece::PieceMeta, time::UnixMillis, unpin::PieceUnpin};
use tokio::sync::{Semaphore, oneshot};

use super::{
    CompactProgress, Inventory, Listed, OpenError, PieceReader, PieceStore, PieceStoreConfig, PutError,
    PutPiece, ReadError, ScrubProgress, Stats, StoreError,
    index::Index,
    inventory,
    large::LargeFiles,
    ledger::Entry,
    logs::Logs,
    put::DiskPut,
    queue::{Command, Queue},
    read, recover, scrub,
    space::Space,
    writer::Writer,
};

/// What the parts of an open store share.
pub(super) struct Shared {
    pub(super) config: PieceStoreConfig,
    pub(super) dir: PathBuf,
    pub(super) index: Index,
    pub(super) logs: Logs,
    pub(super) large: LargeFiles,
    pub(super) space: Arc<Space>,
    pub(super) queue: Queue,
    /// Bytes of memory for small puts.
    pub(super) small_puts: Arc<Semaphore>,
}

impl Shared {
    /// Writes what is frozen of the index, once everything that it relies on is durable.
    pub(super) fn write_checkpoint(&self) -> Result<(), StoreError> {
        // Moves and removals of large files before this moment will not be replayed any more.
        self.large.sync_names()?;
        Ok(self.index.write_frozen()?)
    }

    /// Nothing is left to replay or to doubt.
    pub(super) fn note_clean_close(&self) {
        recover::end_life(&self.dir);
    }

    /// Marks a piece as damaged if its record is still the one that was read. `false`: look it up again.
    pub(super) fn mark_corrupt(&self, hash: PieceHash, entry: &Entry) -> Result<bool, StoreError> {
        self.ask(|reply| Command::MarkCorrupt { hash, place: entry.place, reply })?
    }

    fn ask<T>(&self, command: impl FnOnce(mpsc::SyncSender<T>) -> Command) -> Result<T, StoreError> {
        let (reply, answer) = mpsc::sync_channel(1);
        self.queue.push(command(reply))?;
        answer.recv().map_err(|_| StoreError::Closed)
    }
}

/// A piece store in a directory of its own.
///
/// ```text
/// format       version and salt             lock         held while open
/// index.redb   the index                    tmp/         large pieces that are arriving
/// logs/0000001.log ...                      large/ab/<hash> ...
/// ```
/// A million pieces of 1 KiB are a handful of logs; a large piece is one file. Opening reads the index file's roots and
/// the tail of the log behind the last checkpoint, never the pieces.
pub struct DiskPieceStore {
    shared: Arc<Shared>,
    writer: Option<thread::JoinHandle<()>>,
    _lock: File,
}

impl DiskPieceStore {
    /// Opens the store in `dir`, or makes it. Blocks on the disk.
    ///
    /// Replays what the index file has not seen. If that file is lost or damaged it is built again from logs and large
    /// files, which reads all logs and looks at every large file.
    pub fn open(dir: &Path, config: PieceStoreConfig) -> Result<Self, OpenError> {
        config.check()?;
        let recover::Opened { index, logs, large, lock, active, next_log } = recover::open(dir, &config)?;
        let space = Arc::new(Space::new(dir, config.capacity_bytes, config.reserve_bytes)?);
        let queue = Queue::new(config.queue_len_max);
        let small_puts = Arc::new(Semaphore::new(config.small_puts_bytes_max));
        let shared = Shared { config, dir: dir.to_owned(), index, logs, large, space, queue, small_puts };
        let shared = Arc::new(shared);
        let writer = Writer::new(Arc::clone(&shared), active, next_log);
        let writer = thread::Builder::new().name("piece-writer".into()).spawn(move || writer.run())?;
        Ok(Self { shared, writer: Some(writer), _lock: lock })
    }

    /// Throws the index of the store in `dir` away, so that the next [`DiskPieceStore::open`] builds it anew.
    pub fn discard_index(dir: &Path) -> Result<(), OpenError> {
        recover::discard_index(dir)?;
        Ok(())
    }

    /// The files of the store fail where the tests say.
    #[cfg(test)]
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Drop for DiskPieceStore {
    /// Finishes what waits, writes the last checkpoint, and lets go of the directory. Blocks on the disk.
    fn drop(&mut self) {
        self.shared.queue.close();
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!(path = %self.shared.dir.display(), "piece writer panicked");
        }
    }
}

/// The length that the description of a piece implies, if a piece can have it.
pub(super) fn checked_len(meta: &PieceMeta) -> Result<u32, PutError> {
    let piece_len = meta.piece_len();
    match u32::try_from(piece_len) {
        Ok(len) if len > 0 && piece_len <= super::PIECE_LEN_MAX => Ok(len),
        _ => Err(PutError::BadLength { piece_len }),
    }
}

impl PieceStore for DiskPieceStore {
    fn put(&self, meta: PieceMeta, now: UnixMillis) -> Result<Box<dyn PutPiece>, PutError> {
        Ok(Box::new(DiskPut::begin(&self.shared, meta, now)?))
    }

    fn delete(&self, unpins: Vec<PieceUnpin>) -> BoxFuture<'static, Result<usize, StoreError>> {
        let (reply, answer) = oneshot::channel();
        let pushed = self.shared.queue.push(Command::Delete { unpins, reply });
        async move {
            pushed?;
            answer.await.unwrap_or(Err(StoreError::Closed))
        }
        .boxed()
    }

    fn read(&self, hash: PieceHash) -> Result<Box<dyn PieceReader>, ReadError> {
        Ok(Box::new(read::open(&self.shared, hash)?))
    }

    fn list(&self, after: Option<PieceHash>, limit: usize) -> Result<Vec<Listed>, StoreError> {
        let found = self.shared.index.list(after, limit)?;
        let line = |(hash, Entry { stored_at, data_len, corrupt, .. })| {
            let piece_len = u64::from(data_len);
            Listed { hash, stored_at, piece_len, corrupt }
        };
        Ok(found.into_iter().map(line).collect())
    }

    fn inventory(&self, after: Option<PieceHash>, limit: usize) -> Result<Inventory, StoreError> {
        inventory::page(&self.shared, after, limit)
    }

    fn problems(&self, limit: usize) -> Result<Vec<PieceHash>, StoreError> {
        Ok(self.shared.index.problems(limit)?)
    }

    fn forget_problem(&self, hash: PieceHash) -> Result<(), StoreError> {
        self.shared.ask(|reply| Command::SetReported { hash, reply })?
    }

    fn scrub_step(&self, budget_bytes: u64) -> Result<ScrubProgress, StoreError> {
        scrub::step(&self.shared, budget_bytes)
    }

    fn compact_step(&self, budget_bytes: u64) -> Result<CompactProgress, StoreError> {
        self.shared.ask(|reply| Command::Compact { budget_bytes, reply })?
    }

    fn checkpoint(&self) -> Result<(), StoreError> {
        self.shared.ask(|reply| Command::Checkpoint { reply })??;
        // A life that got this far was not ended by its index file.
        recover::end_life(&self.shared.dir);
        Ok(())
    }

    fn stats(&self) -> Stats {
        let ledger = |ledger: &super::ledger::Ledger| {
            let stats = Stats {
                pieces: ledger.pieces,
                corrupt_pieces: ledger.corrupt,
                used_bytes: ledger.used,
                dead_bytes: ledger.dead_bytes(),
                ..Stats::default()
            };
            (stats, ledger.occupied_bytes())
        };
        let (stats, occupied) = self.shared.index.ledger(ledger);
        let space = &self.shared.space;
        let free_bytes = space.free_bytes(occupied).unwrap_or_else(|error| {
            tracing::warn!(%error, "free space of the file system is unknown");
            0
        });
        Stats {
            reserved_bytes: space.reserved_bytes(),
            capacity_bytes: space.capacity_bytes(),
            free_bytes,
            ..stats
        }
    }
}

impl std::fmt::Debug for DiskPieceStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskPieceStore").field("dir", &self.shared.dir).finish_non_exhaustive()
    }
}

/// Makes the directories of a store.
pub(super) fn make_dirs(dir: &Path) -> std::io::Result<()> {
    for name in ["logs", "large", "tmp"] {
        fs::create_dir_all(dir.join(name))?;
    }
    super::logs::sync_dir(dir)
}
