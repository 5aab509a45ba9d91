//! What is asked for often stays, whatever passes by once.

use std::collections::{HashSet, VecDeque};

use super::{Numbers, SMALL, block, has, open_small};
use crate::disk_cache::{DiskCache, ghost::Ghost};

/// Requests by Zipf's law over 2000 blocks, and after about every 500 of them a scan: a run of blocks that are asked
/// for once.
fn requests(count: usize, exponent: f64, run: u64) -> Vec<u64> {
    let mut cumulated = Vec::new();
    let mut sum = 0.0;
    for rank in 1..=2000 {
        sum += f64::from(rank).powf(-exponent);
        cumulated.push(sum);
    }
    let mut numbers = Numbers(5);
    let mut requests = Vec::new();
    let mut next_scanned = 1_000_000;
    while requests.len() < count {
        if numbers.share() < 0.002 {
            requests.extend(next_scanned..next_scanned + run);
            next_scanned += run;
        }
        let drawn = numbers.share() * sum;
        requests.push(cumulated.partition_point(|below| *below < drawn) as u64);
    }
    requests.truncate(count);
    requests
}

/// About 2 KiB, so that the cache holds an eighth of the 2000 blocks.
fn len_of(id: u64) -> usize {
    usize::try_from(1000 + id * 97 % 2000).unwrap()
}

async fn ask(cache: &DiskCache, id: u64) -> bool {
    let wanted = block(id, len_of(id));
    let hit = has(cache, &wanted).await;
    if !hit {
        cache.offer(wanted);
        cache.flush().await;
    }
    hit
}

/// Hits of a plain queue that admits everything and holds `bytes_max`.
fn fifo_hits(requests: &[u64], bytes_max: usize) -> usize {
    let (mut queue, mut present, mut bytes, mut hits) = (VecDeque::new(), HashSet::new(), 0, 0);
    for id in requests {
        if present.contains(id) {
            hits += 1;
            continue;
        }
        queue.push_back(*id);
        present.insert(*id);
        bytes += len_of(*id);
        while bytes > bytes_max {
            let Some(oldest) = queue.pop_front() else { break };
            present.remove(&oldest);
            bytes -= len_of(oldest);
        }
    }
    hits
}

#[tokio::test]
async fn it_finds_more_than_a_queue_and_writes_less() {
    for (exponent, run) in [(0.8, 0), (0.8, 500), (1.0, 200)] {
        let dir = tempfile::tempdir().unwrap();
        let cache = open_small(dir.path());
        let requests = requests(12_000, exponent, run);
        for id in &requests {
            ask(&cache, *id).await;
        }
        let stats = cache.stats();
        let plain = fifo_hits(&requests, usize::try_from(SMALL.bytes_max).unwrap());
        let ratio = |hits: f64| hits / requests.len() as f64;
        let writes = ratio((stats.admitted + stats.carried) as f64);
        let (ours, theirs) = (ratio(stats.hits as f64), ratio(plain as f64));
        println!(
            "zipf {exponent} scans of {run}: {ours:.3} (queue {theirs:.3}); writes {writes:.3} (queue {:.3})",
            1.0 - theirs
        );
        assert!(ours > theirs * 1.1, "{ours:.3} of requests are hits, {theirs:.3} with a queue");
        assert!(writes < (1.0 - theirs) / 2.0, "{writes:.3} writes a request");
    }
}

#[tokio::test]
async fn a_scan_leaves_what_is_popular() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_small(dir.path());
    // Fill it, then read some of what is there.
    for id in 0..400 {
        ask(&cache, id).await;
    }
    let mut popular = Vec::new();
    for id in 0..400 {
        if has(&cache, &block(id, len_of(id))).await && popular.len() < 100 {
            popular.push(id);
        }
    }
    let before = cache.stats();
    for id in 1_000_000..1_002_000 {
        ask(&cache, id).await;
    }
    let after = cache.stats();
    assert_eq!((after.admitted, after.rejected), (before.admitted, before.rejected + 2000));
    for id in popular {
        assert!(ask(&cache, id).await);
    }
}

#[tokio::test]
async fn what_was_read_is_carried_over_and_the_rest_goes() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_small(dir.path());
    let twice = |id: u64| {
        cache.offer(block(id, 2000));
        cache.offer(block(id, 2000));
    };
    for id in 0..2000 {
        twice(id);
        cache.flush().await;
        for popular in 0..10.min(id) {
            assert!(has(&cache, &block(popular, 2000)).await, "block {popular} was lost at {id}");
        }
    }
    let stats = cache.stats();
    assert!(!has(&cache, &block(10, 2000)).await);
    // Ten blocks go once through eight files of 32 blocks each time: 2000 / 256 rounds.
    assert!((40..200).contains(&stats.carried), "{} carried", stats.carried);
}

#[tokio::test]
async fn at_most_as_much_is_carried_as_is_new() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open_small(dir.path());
    let mut offered = 0;
    for id in 0..3000 {
        // Every block is read as soon as it is there: all deserve a second chance, not all can have it.
        let wanted = block(id, 2000);
        cache.offer(wanted.clone());
        cache.offer(wanted.clone());
        cache.flush().await;
        offered += u64::from(has(&cache, &wanted).await);
        has(&cache, &wanted).await;
    }
    let stats = cache.stats();
    assert_eq!(offered, 3000);
    assert!(stats.carried > 1000 && stats.carried <= stats.admitted, "{stats:?}");
}

#[test]
fn ghosts_are_forgotten_after_a_while() {
    let mut ghost = Ghost::new(1000, 1 << 20);
    ghost.remember(7, 100);
    for key in 100..109 {
        assert!(ghost.knows(7));
        ghost.remember(key, 100);
    }
    for key in 200..209 {
        ghost.remember(key, 100);
    }
    assert!(ghost.knows(7) && !ghost.knows(8));
    for key in 300..312 {
        ghost.remember(key, 100);
    }
    assert!(!ghost.knows(7));
}

#[test]
fn ghosts_are_bounded_by_number() {
    let mut ghost = Ghost::new(u64::MAX, 100);
    for key in 0..10_000 {
        ghost.remember(key, 0);
        assert!(ghost.knows(key));
    }
    assert_eq!((0..10_000).filter(|key| ghost.knows(*key)).count(), 100);
}
