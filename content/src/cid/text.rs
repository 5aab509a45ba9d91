//! CIDs as text: base32 out, any multibase and version 0 in.
//!
//! Base32 in lower case is the form of every URL this network writes, so it has a path of its own that
//! allocates nothing; the other bases go through the multibase tables.

use ::cid::multibase::{self, Base};

use super::binary::V0_HEAD;
use super::{CID_BYTES_MAX, Cid, CidError};

/// Alphabet of RFC 4648 base32, in lower case as multibase `b` demands.
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Longest base32 form: the prefix and eight characters for every five bytes begun.
const BASE32_MAX: usize = 1 + (CID_BYTES_MAX * 8).div_ceil(5);

/// Longest text worth looking at: base2 writes a character per bit. Also what keeps base58, whose decoder is
/// quadratic, cheap.
const TEXT_MAX: usize = 1 + CID_BYTES_MAX * 8;

/// A version 0 CID: 34 bytes in base58, always beginning so.
const V0_PREFIX: &str = "Qm";
const V0_LEN: usize = 46;

/// What stands before the multihash in a CID of a raw block: version and codec.
const RAW_V1_HEAD: [u8; 2] = [0x01, 0x55];

/// Marks a byte that is no character of the alphabet.
const INVALID: u8 = 0xff;

const VALUES: [u8; 256] = {
    let mut values = [INVALID; 256];
    let mut value = 0_u8;
    while value < 32 {
        values[ALPHABET[value as usize] as usize] = value;
        value += 1;
    }
    values
};

/// The base32 text of a CID on the stack.
pub(super) struct Base32 {
    chars: [u8; BASE32_MAX],
    len: usize,
}

impl Base32 {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut text = Self { chars: [b'b'; BASE32_MAX], len: 1 };
        for group in bytes.chunks(5) {
            // Five bytes are eight characters; a shorter group is padded with zero bits.
            let mut bits = [0_u8; 8];
            bits[3..3 + group.len()].copy_from_slice(group);
            let bits = u64::from_be_bytes(bits);
            let count = (group.len() * 8).div_ceil(5);
            for (i, out) in text.chars[text.len..text.len + count].iter_mut().enumerate() {
                *out = ALPHABET[(bits >> (35 - 5 * i) & 31) as usize];
            }
            text.len += count;
        }
        text
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.chars[..self.len]).expect("the alphabet is ASCII")
    }
}

/// Decodes the characters after the `b` and returns the bytes with their number.
fn decode_base32(chars: &[u8]) -> Result<([u8; CID_BYTES_MAX], usize), CidError> {
    let len = chars.len() * 5 / 8;
    // A last character that adds no whole byte, or set bits after the last byte, would be a second
    // spelling of the same CID.
    if len > CID_BYTES_MAX || (len * 8).div_ceil(5) != chars.len() {
        return Err(CidError::Base);
    }
    let mut bytes = [0; CID_BYTES_MAX];
    let mut out = bytes[..len].chunks_mut(5);
    for group in chars.chunks(8) {
        let mut bits = 0_u64;
        let mut seen = 0;
        for &char in group {
            let value = VALUES[usize::from(char)];
            seen |= value;
            bits = bits << 5 | u64::from(value & 31);
        }
        if seen == INVALID {
            return Err(CidError::Base);
        }
        bits <<= 5 * (8 - group.len());
        let whole = bits.to_be_bytes();
        let target = out.next().unwrap_or_default();
        target.copy_from_slice(&whole[3..3 + target.len()]);
        if whole[3 + target.len()..].iter().any(|&rest| rest != 0) {
            return Err(CidError::Base);
        }
    }
    Ok((bytes, len))
}

/// The multibase base36 form, in lower case.
pub(super) fn base36(bytes: &[u8]) -> String {
    multibase::encode(Base::Base36Lower, bytes)
}

/// The form of version 0, which has no multibase prefix.
pub(super) fn base58(bytes: &[u8]) -> String {
    Base::Base58Btc.encode(bytes)
}

/// Reads a CID in any multibase, or of version 0.
pub(super) fn parse(text: &str) -> Result<Cid, CidError> {
    if let Some(chars) = text.strip_prefix('b') {
        let (bytes, len) = decode_base32(chars.as_bytes())?;
        return Cid::from_v1_bytes(&bytes[..len]);
    }
    if text.is_empty() || text.len() > TEXT_MAX {
        return Err(CidError::Length(text.len()));
    }
    if text.len() == V0_LEN && text.starts_with(V0_PREFIX) {
        let bytes = Base::Base58Btc.decode(text).map_err(|_| CidError::Base)?;
        return if bytes.starts_with(&V0_HEAD) { Cid::from_bytes(&bytes) } else { Err(CidError::Base) };
    }
    let (_, bytes) = multibase::decode(text).map_err(|_| CidError::Base)?;
    // Version 0 has no multibase form, so here bytes must say version 1.
    Cid::from_v1_bytes(&bytes)
}

/// Reads a bare multihash in base58 as the name of a raw block.
pub(super) fn parse_multihash(text: &str) -> Result<Cid, CidError> {
    if text.is_empty() || text.len() > TEXT_MAX {
        return Err(CidError::Length(text.len()));
    }
    let multihash = Base::Base58Btc.decode(text).map_err(|_| CidError::Base)?;
    let mut bytes = RAW_V1_HEAD.to_vec();
    bytes.extend_from_slice(&multihash);
    Cid::from_v1_bytes(&bytes)
}

#[cfg(test)]
mod tests {
    use super::{Base32, decode_base32};
    use crate::cid::CID_BYTES_MAX;

    #[test]
    fn every_length_round_trips() {
        for len in 0..=CID_BYTES_MAX {
            let bytes: Vec<u8> = (0..len).map(|i| u8::try_from(i * 167 % 251).unwrap()).collect();
            let text = Base32::of(&bytes);
            let (back, back_len) = decode_base32(&text.as_str().as_bytes()[1..]).unwrap();
            assert_eq!(&back[..back_len], bytes);
        }
    }

    #[test]
    fn second_spellings_are_refused() {
        assert!(decode_base32(b"aa").is_ok());
        assert!(decode_base32(b"ab").is_err(), "set bits after the last byte");
        assert!(decode_base32(b"aaa").is_err(), "a character too many");
        assert!(decode_base32(b"a").is_err(), "no whole byte");
        assert!(decode_base32(b"AA").is_err(), "upper case under b");
        assert!(decode_base32(b"a1").is_err(), "not in the alphabet");
        assert!(decode_base32(&[b'a'; 1000]).is_err(), "too long");
    }
}
