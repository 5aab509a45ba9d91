//! Damage to any byte of a file is never given out, whether the cache finds it at start or while it runs.

use std::{fs, os::unix::fs::FileExt as _, path::Path};

use content::Block;

use super::{block, files_in, has, offer_all, open_small};

/// A cache of a few small blocks in one file; its bytes with the list, and where the records end.
async fn small_file(dir: &Path) -> (Vec<Block>, Vec<u8>) {
    let blocks: Vec<_> = (1..5).map(|id| block(id, usize::try_from(id * 7).unwrap())).collect();
    let cache = open_small(dir);
    offer_all(&cache, &blocks);
    cache.close().await;
    let bytes = fs::read(&files_in(dir)[0]).unwrap();
    (blocks, bytes)
}

/// Opens a directory with just this file; returns how many of `blocks` are found, and how many were dropped as damaged.
async fn found_in(bytes: &[u8], blocks: &[Block]) -> (usize, u64) {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("00000001.blocks"), bytes).unwrap();
    let cache = open_small(dir.path());
    let mut found = 0;
    for block in blocks {
        found += usize::from(has(&cache, block).await);
    }
    let corrupt = cache.stats().corrupt;
    // It goes on working, whatever it found.
    let next = block(99, 30);
    cache.offer(next.clone());
    cache.flush().await;
    assert!(has(&cache, &next).await);
    cache.close().await;
    (found, corrupt)
}

#[tokio::test]
async fn no_damaged_byte_is_served() {
    let dir = tempfile::tempdir().unwrap();
    let (blocks, whole) = small_file(dir.path()).await;
    let records_end = blocks.iter().map(|block| block.bytes.len() + 24).sum::<usize>();
    assert_eq!(found_in(&whole, &blocks).await, (blocks.len(), 0));
    assert_eq!(found_in(&whole[..records_end], &blocks).await, (blocks.len(), 0));
    let heads = blocks.iter().scan(0, |end, block| {
        let head = *end;
        *end += 24 + block.bytes.len();
        Some(head)
    });
    let heads: Vec<usize> = heads.collect();
    for at in 0..whole.len() {
        let record = heads.partition_point(|head| *head <= at) - 1;
        for end in [whole.len(), records_end] {
            let mut bytes = whole[..end].to_vec();
            let Some(byte) = bytes.get_mut(at) else { continue };
            *byte ^= 1 << (at % 8);
            let expected = if at >= records_end {
                // The list is refused, and the records are scanned.
                (blocks.len(), 0)
            } else if at >= heads[record] + 24 {
                (blocks.len() - 1, 1)
            } else if end == records_end {
                // The scan ends at the damaged head.
                (record, 0)
            } else {
                // The list makes heads superfluous.
                (blocks.len(), 0)
            };
            assert_eq!(found_in(&bytes, &blocks).await, expected, "byte {at} of {end}");
        }
    }
}

#[tokio::test]
async fn a_file_may_end_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let (blocks, whole) = small_file(dir.path()).await;
    for end in 0..whole.len() {
        let (found, corrupt) = found_in(&whole[..end], &blocks).await;
        let complete = blocks.iter().scan(0, |at, block| {
            *at += block.bytes.len() + 24;
            Some(*at)
        });
        assert_eq!(found, complete.filter(|at| *at <= end).count(), "cut at {end}");
        assert_eq!(corrupt, 0);
    }
}

#[tokio::test]
async fn bytes_copied_to_another_place_are_not_believed() {
    let dir = tempfile::tempdir().unwrap();
    let (blocks, whole) = small_file(dir.path()).await;
    // The second record moves to the front of a file: the same bytes, but not where they were written.
    let first_len = blocks[0].bytes.len() + 24;
    assert_eq!(found_in(&whole[first_len..], &blocks).await.0, 0);
}

#[tokio::test]
async fn damage_under_a_running_cache_is_a_miss_and_then_mended() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_small(dir.path());
    let kept = block(1, 5000);
    cache.offer(kept.clone());
    cache.flush().await;
    let file = fs::OpenOptions::new().write(true).open(&files_in(dir.path())[0]).unwrap();
    file.write_all_at(&[!kept.bytes[4000]], 24 + 4000).unwrap();
    assert!(!has(&cache, &kept).await);
    let stats = cache.stats();
    assert_eq!((stats.hits, stats.misses, stats.corrupt, stats.entries), (0, 0, 1, 0));
    cache.offer(kept.clone());
    cache.flush().await;
    assert!(has(&cache, &kept).await);
    cache.close().await;
    // Of its two records the later one counts, whoever tells of them.
    for _ in 0..2 {
        let cache = open_small(dir.path());
        assert!(has(&cache, &kept).await);
        cache.close().await;
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    }
    let cache = open_small(dir.path());
    file.set_len(0).unwrap();
    assert!(!has(&cache, &kept).await);
    assert_eq!(cache.stats().corrupt, 1);
    cache.close().await;
    let cache = open_small(dir.path());
    assert!(!has(&cache, &kept).await);
}

#[tokio::test]
async fn entries_of_a_file_that_cannot_be_listed_are_found_when_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_small(dir.path());
    let blocks: Vec<_> = (0..600).map(|id| block(id, 1000)).collect();
    for (id, block) in blocks.iter().enumerate() {
        // Offered twice, so that it is admitted when the cache is full, too.
        cache.offer(block.clone());
        cache.offer(block.clone());
        cache.flush().await;
        if id == 70 {
            fs::write(&files_in(dir.path())[0], "").unwrap();
        }
    }
    for block in &blocks {
        has(&cache, block).await;
    }
    assert_eq!(cache.stats().corrupt, 0, "no entry points into a dropped file");
    assert!(!has(&cache, &blocks[0]).await);
}
