//! CARs: blocks one after another in a file that explains itself.
//!
//! Version 1 is `varint(len) header, then for every block varint(len) cid bytes`, where the header is the dag-cbor map
//! `{"roots": [cid...], "version": 1}`; version 2 wraps that with an index. Only version 1 is written, and of it only
//! the bytes that stand before data, so data is never copied. [`CarReader`] reads our own segments, which are in memory and of
//! version 1; [`CarDecoder`] reads what others send, of either version, as it arrives. Nothing here does I/O.

mod decoder;
mod header;
#[cfg(test)]
mod tests;
mod v2;

use bytes::Bytes;

pub use self::decoder::CarDecoder;
pub use self::header::{HEADER_LEN_ONE_ROOT, decode_header, header, header_as_written};
use crate::block::{BLOCK_MAX, Block, BlockError};
use crate::cid::{CID_BYTES_MAX, Cid, CidError};
use crate::varint::{self, VarintError};

/// Longest header accepted, about 25,000 roots. Real ones have one root.
pub const HEADER_MAX: usize = 1024 * 1024;

/// Longest section accepted: the longest CID before the largest block.
const SECTION_MAX: usize = CID_BYTES_MAX + BLOCK_MAX;

/// Why bytes are not a CAR.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CarError {
    /// The bytes end inside the header or a block. A reader of a stream waits for more before it says this.
    #[error("the car ends early at offset {0}")]
    Truncated(u64),
    /// A length is not a proper varint.
    #[error("the car has a bad length at offset {offset}: {source}")]
    Varint {
        /// Where it stands.
        offset: u64,
        /// What is wrong.
        source: VarintError,
    },
    /// The header is not the dag-cbor map it must be.
    #[error("the car header is malformed")]
    Header,
    /// The header is longer than [`HEADER_MAX`].
    #[error("a car header of {0} bytes is longer than 1 MiB")]
    HeaderTooLong(u64),
    /// Another version than can be read: 1, and for a [`CarDecoder`] 2 around 1.
    #[error("car version {0} is not supported")]
    Version(u64),
    /// The header of version 2 places data or index where they cannot be.
    #[error(
        "the header of the car is impossible: {data_len} bytes of data at offset {data_at}, an index at {index_at}"
    )]
    Layout {
        /// Where the data is said to begin.
        data_at: u64,
        /// How long it is said to be.
        data_len: u64,
        /// Where the index is said to begin; 0 for none.
        index_at: u64,
    },
    /// The data goes on beyond the end that the header of version 2 states.
    #[error("what begins at offset {offset} of the car does not end with its data at {end}")]
    Overrun {
        /// Where the header or section begins.
        offset: u64,
        /// Where the data ends.
        end: u64,
    },
    /// A section cannot hold a block: it is empty or longer than the largest block.
    #[error("the car has a section of {len} bytes at offset {offset}")]
    SectionLength {
        /// Where the section begins.
        offset: u64,
        /// Its stated length.
        len: u64,
    },
    /// A CID is malformed.
    #[error("the car has a bad cid at offset {offset}: {source}")]
    Cid {
        /// Where the section begins; 0 for a root.
        offset: u64,
        /// What is wrong.
        source: CidError,
    },
    /// A block is larger than allowed or not what its CID names.
    #[error("the car has a bad block at offset {offset}: {source}")]
    Block {
        /// Where its bytes begin.
        offset: u64,
        /// What is wrong.
        source: BlockError,
    },
}

/// What a decoder found at the front of the bytes it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decoded<T> {
    /// A whole one, and how many bytes it takes.
    Whole(T, usize),
    /// The bytes end within it. It cannot be decoded before this many bytes are there, counted from the same
    /// front; maybe not even then.
    Needs(usize),
}

/// Where a block lies in a CAR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The name of the block.
    pub cid: Cid,
    /// Offset of its bytes (after the CID) from the start of the CAR.
    pub offset: u64,
    /// Length of its bytes.
    pub len: usize,
}

/// What stands before a block's bytes: the length of CID and data, and the CID. The data follows unchanged.
///
/// # Panics
///
/// In debug builds, when `len` is more than [`BLOCK_MAX`].
#[must_use]
pub fn frame_prefix(cid: &Cid, len: usize) -> Vec<u8> {
    frame_prefix_of(cid.as_bytes(), len)
}

