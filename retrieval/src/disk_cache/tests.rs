//! Tests of the disk cache against real directories, and what they have in common.

mod admission;
mod bounds;
mod crash;
mod damage;
mod index;
mod model;
mod refusal;
mod restart;
mod threads;

use std::{path::Path, sync::Arc, sync::atomic::AtomicU64, time::Duration};

use bytes::Bytes;
use content::{Block, Codec, HashFn};

use super::{DiskCache, DiskCacheConfig, block_file::Disk, bounds::Bounds};

/// Limits small enough to be reached: eight files of 64 KiB, 64 records each.
const SMALL: Bounds =
    Bounds { bytes_max: 512 << 10, records_max: 1024, file_bytes: 64 << 10, file_records: 64 };

/// A configuration under which no offer is dropped for want of room in the queue, and a refusal is tried again at once.
fn patient() -> DiskCacheConfig {
    DiskCacheConfig {
        queue_blocks_max: 1 << 16,
        queue_bytes_max: 1 << 30,
        retry_after: Duration::ZERO,
        ..DiskCacheConfig::default()
    }
}

fn open_within(dir: &Path, bounds: Bounds) -> DiskCache {
    DiskCache::open_within(dir, &patient(), bounds, Disk::default()).unwrap()
}

fn open_small(dir: &Path) -> DiskCache {
    open_within(dir, SMALL)
}

/// A disk with so much room, which tests can change.
fn limited_disk(room: u64) -> (Disk, Arc<AtomicU64>) {
    let room = Arc::new(AtomicU64::new(room));
    (Disk { room: Some(room.clone()) }, room)
}

/// Numbers that look random and are the same every time (splitmix64).
#[derive(Clone, Debug)]
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// From 0 up to 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// A block of `len` bytes, another one for every `id`.
fn block(id: u64, len: usize) -> Block {
    let mut numbers = Numbers(id);
    let bytes: Vec<u8> =
        std::iter::repeat_with(|| numbers.next().to_le_bytes()).flatten().take(len).collect();
    Block::of(Codec::Raw, HashFn::Sha2_256, Bytes::from(bytes))
}

fn offer_all(cache: &DiskCache, blocks: &[Block]) {
    for block in blocks {
        cache.offer(block.clone());
    }
}

/// Bytes of all files in a directory.
fn bytes_in(dir: &Path) -> u64 {
    // The writer may remove a file between the listing and the look at it.
    let lengths =
        std::fs::read_dir(dir).unwrap().filter_map(|entry| Some(entry.unwrap().metadata().ok()?.len()));
    lengths.sum()
}

/// Names of the cache's files, oldest first.
fn files_in(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        entries.filter(|path| path.extension().is_some_and(|end| end == "blocks")).collect();
    files.sort();
    files
}

async fn has(cache: &DiskCache, block: &Block) -> bool {
    match cache.get(&block.cid).await {
        Some(bytes) => {
            assert_eq!(bytes, block.bytes, "wrong bytes for {}", block.cid);
            true
        }
        None => false,
    }
}
