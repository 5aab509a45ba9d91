//! When the disk refuses, or the directory goes away, caching rests and reading goes on.

use std::{
    fs,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use super::{SMALL, block, bytes_in, has, limited_disk, offer_all, open_small, patient};
use crate::disk_cache::{
    DiskCache, DiskCacheConfig,
    bounds::Bounds,
    state::{Shared, State},
};

#[tokio::test]
async fn a_full_disk_pauses_writing_until_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, room) = limited_disk(10_000);
    let cache = DiskCache::open_within(dir.path(), &patient(), SMALL, disk).unwrap();
    let blocks: Vec<_> = (0..20).map(|id| block(id, 1000)).collect();
    offer_all(&cache, &blocks);
    cache.flush().await;
    let stats = cache.stats();
    // Nine records of 1024 bytes fit.
    assert_eq!((stats.admitted, stats.failed, stats.paused), (9, 11, true));
    for (id, block) in blocks.iter().enumerate() {
        assert_eq!(has(&cache, block).await, id < 9);
    }
    assert_eq!(bytes_in(dir.path()), 9 * 1024, "what was written in part is cut off");
    room.store(u64::MAX, Ordering::SeqCst);
    offer_all(&cache, &blocks);
    cache.close().await;
    assert!(!cache.stats().paused);
    let cache = open_small(dir.path());
    for block in &blocks {
        assert!(has(&cache, block).await);
    }
}

#[tokio::test]
async fn room_for_any_number_of_bytes_is_no_trap() {
    // The disk is full in the middle of a head, of a block, of a list, at the start of a file.
    for room in (0..4 * 64 * 1024).step_by(1777) {
        let dir = tempfile::tempdir().unwrap();
        let (disk, free) = limited_disk(room);
        let cache = DiskCache::open_within(dir.path(), &patient(), SMALL, disk).unwrap();
        let blocks: Vec<_> = (0..20).map(|id| block(id, 14_000)).collect();
        offer_all(&cache, &blocks);
        cache.flush().await;
        assert!(cache.stats().paused);
        free.store(u64::MAX, Ordering::SeqCst);
        let last = block(100, 14_000);
        cache.offer(last.clone());
        cache.close().await;
        let entries = cache.stats().entries;
        assert!(bytes_in(dir.path()) <= SMALL.bytes_max);
        let cache = open_small(dir.path());
        assert_eq!(cache.stats().entries, entries, "with {room} bytes of room");
        assert!(has(&cache, &last).await);
        for block in &blocks {
            has(&cache, block).await;
        }
        assert_eq!(cache.stats().corrupt, 0);
    }
}

#[tokio::test]
async fn while_paused_blocks_are_dropped_untried() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, room) = limited_disk(1500);
    let config = DiskCacheConfig { retry_after: Duration::from_hours(1), ..patient() };
    let cache = DiskCache::open_within(dir.path(), &config, SMALL, disk).unwrap();
    for id in 0..4 {
        cache.offer(block(id, 1000));
    }
    cache.flush().await;
    room.store(u64::MAX, Ordering::SeqCst);
    cache.offer(block(9, 1000));
    cache.flush().await;
    let stats = cache.stats();
    assert_eq!((stats.admitted, stats.failed, stats.dropped), (1, 1, 3));
    assert!(has(&cache, &block(0, 1000)).await);
}

#[tokio::test]
async fn the_directory_may_vanish() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cache");
    let cache = open_small(&path);
    let blocks: Vec<_> = (0..100).map(|id| block(id, 1000)).collect();
    cache.offer(blocks[0].clone());
    cache.flush().await;
    fs::remove_dir_all(&path).unwrap();
    for block in &blocks {
        cache.offer(block.clone());
    }
    cache.flush().await;
    assert!(cache.stats().paused, "no new file can be made");
    assert!(has(&cache, &blocks[0]).await, "open files can be read on");
    assert!(!path.exists(), "what somebody removed is not made again");
    // Another one may move in where it was; its files are not touched.
    let other = open_small(&path);
    other.offer(blocks[0].clone());
    other.flush().await;
    offer_all(&cache, &blocks);
    cache.close().await;
    other.close().await;
    let other = open_small(&path);
    assert_eq!(other.stats().entries, 1);
    assert!(has(&other, &blocks[0]).await);
}

#[tokio::test]
async fn a_full_queue_drops_what_is_offered() {
    // Nobody takes from these queues.
    let shared = || Arc::new(Shared::new(State::new(&SMALL)));
    let few = DiskCacheConfig { queue_blocks_max: 3, ..patient() };
    let (cache, _jobs) = DiskCache::with_queue(shared(), &few, SMALL);
    let blocks: Vec<_> = (0..5).map(|id| block(id, 100)).collect();
    offer_all(&cache, &blocks);
    assert_eq!(cache.stats().dropped, 2);
    assert_eq!(cache.shared.queued_bytes.load(Ordering::Relaxed), 300);

    let narrow = DiskCacheConfig { queue_bytes_max: 3 << 20, ..patient() };
    let bounds = Bounds::new(&narrow).unwrap();
    let (cache, _jobs) = DiskCache::with_queue(shared(), &narrow, bounds);
    let sizes = [1 << 20, 1 << 20, 1 << 20, 1, 0];
    for (id, len) in (0..).zip(sizes) {
        cache.offer(block(id, len));
    }
    assert_eq!(cache.stats().dropped, 1, "a byte too many, and an empty block");
    assert_eq!(cache.shared.queued_bytes.load(Ordering::Relaxed), 3 << 20);
}

#[tokio::test]
async fn one_block_is_let_into_any_queue() {
    let dir = tempfile::tempdir().unwrap();
    let config = DiskCacheConfig { queue_bytes_max: 0, queue_blocks_max: 0, ..DiskCacheConfig::default() };
    let cache = DiskCache::open(dir.path(), &config).unwrap();
    for id in 0..3 {
        let large = block(id, content::BLOCK_MAX);
        cache.offer(large.clone());
        cache.flush().await;
        assert!(has(&cache, &large).await);
    }
    assert_eq!(cache.shared.queued_bytes.load(Ordering::Relaxed), 0);
}
