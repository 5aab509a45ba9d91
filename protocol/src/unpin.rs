//! Unpins: what a node is told to drop, as the body of one request.

use crate::{ids::PieceHash, time::UnixMillis};

/// A piece that a node need not hold any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceUnpin {
    /// The piece.
    pub hash: PieceHash,
    /// When it was given up. A copy that was ordered onto the node at this time or later stays: it is wanted again, and
    /// the request to drop the earlier one may have been under way for long.
    pub stored_before: UnixMillis,
}

impl PieceUnpin {
    /// Length of one unpin in a body.
    pub const LEN: usize = PieceHash::LEN + 8;

    /// Rows of [`PieceUnpin::LEN`] bytes: name, then unix milliseconds as little-endian `i64`.
    pub fn encode_batch(unpins: &[Self]) -> Vec<u8> {
        let mut out = Vec::with_capacity(unpins.len() * Self::LEN);
        for unpin in unpins {
            out.extend_from_slice(&unpin.hash.0);
            out.extend_from_slice(&unpin.stored_before.0.to_le_bytes());
        }
        out
    }

    /// Reads [`PieceUnpin::encode_batch`] back; `None` if the bytes are not whole rows.
    pub fn decode_batch(bytes: &[u8]) -> Option<Vec<Self>> {
        let (rows, rest) = bytes.as_chunks::<{ Self::LEN }>();
        let read = |row: &[u8; Self::LEN]| {
            let (hash, time) = row.split_first_chunk::<{ PieceHash::LEN }>()?;
            let stored_before = UnixMillis(i64::from_le_bytes(*time.first_chunk()?));
            Some(Self { hash: PieceHash(*hash), stored_before })
        };
        if rest.is_empty() { rows.iter().map(read).collect() } else { None }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn batches_round_trip(rows: Vec<([u8; 32], i64)>, cut in 1..PieceUnpin::LEN) {
            let unpins: Vec<PieceUnpin> = rows
                .into_iter()
                .map(|(hash, time)| PieceUnpin { hash: PieceHash(hash), stored_before: UnixMillis(time) })
                .collect();
            let bytes = PieceUnpin::encode_batch(&unpins);
            prop_assert_eq!(bytes.len(), unpins.len() * PieceUnpin::LEN);
            if !unpins.is_empty() {
                prop_assert_eq!(PieceUnpin::decode_batch(&bytes[cut..]), None);
            }
            prop_assert_eq!(PieceUnpin::decode_batch(&bytes), Some(unpins));
        }
    }
}
