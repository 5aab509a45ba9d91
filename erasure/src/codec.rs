//! The name of an erasure code, as it is stored with each segment and in each piece's header.

use std::{fmt, str::FromStr};

/// The codes a segment can be coded with. The choice is kept with the segment for ever: a piece of one code
/// means nothing to the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Codec {
    /// "rs16": Reed-Solomon over GF(2^16) by additive FFT (Leopard), from the crate reed-solomon-simd.
    Rs16,
    /// "gf8": systematic Cauchy matrix code over GF(2^8), polynomial 0x11D, of this crate.
    Gf8,
}

impl Codec {
    /// Every code there is.
    pub const ALL: [Self; 2] = [Self::Rs16, Self::Gf8];

    /// The stored name: "rs16" or "gf8".
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs16 => "rs16",
            Self::Gf8 => "gf8",
        }
    }

    /// The number that stands for it in fixed-size records.
    pub const fn tag(self) -> u8 {
        match self {
            Self::Rs16 => 1,
            Self::Gf8 => 2,
        }
    }

    /// The codec that a number of [`Codec::tag`] stands for.
    pub fn from_tag(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|codec| codec.tag() == tag)
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A stored codec name that this version does not know.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unknown codec {0:?}")]
pub struct UnknownCodec(pub String);

impl FromStr for Codec {
    type Err = UnknownCodec;

    fn from_str(name: &str) -> Result<Self, UnknownCodec> {
        Self::ALL
            .into_iter()
            .find(|codec| codec.as_str() == name)
            .ok_or_else(|| UnknownCodec(name.to_owned()))
    }
}