/// [`frame_prefix`] with the CID in the version it was written in, for CARs that repeat a DAG to those who compare
/// names as bytes.
#[must_use]
pub fn frame_prefix_as_written(cid: &Cid, len: usize) -> Vec<u8> {
    frame_prefix_of(cid.as_written().bytes(), len)
}

fn frame_prefix_of(name: &[u8], len: usize) -> Vec<u8> {
    debug_assert!(len <= BLOCK_MAX, "our own blocks are within the limit");
    let mut out = Vec::with_capacity(4 + name.len());
    varint::push(&mut out, (name.len() + len) as u64);
    out.extend_from_slice(name);
    out
}

/// How many bytes a block of `len` bytes takes in a CAR, [`frame_prefix`] included.
#[must_use]
pub fn frame_len(cid: &Cid, len: usize) -> usize {
    let section = cid.as_bytes().len() + len;
    varint::len(section as u64) + section
}

/// Decodes what stands before a block's bytes. `bytes` begin at `offset` of the CAR and need not hold the data:
/// the returned length is that of the prefix alone.
pub fn decode_frame_prefix(bytes: &[u8], offset: u64) -> Result<Decoded<Frame>, CarError> {
    let (section, head_len) = match varint::read(bytes) {
        Ok(read) => read,
        Err(VarintError::Truncated) => return Ok(Decoded::Needs(bytes.len() + 1)),
        Err(source) => return Err(CarError::Varint { offset, source }),
    };
    let too_long = CarError::SectionLength { offset, len: section };
    let section = usize::try_from(section).unwrap_or(usize::MAX);
    if section == 0 || section > SECTION_MAX {
        return Err(too_long);
    }
    let rest = &bytes[head_len..];
    let in_section = &rest[..rest.len().min(section)];
    let (cid, cid_len) = match Cid::read(in_section) {
        Ok(read) => read,
        // Of a CID that is cut off not even the length may be known, but it cannot be longer than this. Once
        // that much is there and still no CID, the bytes are wrong rather than few.
        Err(_) if in_section.len() < section.min(CID_BYTES_MAX) => {
            return Ok(Decoded::Needs(head_len + section.min(CID_BYTES_MAX)));
        }
        Err(source) => return Err(CarError::Cid { offset, source }),
    };
    let prefix = head_len + cid_len;
    let frame = Frame { cid, offset: offset.saturating_add(prefix as u64), len: section - cid_len };
    if frame.len > BLOCK_MAX {
        return Err(too_long);
    }
    Ok(Decoded::Whole(frame, prefix))
}

/// Reads a CAR that is in memory: its roots, then its frames in order.
#[derive(Debug, Clone)]
pub struct CarReader<'a> {
    bytes: &'a Bytes,
    roots: Vec<Cid>,
    at: usize,
}

impl<'a> CarReader<'a> {
    /// Reads the header.
    pub fn new(bytes: &'a Bytes) -> Result<Self, CarError> {
        match decode_header(bytes)? {
            Decoded::Whole(roots, at) => Ok(Self { bytes, roots, at }),
            Decoded::Needs(_) => Err(CarError::Truncated(bytes.len() as u64)),
        }
    }

    /// The roots the header names. They need not be among the blocks.
    #[must_use]
    pub fn roots(&self) -> &[Cid] {
        &self.roots
    }

    /// The blocks with their bytes, each checked against its CID.
    pub fn blocks(self) -> impl Iterator<Item = Result<Block, CarError>> + 'a {
        let bytes = self.bytes;
        self.map(move |frame| {
            let Frame { cid, offset, len } = frame?;
            let start = usize::try_from(offset).map_err(|_| CarError::Truncated(offset))?;
            Block::verified(cid, bytes.slice(start..start + len))
                .map_err(|source| CarError::Block { offset, source })
        })
    }

    fn frame(&mut self) -> Result<Frame, CarError> {
        let end = self.bytes.len();
        match decode_frame_prefix(&self.bytes[self.at..], self.at as u64)? {
            Decoded::Whole(frame, prefix) if frame.len <= end - self.at - prefix => {
                self.at += prefix + frame.len;
                Ok(frame)
            }
            _ => Err(CarError::Truncated(end as u64)),
        }
    }
}

impl Iterator for CarReader<'_> {
    type Item = Result<Frame, CarError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.bytes.len() {
            return None;
        }
        let frame = self.frame();
        if frame.is_err() {
            // After a broken section the start of the next is unknown.
            self.at = self.bytes.len();
        }
        Some(frame)
    }
}
