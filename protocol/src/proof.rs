//! Proofs that bytes are part of a piece: Bao slices with groups of 16 KiB.
//!
//! A piece is named by its BLAKE3 hash, which is the root of a tree of hashes over its 1 KiB chunks. A slice
//! carries a byte range of the piece (rounded out to chunks) together with just the inner hashes that tie it
//! to the root, in pre-order: what `bao_tree::io::sync::encode_ranges_validated` writes for one range.
//! Whoever checks it needs the hash and length of the piece, nothing else, and notices a wrong byte within 16
//! KiB.
//!
//! The node keeps the inner hashes of whole groups beside the piece: its outboard, in post-order, 0.39 % of
//! its size. [`SliceDecoder`] checks a slice as it arrives; [`OutboardBuilder`] makes an outboard as a piece
//! arrives.

use std::{io, ops::Range};

use blake3::hazmat::{ChainingValue, HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root};

use crate::ids::PieceHash;

mod decoder;
mod encoder;
mod outboard;

pub use bao_tree::io::sync::ReadAt;
pub use decoder::SliceDecoder;
pub use outboard::OutboardBuilder;

/// Bytes of a BLAKE3 chunk: the smallest part that can be proven.
pub const CHUNK_LEN: u64 = 1024;
/// Bytes of a group of chunks: what an outboard keeps hashes of, and what is checked at once. (With 1 KiB
/// groups outboards would be 16 times as large and checking four times as slow.)
pub const GROUP_LEN: u64 = GROUP as u64;
const GROUP: usize = 16 << 10;
/// Bytes of an inner node: the hashes of its two children.
const PAIR_LEN: usize = 64;

/// Why a slice proves nothing.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The range is empty or not inside the piece.
    #[error("range {start}..{end} is not inside a piece of {piece_len} bytes")]
    Range {
        /// Start of the range.
        start: u64,
        /// End of the range.
        end: u64,
        /// Length of the piece.
        piece_len: u64,
    },
    /// The buffer is not as long as the range.
    #[error("buffer holds {got} bytes, the range {wanted}")]
    Buffer {
        /// Length of the buffer.
        got: usize,
        /// Length of the range.
        wanted: u64,
    },
    /// What was sent is not what the piece's hash stands for.
    #[error("hash mismatch at byte {offset} of the piece")]
    Mismatch {
        /// Where in the piece the part that is wrong begins.
        offset: u64,
    },
    /// The slice ends too early.
    #[error("slice is truncated at byte {offset} of the piece")]
    Truncated {
        /// Where in the piece the part that is missing begins.
        offset: u64,
    },
    /// Something follows the slice.
    #[error("slice is followed by further bytes")]
    Trailing,
    /// The slice could not be read.
    #[error("cannot read slice: {0}")]
    Io(#[from] io::Error),
}

