//! The piece store: where a node keeps its pieces, and how it proves that it has them.
//!
//! [`DiskPieceStore`] keeps small pieces in shared logs and large ones in files of their own; the logs are at the same time
//! the journal of the index. [`MemoryPieceStore`] behaves alike without a disk, for simulations. Both pass one suite of
//! tests. A piece is named by the BLAKE3 hash of its bytes; nothing is served that has not been checked against it.
//!
//! The store does not know about orders, nodes or HTTP, reads no clock, and paces nothing: checkpoints, scrubbing and
//! compaction are steps that the caller takes when it sees fit. Putting and deleting are async; everything else may wait
//! for the disk and belongs on a blocking thread.

use std::{io, ops::Range};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use protocol::{
    ids::PieceHash,
    piece::{PieceMeta, SEGMENT_MAX},
    time::UnixMillis,
    unpin::PieceUnpin,
};

mod compact;
mod config;
mod disk;
mod errors;
mod faults;
mod index;
mod inventory;
mod large;
mod ledger;
mod logs;
mod memory;
mod outboard;
pub mod proof;
mod put;
mod queue;
mod read;
mod record;
mod recover;
mod scan;
mod scrub;
mod space;
mod writer;

#[cfg(test)]
mod tests;

pub use config::PieceStoreConfig;
pub use disk::DiskPieceStore;
pub use errors::{OpenError, PutError, ReadError, StoreError};
pub use memory::{Behaviour, MemoryPieceStore};

/// The longest piece: a whole segment, when one piece is enough to rebuild it.
pub const PIECE_LEN_MAX: u64 = SEGMENT_MAX;

/// A place to keep pieces.
pub trait PieceStore: Send + Sync {
    /// Starts to take a piece. Refuses at once if there is no room for it.
    ///
    /// A piece that is already held intact is read and checked all the same, but not stored a second time.
    fn put(&self, meta: PieceMeta, now: UnixMillis) -> Result<Box<dyn PutPiece>, PutError>;

    /// Deletes pieces and returns how many of them were here and went. Durable when it answers.
    fn delete(&self, unpins: Vec<PieceUnpin>) -> BoxFuture<'static, Result<usize, StoreError>>;

    /// Opens a piece for reading. Blocks on the disk.
    fn read(&self, hash: PieceHash) -> Result<Box<dyn PieceReader>, ReadError>;

    /// Up to `limit` pieces after `after`, in the order of their hashes. Blocks on the disk.
    fn list(&self, after: Option<PieceHash>, limit: usize) -> Result<Vec<Listed>, StoreError>;

    /// The descriptions of up to `limit` pieces after `after`, in the order of their hashes: one small read for each. Blocks
    /// on the disk.
    fn inventory(&self, after: Option<PieceHash>, limit: usize) -> Result<Inventory, StoreError>;

    /// Up to `limit` pieces that were found damaged and have not been reported, in any order. Blocks on the disk.
    fn problems(&self, limit: usize) -> Result<Vec<PieceHash>, StoreError>;

    /// Notes that a damaged piece has been reported. Blocks on the disk.
    ///
    /// After a crash it may turn up in [`PieceStore::problems`] once more.
    fn forget_problem(&self, hash: PieceHash) -> Result<(), StoreError>;

    /// Checks whole pieces, going on where the last step stopped, until about `budget_bytes` have been read; at least one.
    /// Blocks on the disk.
    fn scrub_step(&self, budget_bytes: u64) -> Result<ScrubProgress, StoreError>;

    /// Gives space back: moves what is still needed out of mostly dead logs, about `budget_bytes` at a time, and removes
    /// them. Blocks on the disk, and holds up puts for as long as the step takes.
    fn compact_step(&self, budget_bytes: u64) -> Result<CompactProgress, StoreError>;

    /// Shortens the next start: writes the index down to this moment. Worth calling every few seconds; does next to nothing
    /// if nothing has changed. Blocks on the disk.
    fn checkpoint(&self) -> Result<(), StoreError>;

