//! The bytes of a cache file: records one after another, and, once it is full, a list of them at its end.
//!
//! A record is a head of 24 bytes (`"blk1"`, length, key, check) and the bytes of the block. The list has 12
//! bytes a record (key, length) and a trailer of 24 (`"blklist1"`, count, four zeros, check). Integers are
//! little endian. The checks are of the heads and lists alone, so that a damaged one leads nobody astray; the
//! bytes themselves are checked against the CID whenever they are read. Nothing here does I/O.

use content::{BLOCK_MAX, Cid};

/// Length of a record's head.
pub(super) const HEAD_LEN: usize = 24;
/// Length of a record's line in the list.
pub(super) const LINE_LEN: usize = 12;
/// Length of what ends a list.
pub(super) const TRAILER_LEN: usize = 24;

const HEAD_MAGIC: [u8; 4] = *b"blk1";
const TRAILER_MAGIC: [u8; 8] = *b"blklist1";

/// What the list says about a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The block's [`key`].
    pub(super) key: u64,
    /// Length of the block in bytes.
    pub(super) len: u32,
}

impl Line {
    /// Bytes the record takes, head included.
    pub(super) fn record_len(self) -> u64 {
        HEAD_LEN as u64 + u64::from(self.len)
    }
}

/// Where the list of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    /// Lines of the list.
    pub(super) count: usize,
    /// Offset of its first byte, which is where the records end.
    pub(super) list_at: u64,
    check: [u8; 8],
}

/// The name of a block in the cache: the first eight bytes of its digest. `None` if its bytes could never be
/// verified, or need no cache because the CID carries them.
///
/// Digests of the functions known here are uniform, and two blocks that share a key only displace each other.
pub(super) fn key(cid: &Cid) -> Option<u64> {
    let hash_fn = cid.hash_fn()?;
    let digest = cid.digest();
    if digest.len() != hash_fn.digest_len() {
        return None;
    }
    digest.first_chunk().copied().map(u64::from_le_bytes)
}

/// The head of the record at `offset` of file `number`.
pub(super) fn head(number: u32, offset: u64, line: Line) -> [u8; HEAD_LEN] {
    let mut head = [0; HEAD_LEN];
    head[..4].copy_from_slice(&HEAD_MAGIC);
    head[4..8].copy_from_slice(&line.len.to_le_bytes());
    head[8..16].copy_from_slice(&line.key.to_le_bytes());
    let check = check(number, offset, &head[..16]);
    head[16..].copy_from_slice(&check);
    head
}

/// Reads the head at `offset` of file `number`; `None` if there is none, or one that is damaged.
pub(super) fn parse_head(number: u32, offset: u64, head: &[u8; HEAD_LEN]) -> Option<Line> {
    if head[..4] != HEAD_MAGIC || head[16..] != check(number, offset, &head[..16]) {
        return None;
    }
    let line = Line { len: u32::from_le_bytes(take(head, 4)), key: u64::from_le_bytes(take(head, 8)) };
    (line.len as usize <= BLOCK_MAX).then_some(line)
}

/// The list and its trailer, which end file `number`.
pub(super) fn list(number: u32, lines: &[Line]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(lines.len() * LINE_LEN + TRAILER_LEN);
    for line in lines {
        bytes.extend_from_slice(&line.key.to_le_bytes());
        bytes.extend_from_slice(&line.len.to_le_bytes());
    }
    let check = check(number, lines.len() as u64, &bytes);
    // A file's records are far fewer than 2^32; were they not, the list would be refused and the file scanned.
    let count = u32::try_from(lines.len()).unwrap_or(0);
    bytes.extend_from_slice(&TRAILER_MAGIC);
    bytes.extend_from_slice(&count.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&check);
    bytes
}

/// Reads the last bytes of a file of `file_len` bytes; `None` if it ends in no list of at most `count_max` lines.
pub(super) fn parse_trailer(file_len: u64, trailer: &[u8; TRAILER_LEN], count_max: usize) -> Option<Trailer> {
    if trailer[..8] != TRAILER_MAGIC || trailer[12..16] != [0; 4] {
        return None;
    }
    let count = usize::try_from(u32::from_le_bytes(take(trailer, 8))).ok()?;
    if count > count_max {
        return None;
    }
    let list_len = count.checked_mul(LINE_LEN)?.checked_add(TRAILER_LEN)?;
    let list_at = file_len.checked_sub(u64::try_from(list_len).ok()?)?;
    Some(Trailer { count, list_at, check: take(trailer, 16) })
}

/// Reads the list itself; `None` if it is damaged or does not describe the bytes before it exactly.
pub(super) fn parse_list(number: u32, trailer: &Trailer, list: &[u8]) -> Option<Vec<Line>> {
    let (lines, rest) = list.as_chunks::<LINE_LEN>();
    if lines.len() != trailer.count || !rest.is_empty() {
        return None;
    }
    if check(number, trailer.count as u64, list) != trailer.check {
        return None;
    }
    let mut end = 0_u64;
    let mut parsed = Vec::with_capacity(lines.len());
    for bytes in lines {
        let line = Line { key: u64::from_le_bytes(take(bytes, 0)), len: u32::from_le_bytes(take(bytes, 8)) };
        end = end.checked_add(line.record_len())?;
        if line.len as usize > BLOCK_MAX {
            return None;
        }
        parsed.push(line);
    }
    (end == trailer.list_at).then_some(parsed)
}

/// Eight bytes of BLAKE3 over `bytes` and where they stand, so that bytes copied elsewhere are not believed.
fn check(number: u32, position: u64, bytes: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&number.to_le_bytes()).update(&position.to_le_bytes()).update(bytes);
    take(hasher.finalize().as_bytes(), 0)
}

/// The `N` bytes of `bytes` from `at`.
fn take<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    *bytes[at..].first_chunk().expect("every caller reads within an array of fixed length")
}
