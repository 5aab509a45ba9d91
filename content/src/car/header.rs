//! The header of a CAR, with as much dag-cbor as it needs.

use super::{CarError, Decoded, HEADER_MAX};
use crate::cid::{CID_BYTES_MAX, Cid};
use crate::varint::{self, VarintError};

/// Length of a header with one root of 36 bytes, as every sha2-256 and blake3 CID of version 1 with a one-byte
/// codec has: one byte of length, map, "roots", list of one, tag 42, byte string of 37 with a zero in front of
/// the CID, "version", 1. Segments rely on it to find their first block.
pub const HEADER_LEN_ONE_ROOT: usize = 1 + 1 + 6 + 1 + 2 + 2 + 1 + 36 + 8 + 1;

/// Major types of CBOR, in the upper three bits of an item's first byte.
const UINT: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const LIST: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;

/// Tag of a CID in dag-cbor.
const TAG_CID: u64 = 42;

/// The header of a CAR with these roots, its length in front.
#[must_use]
pub fn header(roots: &[Cid]) -> Vec<u8> {
    let names: Vec<&[u8]> = roots.iter().map(Cid::as_bytes).collect();
    header_of(&names)
}

/// The header of a CAR with one root in the version it was written in.
#[must_use]
pub fn header_as_written(root: &Cid) -> Vec<u8> {
    header_of(&[root.as_written().bytes()])
}

fn header_of(roots: &[&[u8]]) -> Vec<u8> {
    let mut map = Vec::with_capacity(32 + 48 * roots.len());
    push_head(&mut map, MAP, 2);
    push_text(&mut map, "roots");
    push_head(&mut map, LIST, roots.len() as u64);
    for root in roots {
        push_head(&mut map, TAG, TAG_CID);
        push_head(&mut map, BYTES, 1 + root.len() as u64);
        // A zero stands for "binary", as if it were a multibase prefix.
        map.push(0);
        map.extend_from_slice(root);
    }
    push_text(&mut map, "version");
    push_head(&mut map, UINT, 1);

    let mut out = Vec::with_capacity(map.len() + 4);
    varint::push(&mut out, map.len() as u64);
    out.append(&mut map);
    out
}

/// Decodes the header at the front of a CAR and gives its roots.
pub fn decode_header(bytes: &[u8]) -> Result<Decoded<Vec<Cid>>, CarError> {
    let (len, head_len) = match varint::read(bytes) {
        Ok(read) => read,
        Err(VarintError::Truncated) => return Ok(Decoded::Needs(bytes.len() + 1)),
        Err(source) => return Err(CarError::Varint { offset: 0, source }),
    };
    let end = usize::try_from(len)
        .ok()
        .filter(|&len| len <= HEADER_MAX)
        .map(|len| head_len + len)
        .ok_or(CarError::HeaderTooLong(len))?;
    match bytes.get(head_len..end) {
        Some(map) => Ok(Decoded::Whole(decode_map(map)?, end)),
        None => Ok(Decoded::Needs(end)),
    }
}

fn decode_map(map: &[u8]) -> Result<Vec<Cid>, CarError> {
    let mut cbor = Cbor { rest: map };
    let mut roots = None;
    let mut version = None;
    // Keys in any order: Go and JavaScript once disagreed about it.
    for _ in 0..cbor.head(MAP)?.min(3) {
        let len = cbor.head(TEXT)?;
        match cbor.take(len)? {
            b"roots" if roots.is_none() => roots = Some(cbor.roots()?),
            b"version" if version.is_none() => version = Some(cbor.head(UINT)?),
            _ => return Err(CarError::Header),
        }
    }
    // Version before roots: version 2 begins with a map of its version alone.
    match (version, roots) {
        (Some(1), Some(roots)) if cbor.rest.is_empty() => Ok(roots),
        (Some(1) | None, _) => Err(CarError::Header),
        (Some(other), _) => Err(CarError::Version(other)),
    }
}

/// Reads canonical dag-cbor items.
struct Cbor<'a> {
    rest: &'a [u8],
}

impl<'a> Cbor<'a> {
    /// The head of an item of this major type: its value, length or count.
    fn head(&mut self, major: u8) -> Result<u64, CarError> {
        let (&first, rest) = self.rest.split_first().ok_or(CarError::Header)?;
        self.rest = rest;
        if first >> 5 != major {
            return Err(CarError::Header);
        }
        let (value, least) = match first & 31 {
            small @ 0..24 => (u64::from(small), 0),
            24 => (self.number::<1>()?, 24),
            25 => (self.number::<2>()?, 1 << 8),
            26 => (self.number::<4>()?, 1 << 16),
            27 => (self.number::<8>()?, 1 << 32),
            _ => return Err(CarError::Header),
        };
        // A shorter form would have done.
        if value < least { Err(CarError::Header) } else { Ok(value) }
    }

    fn number<const N: usize>(&mut self) -> Result<u64, CarError> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>().ok_or(CarError::Header)?;
        self.rest = rest;
        Ok(bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], CarError> {
        let split = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let (taken, rest) = split.ok_or(CarError::Header)?;
        self.rest = rest;
        Ok(taken)
    }

    fn roots(&mut self) -> Result<Vec<Cid>, CarError> {
        let count = self.head(LIST)?;
        let mut roots = Vec::new();
        for _ in 0..count {
            if self.head(TAG)? != TAG_CID {
                return Err(CarError::Header);
            }
            let len = self.head(BYTES)?;
            if len > 1 + CID_BYTES_MAX as u64 {
                return Err(CarError::Header);
            }
            let cid = self.take(len)?.strip_prefix(&[0]).ok_or(CarError::Header)?;
            roots.push(Cid::from_bytes(cid).map_err(|source| CarError::Cid { offset: 0, source })?);
        }
        Ok(roots)
    }
}

fn push_head(out: &mut Vec<u8>, major: u8, value: u64) {
    let major = major << 5;
    let bytes = value.to_be_bytes();
    let (code, used) = match value {
        0..24 => {
            out.push(major | bytes[7]);
            return;
        }
        24..0x100 => (24, 1),
        0x100..0x1_0000 => (25, 2),
        0x1_0000..0x1_0000_0000 => (26, 4),
        _ => (27, 8),
    };
    out.push(major | code);
    out.extend_from_slice(&bytes[8 - used..]);
}

fn push_text(out: &mut Vec<u8>, text: &str) {
    push_head(out, TEXT, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}
