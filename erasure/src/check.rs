//! Checks of what callers pass in, made before any code runs over the bytes.

use crate::{COLUMN, CodingError, Scheme};

/// Errs unless `found` is the number of `what` pieces that the scheme asks for.
pub(crate) fn count(what: &'static str, expected: u8, found: usize) -> Result<(), CodingError> {
    let expected = usize::from(expected);
    if expected == found { Ok(()) } else { Err(CodingError::Count { what, expected, found }) }
}

/// Errs unless all `(piece, length)` have length `expected` and that is whole columns.
pub(crate) fn lengths(
    expected: usize,
    pieces: impl Iterator<Item = (usize, usize)>,
) -> Result<(), CodingError> {
    if !expected.is_multiple_of(COLUMN) {
        return Err(CodingError::Misaligned { len: expected });
    }
    for (piece, found) in pieces {
        if found != expected {
            return Err(CodingError::Length { piece, expected, found });
        }
    }
    Ok(())
}

/// Errs unless all indices are below the scheme's total and no two are equal.
pub(crate) fn indices(scheme: Scheme, pieces: impl Iterator<Item = u8>) -> Result<(), CodingError> {
    let mut seen = 0_u64;
    for piece in pieces {
        if piece >= scheme.total() {
            return Err(CodingError::UnknownPiece { piece, total: scheme.total() });
        }
        // The total is at most 64, so that one bit per index is enough.
        let bit = 1_u64 << piece;
        if seen & bit != 0 {
            return Err(CodingError::Duplicate { piece });
        }
        seen |= bit;
    }
    Ok(())
}
