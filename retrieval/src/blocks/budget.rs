//! The room for blocks between their nodes and their readers, and the batches that take it up.
//!
//! A batch gives its room back when nobody holds it any more. A reader who stands still would keep it for ever: so when
//! somebody waits for room, batches that were held too long lose their bytes, and whoever still wants them fetches anew.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use content::Cid;
use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::error::ReadError;

/// What became of blocks that were fetched together.
#[derive(Debug)]
pub(super) struct Batch(Mutex<Option<Loaded>>);

#[derive(Debug)]
struct Loaded {
    blocks: HashMap<Cid, Result<Bytes, ReadError>>,
    room: Option<OwnedSemaphorePermit>,
}

impl Batch {
    /// What is known of a block without a fetch. It takes no room: its bytes, if there are any, are kept elsewhere.
    pub(super) fn outcome(cid: Cid, outcome: Result<Bytes, ReadError>) -> Arc<Self> {
        let blocks = HashMap::from([(cid, outcome)]);
        Arc::new(Self(Mutex::new(Some(Loaded { blocks, room: None }))))
    }

    /// What came of one block; `None` when this batch has lost its bytes, or never was about it.
    pub(super) fn get(&self, cid: &Cid) -> Option<Result<Bytes, ReadError>> {
        self.0.lock().as_ref()?.blocks.get(cid).cloned()
    }

    /// Drops the bytes; gives how much room they took.
    fn let_go(&self) -> usize {
        let loaded = self.0.lock().take();
        loaded.and_then(|loaded| loaded.room).map_or(0, |room| room.num_permits())
    }
}

/// Bytes that may be between nodes and readers at once.
#[derive(Debug)]
pub(super) struct Budget {
    free: Arc<Semaphore>,
    total: u32,
    hold_max: Duration,
    held: Mutex<Holders>,
}

/// Batches in order of age; those that are gone are swept out now and then.
#[derive(Debug, Default)]
struct Holders {
    batches: VecDeque<(Instant, Weak<Batch>)>,
    sweep_at: usize,
}

/// Sweeping starts at this many batches.
const SWEEP_MIN: usize = 64;

impl Budget {
    pub(super) fn new(total: u32, hold_max: Duration) -> Self {
        let free = Arc::new(Semaphore::new(total as usize));
        Self { free, total, hold_max, held: Mutex::default() }
    }

    /// Waits for room for so many bytes, or for all the room when they are more. May be dropped at any time.
    pub(super) async fn take(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        let wanted = u32::try_from(bytes).unwrap_or(u32::MAX).min(self.total);
        if wanted == 0 {
            return None;
        }
        // One future for the whole wait: a new one would lose its place in the queue.
        let acquire = self.free.clone().acquire_many_owned(wanted);
        tokio::pin!(acquire);
        loop {
            tokio::select! {
                biased;
                // It fails only when the semaphore is closed, which nobody does.
                room = acquire.as_mut() => return room.ok(),
                () = tokio::time::sleep(self.hold_max / 4) => self.take_back(wanted as usize),
            }
        }
    }

    /// A batch that holds its room until it is dropped or has been held for too long.
    pub(super) fn load(
        &self,
        blocks: HashMap<Cid, Result<Bytes, ReadError>>,
        room: Option<OwnedSemaphorePermit>,
    ) -> Arc<Batch> {
        let batch = Arc::new(Batch(Mutex::new(Some(Loaded { blocks, room }))));
        let mut held = self.held.lock();
        if held.batches.len() >= held.sweep_at {
            held.batches.retain(|(_, batch)| batch.strong_count() > 0);
            held.sweep_at = SWEEP_MIN.max(held.batches.len() * 2);
        }
        held.batches.push_back((Instant::now(), Arc::downgrade(&batch)));
        batch
    }

    /// Takes room from those who have held it longest, at least `hold_max` long, until it is enough.
    fn take_back(&self, wanted: usize) {
        let mut found = self.free.available_permits();
        let mut held = self.held.lock();
        while found < wanted {
            let Some((since, _)) = held.batches.front() else { return };
            if since.elapsed() < self.hold_max {
                return;
            }
            let oldest = held.batches.pop_front().and_then(|(_, batch)| batch.upgrade());
            let freed = oldest.map_or(0, |batch| batch.let_go());
            if freed > 0 {
                metrics::counter!("pinstripe_read_rooms_taken_back_total").increment(1);
            }
            found += freed;
        }
    }

    /// Bytes of room that nobody has.
    #[cfg(test)]
    pub(crate) fn free_bytes(&self) -> usize {
        self.free.available_permits()
    }
}
