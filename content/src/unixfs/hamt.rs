//! The hash trie of directories too large for one block: where in the trie a name belongs.
//!
//! A shard has `fanout` buckets. Each level of the trie spends `log2(fanout)` bits of the name's hash, highest
//! bits first; a bucket holds nothing, one entry, or a further shard. A link's name is the bucket in upper-case
//! hex, followed by the entry's name if it is one. [`super::directory`] builds tries, [`super::walk`] reads them;
//! this file only computes.

use std::io::Cursor;

use super::DataError;

/// Multihash code of murmur3-x64-64, the only function that spreads names.
pub const MURMUR3_X64_64: u64 = 0x22;

/// Bits in the hash of a name, so also a bound on the depth of any trie.
const HASH_BITS: u32 = 64;

/// How many buckets a shard has: a power of two from 8 to 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fanout {
    bits: u32,
}

/// A fanout that is not allowed. The upper bound keeps one small block from demanding much memory
/// (CVE-2023-23625).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fanout of {0} is not a power of two from 8 to 1024")]
pub struct FanoutError(pub u64);

impl Fanout {
    /// 256 buckets, what everybody writes.
    pub const F256: Self = Self { bits: 8 };

    /// Checks a fanout.
    pub fn new(fanout: u64) -> Result<Self, FanoutError> {
        let allowed = (8..=1024).contains(&fanout) && fanout.is_power_of_two();
        if allowed { Ok(Self { bits: fanout.trailing_zeros() }) } else { Err(FanoutError(fanout)) }
    }

    /// The number of buckets.
    #[must_use]
    pub const fn get(self) -> usize {
        1 << self.bits
    }

    /// Bits of the hash that one level spends.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.bits
    }

    /// Hex digits in front of every link name: those of the highest bucket.
    #[must_use]
    pub const fn prefix_len(self) -> usize {
        self.bits.div_ceil(4) as usize
    }

    /// The bucket that a link's name begins with, and the rest of the name. `None` when the prefix is short, not
    /// upper-case hex, or no bucket of this fanout.
    #[must_use]
    pub fn split(self, name: &str) -> Option<(usize, &str)> {
        let (prefix, rest) = name.split_at_checked(self.prefix_len())?;
        let mut bucket = 0;
        for digit in prefix.bytes() {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'A'..=b'F' => digit - b'A' + 10,
                _ => return None,
            };
            bucket = bucket << 4 | usize::from(value);
        }
        (bucket < self.get()).then_some((bucket, rest))
    }

    /// The name of the link in `bucket`: of the entry `name`, or of a shard when that is empty.
    #[must_use]
    pub fn join(self, bucket: usize, name: &str) -> String {
        format!("{bucket:0width$X}{name}", width = self.prefix_len())
    }
}

/// Hash of a name: the first half of the 128-bit murmur3 for x64, seed 0.
///
/// # Panics
///
/// Never: reading from memory cannot fail.
#[must_use]
pub fn hash(name: &str) -> u64 {
    let both = murmur3::murmur3_x64_128(&mut Cursor::new(name.as_bytes()), 0)
        .expect("reading from memory cannot fail");
    u64::try_from(both & u128::from(u64::MAX)).expect("the mask leaves 64 bits")
}

/// The bucket of a hash at a level of which the levels above spent `spent` bits. `None` when too few bits are
/// left: such a trie is deeper than any that can be built.
#[must_use]
pub fn bucket(hash: u64, spent: u32, fanout: Fanout) -> Option<usize> {
    let end = spent.checked_add(fanout.bits).filter(|&end| end <= HASH_BITS)?;
    let mask = fanout.get() - 1;
    let bits = usize::try_from(hash >> (HASH_BITS - end) & mask as u64).ok()?;
    Some(bits)
}

/// The occupied buckets as the data of a shard: one big-endian number, bit `i` for bucket `i`, without leading
/// zero bytes.
#[must_use]
pub fn bitmap(fanout: Fanout, buckets: impl Iterator<Item = usize>) -> Vec<u8> {
    let mut bytes = vec![0; fanout.get() / 8];
    let last = bytes.len() - 1;
    for bucket in buckets {
        bytes[last - bucket / 8] |= 1 << (bucket % 8);
    }
    let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
    bytes.drain(..zeros);
    bytes
}

