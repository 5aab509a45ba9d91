//! The shape of a coded segment: which code, how many pieces are needed, how many there are.

use std::{fmt, str::FromStr};

use crate::{Codec, Layout};

/// Most data pieces a scheme may have.
pub const NEEDED_MAX: usize = 32;

/// Most pieces, data and recovery together, a scheme may have.
pub const TOTAL_MAX: usize = 64;

/// Shape of one coded segment; a value of this type is always valid.
///
/// Pieces are numbered `0..total`: `0..needed` are data pieces, the rest recovery pieces. Under
/// [`Codec::Gf8`] a recovery piece does not depend on `total`, so a segment can be given more pieces later
/// without touching those it has. Under [`Codec::Rs16`] it may, so there `total` is fixed for good.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Scheme {
    codec: Codec,
    needed: u8,
    total: u8,
}

/// Why a codec and two numbers are no scheme.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SchemeError {
    /// `needed` is 0 or above [`NEEDED_MAX`].
    #[error("needed is {needed}, must be 1..={NEEDED_MAX}")]
    Needed {
        /// The refused number.
        needed: u8,
    },
    /// `total` is not above `needed`, or is above [`TOTAL_MAX`].
    #[error("total is {total}, must be above needed ({needed}) and at most {TOTAL_MAX}")]
    Total {
        /// Data pieces.
        needed: u8,
        /// The refused number.
        total: u8,
    },
}

impl Scheme {
    /// Checks `1 <= needed <= 32` and `needed < total <= 64`.
    pub fn new(codec: Codec, needed: u8, total: u8) -> Result<Self, SchemeError> {
        if needed == 0 || usize::from(needed) > NEEDED_MAX {
            return Err(SchemeError::Needed { needed });
        }
        if total <= needed || usize::from(total) > TOTAL_MAX {
            return Err(SchemeError::Total { needed, total });
        }
        Ok(Self { codec, needed, total })
    }

    /// The code.
    pub const fn codec(self) -> Codec {
        self.codec
    }

    /// How many pieces rebuild the segment, which is also the number of data pieces.
    pub const fn needed(self) -> u8 {
        self.needed
    }

    /// How many pieces there are.
    pub const fn total(self) -> u8 {
        self.total
    }

    /// How many recovery pieces there are; at least 1.
    pub const fn recovery(self) -> u8 {
        self.total - self.needed
    }

    /// Geometry of a segment of `segment_len` bytes under this scheme.
    pub const fn layout(self, segment_len: u64) -> Layout {
        Layout::new(self.needed, segment_len)
    }
}

/// Prints as `gf8/8/20`: codec, needed, total.
impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.codec, self.needed, self.total)
    }
}

impl FromStr for Scheme {
    type Err = ParseSchemeError;

    fn from_str(text: &str) -> Result<Self, ParseSchemeError> {
        let parse = || {
            let mut parts = text.split('/');
            let (codec, needed, total) = (parts.next()?, parts.next()?, parts.next()?);
            let scheme = Self::new(codec.parse().ok()?, needed.parse().ok()?, total.parse().ok()?).ok()?;
            parts.next().is_none().then_some(scheme)
        };
        parse().ok_or_else(|| ParseSchemeError(text.to_owned()))
    }
}

/// Text that is not a scheme of this version.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not a coding scheme: {0:?}")]
pub struct ParseSchemeError(pub String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheme_prints_and_parses() {
        let scheme = Scheme::new(Codec::Gf8, 8, 20).unwrap();
        assert_eq!(scheme.to_string(), "gf8/8/20");
        assert_eq!("gf8/8/20".parse(), Ok(scheme));
        for wrong in ["", "gf8", "gf8/8", "gf8/20/8", "gf8/8/20/1", "xor/8/20"] {
            assert!(wrong.parse::<Scheme>().is_err(), "{wrong}");
        }
    }
}
