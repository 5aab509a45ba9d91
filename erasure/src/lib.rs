//! Coding of segments into pieces. (Shape only; the coding itself follows.)

/// Bytes of one unit of a row.
pub const UNIT: usize = 64 * 1024;

/// How a segment is coded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Codec {
    /// GF(2^16), `reed-solomon-simd`.
    Rs16,
    /// GF(2^8), matrix code.
    Gf8,
}

impl Codec {
    /// The number that stands for it on disk.
    pub fn tag(self) -> u8 {
        match self {
            Self::Rs16 => 1,
            Self::Gf8 => 2,
        }
    }

    /// The codec that a number stands for.
    pub fn from_tag(tag: u8) -> Option<Self> {
        match tag {
            1 => Some(Self::Rs16),
            2 => Some(Self::Gf8),
            _ => None,
        }
    }
}

/// Shape of one coded segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Scheme {
    codec: Codec,
    needed: u8,
    total: u8,
}

/// A shape that cannot be coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemeError;

impl Scheme {
    /// Checks 1 <= needed < total.
    pub fn new(codec: Codec, needed: u8, total: u8) -> Result<Self, SchemeError> {
        if needed == 0 || needed >= total { Err(SchemeError) } else { Ok(Self { codec, needed, total }) }
    }

    /// The codec.
    pub fn codec(self) -> Codec {
        self.codec
    }

    /// How many pieces rebuild the segment.
    pub fn needed(self) -> u8 {
        self.needed
    }

    /// How many pieces there are.
    pub fn total(self) -> u8 {
        self.total
    }

    /// Geometry of a segment.
    pub fn layout(self, segment_len: u64) -> Layout {
        Layout { scheme: self, segment_len }
    }
}

/// Geometry of one segment.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    scheme: Scheme,
    segment_len: u64,
}

impl Layout {
    /// Bytes of one piece.
    pub fn piece_len(&self) -> u64 {
        let row = u64::from(self.scheme.needed) * UNIT as u64;
        let last = (self.segment_len % row).div_ceil(u64::from(self.scheme.needed)).next_multiple_of(64);
        self.segment_len / row * UNIT as u64 + last
    }
}