    /// The counters.
    fn stats(&self) -> Stats;
}

/// A piece on its way in. Dropping it forgets the piece.
pub trait PutPiece: Send {
    /// Takes the next bytes. Waits while the disk is behind.
    fn write(&mut self, bytes: Bytes) -> BoxFuture<'_, Result<(), PutError>>;

    /// Checks the piece and answers when it is durable.
    ///
    /// If the future is dropped, the piece is either stored or not, as if the answer had been lost.
    fn finish(self: Box<Self>) -> BoxFuture<'static, Result<Stored, PutError>>;
}

/// An open piece.
pub trait PieceReader: Send + std::fmt::Debug {
    /// What the piece is a part of.
    fn meta(&self) -> &PieceMeta;

    /// Its length in bytes.
    fn piece_len(&self) -> u64;

    /// When it was stored.
    fn stored_at(&self) -> UnixMillis;

    /// Hands out the slice of `range` with its proof (see [`proof`]) in parts of about 64 KiB. Blocks on the disk.
    ///
    /// Everything that is handed out has been checked. Damage ends it with [`ReadError::Corrupt`], and marks the piece.
    fn slice(
        &self,
        range: Range<u64>,
        sink: &mut dyn FnMut(Bytes) -> io::Result<()>,
    ) -> Result<(), ReadError>;

    /// The whole slice at once; for short ranges, as in audits.
    fn slice_to_bytes(&self, range: Range<u64>) -> Result<Bytes, ReadError> {
        let mut parts: Vec<Bytes> = Vec::new();
        self.slice(range, &mut |part| {
            parts.push(part);
            Ok(())
        })?;
        if parts.len() == 1 {
            return Ok(parts.remove(0));
        }
        let mut whole = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
        for part in &parts {
            whole.extend_from_slice(part);
        }
        Ok(whole.freeze())
    }
}

/// How a put ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stored {
    /// The piece is new here, or replaces a damaged copy.
    New,
    /// It was here already; the later of the two times of storing counts from now on.
    AlreadyHeld,
}

/// One line of [`PieceStore::list`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The piece.
    pub hash: PieceHash,
    /// When it was stored.
    pub stored_at: UnixMillis,
    /// Its length in bytes.
    pub piece_len: u64,
    /// Whether it was found damaged.
    pub corrupt: bool,
}

/// A page of [`PieceStore::inventory`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Pieces of which at least the description is left.
    pub pieces: Vec<Described>,
    /// The last piece that was looked at; `None` behind the last one.
    pub last: Option<PieceHash>,
}

/// One line of an [`Inventory`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Described {
    /// What the piece is a part of.
    pub meta: PieceMeta,
    /// When it was stored.
    pub stored_at: UnixMillis,
    /// Whether it was found damaged.
    pub corrupt: bool,
}

/// What one step of scrubbing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubProgress {
    /// Pieces checked.
    pub pieces: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Pieces found damaged.
    pub corrupt: u64,
    /// The step reached the last piece; the next one starts over.
    pub wrapped: bool,
}

/// What one step of compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactProgress {
    /// Bytes of the log that were looked at.
    pub read_bytes: u64,
    /// Length of the log that was removed.
    pub freed_bytes: u64,
    /// There was something to do; another step may find more.
    pub more: bool,
}

/// Counters of a store, exact at any time and after any crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Pieces, damaged ones included.
    pub pieces: u64,
    /// Pieces found damaged and not yet replaced or deleted.
    pub corrupt_pieces: u64,
    /// Bytes that the pieces take on disk, with outboards and record headers. The index file comes on top.
    pub used_bytes: u64,
    /// Bytes of the logs that compaction can give back.
    pub dead_bytes: u64,
    /// Bytes set aside for puts under way.
    pub reserved_bytes: u64,
    /// What the operator allows for pieces and dead bytes together.
    pub capacity_bytes: u64,
    /// What can still be stored.
    pub free_bytes: u64,
}
