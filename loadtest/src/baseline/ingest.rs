//! The ceiling of uploads: what the processor can take in when nothing is sent and nothing is stored.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use anyhow::{Context as _, anyhow};
use content::{Cid, Codec, HashFn};
use erasure::Scheme;
use transfer::{Pool, code_segment};

use crate::pattern::Pattern;

const LEAF: usize = 1 << 20;
/// Bytes of a segment, as gateways are set.
const SEGMENT: u64 = 32 << 20;

/// Generates, cuts, hashes, codes 8 of 20 and hashes the pieces of `bytes` bytes, on a thread for each processor; gives
/// 10^9 bytes a second.
pub(crate) async fn ceiling(bytes: u64) -> anyhow::Result<f64> {
    tokio::task::spawn_blocking(move || {
        let scheme = Scheme::new(erasure::Codec::Gf8, 8, 20).context("a scheme")?;
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let (left, pool) =
            (Arc::new(AtomicU64::new(bytes.div_ceil(SEGMENT))), Pool::new(3 * threads * (32 << 20)));
        let count = left.load(Ordering::Relaxed);
        let started = Instant::now();
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (left, pool) = (left.clone(), pool.clone());
                thread::spawn(move || {
                    while take(&left) {
                        ingest(scheme, &pool)?;
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        for worker in workers {
            worker.join().map_err(|_| anyhow!("a thread of the ingest baseline panicked"))??;
        }
        Ok((count * SEGMENT) as f64 / 1e9 / started.elapsed().as_secs_f64())
    })
    .await
    .context("ingest baseline")?
}

fn take(left: &AtomicU64) -> bool {
    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
}

/// One segment.
fn ingest(scheme: Scheme, pool: &Pool) -> anyhow::Result<()> {
    let mut segment = pool.take(usize::try_from(SEGMENT)?);
    for slice in Pattern::new(SEGMENT).slices() {
        segment.vec().extend_from_slice(&slice);
    }
    for leaf in segment.as_ref().chunks(LEAF) {
        std::hint::black_box(Cid::of(Codec::Raw, HashFn::Sha2_256, leaf));
    }
    std::hint::black_box(code_segment(scheme, segment, pool)?);
    Ok(())
}
