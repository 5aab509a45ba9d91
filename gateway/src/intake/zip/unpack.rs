//! Unpacking a zip archive entry by entry, on a thread of its own: inflating is work for the processor.

use std::io::{self, BufReader, Read};

use bytes::Bytes;
use flate2::bufread::DeflateDecoder;
use tokio::sync::mpsc;

use super::directory::{Directory, Entry, Kind, ZipError, bad};

/// Bytes given on at once.
const CHUNK: u64 = 128 << 10;
/// Packed bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// What an entry is packed with.
const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// What comes out of an archive.
#[derive(Debug)]
pub(super) enum Unpacked {
    /// The next entry.
    Entry { path: String, kind: Kind },
    /// Bytes of the entry before.
    Bytes(Bytes),
    /// The entry before is complete, and as it was packed.
    End,
}

/// Nobody wants the rest.
struct Left;

/// What all entries together come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) entries: usize,
    /// Bytes of what is kept, unpacked.
    pub(super) bytes: u64,
    /// Entries that are not kept.
    pub(super) left_out: usize,
}

/// Reads a directory through before anything is unpacked.
pub(super) fn totals(
    directory: &Directory,
    archive_bytes: u64,
    is_kept: impl Fn(&str) -> bool,
) -> Result<Totals, ZipError> {
    let (mut totals, mut packed_bytes) = (Totals::default(), 0_u64);
    for entry in directory.entries() {
        let entry = entry?;
        totals.entries += 1;
        packed_bytes = packed_bytes.saturating_add(entry.packed_bytes);
        if is_kept(&entry.path) {
            totals.bytes = totals.bytes.saturating_add(entry.bytes);
        } else {
            totals.left_out += 1;
        }
    }
    if packed_bytes > archive_bytes {
        // Every byte is there once. Archives whose entries share bytes are made to burst whoever unpacks them.
        return Err(bad("its entries overlap"));
    }
    Ok(totals)
}

/// Gives out what is kept of an archive, until nobody takes it any more.
pub(super) fn unpack(
    directory: &Directory,
    is_kept: impl Fn(&str) -> bool,
    out: &mpsc::Sender<Unpacked>,
) -> Result<(), ZipError> {
    for entry in directory.entries() {
        let entry = entry?;
        if !is_kept(&entry.path) {
            continue;
        }
        if entry.encrypted {
            return Err(bad(format!("{:?} is encrypted", entry.path)));
        }
        let packed = BufReader::with_capacity(READ_BYTES, directory.packed(&entry)?);
        let next = Unpacked::Entry { path: entry.path.clone(), kind: entry.kind };
        if out.blocking_send(next).is_err() {
            return Ok(());
        }
        let given = match entry.method {
            STORED => give(&entry, packed, out)?,
            DEFLATED => give(&entry, DeflateDecoder::new(packed), out)?,
            other => {
                return Err(bad(format!(
                    "{:?} is packed with method {other}, which is not known here",
                    entry.path
                )));
            }
        };
        if given.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn give(
    entry: &Entry,
    mut input: impl Read,
    out: &mpsc::Sender<Unpacked>,
) -> Result<Result<(), Left>, ZipError> {
    let mut crc = flate2::Crc::new();
    let mut left = entry.bytes;
    while left > 0 {
        let mut chunk = vec![0; usize::try_from(left.min(CHUNK)).unwrap_or_default()];
        input.read_exact(&mut chunk).map_err(|error| damaged(entry, error))?;
        crc.update(&chunk);
        left -= chunk.len() as u64;
        if out.blocking_send(Unpacked::Bytes(chunk.into())).is_err() {
            return Ok(Err(Left));
        }
    }
    let more = input.read(&mut [0]).map_err(|error| damaged(entry, error))?;
    if more > 0 || crc.sum() != entry.crc32 {
        return Err(bad(format!("{:?} is damaged: it is not what the directory says", entry.path)));
    }
    Ok(out.blocking_send(Unpacked::End).map_err(|_| Left))
}

fn damaged(entry: &Entry, error: io::Error) -> ZipError {
    match error.kind() {
        // What inflating says of bytes that make no sense.
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            bad(format!("{:?} is damaged: {error}", entry.path))
        }
        _ => ZipError::Disk(error),
    }
}
