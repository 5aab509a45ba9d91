//! Content to upload: looks random, never repeats a block, is made without being held, and can be checked when it comes
//! back. Not for anything that must be unpredictable.

use std::sync::{
    LazyLock,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Every chunk is a stamp and then the same noise. It divides a leaf of 1 MiB, so that every leaf has stamps of its own.
const CHUNK: usize = 256 << 10;
const STAMP: usize = 32;

static NOISE: LazyLock<Bytes> = LazyLock::new(|| {
    let mut noise = vec![0; CHUNK - STAMP];
    ChaCha8Rng::seed_from_u64(1).fill_bytes(&mut noise);
    noise.into()
});
/// What tells this run's files from those that a running network holds already.
static RUN: LazyLock<u64> = LazyLock::new(rand::random);
static NEXT: AtomicU64 = AtomicU64::new(0);

/// One file's content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pattern {
    number: u64,
    len: u64,
}

impl Pattern {
    /// Content of `len` bytes that no other pattern of this or another run has.
    pub(crate) fn new(len: u64) -> Self {
        Self { number: NEXT.fetch_add(1, Ordering::Relaxed), len }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    fn stamp(&self, chunk: u64) -> [u8; STAMP] {
        let mut stamp = [0; STAMP];
        for (place, number) in stamp.chunks_exact_mut(8).zip([*RUN, self.number, chunk, 0]) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        stamp
    }

    /// The content in order, in slices that are mostly shared.
    pub(crate) fn slices(self) -> impl Iterator<Item = Bytes> {
        (0..self.len.div_ceil(CHUNK as u64)).flat_map(move |chunk| {
            let left = usize::try_from(self.len - chunk * CHUNK as u64).unwrap_or(usize::MAX);
            let stamp = Bytes::copy_from_slice(&self.stamp(chunk)[..left.min(STAMP)]);
            [stamp, NOISE.slice(..left.saturating_sub(STAMP).min(NOISE.len()))]
        })
    }

    /// All of it; for small files.
    pub(crate) fn whole(self) -> Vec<u8> {
        self.slices().fold(Vec::new(), |mut whole, slice| {
            whole.extend_from_slice(&slice);
            whole
        })
    }

    /// Whether `bytes` are what the content has at `offset`.
    pub(crate) fn matches(&self, mut offset: u64, mut bytes: &[u8]) -> bool {
        if offset.checked_add(bytes.len() as u64).is_none_or(|end| end > self.len) {
            return false;
        }
        while !bytes.is_empty() {
            let (chunk, within) =
                (offset / CHUNK as u64, usize::try_from(offset % CHUNK as u64).unwrap_or(0));
            let stamp = self.stamp(chunk);
            let expected = if within < STAMP { &stamp[within..] } else { &NOISE[within - STAMP..] };
            let take = bytes.len().min(expected.len());
            if bytes[..take] != expected[..take] {
                return false;
            }
            bytes = &bytes[take..];
            offset += take as u64;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_the_content_is_known_again() {
        for len in [0, 1, 31, 32, 33, 1024, CHUNK as u64, CHUNK as u64 + 5, 3 * CHUNK as u64 + 100] {
            let pattern = Pattern::new(len);
            let mut whole = pattern.whole();
            assert_eq!(whole.len() as u64, len);
            assert!(pattern.matches(0, &whole));
            let middle = whole.len() / 2;
            assert!(pattern.matches(middle as u64, &whole[middle..]));
            if let Some(last) = whole.last_mut() {
                *last ^= 1;
                assert!(!pattern.matches(0, &whole));
            }
            assert!(!pattern.matches(len, &[0]));
        }
    }

    #[test]
    fn no_chunk_is_that_of_another_file_or_place() {
        let (one, other) = (Pattern::new(2 * CHUNK as u64).whole(), Pattern::new(2 * CHUNK as u64).whole());
        assert_ne!(one[..CHUNK], other[..CHUNK]);
        assert_ne!(one[..CHUNK], one[CHUNK..]);
    }
}
