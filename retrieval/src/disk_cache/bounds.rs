//! The cache's limits and how they are shared out among its files. Pure arithmetic.

use std::io;

use super::{
    DiskCacheConfig,
    record::{LINE_LEN, Line, TRAILER_LEN},
};

/// Files the cache is cut into, if it is large enough: the finer, the less is lost with the oldest.
const FILES: u64 = 16;
/// Smallest size of a file: two blocks of the largest size.
const FILE_BYTES_MIN: u64 = 4 << 20;
/// Fewest files: one open, one whose blocks are carried over, and two that hold something meanwhile.
const FILES_MIN: u64 = 4;

/// Limits in bytes and records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Bytes of all files together.
    pub(super) bytes_max: u64,
    /// Records of all files together, and so entries of the index.
    pub(super) records_max: usize,
    /// Bytes of one file, its list included.
    pub(super) file_bytes: u64,
    /// Records of one file.
    pub(super) file_records: usize,
}

/// What some files hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    /// Bytes on disk.
    pub(super) bytes: u64,
    /// Records, superseded ones included.
    pub(super) records: usize,
}

impl Load {
    /// Both together.
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_add(other.bytes),
            records: self.records.saturating_add(other.records),
        }
    }
}

impl Bounds {
    /// Shares out the configured limits. An error when they leave no room for a handful of files.
    pub(super) fn new(config: &DiskCacheConfig) -> io::Result<Self> {
        let invalid = |what| Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        if config.bytes_max < FILES_MIN * FILE_BYTES_MIN {
            return invalid("a disk cache takes at least 16 MiB");
        }
        if config.entries_max < 64 {
            return invalid("a disk cache holds at least 64 entries");
        }
        Ok(Self {
            bytes_max: config.bytes_max,
            records_max: config.entries_max,
            file_bytes: (config.bytes_max / FILES).max(FILE_BYTES_MIN),
            file_records: config.entries_max / 16,
        })
    }

    /// Whether a file that ends at `end` after `records` records has room for one more, with its line and the trailer.
    pub(super) fn fits(&self, end: u64, records: usize, line: Line) -> bool {
        let list = (records as u64 + 1) * LINE_LEN as u64 + TRAILER_LEN as u64;
        records < self.file_records && end + line.record_len() + list <= self.file_bytes
    }

    /// Whether `files` further files can be filled beside what there is.
    pub(super) fn has_room(&self, load: Load, files: u8) -> bool {
        load.bytes.saturating_add(u64::from(files) * self.file_bytes) <= self.bytes_max
            && load.records.saturating_add(usize::from(files) * self.file_records) <= self.records_max
    }
}
