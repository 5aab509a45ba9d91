//! What pieces are parts of, for rebuilding lost metadata: from the headers in the logs, never from the pieces themselves.

use std::{
    io,
    os::unix::fs::FileExt as _,
    time::{Duration, Instant},
};

use protocol::{ids::PieceHash, piece::PieceMeta};

use super::{
    Described, Inventory, StoreError,
    disk::Shared,
    ledger::{Entry, Kind},
    record::{Body, HEADER_LEN, Record},
};

/// A page that took so long ends where it is: whoever asks waits some ten seconds for it.
const PAGE_TIME: Duration = Duration::from_secs(2);

/// How often a piece is looked up again because compaction moved its header away under the reader.
const LOOKUPS_MAX: usize = 8;

/// The descriptions of up to `limit` pieces after `after`, fewer when the disk is slow: each takes a small read.
pub(super) fn page(shared: &Shared, after: Option<PieceHash>, limit: usize) -> Result<Inventory, StoreError> {
    let begun = Instant::now();
    let listed = shared.index.list(after, limit)?;
    let (mut pieces, mut last) = (Vec::with_capacity(listed.len()), None);
    for (hash, entry) in listed {
        pieces.extend(describe(shared, hash, entry)?);
        last = Some(hash);
        if begun.elapsed() >= PAGE_TIME {
            break;
        }
    }
    Ok(Inventory { pieces, last })
}

/// The description of one piece; `None` when it is gone, or its header is.
fn describe(shared: &Shared, hash: PieceHash, mut entry: Entry) -> Result<Option<Described>, StoreError> {
    for _ in 0..LOOKUPS_MAX {
        if entry.kind == Kind::Lost {
            return Ok(None);
        }
        match header(shared, hash, &entry) {
            Ok(meta) => {
                return Ok(Some(Described { meta, stored_at: entry.stored_at, corrupt: entry.corrupt }));
            }
            Err(error) => {
                tracing::debug!(piece = %hash, %error, "could not read the header of a piece");
                match shared.index.get(&hash)? {
                    Some(now) if now.place != entry.place => entry = now,
                    _ => break,
                }
            }
        }
    }
    Ok(None)
}

/// What the record of a piece says in the log, where large ones have theirs too.
fn header(shared: &Shared, hash: PieceHash, entry: &Entry) -> io::Result<PieceMeta> {
    let mut bytes = [0; HEADER_LEN];
    shared.logs.file(entry.place.log)?.read_exact_at(&mut bytes, u64::from(entry.place.offset))?;
    let record = Record::decode(&bytes, shared.logs.salt(), entry.place);
    match record.map(|record| record.body) {
        Some(Body::Small(meta) | Body::Large(meta)) if meta.hash == hash => Ok(meta),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}
