//! Many readers and offerers at once, while files come and go under them.

use super::{Numbers, SMALL, block, bytes_in, has, open_small};

const IDS: u64 = 900;

fn len_of(id: u64) -> usize {
    usize::try_from(id * 131 % 4000).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_and_offers_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_small(dir.path());
    let tasks: Vec<_> = (0..6)
        .map(|seed| {
            let cache = cache.clone();
            tokio::spawn(async move {
                let mut numbers = Numbers(seed);
                for _ in 0..1500 {
                    // Low numbers are asked for more often.
                    let end = 1 + numbers.below(IDS);
                    let id = numbers.below(end);
                    let wanted = block(id, len_of(id));
                    if !has(&cache, &wanted).await {
                        cache.offer(wanted);
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    cache.flush().await;
    let stats = cache.stats();
    assert_eq!((stats.corrupt, stats.failed, stats.dropped), (0, 0, 0));
    assert_eq!(stats.hits + stats.misses, 9000);
    assert!(stats.hits > 1000 && stats.carried > 0, "{stats:?}");
    assert!(bytes_in(dir.path()) <= SMALL.bytes_max);
    cache.close().await;
    let reopened = open_small(dir.path());
    assert_eq!(reopened.stats().entries, stats.entries);
    let mut found = 0;
    for id in 0..IDS {
        found += usize::from(has(&reopened, &block(id, len_of(id))).await);
    }
    assert_eq!(found, stats.entries);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn more_readers_than_may_read_at_once_all_get_their_block() {
    let dir = tempfile::tempdir().unwrap();
    let config = crate::disk_cache::DiskCacheConfig { reads_max: 2, ..super::patient() };
    let cache = crate::disk_cache::DiskCache::open(dir.path(), &config).unwrap();
    let wanted = block(1, 300_000);
    cache.offer(wanted.clone());
    cache.flush().await;
    let readers: Vec<_> = (0..40)
        .map(|_| {
            let (cache, wanted) = (cache.clone(), wanted.clone());
            tokio::spawn(async move { has(&cache, &wanted).await })
        })
        .collect();
    for reader in readers {
        assert!(reader.await.unwrap());
    }
}
