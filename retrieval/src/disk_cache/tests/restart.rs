//! What is written is there again after a restart, and only one process has it at a time.

use std::{fs, io};

use content::{Cid, Codec, HashFn};

use super::{SMALL, block, files_in, has, offer_all, open_small, open_within};
use crate::disk_cache::{DiskCache, DiskCacheConfig, bounds::Bounds};

#[tokio::test]
async fn blocks_of_all_sizes_are_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let sizes = [0, 1, 2, 255, 4096, 65_536, (1 << 20) - 1, 1 << 20, content::BLOCK_MAX];
    let blocks: Vec<_> = (0..).zip(sizes).map(|(id, len)| block(id, len)).collect();
    for round in 0..3 {
        let cache = DiskCache::open(dir.path(), &DiskCacheConfig::default()).unwrap();
        for block in &blocks {
            assert_eq!(has(&cache, block).await, round > 0, "{} bytes in round {round}", block.bytes.len());
            cache.offer(block.clone());
        }
        cache.flush().await;
        for block in &blocks {
            assert!(has(&cache, block).await);
        }
        assert_eq!(cache.stats().admitted, if round == 0 { blocks.len() as u64 } else { 0 });
        cache.close().await;
    }
}

#[tokio::test]
async fn every_file_is_read_back_and_the_last_is_filled_further() {
    let dir = tempfile::tempdir().unwrap();
    let blocks: Vec<_> = (0..200).map(|id| block(id, 1000)).collect();
    for (round, some) in blocks.chunks(10).enumerate() {
        let cache = open_small(dir.path());
        for block in some {
            cache.offer(block.clone());
        }
        cache.close().await;
        let cache = open_small(dir.path());
        for block in &blocks[..(round + 1) * 10] {
            assert!(has(&cache, block).await, "block lost in round {round}");
        }
        cache.close().await;
    }
    // 200 records at 63 a file; a file for every restart would be 20.
    assert_eq!(files_in(dir.path()).len(), 4);
}

#[tokio::test]
async fn a_list_and_a_scan_tell_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let blocks: Vec<_> = (0..150).map(|id| block(id, 500)).collect();
    let cache = open_small(dir.path());
    offer_all(&cache, &blocks);
    cache.close().await;
    for path in files_in(dir.path()) {
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        let len = file.metadata().unwrap().len();
        file.set_len(len - 1).unwrap();
    }
    let cache = open_small(dir.path());
    assert_eq!(cache.stats().entries, blocks.len());
    for block in &blocks {
        assert!(has(&cache, block).await);
    }
}

#[tokio::test]
async fn shrunk_limits_cost_the_oldest() {
    let dir = tempfile::tempdir().unwrap();
    let blocks: Vec<_> = (0..300).map(|id| block(id, 1000)).collect();
    let cache = open_small(dir.path());
    offer_all(&cache, &blocks);
    cache.close().await;
    let half = Bounds { bytes_max: SMALL.bytes_max / 2, ..SMALL };
    let cache = open_within(dir.path(), half);
    assert!(cache.stats().bytes <= half.bytes_max);
    assert!(has(&cache, &blocks[299]).await);
    assert!(!has(&cache, &blocks[0]).await);
    assert_eq!(files_in(dir.path()).len(), cache.stats().files);
}

#[tokio::test]
async fn strangers_in_the_directory_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let names =
        ["0000001.blocks", "0000000A.blocks", "+0000001.blocks", "00000000.blocks", "ffffffff.blocks", "x"];
    for name in names {
        fs::write(dir.path().join(name), "mine").unwrap();
    }
    let cache = open_small(dir.path());
    cache.offer(block(1, 10));
    cache.close().await;
    for name in names {
        assert_eq!(fs::read(dir.path().join(name)).unwrap(), b"mine");
    }
}

#[tokio::test]
async fn a_directory_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_small(dir.path());
    let second = DiskCache::open(dir.path(), &DiskCacheConfig::default());
    assert_eq!(second.unwrap_err().kind(), io::ErrorKind::ResourceBusy);
    let kept = block(1, 100);
    cache.offer(kept.clone());
    cache.close().await;
    let next = open_small(dir.path());
    assert!(has(&next, &kept).await);
    // The first one has nothing to write to any more, but still reads.
    cache.offer(block(2, 100));
    cache.flush().await;
    cache.close().await;
    assert!(has(&cache, &kept).await);
    assert_eq!((cache.stats().admitted, cache.stats().dropped), (1, 1));
}

#[tokio::test]
async fn what_cannot_be_verified_is_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_small(dir.path());
    let good = block(1, 40);
    let mut cut = good.cid.as_bytes()[..24].to_vec();
    cut[3] = 20;
    let mut unknown = good.cid.as_bytes().to_vec();
    unknown[2] = 0x16;
    let identity = Cid::identity(Codec::Raw, &good.bytes).unwrap();
    for cid in [Cid::from_bytes(&cut).unwrap(), Cid::from_bytes(&unknown).unwrap(), identity] {
        cache.offer(content::Block { cid: cid.clone(), bytes: good.bytes.clone() });
        cache.flush().await;
        assert_eq!(cache.get(&cid).await, None);
    }
    let stats = cache.stats();
    assert_eq!((stats.rejected, stats.misses, stats.entries), (3, 3, 0));
}

#[tokio::test]
async fn codecs_share_bytes_and_hash_functions_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_small(dir.path());
    let raw = block(1, 100);
    cache.offer(raw.clone());
    cache.flush().await;
    let same = Cid::of(Codec::DagPb, HashFn::Sha2_256, &raw.bytes);
    assert_eq!(cache.get(&same).await, Some(raw.bytes.clone()));
    assert_eq!(cache.get(&Cid::of(Codec::Raw, HashFn::Blake3, &raw.bytes)).await, None);
    for hash_fn in [HashFn::Sha2_512, HashFn::Blake3] {
        let other = content::Block::of(Codec::Raw, hash_fn, raw.bytes.clone());
        cache.offer(other.clone());
        cache.flush().await;
        assert!(has(&cache, &other).await);
    }
}

#[test]
fn limits_that_leave_no_room_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let few = DiskCacheConfig { entries_max: 63, ..DiskCacheConfig::default() };
    let small = DiskCacheConfig { bytes_max: (16 << 20) - 1, ..DiskCacheConfig::default() };
    for config in [few, small] {
        let refused = DiskCache::open(dir.path(), &config).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::InvalidInput);
    }
}
