//! Reading a piece from disk: find it, check its header, encode slices that are checked on the way out.

use std::{fs::File, io, ops::Range, os::unix::fs::FileExt as _, sync::Arc};

use bytes::Bytes;
use protocol::{ids::PieceHash, piece::PieceMeta, time::UnixMillis};

use super::{
    PieceReader, ReadError, StoreError,
    disk::Shared,
    ledger::{Entry, Kind},
    proof::{self, EncodeError, SliceSource},
    record::{Body, HEADER_LEN, Record},
    scan::is_media_error,
};

/// A small piece up to this length is read together with its header.
const AT_ONCE_MAX: u32 = 32 * 1024;

/// How often a piece is looked up again because compaction moved it away under the reader.
const LOOKUPS_MAX: usize = 8;

/// An open piece.
pub(super) struct DiskReader {
    shared: Arc<Shared>,
    hash: PieceHash,
    entry: Entry,
    meta: PieceMeta,
    content: Content,
}

/// Data and outboard of a piece.
enum Content {
    Memory(Vec<u8>, usize),
    File { file: Arc<File>, data_at: u64, outboard_at: u64 },
}

impl SliceSource for Content {
    fn read_data(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Memory(bytes, data_len) => copy(&bytes[..*data_len], offset, out),
            Self::File { file, data_at, .. } => file.read_exact_at(out, data_at + offset),
        }
    }

    fn read_outboard(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        match self {
            Self::Memory(bytes, data_len) => copy(&bytes[*data_len..], offset, out),
            Self::File { file, outboard_at, .. } => file.read_exact_at(out, outboard_at + offset),
        }
    }
}

/// Copies from `bytes` at `offset`.
pub(super) fn copy(bytes: &[u8], offset: u64, out: &mut [u8]) -> io::Result<()> {
    let from = usize::try_from(offset).ok().and_then(|from| bytes.get(from..)?.get(..out.len()));
    out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
    Ok(())
}

/// Finds a piece and opens it.
pub(super) fn open(shared: &Arc<Shared>, hash: PieceHash) -> Result<DiskReader, ReadError> {
    for _ in 0..LOOKUPS_MAX {
        let entry = shared.index.get(&hash)?.ok_or(ReadError::NotFound(hash))?;
        if entry.corrupt {
            return Err(ReadError::Corrupt(hash));
        }
        match load(shared, hash, &entry) {
            Ok((meta, content)) => {
                return Ok(DiskReader { shared: Arc::clone(shared), hash, entry, meta, content });
            }
            Err(error) if is_media_error(&error) => {
                if shared.mark_corrupt(hash, &entry).map_err(failed)? {
                    return Err(ReadError::Corrupt(hash));
                }
            }
            Err(error) => return Err(ReadError::Failed(error)),
        }
    }
    Err(ReadError::Failed(io::Error::other("piece keeps moving")))
}

fn failed(error: StoreError) -> ReadError {
    ReadError::Failed(io::Error::other(error))
}

/// Opens what `entry` points to and checks its header. An error of kind `InvalidData` if it is something else.
fn load(shared: &Shared, hash: PieceHash, entry: &Entry) -> io::Result<(PieceMeta, Content)> {
    let data_len = u64::from(entry.data_len);
    match entry.kind {
        Kind::Large => {
            let file = shared.large.open(&hash)?;
            let footer = shared.large.footer(&file, &hash, entry.data_len)?;
            let Body::Footer(meta) = footer.body else { return Err(io::ErrorKind::InvalidData.into()) };
            Ok((meta, Content::File { file, data_at: 0, outboard_at: data_len }))
        }
        Kind::Small => {
            let file = shared.logs.file(entry.place.log)?;
            let at_once = entry.data_len <= AT_ONCE_MAX;
            let len = if at_once { entry.log_bytes() } else { HEADER_LEN as u64 };
            let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
            file.read_exact_at(&mut bytes, u64::from(entry.place.offset))?;
            let header = bytes.first_chunk().ok_or(io::ErrorKind::InvalidData)?;
            let record = Record::decode(header, shared.logs.salt(), entry.place);
            let Some(Record { body: Body::Small(meta), data_len: len, .. }) = record else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            if meta.hash != hash || len != entry.data_len {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if at_once {
                return Ok((meta, Content::Memory(bytes.split_off(HEADER_LEN), len as usize)));
            }
            let data_at = u64::from(entry.place.offset) + HEADER_LEN as u64;
            Ok((meta, Content::File { file, data_at, outboard_at: data_at + data_len }))
        }
        Kind::Lost => Err(io::ErrorKind::InvalidData.into()),
    }
}

impl DiskReader {
    /// Length of data and outboard, and the source to read them from.
    pub(super) fn source(&self) -> (&Entry, &dyn SliceSource) {
        (&self.entry, &self.content)
    }
}

impl PieceReader for DiskReader {
    fn meta(&self) -> &PieceMeta {
        &self.meta
    }

    fn piece_len(&self) -> u64 {
        u64::from(self.entry.data_len)
    }

    fn stored_at(&self) -> UnixMillis {
        self.entry.stored_at
    }

    fn slice(
        &self,
        range: Range<u64>,
        sink: &mut dyn FnMut(Bytes) -> io::Result<()>,
    ) -> Result<(), ReadError> {
        let encoded = proof::encode_slice(self.hash, self.piece_len(), &self.content, &range, sink);
        encoded.map_err(|error: EncodeError| {
            let error = ReadError::of_slice(self.hash, error);
            if let ReadError::Corrupt(hash) = error
                && let Err(error) = self.shared.mark_corrupt(hash, &self.entry)
            {
                tracing::error!(piece = %hash, %error, "damaged piece could not be marked");
            }
            error
        })
    }
}

impl std::fmt::Debug for DiskReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DiskReader")
            .field("hash", &self.hash)
            .field("entry", &self.entry)
            .finish_non_exhaustive()
    }
}