/// Why a slice could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The range is empty or not inside the piece.
    #[error("range {start}..{end} is not inside a piece of {piece_len} bytes")]
    Range {
        /// Start of the range.
        start: u64,
        /// End of the range.
        end: u64,
        /// Length of the piece.
        piece_len: u64,
    },
    /// The stored bytes or the outboard do not have the piece's hash (or are too short): bit rot.
    #[error("stored piece does not match its hash")]
    Corrupt,
    /// The piece or its outboard could not be read.
    #[error("cannot read stored piece: {0}")]
    Read(#[source] io::Error),
    /// The slice could not be written.
    #[error("cannot write slice: {0}")]
    Write(#[source] io::Error),
}

/// Checks a slice and returns exactly the bytes of `range`.
///
/// `encoded` is read in small steps: a file or socket wants a `BufReader`. It must end where the slice ends.
pub fn verify_slice(
    hash: PieceHash,
    piece_len: u64,
    range: Range<u64>,
    encoded: impl io::Read,
) -> Result<Vec<u8>, ProofError> {
    check_range(&range, piece_len)?;
    let len = usize::try_from(range.end - range.start).map_err(|_| range_error(&range, piece_len))?;
    let mut bytes = vec![0; len];
    verify_slice_into(hash, piece_len, range, encoded, &mut bytes)?;
    Ok(bytes)
}

/// Checks a slice and writes exactly the bytes of `range` to `out`, which must be as long.
///
/// Whole groups are read straight into `out` and checked there; after an error `out` holds nothing to rely
/// on.
pub fn verify_slice_into(
    hash: PieceHash,
    piece_len: u64,
    range: Range<u64>,
    mut encoded: impl io::Read,
    out: &mut [u8],
) -> Result<(), ProofError> {
    let mut decoder = SliceDecoder::new(hash, piece_len, range, out)?;
    while let Some(slot) = decoder.slot() {
        match encoded.read(slot) {
            Ok(0) => break,
            Ok(len) => decoder.advance(len)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    decoder.finish()?;
    match io::Read::read_exact(&mut encoded, &mut [0]) {
        Ok(()) => Err(ProofError::Trailing),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Writes the slice for `range` of a piece, checking what is read against the piece's hash on the way: a node
/// whose disk has gone bad finds out here and sends nothing wrong.
///
/// `outboard` is what [`outboard()`] or [`OutboardBuilder`] made of the piece.
pub fn encode_slice(
    data: impl ReadAt,
    outboard: impl ReadAt,
    hash: PieceHash,
    piece_len: u64,
    range: &Range<u64>,
    encoded: impl io::Write,
) -> Result<(), EncodeError> {
    if check_range(range, piece_len).is_err() {
        return Err(EncodeError::Range { start: range.start, end: range.end, piece_len });
    }
    let mut encoder = encoder::Encoder {
        data,
        outboard,
        encoded,
        asked: Asked::new(range),
        piece_len,
        group: Vec::new(),
        part: Vec::new(),
    };
    encoder.subtree(Subtree { start: 0, len: piece_len }, 0, &hash.0)
}

/// Name and outboard of a piece that is in memory.
pub fn outboard(data: &[u8]) -> (PieceHash, Vec<u8>) {
    let mut builder = OutboardBuilder::new();
    builder.update(data);
    builder.finish()
}

/// Length of the outboard of a piece: 64 bytes for each group but one.
pub fn outboard_len(piece_len: u64) -> u64 {
    piece_len.div_ceil(GROUP_LEN).saturating_sub(1) * PAIR_LEN as u64
}

/// Exact length of the slice for `range`, 0 for a range that is not inside the piece.
pub fn encoded_len(piece_len: u64, range: &Range<u64>) -> u64 {
    if check_range(range, piece_len).is_err() {
        return 0;
    }
    let asked = Asked::new(range);
    let mut len = 0;
    let mut open = vec![Subtree { start: 0, len: piece_len }];
    while let Some(subtree) = open.pop() {
        if asked.covers(subtree) {
            len += subtree.len + outboard_len(subtree.len);
        } else if subtree.len <= CHUNK_LEN {
            len += subtree.len;
        } else {
            len += PAIR_LEN as u64;
            let (left, right) = subtree.split();
            open.extend([left, right].into_iter().filter(|&child| asked.touches(child)));
        }
    }
    len
}

fn range_error(range: &Range<u64>, piece_len: u64) -> ProofError {
    ProofError::Range { start: range.start, end: range.end, piece_len }
}

fn check_range(range: &Range<u64>, piece_len: u64) -> Result<(), ProofError> {
    if range.start < range.end && range.end <= piece_len {
        Ok(())
    } else {
        Err(range_error(range, piece_len))
    }
}

/// The bytes below one node of the tree.
#[derive(Clone, Copy, Debug)]
struct Subtree {
    start: u64,
    len: u64,
}

impl Subtree {
    fn end(self) -> u64 {
        self.start + self.len
    }

    /// The two halves of more than one chunk: the left one holds the largest power of two of chunks that
    /// leaves something for the right one (BLAKE3 paper, section 2.1).
    fn split(self) -> (Self, Self) {
        let left_len = self.len.div_ceil(CHUNK_LEN).next_power_of_two() / 2 * CHUNK_LEN;
        let left = Self { start: self.start, len: left_len };
        (left, Self { start: left.end(), len: self.len - left_len })
    }
}

/// A range, rounded out to chunks.
#[derive(Clone, Copy, Debug)]
struct Asked {
    start: u64,
    end: u64,
}

impl Asked {
    fn new(range: &Range<u64>) -> Self {
        let end = range.end.div_ceil(CHUNK_LEN).saturating_mul(CHUNK_LEN);
        Self { start: range.start / CHUNK_LEN * CHUNK_LEN, end }
    }

    fn covers(self, subtree: Subtree) -> bool {
        self.start <= subtree.start && subtree.end() <= self.end
    }

    fn touches(self, subtree: Subtree) -> bool {
        self.start < subtree.end() && subtree.start < self.end
    }

    /// Whether the bytes of a subtree are sent and checked as one.
    fn is_leaf(self, subtree: Subtree) -> bool {
        subtree.len <= CHUNK_LEN || (subtree.len <= GROUP_LEN && self.covers(subtree))
    }
}

/// Hash of a subtree of at most a group. The whole piece, when that is so short, is hashed as BLAKE3 does
/// everywhere.
fn hash_leaf(start: u64, data: &[u8], is_root: bool) -> ChainingValue {
    if is_root {
        *blake3::hash(data).as_bytes()
    } else {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(start);
        hasher.update(data);
        hasher.finalize_non_root()
    }
}

fn split_pair(pair: &[u8; PAIR_LEN]) -> (ChainingValue, ChainingValue) {
    let (mut left, mut right) = ([0; 32], [0; 32]);
    left.copy_from_slice(&pair[..32]);
    right.copy_from_slice(&pair[32..]);
    (left, right)
}

fn hash_pair(left: &ChainingValue, right: &ChainingValue, is_root: bool) -> ChainingValue {
    if is_root {
        *merge_subtrees_root(left, right, Mode::Hash).as_bytes()
    } else {
        merge_subtrees_non_root(left, right, Mode::Hash)
    }
}

#[cfg(test)]
mod tests;
