//! The limits in bytes and in entries hold whatever the sizes of blocks are, and most of the room is used.

use super::{Numbers, SMALL, block, bytes_in, has, open_small, open_within};
use crate::disk_cache::bounds::Bounds;

/// Offers blocks, each twice so that it is admitted however full the cache is, and checks the limits all along.
async fn fill(bounds: Bounds, blocks: u64, len: impl Fn(&mut Numbers) -> usize) -> (u64, usize) {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_within(dir.path(), bounds);
    let mut numbers = Numbers(1);
    for id in 0..blocks {
        let block = block(id, len(&mut numbers));
        cache.offer(block.clone());
        cache.offer(block.clone());
        // Some are read, so that there is something to carry.
        if id % 3 == 0 {
            cache.flush().await;
            has(&cache, &block).await;
        }
        if id % 16 == 0 {
            let on_disk = bytes_in(dir.path());
            assert!(on_disk <= bounds.bytes_max, "{on_disk} bytes on disk");
            assert!(cache.stats().entries <= bounds.records_max);
        }
    }
    cache.flush().await;
    let stats = cache.stats();
    assert_eq!((stats.corrupt, stats.failed, stats.dropped), (0, 0, 0));
    assert_eq!(stats.bytes, bytes_in(dir.path()));
    (stats.bytes, stats.entries)
}

#[tokio::test]
async fn many_small_blocks_are_bounded_by_number() {
    let (bytes, entries) = fill(SMALL, 3000, |numbers| 1 + usize::try_from(numbers.below(20)).unwrap()).await;
    assert!(entries > SMALL.records_max * 3 / 4, "{entries} entries");
    assert!(bytes < SMALL.bytes_max / 4);
}

#[tokio::test]
async fn large_blocks_are_bounded_by_bytes() {
    let (bytes, _) =
        fill(SMALL, 300, |numbers| usize::try_from(20_000 + numbers.below(10_000)).unwrap()).await;
    assert!(bytes > SMALL.bytes_max / 2, "{bytes} bytes");
}

#[tokio::test]
async fn mixed_blocks_are_bounded_by_both() {
    let mixed = |numbers: &mut Numbers| {
        let shift = numbers.below(16);
        usize::try_from(numbers.below(1 << shift)).unwrap()
    };
    let (bytes, _) = fill(SMALL, 2000, mixed).await;
    assert!(bytes > SMALL.bytes_max / 2, "{bytes} bytes");
}

#[tokio::test]
async fn a_block_as_large_as_a_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_small(dir.path());
    // A record's head, its line and the trailer take 60 bytes.
    let largest = block(1, (64 << 10) - 60);
    let larger = block(2, (64 << 10) - 59);
    cache.offer(largest.clone());
    cache.offer(larger.clone());
    cache.flush().await;
    assert!(has(&cache, &largest).await);
    assert!(!has(&cache, &larger).await);
    assert_eq!((cache.stats().admitted, cache.stats().rejected), (1, 1));
}

#[test]
fn limits_are_shared_out_among_files() {
    let config = crate::disk_cache::DiskCacheConfig::default();
    let bounds = Bounds::new(&config).unwrap();
    assert_eq!(bounds.file_bytes, 256 << 20);
    assert_eq!(bounds.file_records, 1 << 14);
    let small = crate::disk_cache::DiskCacheConfig { bytes_max: 16 << 20, ..config };
    assert_eq!(Bounds::new(&small).unwrap().file_bytes, 4 << 20);
}
