//! A piece: one of the coded parts of a segment, stored on one node under the hash of its bytes.

use erasure::Scheme;

use crate::ids::{PieceHash, SegmentId};

/// The largest segment, in bytes.
pub const SEGMENT_MAX: u64 = 64 << 20;

/// What a piece is a part of. It is stored with the piece, so that metadata can be rebuilt from the nodes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceMeta {
    /// BLAKE3 of the piece's bytes.
    pub hash: PieceHash,
    /// The segment it belongs to.
    pub segment: SegmentId,
    /// Which of the `total` pieces it is, from 0.
    pub index: u8,
    /// How the segment is coded.
    pub scheme: Scheme,
    /// Length of the segment in bytes, 1..=[`SEGMENT_MAX`].
    pub segment_len: u64,
}

/// Length of [`PieceMeta::encode`].
pub const PIECE_META_LEN: usize = 32 + 16 + 4 + 8;

/// Bytes that do not describe a possible piece.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid piece description: {0}")]
pub struct PieceMetaError(&'static str);

impl PieceMeta {
    /// Length of the piece in bytes.
    pub fn piece_len(&self) -> u64 {
        self.scheme.layout(self.segment_len).piece_len()
    }

    /// Fixed-size form, for orders and for the records on a node's disk.
    pub fn encode(&self) -> [u8; PIECE_META_LEN] {
        let mut out = [0; PIECE_META_LEN];
        out[..32].copy_from_slice(&self.hash.0);
        out[32..48].copy_from_slice(&self.segment.0);
        out[48] = self.scheme.codec().tag();
        out[49] = self.scheme.needed();
        out[50] = self.scheme.total();
        out[51] = self.index;
        out[52..].copy_from_slice(&self.segment_len.to_le_bytes());
        out
    }

    /// Reads [`PieceMeta::encode`] back and checks that the numbers are possible.
    pub fn decode(bytes: &[u8; PIECE_META_LEN]) -> Result<Self, PieceMetaError> {
        let mut hash = [0; 32];
        hash.copy_from_slice(&bytes[..32]);
        let mut segment = [0; 16];
        segment.copy_from_slice(&bytes[32..48]);
        let mut len = [0; 8];
        len.copy_from_slice(&bytes[52..]);
        let codec = erasure::Codec::from_tag(bytes[48]).ok_or(PieceMetaError("unknown codec"))?;
        let scheme =
            Scheme::new(codec, bytes[49], bytes[50]).map_err(|_| PieceMetaError("bad needed or total"))?;
        let meta = Self {
            hash: PieceHash(hash),
            segment: SegmentId(segment),
            index: bytes[51],
            scheme,
            segment_len: u64::from_le_bytes(len),
        };
        if meta.index >= scheme.total() {
            return Err(PieceMetaError("index not below total"));
        }
        if meta.segment_len == 0 || meta.segment_len > SEGMENT_MAX {
            return Err(PieceMetaError("segment length out of range"));
        }
        Ok(meta)
    }
}
