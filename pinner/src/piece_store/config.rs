//! The limits of a piece store on disk.

use super::{PIECE_LEN_MAX, errors::OpenError};

/// How a [`DiskPieceStore`](super::DiskPieceStore) uses disk and memory.
#[derive(Clone, Debug, PartialEq)]
pub struct PieceStoreConfig {
    /// What pieces may take on disk, with outboards, headers and dead bytes; the index file comes on top.
    pub capacity_bytes: u64,
    /// What always stays free on the file system.
    pub reserve_bytes: u64,
    /// The longest piece that goes into a log; longer ones get a file each.
    pub small_len_max: u64,
    /// A log that has reached this length is closed.
    pub log_bytes_max: u64,
    /// How much is appended with one sync, about.
    pub group_bytes_max: u64,
    /// How many writes may wait; beyond that they are refused as busy.
    pub queue_len_max: usize,
    /// Memory for small pieces that are arriving or waiting to be written. Puts wait for it.
    pub small_puts_bytes_max: usize,
    /// Memory for pages of the index file.
    pub index_cache_bytes: usize,
    /// After this many changes the index file is brought up to date. Each waits in about 100 bytes of memory.
    pub checkpoint_changes: usize,
    /// After this many bytes of log the index file is brought up to date: what a start after a crash reads at most, about.
    pub checkpoint_bytes: u64,
    /// A log whose dead bytes reach this share is compacted.
    pub compact_dead_share: f64,
}

impl Default for PieceStoreConfig {
    fn default() -> Self {
        Self {
            capacity_bytes: 1 << 40,
            reserve_bytes: 1 << 30,
            small_len_max: 256 << 10,
            log_bytes_max: 256 << 20,
            group_bytes_max: 8 << 20,
            queue_len_max: 8192,
            small_puts_bytes_max: 32 << 20,
            index_cache_bytes: 8 << 20,
            checkpoint_changes: 32 << 10,
            checkpoint_bytes: 128 << 20,
            compact_dead_share: 0.5,
        }
    }
}

impl PieceStoreConfig {
    /// Refuses numbers with which the store could not keep its promises.
    pub(super) fn check(&self) -> Result<(), OpenError> {
        let small_max = 16 << 20;
        let rules = [
            (self.small_len_max <= small_max.min(PIECE_LEN_MAX), "small_len_max is above 16 MiB"),
            (self.log_bytes_max <= 2 << 30, "log_bytes_max is above 2 GiB"),
            (self.group_bytes_max <= 256 << 20, "group_bytes_max is above 256 MiB"),
            (self.queue_len_max >= 1, "queue_len_max is zero"),
            (
                self.small_puts_bytes_max as u64 >= self.small_len_max,
                "small_puts_bytes_max is below small_len_max",
            ),
            (u32::try_from(self.small_puts_bytes_max).is_ok(), "small_puts_bytes_max is above 4 GiB"),
            (self.checkpoint_changes >= 1, "checkpoint_changes is zero"),
            ((0.05..=1.0).contains(&self.compact_dead_share), "compact_dead_share is not in 0.05..=1"),
        ];
        rules.iter().try_for_each(|(holds, rule)| if *holds { Ok(()) } else { Err(OpenError::Config(rule)) })
    }
}
