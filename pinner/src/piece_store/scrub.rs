//! Reading every piece again and again, so that damage is found before an audit finds it.

use std::{io, sync::Arc};

use protocol::ids::PieceHash;

use super::{
    ReadError, ScrubProgress, StoreError,
    disk::Shared,
    outboard::OutboardBuilder,
    read::{self, DiskReader},
    record::outboard_len,
    scan::is_media_error,
};

/// How many pieces are fetched from the index at a time.
const PAGE: usize = 64;

/// How much of a piece is read at a time.
const READ_LEN: u64 = 256 * 1024;

pub(super) fn step(shared: &Arc<Shared>, budget_bytes: u64) -> Result<ScrubProgress, StoreError> {
    let mut progress = ScrubProgress::default();
    loop {
        let page = shared.index.list(shared.index.scrub_cursor(), PAGE)?;
        for (hash, entry) in &page {
            if !entry.corrupt {
                progress.pieces += 1;
                progress.bytes += entry.used_bytes();
                progress.corrupt += u64::from(!check(shared, *hash)?);
            }
            shared.index.set_scrub_cursor(Some(*hash));
            if progress.bytes >= budget_bytes {
                return Ok(progress);
            }
        }
        if page.len() < PAGE {
            shared.index.set_scrub_cursor(None);
            progress.wrapped = true;
            return Ok(progress);
        }
    }
}

/// Checks one piece whole and marks it if it is damaged. A piece that has been deleted meanwhile is fine.
fn check(shared: &Arc<Shared>, hash: PieceHash) -> Result<bool, StoreError> {
    let reader = match read::open(shared, hash) {
        Ok(reader) => reader,
        Err(ReadError::NotFound(_)) => return Ok(true),
        Err(ReadError::Corrupt(_)) => return Ok(false),
        Err(error) => return Err(StoreError::Disk(io::Error::other(error))),
    };
    match is_sound(&reader, hash) {
        Ok(true) => Ok(true),
        Err(error) if !is_media_error(&error) => Err(error.into()),
        // If the piece has moved since, the copy that is damaged is no longer the one that counts.
        Ok(false) | Err(_) => Ok(!shared.mark_corrupt(hash, reader.source().0)?),
    }
}

fn is_sound(reader: &DiskReader, hash: PieceHash) -> io::Result<bool> {
    let (entry, source) = reader.source();
    let data_len = u64::from(entry.data_len);
    let mut builder = OutboardBuilder::new(data_len);
    let mut buffer = Vec::new();
    let mut at = 0;
    while at < data_len {
        let len = READ_LEN.min(data_len - at);
        buffer.resize(usize::try_from(len).map_err(io::Error::other)?, 0);
        source.read_data(at, &mut buffer)?;
        if builder.update(&buffer).is_err() {
            return Ok(false);
        }
        at += len;
    }
    let mut outboard = vec![0; outboard_len(entry.data_len) as usize];
    source.read_outboard(0, &mut outboard)?;
    Ok(builder.finish() == Some((hash, outboard)))
}
