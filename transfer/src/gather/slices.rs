//! Verified slices of pieces, and what can be made of them. Pure but for the thread that long decoding runs on.

use std::{collections::BTreeMap, ops::Range};

use bytes::Bytes;
use erasure::{CodingError, Decoder, Layout, Scheme};
use protocol::ids::SegmentId;

use super::GatherError;
use crate::{
    code::memory,
    pool::{Pool, PooledBytes},
};

/// Up to this many bytes are decoded on the async thread: it takes less than a millisecond with either code.
const INLINE_DECODE_BYTES: usize = 256 << 10;

/// Shorter blocks get memory of just their length: they are many, and the allocator has pages at hand for them.
const POOLED_MIN: usize = 256 << 10;

/// Verified bytes of one piece from `range.start` on.
pub(super) struct Slice {
    pub(super) range: Range<u64>,
    pub(super) bytes: PooledBytes,
}

/// The slices of one reading by piece.
pub(super) struct Slices {
    pub(super) segment: SegmentId,
    pub(super) scheme: Scheme,
    /// The columns that rebuild everything that is wanted.
    pub(super) columns: Range<u64>,
    /// What is wanted of each data piece.
    pub(super) wanted: Vec<(u8, Range<u64>)>,
    pub(super) have: BTreeMap<u8, Slice>,
}

impl Slices {
    /// Keeps a slice, unless a longer one of the same piece is there.
    pub(super) fn keep(&mut self, index: u8, slice: Slice) {
        let longer = self.have.get(&index).is_none_or(|known| length(&known.range) < length(&slice.range));
        if longer {
            self.have.insert(index, slice);
        }
    }

    /// How many pieces have all the columns.
    pub(super) fn complete(&self) -> usize {
        self.have.values().filter(|slice| slice.range == self.columns).count()
    }

    /// Whether everything that is wanted is there or can be rebuilt.
    pub(super) fn suffice(&self) -> bool {
        let has_wanted = || self.wanted.iter().all(|(piece, _)| self.have.contains_key(piece));
        self.complete() >= usize::from(self.scheme.needed()) || (!self.wanted.is_empty() && has_wanted())
    }

    /// Exactly `needed` of the slices that have all the columns.
    pub(super) fn into_complete(self) -> Vec<(u8, PooledBytes)> {
        let complete = self.have.into_iter().filter(|(_, slice)| slice.range == self.columns);
        complete.take(self.scheme.needed().into()).map(|(index, slice)| (index, slice.bytes)).collect()
    }

    /// Decodes the wanted pieces that are missing.
    pub(super) async fn rebuild(mut self, pool: &Pool) -> Result<Self, GatherError> {
        if self.wanted.iter().all(|(piece, _)| self.have.contains_key(piece)) {
            return Ok(self);
        }
        metrics::counter!("pinstripe_gather_decodes_total").increment(1);
        let segment = self.segment;
        let failed = |cause: String| GatherError::Rebuild { segment, cause };
        let bytes = memory(self.columns.end - self.columns.start) * usize::from(self.scheme.needed());
        if bytes <= INLINE_DECODE_BYTES {
            self.decode(pool).map_err(|error| failed(error.to_string()))?;
            return Ok(self);
        }
        let pool = pool.clone();
        let decoded = tokio::task::spawn_blocking(move || self.decode(&pool).map(|()| self)).await;
        decoded.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
    }

    fn decode(&mut self, pool: &Pool) -> Result<(), CodingError> {
        let wanted = self.wanted.iter().map(|(piece, _)| *piece);
        let missing: Vec<u8> = wanted.filter(|piece| !self.have.contains_key(piece)).collect();
        let complete = self.have.iter().filter(|(_, slice)| slice.range == self.columns);
        let present: Vec<(u8, &[u8])> = complete
            .take(self.scheme.needed().into())
            .map(|(index, slice)| (*index, slice.bytes.as_ref()))
            .collect();
        let len = memory(self.columns.end - self.columns.start);
        let mut outputs: Vec<PooledBytes> = missing.iter().map(|_| pool.take_dirty(len)).collect();
        let mut rebuilt: Vec<(u8, &mut [u8])> =
            missing.iter().copied().zip(outputs.iter_mut().map(PooledBytes::as_mut)).collect();
        Decoder::new(self.scheme).rebuild(&present, &mut rebuilt)?;
        for (piece, bytes) in missing.into_iter().zip(outputs) {
            self.have.insert(piece, Slice { range: self.columns.clone(), bytes });
        }
        Ok(())
    }

    /// Copies the bytes of a segment range, which must lie within what was wanted, out of the slices of its data pieces.
    pub(super) fn assemble(&self, layout: &Layout, range: Range<u64>, pool: &Pool) -> Bytes {
        let len = memory(length(&range));
        if len < POOLED_MIN {
            let mut bytes = Vec::with_capacity(len);
            self.copy_out(layout, range, &mut bytes);
            return bytes.into();
        }
        let mut bytes = pool.take(len);
        self.copy_out(layout, range, bytes.vec());
        bytes.freeze()
    }

    fn copy_out(&self, layout: &Layout, range: Range<u64>, out: &mut Vec<u8>) {
        for span in layout.spans(range) {
            let slice = &self.have[&span.piece];
            let start = memory(span.piece_offset - slice.range.start);
            out.extend_from_slice(&slice.bytes.as_ref()[start..start + memory(span.len)]);
        }
    }
}

fn length(range: &Range<u64>) -> u64 {
    range.end.saturating_sub(range.start)
}
