//! Slices with proofs: a byte range of a piece together with the hashes that tie it to the piece's name.
//!
//! The wire form is what `bao-tree` encodes for 16 KiB chunk groups: hash pairs and data interleaved in pre-order, no
//! length prefix. A receiver checks it with `protocol::proof::verify_slice`. Pure: data comes in through [`SliceSource`]
//! and goes out through a closure. Encoding validates every byte against the hash before it leaves, so damaged data is
//! never encoded.

use std::{io, ops::Range};

use bao_tree::{
    BaoTree, BlockSize, ChunkNum, ChunkRanges, ChunkRangesRef, TreeNode,
    blake3::{self, Hash, hazmat},
    io::sync::truncate_ranges,
    iter::BaoChunk,
};
use bytes::{Bytes, BytesMut};
use protocol::ids::PieceHash;

/// Bytes of a chunk group, the unit between two stored hashes. An outboard costs 64 bytes for each of them but one.
pub const GROUP_LEN: usize = 16 * 1024;

/// [`GROUP_LEN`] as `bao-tree` counts it: 2^4 chunks of 1 KiB.
pub const BLOCK_SIZE: BlockSize = BlockSize::from_chunk_log(4);

/// A closure gets about this much at a time: large enough to make its call cheap, small enough to stay in the cache.
const BATCH_LEN: usize = 64 * 1024;

/// From this many groups on, the whole outboard is read at once instead of pair by pair.
const OUTBOARD_AT_ONCE_GROUPS: u64 = 8;

