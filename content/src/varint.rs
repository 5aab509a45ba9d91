//! Unsigned LEB128 integers, as multiformats, CAR and protobuf all write them.
//!
//! Reading is strict: only the shortest form of a number is accepted, so no two byte strings mean the
//! same thing. It never reads past ten bytes.

/// Longest encoding of a `u64`: ten groups of seven bits.
const LEN_MAX: usize = 10;

/// Why bytes do not begin with a varint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VarintError {
    /// The bytes end before the number does. More bytes could complete it.
    #[error("the bytes end inside a varint")]
    Truncated,
    /// The number does not fit 64 bits.
    #[error("a varint is larger than 64 bits")]
    TooLarge,
    /// The number could have been written in fewer bytes.
    #[error("a varint is not in its shortest form")]
    NotMinimal,
}

/// The number at the front of `bytes` and how many bytes it takes.
#[inline]
pub(crate) fn read(bytes: &[u8]) -> Result<(u64, usize), VarintError> {
    // Nearly every varint of a block is a tag or a short length.
    match bytes.first() {
        Some(&byte) if byte < 0x80 => Ok((u64::from(byte), 1)),
        Some(_) => read_long(bytes),
        None => Err(VarintError::Truncated),
    }
}

fn read_long(bytes: &[u8]) -> Result<(u64, usize), VarintError> {
    let mut value = 0_u64;
    for (i, &byte) in bytes.iter().take(LEN_MAX).enumerate() {
        // The tenth group has room for one bit only: 9 * 7 = 63.
        if i == LEN_MAX - 1 && byte > 1 {
            return Err(VarintError::TooLarge);
        }
        value |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return if byte == 0 { Err(VarintError::NotMinimal) } else { Ok((value, i + 1)) };
        }
    }
    Err(VarintError::Truncated)
}

/// Appends `value` in its shortest form.
#[inline]
pub(crate) fn push(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_seven(value) | 0x80);
        value >>= 7;
    }
    out.push(low_seven(value));
}

/// How many bytes [`push`] appends for `value`.
#[inline]
pub(crate) const fn len(value: u64) -> usize {
    // One group for every seven bits begun; zero still takes a byte.
    let bits = 64 - (value | 1).leading_zeros();
    bits.div_ceil(7) as usize
}

const fn low_seven(value: u64) -> u8 {
    (value & 0x7f) as u8
}

#[cfg(test)]
mod tests {
    use super::{VarintError, len, push, read};

    #[test]
    fn edges_round_trip() {
        for shift in 0..64 {
            for value in [(1_u64 << shift) - 1, 1 << shift, u64::MAX >> shift] {
                let mut bytes = Vec::new();
                push(&mut bytes, value);
                assert_eq!(bytes.len(), len(value), "{value}");
                assert_eq!(read(&bytes), Ok((value, bytes.len())), "{value}");
                assert_eq!(read(&bytes[..bytes.len() - 1]), Err(VarintError::Truncated));
            }
        }
    }

    #[test]
    fn other_forms_are_refused() {
        assert_eq!(read(&[0x80, 0]), Err(VarintError::NotMinimal));
        assert_eq!(read(&[0xff, 0x80, 0]), Err(VarintError::NotMinimal));
        assert_eq!(read(&[0xff; 10]), Err(VarintError::TooLarge));
        assert_eq!(
            read(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2]),
            Err(VarintError::TooLarge)
        );
        assert_eq!(read(&[]), Err(VarintError::Truncated));
    }
}
