//! The little of protobuf's wire format that dag-pb and `UnixFS` need: fields in, fields out.
//!
//! It reads fields one after another and leaves every judgement about numbers, order and repetition to the
//! message that reads them. Groups do not exist here.

use crate::varint::{self, VarintError};

/// Why bytes are not a run of protobuf fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// A tag, number or length is not a proper varint.
    #[error(transparent)]
    Varint(#[from] VarintError),
    /// A field is longer than the bytes that are left.
    #[error("a field of {len} bytes stands where {left} are left")]
    Overrun {
        /// Announced length.
        len: u64,
        /// Bytes left.
        left: usize,
    },
    /// The field number is zero or above 2^29 - 1.
    #[error("field number {0} is impossible")]
    FieldNumber(u64),
    /// The wire type is a group or undefined.
    #[error("wire type {0} is not supported")]
    WireType(u64),
}

/// The value of a field as the wire type gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// The fields of a message, in the order they stand.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, WireError> {
        let (value, len) = varint::read(self.rest)?;
        self.rest = &self.rest[len..];
        Ok(value)
    }

    #[inline]
    fn take(&mut self, len: u64) -> Result<&'a [u8], WireError> {
        let left = self.rest.len();
        let split = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let (taken, rest) = split.ok_or(WireError::Overrun { len, left })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(WireError::Overrun { len: N as u64, left: self.rest.len() })?;
        self.rest = rest;
        Ok(*taken)
    }

    #[inline]
    fn field(&mut self) -> Result<(u32, Value<'a>), WireError> {
        let tag = self.varint()?;
        let number = tag >> 3;
        let number = u32::try_from(number)
            .ok()
            .filter(|number| (1..1 << 29).contains(number))
            .ok_or(WireError::FieldNumber(number))?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(len)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            other => return Err(WireError::WireType(other)),
        };
        Ok((number, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            // Nothing after a broken field can be found again.
            self.rest = &[];
        }
        Some(field)
    }
}

/// Appends a number.
pub(crate) fn push_varint(out: &mut Vec<u8>, number: u32, value: u64) {
    varint::push(out, u64::from(number) << 3);
    varint::push(out, value);
}

/// Appends bytes with their length.
pub(crate) fn push_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    push_head(out, number, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends what stands before `len` bytes that the caller appends itself.
pub(crate) fn push_head(out: &mut Vec<u8>, number: u32, len: usize) {
    varint::push(out, u64::from(number) << 3 | 2);
    varint::push(out, len as u64);
}

/// Length of what [`push_varint`] appends, for field numbers below 16.
pub(crate) const fn varint_len(value: u64) -> usize {
    1 + varint::len(value)
}

/// Length of what [`push_bytes`] appends for `len` bytes, for field numbers below 16.
pub(crate) const fn bytes_len(len: usize) -> usize {
    1 + varint::len(len as u64) + len
}
