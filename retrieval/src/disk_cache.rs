//! The disk tier of the block cache: popular blocks survive eviction from memory, and restarts.
//!
//! Files of a sixteenth of the cache are filled one after another, and the oldest is dropped whole; what was read
//! since it was written is carried over first (`carry`). Once the cache is full a block must be asked for
//! twice to be written at all (`ghost`). The index is in memory (`index`) and is read back from the lists at the end
//! of the files at start (`recover`, `record`). One thread writes (`writer`); readers read for themselves.
//!
//! It is a cache: it never syncs, never waits for the disk before it answers an offer, and loses blocks as it likes.
//! It never gives out a byte that was not checked against the CID asked for, and never outgrows its limits.

mod block_file;
mod bounds;
mod carry;
mod counters;
mod ghost;
mod index;
mod locked_dir;
mod record;
mod recover;
mod state;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    fmt,
    fs::File,
    io,
    path::Path,
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use bytes::Bytes;
use content::{BLOCK_MAX, Block, Cid};
use tokio::sync::{Semaphore, mpsc, oneshot};

use self::{
    block_file::Disk,
    bounds::Bounds,
    counters::Event,
    index::Place,
    locked_dir::LockedDir,
    record::Line,
    state::{Admission, Shared},
    writer::{Job, Writer},
};

/// Limits of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskCacheConfig {
    /// Bytes on disk, at least 16 MiB.
    pub bytes_max: u64,
    /// Blocks on disk, at least 64. The index takes up to 64 bytes of memory for each.
    pub entries_max: usize,
    /// Bytes of blocks waiting to be written; at least one block of the largest size is let in.
    pub queue_bytes_max: u64,
    /// Blocks waiting to be written.
    pub queue_blocks_max: usize,
    /// Blocks read and verified at once; each takes a blocking thread and its bytes of memory.
    pub reads_max: usize,
    /// How long writing rests after the disk refused.
    pub retry_after: Duration,
}

impl Default for DiskCacheConfig {
    fn default() -> Self {
        Self {
            bytes_max: 4 << 30,
            entries_max: 1 << 18,
            queue_bytes_max: 16 << 20,
            queue_blocks_max: 1024,
            reads_max: 32,
            retry_after: Duration::from_secs(30),
        }
    }
}

/// What happened since the cache was opened, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskCacheStats {
    /// Blocks given out.
    pub hits: u64,
    /// Blocks that were not there.
    pub misses: u64,
    /// Blocks that could not be read or did not match their CID; they were dropped, and count as neither of the above.
    pub corrupt: u64,
    /// Offered blocks that were written.
    pub admitted: u64,
    /// Offered blocks that were not worth a write yet, or whose CID allows no check.
    pub rejected: u64,
    /// Offered blocks that came too fast, or while writing rested.
    pub dropped: u64,
    /// Offered blocks that the disk refused.
    pub failed: u64,
    /// Blocks that were copied into a newer file because they had been read.
    pub carried: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// Blocks in the cache.
    pub entries: usize,
    /// Files.
    pub files: usize,
    /// Whether writing rests because the disk refused.
    pub paused: bool,
}

/// The cache; cheap to clone. When the last clone is dropped, the writer finishes in its own time;
/// [`DiskCache::close`] waits for that.
#[derive(Clone)]
pub struct DiskCache {
    shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    reads: Arc<Semaphore>,
    bounds: Bounds,
    queue_bytes_max: u64,
}

