//! Which blocks are worth a write: those asked for twice within the time the cache takes to turn over.
//!
//! Once the cache is full, a block is admitted when it is offered for the second time, or was evicted not
//! long ago; until then only four bytes of its key are remembered. On Zipf-distributed requests, with and
//! without scans of blocks that are never asked for again, this finds as much as S3-FIFO (a probation queue
//! on disk before the main one, and ghosts of what left it) and writes a fifth to a tenth as much, because a
//! block that is read once never reaches the disk. The price is a second fetch of every block that proves
//! popular. Nothing here is exact: one in some thousands of strangers is taken for an acquaintance.

use std::collections::HashSet;

/// Keys of blocks that were offered or evicted lately.
///
/// Two generations: when the younger has seen enough it replaces the older. So what was seen within the last
/// `bytes_max` bytes (or `entries_max / 2` blocks) is known, and nothing from before twice that.
#[derive(Debug)]
pub(super) struct Ghost {
    young: HashSet<u32>,
    old: HashSet<u32>,
    young_bytes: u64,
    bytes_max: u64,
    generation_max: usize,
}

impl Ghost {
    /// Remembers about as much as a cache of `bytes_max` and `entries_max` holds.
    pub(super) fn new(bytes_max: u64, entries_max: usize) -> Self {
        let generation_max = (entries_max / 2).max(1);
        Self { young: HashSet::new(), old: HashSet::new(), young_bytes: 0, bytes_max, generation_max }
    }

    /// Whether `key` was remembered lately.
    pub(super) fn knows(&self, key: u64) -> bool {
        let short = shorten(key);
        self.young.contains(&short) || self.old.contains(&short)
    }

    /// Remembers a block of `len` bytes.
    pub(super) fn remember(&mut self, key: u64, len: u64) {
        if self.young_bytes >= self.bytes_max || self.young.len() >= self.generation_max {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
            self.young_bytes = 0;
        }
        if self.young.insert(shorten(key)) {
            self.young_bytes = self.young_bytes.saturating_add(len);
        }
    }
}

/// Half of a key: enough to tell some hundred thousand apart.
fn shorten(key: u64) -> u32 {
    let [a, b, c, d, ..] = key.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
