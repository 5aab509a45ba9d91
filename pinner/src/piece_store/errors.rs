//! What can go wrong with pieces, one enum per operation.

use std::{io, ops::Range};

use protocol::ids::PieceHash;

use super::{index::IndexError, proof::EncodeError};

/// Why a piece was not stored. Nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// The store would pass its capacity, or the file system its reserve.
    #[error("no space for {bytes} bytes")]
    NoSpace {
        /// What the piece would take on disk.
        bytes: u64,
    },
    /// The bytes have another BLAKE3 hash than the piece's description says.
    #[error("piece {expected} was announced, but {found} came")]
    WrongHash {
        /// The announced hash.
        expected: PieceHash,
        /// The hash of the bytes.
        found: PieceHash,
    },
    /// More or fewer bytes came than the description says.
    #[error("piece {hash} has another length than announced")]
    WrongLength {
        /// The announced hash.
        hash: PieceHash,
    },
    /// The description asks for a length that no piece can have.
    #[error("a piece of {piece_len} bytes cannot be stored")]
    BadLength {
        /// The length that follows from the description.
        piece_len: u64,
    },
    /// Too many writes are waiting; try again.
    #[error("too many writes are waiting")]
    Busy,
    /// The store is closing.
    #[error("store is closed")]
    Closed,
    /// The disk or the index failed.
    #[error("piece cannot be stored")]
    Failed(#[source] io::Error),
}

impl From<io::Error> for PutError {
    fn from(error: io::Error) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
        match error.kind() {
            StorageFull | QuotaExceeded | FileTooLarge => Self::NoSpace { bytes: 0 },
            _ => Self::Failed(error),
        }
    }
}

impl From<IndexError> for PutError {
    fn from(error: IndexError) -> Self {
        Self::Failed(io::Error::other(error))
    }
}

/// Why a piece, or the rest of a slice of it, was not given.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The node does not hold it.
    #[error("piece {0} is not here")]
    NotFound(PieceHash),
    /// Its bytes are damaged or gone. It is marked and will be reported; a new put replaces it.
    #[error("piece {0} is damaged")]
    Corrupt(PieceHash),
    /// The range is empty or reaches past the end.
    #[error("range {start}..{end} is not inside piece {hash} of {piece_len} bytes", start = .range.start, end = .range.end)]
    BadRange {
        /// The piece.
        hash: PieceHash,
        /// What was asked for.
        range: Range<u64>,
        /// Its length in bytes.
        piece_len: u64,
    },
    /// The receiver gave up.
    #[error("slice was not taken")]
    Sink(#[source] io::Error),
    /// The disk or the index failed in a way that says nothing about the piece.
    #[error("piece cannot be read")]
    Failed(#[source] io::Error),
}

impl ReadError {
    pub(super) fn of_slice(hash: PieceHash, error: EncodeError) -> Self {
        match error {
            EncodeError::BadRange { range, piece_len } => Self::BadRange { hash, range, piece_len },
            EncodeError::Mismatch { .. } => Self::Corrupt(hash),
            EncodeError::Source(error) if super::scan::is_media_error(&error) => Self::Corrupt(hash),
            EncodeError::Source(error) => Self::Failed(error),
            EncodeError::Sink(error) => Self::Sink(error),
        }
    }
}

impl From<IndexError> for ReadError {
    fn from(error: IndexError) -> Self {
        Self::Failed(io::Error::other(error))
    }
}

/// Why the store could not do some other thing.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Too many writes are waiting; try again.
    #[error("too many writes are waiting")]
    Busy,
    /// The store is closing.
    #[error("store is closed")]
    Closed,
    /// The disk failed.
    #[error("disk failed")]
    Disk(#[from] io::Error),
    /// The index failed.
    #[error("index failed")]
    Index(#[source] io::Error),
}

impl From<IndexError> for StoreError {
    fn from(error: IndexError) -> Self {
        Self::Index(io::Error::other(error))
    }
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("piece store {0} is in use by another process")]
    InUse(String),
    /// A number in the configuration is out of range.
    #[error("piece store configuration: {0}")]
    Config(&'static str),
    /// It was written by a version that this one does not know.
    #[error("piece store {0} has an unknown format")]
    UnknownFormat(String),
    /// The disk failed.
    #[error("piece store cannot be opened")]
    Disk(#[from] io::Error),
    /// The index failed and could not be rebuilt.
    #[error("piece index cannot be opened")]
    Index(#[source] io::Error),
}

impl From<IndexError> for OpenError {
    fn from(error: IndexError) -> Self {
        Self::Index(io::Error::other(error))
    }
}
