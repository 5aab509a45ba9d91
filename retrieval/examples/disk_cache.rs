//! Measures the disk cache on this machine: `cargo run --release -p retrieval --example disk_cache [DIR]`.
//!
//! Blocks are hot in the page cache, so what is seen is the cost of the cache itself beside that of reading a file
//! and hashing. Every figure stands beside a baseline from the same run.

use std::{
    fs::File,
    future::Future,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use bytes::Bytes;
use content::{Block, Codec, HashFn};
use retrieval::{DiskCache, DiskCacheConfig};

const RUN: Duration = Duration::from_millis(1500);

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let dir = std::env::args_os().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let dir = tempfile::tempdir_in(dir)?;
    for (len, count) in [(1 << 10, 15_000), (64 << 10, 2_000), (1 << 20, 200)] {
        measure(&dir.path().join(len.to_string()), len, count).await?;
    }
    measure_start(&dir.path().join("start")).await
}

/// Blocks of `len` bytes that differ.
fn blocks(len: usize, count: usize) -> Vec<Block> {
    let make = |id: usize| {
        let mut bytes = vec![0x5a; len];
        let stamp = id.to_le_bytes();
        bytes[..stamp.len()].copy_from_slice(&stamp);
        Block::of(Codec::Raw, HashFn::Sha2_256, Bytes::from(bytes))
    };
    (0..count).map(make).collect()
}

/// Offers as fast as the writer takes them.
async fn offer_all(cache: &DiskCache, blocks: &[Block], at_once: usize) {
    for some in blocks.chunks(at_once) {
        for block in some {
            cache.offer(block.clone());
        }
        cache.flush().await;
    }
}

async fn measure(dir: &Path, len: usize, count: usize) -> Result<(), Failure> {
    let blocks = blocks(len, count);
    let cache = DiskCache::open(dir, &DiskCacheConfig::default())?;
    let started = Instant::now();
    offer_all(&cache, &blocks, ((8 << 20) / len).min(1000)).await;
    report("offer", len, count, started.elapsed());

    let file = File::open(dir.join("00000001.blocks"))?;
    let started = Instant::now();
    let mut reads = 0;
    while started.elapsed() < RUN {
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, ((reads % count) * len) as u64)?;
        std::hint::black_box(Cid::of(&bytes));
        reads += 1;
    }
    report("baseline: read + hash", len, reads, started.elapsed());
    for readers in [1, 2, 16] {
        let (gets, elapsed) = get_with(readers, &cache, &blocks).await?;
        report(&format!("get, {readers} readers"), len, gets, elapsed);
    }
    let missing = Block::of(Codec::Raw, HashFn::Sha2_256, Bytes::from_static(b"missing"));
    let (misses, elapsed) = timed(|| async { cache.get(&missing.cid).await.is_none() }).await;
    report("miss", len, misses, elapsed);
    let stats = cache.stats();
    assert_eq!((stats.admitted, stats.corrupt), (count as u64, 0), "every block was written and read back");
    cache.close().await;
    Ok(())
}

/// Hashes as the cache does when it verifies.
struct Cid;

impl Cid {
    fn of(bytes: &[u8]) -> content::Cid {
        content::Cid::of(Codec::Raw, HashFn::Sha2_256, bytes)
    }
}

async fn timed<F: Future<Output = bool>>(mut operation: impl FnMut() -> F) -> (usize, Duration) {
    let started = Instant::now();
    let mut count = 0;
    while started.elapsed() < RUN {
        assert!(operation().await, "the operation went as expected");
        count += 1;
    }
    (count, started.elapsed())
}

async fn get_with(readers: usize, cache: &DiskCache, blocks: &[Block]) -> Result<(usize, Duration), Failure> {
    let next = std::sync::Arc::new(AtomicUsize::new(0));
    let cids: std::sync::Arc<[content::Cid]> = blocks.iter().map(|block| block.cid.clone()).collect();
    let started = Instant::now();
    let mut tasks = Vec::new();
    for _ in 0..readers {
        let (cache, next, cids) = (cache.clone(), next.clone(), cids.clone());
        tasks.push(tokio::spawn(async move {
            let read = || async {
                // Another block each time, and never in the order they were written in.
                let cid = &cids[next.fetch_add(7919, Ordering::Relaxed) % cids.len()];
                cache.get(cid).await.is_some()
            };
            timed(read).await.0
        }));
    }
    let mut gets = 0;
    for task in tasks {
        gets += task.await?;
    }
    Ok((gets, started.elapsed()))
}

/// How long it takes to open a cache of a gibibyte, from lists and by scanning.
async fn measure_start(dir: &Path) -> Result<(), Failure> {
    for (len, count) in [(64 << 10, 15_000), (4 << 10, 200_000)] {
        let dir = dir.join(len.to_string());
        let cache = DiskCache::open(&dir, &DiskCacheConfig::default())?;
        offer_all(&cache, &blocks(len, count), ((8 << 20) / len).min(1000)).await;
        cache.close().await;
        let stats = cache.stats();
        let started = Instant::now();
        let cache = DiskCache::open(&dir, &DiskCacheConfig::default())?;
        println!(
            "open {} entries, {} MB, from lists: {:?}",
            stats.entries,
            stats.bytes / 1_000_000,
            started.elapsed()
        );
        assert_eq!(cache.stats().entries, stats.entries, "every block is found again");
        cache.close().await;
        for entry in std::fs::read_dir(&dir)? {
            let file = File::options().write(true).open(entry?.path())?;
            file.set_len(file.metadata()?.len().saturating_sub(1))?;
        }
        let started = Instant::now();
        let cache = DiskCache::open(&dir, &DiskCacheConfig::default())?;
        println!("open {} entries by scanning: {:?}", cache.stats().entries, started.elapsed());
        cache.close().await;
    }
    Ok(())
}

fn report(what: &str, len: usize, count: usize, elapsed: Duration) {
    let seconds = elapsed.as_secs_f64();
    let rate = count as f64 / seconds;
    let each = seconds / count as f64 * 1e6;
    println!(
        "{what:>22} {len:>8} bytes: {rate:>10.0}/s {:>8.3} GB/s {each:>9.1} us each",
        rate * len as f64 / 1e9
    );
}
