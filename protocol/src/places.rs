//! Statements of the network about where a segment is, and where some blocks are in it, as its database said at one time.
//!
//! A gateway signs them for the nodes that ask it where blocks are, and nodes keep them: when the database does not
//! answer, gateways ask nodes for them. Whoever holds one can prove nothing but what the network said then, so nobody has
//! to be believed about places, and an old one costs a fetch that fails. URLs and orders are not part of it: both follow
//! from the node's name, and are made when they are needed.

use content::{BLOCK_MAX, Cid};
use ed25519_dalek::{SigningKey, VerifyingKey};
use erasure::{Codec, Scheme};

use crate::{
    ids::{NodeId, PieceHash, SegmentId},
    order::CLOCK_SKEW_MAX,
    piece::SEGMENT_MAX,
    time::UnixMillis,
    token::{self, TokenError},
};

const DOMAIN: &str = "pinstripe places v1";
/// Time, segment, codec, needed, total, length, number of pieces.
const FIXED_LEN: usize = 8 + 16 + 3 + 4 + 1;
/// Index, hash, node.
const PIECE_LEN: usize = 1 + 32 + 32;
/// Offset and length, behind the CID.
const BLOCK_PLACE_LEN: usize = 4 + 4;

/// Blocks in one statement, at most: as many as are asked for in one question.
pub const BLOCKS_MAX: usize = crate::api::LOCATE_MAX;
/// Longest CID in bytes that a statement takes: version, codec, a hash of up to 64 bytes and its header.
pub const CID_LEN_MAX: usize = crate::ticket::CID_LEN_MAX;
/// Longest statement that is looked at, in letters.
pub const PLACES_LEN_MAX: usize = (FIXED_LEN
    + erasure::TOTAL_MAX * PIECE_LEN
    + 2
    + BLOCKS_MAX * (1 + CID_LEN_MAX + BLOCK_PLACE_LEN)
    + token::SIGNATURE_LEN)
    .div_ceil(3)
    * 4;

/// A piece and who holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceAt {
    /// Which piece.
    pub index: u8,
    /// BLAKE3 of its bytes.
    pub hash: PieceHash,
    /// Its holder.
    pub node: NodeId,
}

/// A block in a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockIn {
    /// The block.
    pub cid: Cid,
    /// Where it starts in the segment, in bytes.
    pub offset: u32,
    /// Its length in bytes.
    pub length: u32,
}

/// Where the pieces of one segment were at one time, and where some blocks lie in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// When the database said so.
    pub time: UnixMillis,
    /// The segment.
    pub segment: SegmentId,
    /// Its coding.
    pub scheme: Scheme,
    /// Its length in bytes, 1..=[`SEGMENT_MAX`].
    pub length: u64,
    /// Pieces that somebody held, in order of their indices, each once.
    pub pieces: Vec<PieceAt>,
    /// Blocks in order of their CIDs' bytes, each once.
    pub blocks: Vec<BlockIn>,
}

impl Places {
    /// Puts together what is known; what cannot stand in a statement is left out: blocks beyond [`BLOCKS_MAX`], those with
    /// longer CIDs than [`CID_LEN_MAX`], and what does not lie within the segment. `None` for a segment that cannot be.
    pub fn new(
        time: UnixMillis,
        segment: SegmentId,
        scheme: Scheme,
        length: u64,
        pieces: impl IntoIterator<Item = PieceAt>,
        blocks: impl IntoIterator<Item = (Cid, u64, u64)>,
    ) -> Option<Self> {
        if !(1..=SEGMENT_MAX).contains(&length) {
            return None;
        }
        let mut pieces: Vec<PieceAt> =
            pieces.into_iter().filter(|piece| piece.index < scheme.total()).collect();
        pieces.sort_by_key(|piece| piece.index);
        pieces.dedup_by_key(|piece| piece.index);
        let block = |(cid, offset, length): (Cid, u64, u64)| {
            let (offset, length) = (u32::try_from(offset).ok()?, u32::try_from(length).ok()?);
            (cid.as_bytes().len() <= CID_LEN_MAX).then_some(BlockIn { cid, offset, length })
        };
        let within = |block: &BlockIn| block.lies_within(length);
        let mut blocks: Vec<BlockIn> = blocks.into_iter().filter_map(block).filter(within).collect();
        blocks.sort_by(|one, other| one.cid.as_bytes().cmp(other.cid.as_bytes()));
        blocks.dedup_by(|one, other| one.cid == other.cid);
        blocks.truncate(BLOCKS_MAX);
        Some(Self { time, segment, scheme, length, pieces, blocks })
    }

