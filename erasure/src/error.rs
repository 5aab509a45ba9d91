//! Why a row could not be coded or a column range not rebuilt: always a fault of what was passed in.

use crate::COLUMN;

/// Refusal of the inputs of [`Encoder`](crate::Encoder) or [`Decoder`](crate::Decoder). Nothing was written
/// to the outputs, except where it is [`CodingError::Rs16`].
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
pub enum CodingError {
    /// The number of slices passed is not what the scheme asks for.
    #[error("got {found} {what} pieces, need exactly {expected}")]
    Count {
        /// "data", "recovery" or "present".
        what: &'static str,
        /// What the scheme asks for.
        expected: usize,
        /// What was passed.
        found: usize,
    },
    /// A slice is not as long as the first one, or a whole piece not as long as its layout says.
    #[error("piece {piece} has {found} bytes, must have {expected}")]
    Length {
        /// Index of the piece.
        piece: usize,
        /// Bytes it should have.
        expected: usize,
        /// Bytes it has.
        found: usize,
    },
    /// The common length is not a whole number of columns.
    #[error("length {len} is not a multiple of {COLUMN}")]
    Misaligned {
        /// The refused length in bytes.
        len: usize,
    },
    /// A piece index that the scheme does not have.
    #[error("no piece {piece} among {total}")]
    UnknownPiece {
        /// The refused index.
        piece: u8,
        /// Pieces of the scheme.
        total: u8,
    },
    /// The same index twice among the present pieces, or twice among the wanted ones.
    #[error("piece {piece} is given twice")]
    Duplicate {
        /// The repeated index.
        piece: u8,
    },
    /// The crate behind [`Codec::Rs16`](crate::Codec::Rs16) refused; no input that passes the checks above
    /// is known to cause it.
    #[error("rs16: {0}")]
    Rs16(#[from] reed_solomon_simd::Error),
}
