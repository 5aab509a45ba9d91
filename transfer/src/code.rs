//! Cutting a segment into coded pieces and naming them.

use bytes::Bytes;
use client::Chunks;
use erasure::{CodingError, Encoder, Scheme};
use protocol::{ids::PieceHash, piece::PieceMeta};

use crate::pool::{Pool, PooledBytes};

/// A piece ready to be sent: its name and its bytes, as slices that lie apart in memory.
#[derive(Clone, Debug)]
pub struct CodedPiece {
    /// Which piece of the segment.
    pub index: u8,
    /// BLAKE3 of its bytes.
    pub hash: PieceHash,
    /// Its bytes in order.
    pub slices: Vec<Bytes>,
}

impl CodedPiece {
    /// The body of the request that stores it.
    pub fn body(&self) -> Chunks {
        self.slices.iter().cloned().collect()
    }

    /// Its description, given the segment's.
    pub fn meta(&self, segment: protocol::ids::SegmentId, scheme: Scheme, segment_len: u64) -> PieceMeta {
        PieceMeta { hash: self.hash, segment, index: self.index, scheme, segment_len }
    }
}

/// Codes the segment in `segment` into all its pieces. Data pieces are slices of the segment's own buffer; recovery
/// pieces share one buffer of `pool`. Row by row, so that what was just coded is hashed while it is in the cache.
/// CPU-bound: call it on a blocking thread.
pub fn code_segment(
    scheme: Scheme,
    mut segment: PooledBytes,
    pool: &Pool,
) -> Result<Vec<CodedPiece>, CodingError> {
    let layout = scheme.layout(segment.as_ref().len() as u64);
    let piece_len = memory(layout.piece_len());
    segment.vec().resize(memory(layout.padded_len()), 0);

    let mut recovery = pool.take(piece_len * usize::from(scheme.recovery()));
    // Recovery pieces lie behind each other. Old bytes of a reused buffer are overwritten by the coding.
    recovery.vec().resize(piece_len * usize::from(scheme.recovery()), 0);

    let mut encoder = Encoder::new(scheme);
    let mut hashers = vec![blake3::Hasher::new(); usize::from(scheme.total())];
    for row in (0..layout.rows()).filter_map(|index| layout.row(index)) {
        let columns = memory(row.piece.start)..memory(row.piece.end);
        let padded = &segment.as_ref()[memory(row.padded.start)..memory(row.padded.end)];
        let data: Vec<&[u8]> = padded.chunks_exact(columns.len()).collect();
        let mut coded: Vec<&mut [u8]> =
            recovery.vec().chunks_exact_mut(piece_len).map(|piece| &mut piece[columns.clone()]).collect();
        encoder.encode_row(&data, &mut coded)?;
        let units = data.into_iter().chain(coded.iter().map(|unit| &**unit));
        for (hasher, unit) in hashers.iter_mut().zip(units) {
            hasher.update(unit);
        }
    }

    let (segment, recovery) = (segment.freeze(), recovery.freeze());
    let needed = usize::from(scheme.needed());
    let slices = |index: usize| -> Vec<Bytes> {
        if index >= needed {
            let start = (index - needed) * piece_len;
            return vec![recovery.slice(start..start + piece_len)];
        }
        let rows = (0..layout.rows()).filter_map(|row| layout.row(row));
        rows.map(|row| {
            let unit = memory(row.piece.end - row.piece.start);
            let start = memory(row.padded.start) + index * unit;
            segment.slice(start..start + unit)
        })
        .collect()
    };
    Ok(hashers
        .iter()
        .zip(0u8..)
        .map(|(hasher, index)| CodedPiece {
            index,
            hash: PieceHash(*hasher.finalize().as_bytes()),
            slices: slices(usize::from(index)),
        })
        .collect())
}

/// A length of something that is in memory.
pub(crate) fn memory(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}