/// Checks what a shard says about itself and returns its fanout.
pub fn check(data: &super::Data<'_>) -> Result<Fanout, ShardError> {
    let hash_type = data.hash_type.unwrap_or(0);
    if hash_type != MURMUR3_X64_64 {
        return Err(ShardError::HashType(hash_type));
    }
    let fanout = Fanout::new(data.fanout.unwrap_or(0))?;
    let bitmap_len = data.data.map_or(0, <[u8]>::len);
    if bitmap_len > fanout.get() / 8 {
        return Err(ShardError::Bitmap { len: bitmap_len, fanout: fanout.get() });
    }
    Ok(fanout)
}

/// Why a block is not a proper shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    /// The data is not a `UnixFS` message.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Names are spread by an unknown function.
    #[error("hash type {0:#x} of a shard is not murmur3-x64-64")]
    HashType(u64),
    /// The fanout is not allowed.
    #[error(transparent)]
    Fanout(#[from] FanoutError),
    /// The bitmap is longer than the fanout allows.
    #[error("a bitmap of {len} bytes is too long for a fanout of {fanout}")]
    Bitmap {
        /// Bytes of the bitmap.
        len: usize,
        /// The fanout.
        fanout: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::{Fanout, bitmap, bucket, hash};

    #[test]
    fn the_example_of_the_specification() {
        // unixfs.md follows "470.txt" through bucket 00 to 6E, and has 742.txt beside it in FF.
        let f = Fanout::F256;
        let buckets = |name| (bucket(hash(name), 0, f), bucket(hash(name), 8, f));
        assert_eq!(buckets("470.txt"), (Some(0x00), Some(0x6e)));
        assert_eq!(buckets("742.txt"), (Some(0x00), Some(0xff)));
    }

    #[test]
    fn bits_are_spent_from_the_top_until_none_are_left() {
        let hash = 0x0123_4567_89ab_cdef;
        let spent = |fanout, step: u32| -> Vec<_> {
            (0..).map_while(|level| bucket(hash, level * step, fanout)).collect()
        };
        assert_eq!(spent(Fanout::F256, 8), [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
        assert_eq!(spent(Fanout::new(16).unwrap(), 4), (0..16).collect::<Vec<_>>());
        // Six levels of ten bits; the four bits left over are not enough for a seventh.
        assert_eq!(spent(Fanout::new(1024).unwrap(), 10).len(), 6);
        assert_eq!(bucket(hash, u32::MAX, Fanout::F256), None);
    }

    #[test]
    fn only_allowed_fanouts() {
        for bad in [0, 1, 2, 4, 7, 9, 255, 257, 2048, 1 << 40, u64::MAX] {
            assert!(Fanout::new(bad).is_err(), "{bad}");
        }
        for (good, prefix) in [(8, 1), (16, 1), (32, 2), (256, 2), (512, 3), (1024, 3)] {
            assert_eq!(Fanout::new(good).unwrap().prefix_len(), prefix, "{good}");
        }
    }

    #[test]
    fn names_split_as_they_join() {
        let f = Fanout::F256;
        assert_eq!(f.join(0x0a, "x.txt"), "0Ax.txt");
        assert_eq!(f.split("0Ax.txt"), Some((0x0a, "x.txt")));
        assert_eq!(f.split("FF"), Some((0xff, "")));
        for bad in ["", "0", "0a", "G0", "é", "1é", "-1"] {
            assert_eq!(f.split(bad), None, "{bad}");
        }
        // 400 is hex for 1024, one past the last bucket.
        assert_eq!(Fanout::new(1024).unwrap().split("400"), None);
        assert_eq!(Fanout::new(8).unwrap().split("8"), None);
    }

    #[test]
    fn the_bitmap_is_one_big_endian_number() {
        assert_eq!(bitmap(Fanout::F256, [0].into_iter()), [1]);
        assert_eq!(bitmap(Fanout::F256, [9, 0].into_iter()), [2, 1]);
        let top = bitmap(Fanout::F256, [255].into_iter());
        assert_eq!((top.len(), top[0]), (32, 0x80));
        assert!(bitmap(Fanout::F256, [].into_iter()).is_empty());
    }
}