    /// The signed, printable form.
    pub fn sign(&self, key: &SigningKey) -> String {
        token::sign(key, DOMAIN, &self.encode())
    }

    /// Reads and checks one. Of the same places at the same time there is one form only.
    pub fn verify(key: &VerifyingKey, text: &str) -> Result<Self, TokenError> {
        if text.len() > PLACES_LEN_MAX {
            return Err(TokenError::Malformed);
        }
        Self::decode(&token::verify(key, DOMAIN, text)?).ok_or(TokenError::Malformed)
    }

    /// Whether it is dated further ahead of `now` than clocks may differ.
    pub fn is_from_the_future(&self, now: UnixMillis) -> bool {
        self.time > now + CLOCK_SKEW_MAX
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FIXED_LEN + self.pieces.len() * PIECE_LEN + self.blocks.len() * 48);
        out.extend_from_slice(&self.time.0.to_le_bytes());
        out.extend_from_slice(&self.segment.0);
        out.extend_from_slice(&[self.scheme.codec().tag(), self.scheme.needed(), self.scheme.total()]);
        // At most 64 MiB, of at most 64 pieces and 1024 blocks with short CIDs: `new` and `decode` see to it.
        out.extend_from_slice(&self.length.to_le_bytes()[..4]);
        out.push(self.pieces.len().to_le_bytes()[0]);
        for piece in &self.pieces {
            out.push(piece.index);
            out.extend_from_slice(&piece.hash.0);
            out.extend_from_slice(&piece.node.0);
        }
        out.extend_from_slice(&self.blocks.len().to_le_bytes()[..2]);
        for block in &self.blocks {
            let cid = block.cid.as_bytes();
            out.push(cid.len().to_le_bytes()[0]);
            out.extend_from_slice(cid);
            out.extend_from_slice(&block.offset.to_le_bytes());
            out.extend_from_slice(&block.length.to_le_bytes());
        }
        out
    }

    fn decode(payload: &[u8]) -> Option<Self> {
        let mut rest = Rest(payload);
        let time = UnixMillis(i64::from_le_bytes(rest.take()?));
        let segment = SegmentId(rest.take()?);
        let [codec, needed, total] = rest.take()?;
        let scheme = Scheme::new(Codec::from_tag(codec)?, needed, total).ok()?;
        let length = u64::from(u32::from_le_bytes(rest.take()?));
        if !(1..=SEGMENT_MAX).contains(&length) {
            return None;
        }
        let [count] = rest.take()?;
        let mut pieces: Vec<PieceAt> = Vec::with_capacity(usize::from(count.min(total)));
        for _ in 0..count {
            let [index] = rest.take()?;
            let piece = PieceAt { index, hash: PieceHash(rest.take()?), node: NodeId(rest.take()?) };
            let follows = pieces.last().is_none_or(|last| last.index < index);
            if !follows || index >= total {
                return None;
            }
            pieces.push(piece);
        }
        let count = usize::from(u16::from_le_bytes(rest.take()?));
        if count > BLOCKS_MAX {
            return None;
        }
        let mut blocks: Vec<BlockIn> = Vec::with_capacity(count.min(rest.0.len() / BLOCK_PLACE_LEN));
        for _ in 0..count {
            let block = rest.block()?;
            let follows = blocks.last().is_none_or(|last| last.cid.as_bytes() < block.cid.as_bytes());
            if !follows || !block.lies_within(length) {
                return None;
            }
            blocks.push(block);
        }
        rest.0.is_empty().then_some(Self { time, segment, scheme, length, pieces, blocks })
    }
}

impl BlockIn {
    fn lies_within(&self, segment_len: u64) -> bool {
        u64::from(self.offset) + u64::from(self.length) <= segment_len && self.length as usize <= BLOCK_MAX
    }
}

/// What is still to be read.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let (first, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(first)
    }

    fn block(&mut self) -> Option<BlockIn> {
        let [len] = self.take()?;
        let bytes = self.slice(usize::from(len)).filter(|bytes| bytes.len() <= CID_LEN_MAX)?;
        // Version 0 has another form of the same CID, which would be a second form of the statement.
        let cid = Cid::from_bytes(bytes).ok().filter(|cid| cid.as_bytes() == bytes)?;
        Some(BlockIn {
            cid,
            offset: u32::from_le_bytes(self.take()?),
            length: u32::from_le_bytes(self.take()?),
        })
    }
}

#[cfg(test)]
mod tests;