impl fmt::Debug for DiskCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskCache")
            .field("bounds", &self.bounds)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl DiskCache {
    /// Opens the cache in `dir`, which is created if need be and belongs to it alone. Reads what is there, which
    /// takes milliseconds for a gibibyte, so call it where that may block.
    ///
    /// Errors: `InvalidInput` for limits too small, `ResourceBusy` while another process (or another `DiskCache`)
    /// has the directory, and what the system says about the directory.
    pub fn open(dir: &Path, config: &DiskCacheConfig) -> io::Result<Self> {
        Self::open_within(dir, config, Bounds::new(config)?, Disk::default())
    }

    fn open_within(dir: &Path, config: &DiskCacheConfig, bounds: Bounds, disk: Disk) -> io::Result<Self> {
        let dir = LockedDir::acquire(dir)?;
        let recovered = recover::recover(dir.path(), &bounds)?;
        let (writer, shared) = Writer::new(dir, bounds, disk, config.retry_after, recovered);
        let (cache, jobs) = Self::with_queue(shared, config, bounds);
        thread::Builder::new().name("disk-cache".into()).spawn(move || writer.run(jobs))?;
        Ok(cache)
    }

    /// The handle, and the end of its queue where the writer goes.
    fn with_queue(
        shared: Arc<Shared>,
        config: &DiskCacheConfig,
        bounds: Bounds,
    ) -> (Self, mpsc::Receiver<Job>) {
        let (jobs, receiver) = mpsc::channel(config.queue_blocks_max.clamp(1, Semaphore::MAX_PERMITS));
        let reads = Arc::new(Semaphore::new(config.reads_max.clamp(1, Semaphore::MAX_PERMITS)));
        let queue_bytes_max = config.queue_bytes_max.max(BLOCK_MAX as u64);
        (Self { shared, jobs, reads, bounds, queue_bytes_max }, receiver)
    }

    /// The bytes that `cid` names, if they are here. They are read and verified on a blocking thread of the tokio
    /// runtime this must be called in; a block that is not what it should be is dropped. May be given up at any await.
    pub async fn get(&self, cid: &Cid) -> Option<Bytes> {
        let found = record::key(cid).and_then(|key| Some((key, self.shared.state.lock().find(key)?)));
        let Some((key, (place, file))) = found else {
            self.shared.counters.count(Event::Miss);
            return None;
        };
        let permit = self.reads.clone().acquire_owned().await.ok()?;
        let named = cid.clone();
        let read = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            read_verified(&file, place, &named)
        });
        let bytes = read.await.ok()?;
        if bytes.is_some() {
            self.shared.counters.count(Event::Hit);
        } else {
            self.shared.counters.count(Event::Corrupt);
            tracing::warn!(%cid, file = place.file, offset = place.offset, "a block of the disk cache is damaged");
            self.shared.state.lock().forget_damaged(key, place);
        }
        bytes
    }

    /// Offers a block that was verified. Returns at once: whether and when it is written is decided elsewhere.
    /// Until then the queue keeps the allocation behind `block.bytes` alive.
    pub fn offer(&self, block: Block) {
        let Some(line) = line_of(&block).filter(|line| self.bounds.fits(0, 0, *line)) else {
            return self.shared.counters.count(Event::Rejected);
        };
        let admission = self.shared.state.lock().admit(line);
        match admission {
            Admission::Worthwhile => {}
            Admission::Present => return,
            Admission::NotYet => return self.shared.counters.count(Event::Rejected),
        }
        let len = u64::from(line.len);
        let queued = &self.shared.queued_bytes;
        let reserve = |bytes: u64| bytes.checked_add(len).filter(|sum| *sum <= self.queue_bytes_max);
        if queued.fetch_update(Ordering::Relaxed, Ordering::Relaxed, reserve).is_err() {
            return self.shared.counters.count(Event::Dropped);
        }
        if self.jobs.try_send(Job::Store(line, block.bytes)).is_err() {
            queued.fetch_sub(len, Ordering::Relaxed);
            self.shared.counters.count(Event::Dropped);
        }
    }

    /// Waits until everything offered before is written or given up.
    pub async fn flush(&self) {
        self.ask(Job::Flush).await;
    }

    /// Writes what is queued, lets go of the directory and takes no more blocks. Blocks that are there can still be
    /// read through this handle and its clones.
    pub async fn close(&self) {
        self.ask(Job::Close).await;
    }

    async fn ask(&self, job: impl FnOnce(oneshot::Sender<()>) -> Job) {
        let (done, answer) = oneshot::channel();
        // Without a writer there is nothing to wait for.
        if self.jobs.send(job(done)).await.is_ok() {
            drop(answer.await);
        }
    }

    /// What happened so far, and what is there.
    pub fn stats(&self) -> DiskCacheStats {
        let counters = &self.shared.counters;
        let state = self.shared.state.lock();
        DiskCacheStats {
            hits: counters.get(Event::Hit),
            misses: counters.get(Event::Miss),
            corrupt: counters.get(Event::Corrupt),
            admitted: counters.get(Event::Admitted),
            rejected: counters.get(Event::Rejected),
            dropped: counters.get(Event::Dropped),
            failed: counters.get(Event::Failed),
            carried: counters.get(Event::Carried),
            bytes: state.load().bytes,
            entries: state.entries(),
            files: state.files(),
            paused: self.shared.paused.load(Ordering::Relaxed),
        }
    }
}

fn line_of(block: &Block) -> Option<Line> {
    let len = u32::try_from(block.bytes.len()).ok().filter(|_| block.bytes.len() <= BLOCK_MAX)?;
    Some(Line { key: record::key(&block.cid)?, len })
}

/// Reads a block; `None` unless it is what `cid` names.
fn read_verified(file: &File, place: Place, cid: &Cid) -> Option<Bytes> {
    let bytes = block_file::read(file, place).ok()?;
    cid.verify(&bytes).ok()?;
    Some(Bytes::from(bytes))
}
