//! Reading a log from a point on: every record in it, and over damaged stretches to the next sound one.
//!
//! Used after a crash (the tail behind the checkpoint), by compaction, and to rebuild a lost index. Memory is bounded by
//! one window and one record.

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::Arc};

use protocol::ids::PieceHash;

use super::{
    logs::{LOG_HEADER_LEN, Logs},
    outboard::hash_piece,
    record::{Body, HEADER_LEN, MAGIC, Place, Record},
};

/// How much is read ahead.
const WINDOW: u64 = 1 << 20;

/// After an unreadable spot the search goes on at the next multiple of this: what a disk loses at a time.
const SECTOR: u64 = 4096;

/// A record found in a log.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) record: Record,
    pub(super) place: Place,
    /// For [`Body::Small`]: data and outboard.
    pub(super) content: Vec<u8>,
}

impl Found {
    /// Whether data and outboard of a small piece are what the record says.
    pub(super) fn content_is_sound(&self) -> bool {
        let Body::Small(meta) = self.record.body else { return true };
        let Some((data, outboard)) = self.content.split_at_checked(self.record.data_len as usize) else {
            return false;
        };
        hash_piece(data) == Some((PieceHash(meta.hash.0), outboard.to_vec()))
    }

    /// Offset behind the record.
    pub(super) fn end(&self) -> u64 {
        u64::from(self.place.offset) + self.record.len_in_log()
    }
}

/// Walks over the records of one log.
pub(super) struct Scan<'a> {
    logs: &'a Logs,
    log: u32,
    file: Arc<File>,
    len: u64,
    at: u64,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> Scan<'a> {
    /// Starts at `from`, or at the first record. `None` if there is no such log.
    pub(super) fn new(logs: &'a Logs, log: u32, from: u64) -> io::Result<Option<Self>> {
        let file = match logs.file(log) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let len = file.metadata()?.len();
        let at = from.max(LOG_HEADER_LEN as u64);
        Ok(Some(Self { logs, log, file, len, at, window: Vec::new(), window_at: 0 }))
    }

    /// Where the next search starts.
    pub(super) fn position(&self) -> u64 {
        self.at
    }

    /// The next record whose header is sound; `None` at the end of the log.
    pub(super) fn next_record(&mut self) -> io::Result<Option<Found>> {
        while let Some(record) = self.seek_header()? {
            let place = Place { log: self.log, offset: u32::try_from(self.at).map_err(io::Error::other)? };
            let content_at = self.at + HEADER_LEN as u64;
            let content_len = record.len_in_log() - HEADER_LEN as u64;
            match self.bytes(content_at, content_len) {
                Ok(Some(content)) => {
                    let content = content.to_vec();
                    self.at = content_at + content_len;
                    return Ok(Some(Found { record, place, content }));
                }
                Ok(None) => self.at += 1,
                Err(error) if is_media_error(&error) => {
                    // The header is sound, so the piece is known: it comes out with content that fails its check.
                    self.at = content_at + content_len;
                    return Ok(Some(Found { record, place, content: Vec::new() }));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Moves to the next sound header.
    fn seek_header(&mut self) -> io::Result<Option<Record>> {
        loop {
            let header = match self.bytes(self.at, HEADER_LEN as u64) {
                Ok(header) => header.and_then(<[u8]>::first_chunk).copied(),
                Err(error) if is_media_error(&error) => {
                    self.at = (self.at + 1).next_multiple_of(SECTOR);
                    continue;
                }
                Err(error) => return Err(error),
            };
            let (Some(header), Ok(offset)) = (header, u32::try_from(self.at)) else { return Ok(None) };
            if let Some(record) = Record::decode(&header, self.logs.salt(), Place { log: self.log, offset }) {
                return Ok(Some(record));
            }
            self.at += 1;
            self.skip_to_magic();
        }
    }

    /// Moves over bytes of the window that cannot start a header.
    fn skip_to_magic(&mut self) {
        let Some(from) = self.at.checked_sub(self.window_at).and_then(|from| usize::try_from(from).ok())
        else {
            return;
        };
        let Some(rest) = self.window.get(from..) else { return };
        let skip = rest.windows(MAGIC.len()).position(|bytes| bytes == MAGIC);
        let skip = skip.unwrap_or_else(|| rest.len().saturating_sub(MAGIC.len() - 1));
        self.at += skip as u64;
    }

    /// Bytes of the log, from the window if they are in it; `None` past the end.
    fn bytes(&mut self, at: u64, len: u64) -> io::Result<Option<&[u8]>> {
        if at + len > self.len {
            return Ok(None);
        }
        if at < self.window_at || at + len > self.window_at + self.window.len() as u64 {
            let ahead = len.max(WINDOW).min(self.len - at);
            let read = self
                .load(at, ahead)
                .or_else(|error| if ahead > len { self.load(at, len) } else { Err(error) });
            if read.is_err() {
                self.window.clear();
            }
            read?;
        }
        let from = usize::try_from(at - self.window_at).map_err(io::Error::other)?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        Ok(self.window.get(from..from + len))
    }

    fn load(&mut self, at: u64, len: u64) -> io::Result<()> {
        self.window.resize(usize::try_from(len).map_err(io::Error::other)?, 0);
        self.window_at = at;
        self.file.read_exact_at(&mut self.window, at)
    }
}

/// Errors that say "these bytes are gone", as against "try again later".
pub(super) fn is_media_error(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, IsADirectory, NotADirectory, NotFound, UnexpectedEof};
    matches!(error.kind(), NotFound | UnexpectedEof | InvalidData | IsADirectory | NotADirectory)
        || error.raw_os_error() == Some(libc::EIO)
}
