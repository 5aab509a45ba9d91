//! The binary form of CIDs: `1, codec, hash code, digest length, digest` in varints, or the 34 bytes of version 0.
//!
//! Checking and keeping are apart, because a directory's links are all checked and few of them kept.

use super::{CID_BYTES_MAX, Cid, CidError, Codec, DIGEST_MAX};
use crate::varint;

/// First two bytes of a version 0 CID: sha2-256, 32 bytes.
pub(super) const V0_HEAD: [u8; 2] = [0x12, 0x20];

/// Length of a version 0 CID.
const V0_LEN: usize = 34;

/// A slice that was found to be exactly one CID.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checked<'a>(&'a [u8]);

impl<'a> Checked<'a> {
    /// Finds the CID, of version 1 or 0, at the front of `bytes`.
    #[inline]
    pub(crate) fn front(bytes: &'a [u8]) -> Result<Self, CidError> {
        if bytes.starts_with(&V0_HEAD) {
            let found = bytes.len() - V0_HEAD.len();
            let whole = bytes.get(..V0_LEN).ok_or(CidError::DigestLength { announced: 32, found })?;
            return Ok(Self(whole));
        }
        Self::front_v1(bytes)
    }

    /// Finds the CID, of version 1, at the front of `bytes`.
    #[inline]
    pub(super) fn front_v1(bytes: &'a [u8]) -> Result<Self, CidError> {
        // The form of nearly every link of every block: short codes and a digest of 32 bytes.
        if let Some(whole @ [1, 0..0x80, 0..0x80, 32, ..]) = bytes.first_chunk::<36>() {
            return Ok(Self(whole));
        }
        Ok(Self(&bytes[..measure_v1(bytes)?]))
    }

    /// The same, if nothing follows it.
    #[inline]
    pub(crate) fn alone(self, bytes: &[u8]) -> Result<Self, CidError> {
        let excess = bytes.len() - self.0.len();
        if excess == 0 { Ok(self) } else { Err(CidError::Excess(excess)) }
    }

    /// Bytes it takes.
    pub(super) fn len(self) -> usize {
        self.0.len()
    }

    /// Keeps it, version 0 as its version 1 twin that remembers it.
    #[inline]
    pub(crate) fn keep(self) -> Cid {
        match self.0.strip_prefix(&V0_HEAD) {
            Some(digest) => pack(Codec::DagPb.code(), u64::from(V0_HEAD[0]), digest).written_v0(),
            None => Cid::copy_of(self.0),
        }
    }
}

/// Length of the version 1 CID at the front of `bytes`.
fn measure_v1(bytes: &[u8]) -> Result<usize, CidError> {
    let mut at = 0;
    let mut next = || {
        let (value, len) = varint::read(&bytes[at..])?;
        at += len;
        Ok::<_, CidError>(value)
    };
    let version = next()?;
    if version != 1 {
        return Err(CidError::Version(version));
    }
    let (codec, code) = (next()?, next()?);
    if codec >> 63 != 0 || code >> 63 != 0 {
        return Err(CidError::Code);
    }
    let announced = next()?;
    let found = bytes.len() - at;
    match usize::try_from(announced) {
        Ok(len) if len <= DIGEST_MAX && len <= found => Ok(at + len),
        Ok(len) if len <= DIGEST_MAX => Err(CidError::DigestLength { announced, found }),
        _ => Err(CidError::DigestTooLong(announced)),
    }
}

/// Writes a version 1 CID. The digest must be at most [`DIGEST_MAX`] long.
pub(super) fn pack(codec: u64, code: u64, digest: &[u8]) -> Cid {
    let mut whole = [0_u8; CID_BYTES_MAX];
    let mut len = 0;
    for mut value in [1, codec, code, digest.len() as u64] {
        while value >= 0x80 {
            whole[len] = (value & 0x7f | 0x80).to_le_bytes()[0];
            value >>= 7;
            len += 1;
        }
        whole[len] = value.to_le_bytes()[0];
        len += 1;
    }
    whole[len..len + digest.len()].copy_from_slice(digest);
    Cid::copy_of(&whole[..len + digest.len()])
}
