//! dag-cbor as events: CBOR of definite lengths whose only tag is 42, a link.

use std::borrow::Cow;

use super::{DEPTH_MAX, Event, IpldError};
use crate::cid::Cid;

/// Tag of a CID.
const TAG_CID: u64 = 42;

/// Major types, in the upper three bits of an item's first byte.
const UINT: u8 = 0;
const NEGATIVE: u8 = 1;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const LIST: u8 = 4;
const MAP: u8 = 5;
const TAG: u8 = 6;

/// Reads a block of CBOR.
#[derive(Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The lists and maps that are open.
    open: Vec<Open>,
    began: bool,
}

#[derive(Debug)]
struct Open {
    is_map: bool,
    /// Items of a list, or pairs of a map, still to come.
    left: u64,
    /// Whether a key was read whose value comes next.
    keyed: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, open: Vec::new(), began: false }
    }

    pub(super) fn next_event(&mut self) -> Result<Option<Event<'a>>, IpldError> {
        let Some(open) = self.open.last_mut() else {
            if self.began {
                return if self.at == self.bytes.len() { Ok(None) } else { Err(IpldError::Excess) };
            }
            self.began = true;
            return self.value().map(Some);
        };
        if open.keyed {
            open.keyed = false;
            return self.value().map(Some);
        }
        if open.left == 0 {
            self.open.pop();
            return Ok(Some(Event::End));
        }
        open.left -= 1;
        if !open.is_map {
            return self.value().map(Some);
        }
        open.keyed = true;
        match self.head()? {
            (TEXT, len) => Ok(Some(Event::Key(Cow::Borrowed(self.text(len)?)))),
            _ => Err(self.malformed("a key is no text")),
        }
    }

    fn value(&mut self) -> Result<Event<'a>, IpldError> {
        let first = self.bytes.get(self.at).copied().ok_or(IpldError::Truncated)?;
        if first >> 5 == 7 {
            return self.simple(first & 31);
        }
        let (major, value) = self.head()?;
        Ok(match major {
            UINT => Event::Int(i128::from(value)),
            NEGATIVE => Event::Int(-1 - i128::from(value)),
            BYTES => Event::Bytes(Cow::Borrowed(self.take(value)?)),
            TEXT => Event::Text(Cow::Borrowed(self.text(value)?)),
            LIST | MAP => return self.open(major == MAP, value),
            TAG if value == TAG_CID => Event::Link(self.link()?),
            _ => return Err(self.malformed("an unknown tag")),
        })
    }

    fn open(&mut self, is_map: bool, left: u64) -> Result<Event<'a>, IpldError> {
        if self.open.len() >= DEPTH_MAX {
            return Err(IpldError::TooDeep);
        }
        self.open.push(Open { is_map, left, keyed: false });
        Ok(if is_map { Event::Map } else { Event::List })
    }

    fn link(&mut self) -> Result<Cid, IpldError> {
        let (major, len) = self.head()?;
        if major != BYTES {
            return Err(self.malformed("a link that is no bytes"));
        }
        // A zero stands for "binary", as if it were a multibase prefix.
        let name = self.take(len)?.strip_prefix(&[0]).ok_or(self.malformed("a link without its prefix"))?;
        Ok(Cid::from_bytes(name)?)
    }

    /// Truth values, `null` and floats.
    fn simple(&mut self, code: u8) -> Result<Event<'a>, IpldError> {
        self.at += 1;
        Ok(match code {
            20 => Event::Bool(false),
            21 => Event::Bool(true),
            22 => Event::Null,
            25 => Event::Float(half(u16::from_be_bytes(self.array()?))),
            26 => Event::Float(f64::from(f32::from_be_bytes(self.array()?))),
            27 => Event::Float(f64::from_be_bytes(self.array()?)),
            _ => return Err(self.malformed("an unknown simple value")),
        })
    }

    /// The head of an item: its major type and its value, length or count.
    fn head(&mut self) -> Result<(u8, u64), IpldError> {
        let [first] = self.array()?;
        let value = match first & 31 {
            small @ 0..24 => u64::from(small),
            24 => u64::from(u8::from_be_bytes(self.array()?)),
            25 => u64::from(u16::from_be_bytes(self.array()?)),
            26 => u64::from(u32::from_be_bytes(self.array()?)),
            27 => u64::from_be_bytes(self.array()?),
            _ => return Err(self.malformed("an item of indefinite length")),
        };
        Ok((first >> 5, value))
    }

    fn text(&mut self, len: u64) -> Result<&'a str, IpldError> {
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).map_err(|_| self.malformed("a text that is not utf-8"))
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], IpldError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let len = usize::try_from(len).map_err(|_| IpldError::Truncated)?;
        let taken = rest.get(..len).ok_or(IpldError::Truncated)?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], IpldError> {
        let taken = self.take(N as u64)?;
        taken.try_into().map_err(|_| IpldError::Truncated)
    }

    fn malformed(&self, what: &'static str) -> IpldError {
        IpldError::Malformed { what, offset: self.at }
    }
}

/// A float of two bytes (IEEE 754 binary16).
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let size = match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2_f64.powi(exponent - 15),
    };
    if bits >> 15 == 0 { size } else { -size }
}