/// Where the bytes of one piece and of its outboard (hash pairs in pre-order) come from.
pub trait SliceSource {
    /// Fills `out` from the piece, starting at `offset`. Less than that is an error of kind `UnexpectedEof`.
    fn read_data(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Fills `out` from the outboard, starting at `offset`.
    fn read_outboard(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
}

/// Why a slice was not encoded to its end. What was handed out until then is valid.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// The range is empty or reaches past the end of the piece.
    #[error("range {start}..{end} is not inside a piece of {piece_len} bytes", start = .range.start, end = .range.end)]
    BadRange {
        /// What was asked for.
        range: Range<u64>,
        /// Length of the piece in bytes.
        piece_len: u64,
    },
    /// Data or outboard do not match the piece's hash.
    #[error("bytes near offset {offset} do not match the hash of the piece")]
    Mismatch {
        /// Offset in the piece, in bytes.
        offset: u64,
    },
    /// The source could not be read.
    #[error("piece cannot be read")]
    Source(#[source] io::Error),
    /// The closure that takes the bytes gave up.
    #[error("slice was not taken")]
    Sink(#[source] io::Error),
}

/// Length of the outboard of a piece, in bytes; zero up to one group.
pub fn outboard_len(piece_len: u64) -> u64 {
    tree(piece_len).outboard_size()
}

pub(super) fn tree(piece_len: u64) -> BaoTree {
    BaoTree::new(piece_len, BLOCK_SIZE)
}

/// Hash of one chunk group, as it stands in the tree.
pub(super) fn group_hash(start_chunk: ChunkNum, data: &[u8], is_root: bool) -> Hash {
    use hazmat::HasherExt as _;
    if is_root {
        return blake3::hash(data);
    }
    Hash::from(
        blake3::Hasher::new().set_input_offset(start_chunk.to_bytes()).update(data).finalize_non_root(),
    )
}

/// Hash of an inner node from the hashes below it.
pub(super) fn parent_hash(left: &Hash, right: &Hash, is_root: bool) -> Hash {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if is_root {
        hazmat::merge_subtrees_root(left, right, hazmat::Mode::Hash)
    } else {
        Hash::from(hazmat::merge_subtrees_non_root(left, right, hazmat::Mode::Hash))
    }
}

fn is_inside(range: &Range<u64>, piece_len: u64) -> bool {
    range.start < range.end && range.end <= piece_len
}

fn chunks(range: &Range<u64>) -> ChunkRanges {
    ChunkRanges::from(ChunkNum::full_chunks(range.start)..ChunkNum::chunks(range.end))
}

/// Encodes the slice of `range` of the piece called `hash`, handing it to `sink` in pieces of about 64 KiB.
///
/// Every byte is checked against `hash` before it is handed out. The data is read straight into the buffer that goes
/// out; a range that starts or ends inside a group reads that whole group, but sends only the 1 KiB chunks it touches.
pub fn encode_slice(
    hash: PieceHash,
    piece_len: u64,
    source: &dyn SliceSource,
    range: &Range<u64>,
    sink: &mut dyn FnMut(Bytes) -> io::Result<()>,
) -> Result<(), EncodeError> {
    if !is_inside(range, piece_len) {
        return Err(EncodeError::BadRange { range: range.clone(), piece_len });
    }
    let tree = tree(piece_len);
    let ranges = chunks(range);
    let ranges = truncate_ranges(&ranges, piece_len);
    let pairs = Pairs::new(tree, source, range).map_err(EncodeError::Source)?;
    let mut expected = vec![Hash::from(hash.0)];
    let mut out = BytesMut::with_capacity(batch_capacity(range));
    let mut group = Vec::new();
    for item in tree.ranges_pre_order_chunks_iter_ref(ranges, 0) {
        let hash = expected.pop().unwrap_or(Hash::from([0; 32]));
        match item {
            BaoChunk::Parent { node, is_root, left, right, .. } => {
                let pair = pairs.load(node).map_err(EncodeError::Source)?;
                let (l, r) = split_pair(&pair);
                if parent_hash(&l, &r, is_root) != hash {
                    return Err(EncodeError::Mismatch { offset: node.chunk_range().start.to_bytes() });
                }
                out.extend_from_slice(&pair);
                expected.extend(right.then_some(r));
                expected.extend(left.then_some(l));
            }
            BaoChunk::Leaf { start_chunk, size, is_root, ranges } => {
                let offset = start_chunk.to_bytes();
                let found = if ranges.is_all() {
                    let at = out.len();
                    out.resize(at + size, 0);
                    source.read_data(offset, &mut out[at..]).map_err(EncodeError::Source)?;
                    group_hash(start_chunk, &out[at..], is_root)
                } else {
                    group.resize(size, 0);
                    source.read_data(offset, &mut group).map_err(EncodeError::Source)?;
                    encode_part(start_chunk, &group, is_root, ranges, &mut out)
                };
                if found != hash {
                    return Err(EncodeError::Mismatch { offset });
                }
            }
        }
        if out.len() >= BATCH_LEN {
            sink(out.split().freeze()).map_err(EncodeError::Sink)?;
            out.reserve(BATCH_LEN + GROUP_LEN);
        }
    }
    if out.is_empty() { Ok(()) } else { sink(out.freeze()).map_err(EncodeError::Sink) }
}

/// Room for the first batch: no more than a small range needs, proof included.
fn batch_capacity(range: &Range<u64>) -> usize {
    let wanted = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    wanted.saturating_add(4096).min(BATCH_LEN + GROUP_LEN)
}

/// Encodes the chunks in `ranges` of one group (or of a part of it) and returns the hash of the whole group.
///
/// Below a group nothing is stored, so the hashes are computed on the way: a node that lies partly outside of the range
/// puts its pair in front of its children.
fn encode_part(
    start: ChunkNum,
    data: &[u8],
    is_root: bool,
    ranges: &ChunkRangesRef,
    out: &mut BytesMut,
) -> Hash {
    if ranges.is_empty() || ranges.is_all() {
        if ranges.is_all() {
            out.extend_from_slice(data);
        }
        return group_hash(start, data, is_root);
    }
    if data.len() <= blake3::CHUNK_LEN {
        out.extend_from_slice(data);
        return group_hash(start, data, is_root);
    }
    let left_len = data.len().div_ceil(blake3::CHUNK_LEN).next_power_of_two() / 2 * blake3::CHUNK_LEN;
    let middle = start + ChunkNum::chunks(left_len as u64).0;
    let (in_left, in_right) = split(ranges, start, middle);
    let at = out.len();
    out.extend_from_slice(&[0; 64]);
    let left = encode_part(start, &data[..left_len], false, in_left, out);
    let right = encode_part(middle, &data[left_len..], false, in_right, out);
    out[at..at + 32].copy_from_slice(left.as_bytes());
    out[at + 32..at + 64].copy_from_slice(right.as_bytes());
    parent_hash(&left, &right, is_root)
}

/// The parts of `ranges` before and after `middle`; a part that covers its side from its start on becomes "all".
fn split(ranges: &ChunkRangesRef, start: ChunkNum, middle: ChunkNum) -> (&ChunkRangesRef, &ChunkRangesRef) {
    const ALL: &[ChunkNum] = &[ChunkNum(0)];
    let widen = |part, from| match ChunkRangesRef::boundaries(part) {
        [only] if *only <= from => ChunkRangesRef::new(ALL).unwrap_or(part),
        _ => part,
    };
    let (left, right) = ranges.split(middle);
    (widen(left, start), widen(right, middle))
}

/// The hash pairs of one outboard, read one at a time or all at once, whichever is cheaper for the range.
struct Pairs<'a> {
    tree: BaoTree,
    source: &'a dyn SliceSource,
    all: Option<Vec<u8>>,
}

impl<'a> Pairs<'a> {
    fn new(tree: BaoTree, source: &'a dyn SliceSource, range: &Range<u64>) -> io::Result<Self> {
        let groups = (range.end - range.start) / GROUP_LEN as u64;
        let all = if groups >= OUTBOARD_AT_ONCE_GROUPS {
            let len = usize::try_from(tree.outboard_size()).map_err(io::Error::other)?;
            let mut all = vec![0; len];
            source.read_outboard(0, &mut all)?;
            Some(all)
        } else {
            None
        };
        Ok(Self { tree, source, all })
    }

    fn load(&self, node: TreeNode) -> io::Result<[u8; 64]> {
        let mut pair = [0; 64];
        let missing = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let at = self.tree.pre_order_offset(node).ok_or_else(missing)? * 64;
        match &self.all {
            None => self.source.read_outboard(at, &mut pair)?,
            Some(all) => {
                let at = usize::try_from(at).map_err(io::Error::other)?;
                pair.copy_from_slice(all.get(at..at + 64).ok_or_else(missing)?);
            }
        }
        Ok(pair)
    }
}

fn split_pair(pair: &[u8; 64]) -> (Hash, Hash) {
    let (mut left, mut right) = ([0; 32], [0; 32]);
    left.copy_from_slice(&pair[..32]);
    right.copy_from_slice(&pair[32..]);
    (Hash::from(left), Hash::from(right))
}
