//! Memory for segments and their pieces, from before they are coded until the last piece has left or was given up.
//!
//! It is the bound of what uploads take: when there is none, the packer takes no more blocks and uploads wait. Pieces that
//! go out late keep their segment's room; whoever sends them gives it back early when somebody waits for room.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// The room that there is; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    free: Arc<Semaphore>,
    total_kib: u32,
    /// Whether somebody waits for room.
    waited_for: watch::Sender<bool>,
}

/// Room that is taken. Dropping it gives it back.
#[derive(Debug)]
pub(super) struct Taken {
    _permit: OwnedSemaphorePermit,
}

/// Says that somebody waits, for as long as it lives.
struct Waiting<'r>(&'r watch::Sender<bool>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

impl Room {
    /// Room for so many bytes of segments with all their pieces.
    pub(crate) fn new(bytes: usize) -> Self {
        let total_kib = u32::try_from(bytes / 1024).unwrap_or(u32::MAX).max(1);
        let free = Arc::new(Semaphore::new(total_kib as usize));
        Self(Arc::new(Inner { free, total_kib, waited_for: watch::Sender::new(false) }))
    }

    /// What there is no more than: a segment that needs more has it to itself.
    fn kib(&self, bytes: usize) -> u32 {
        u32::try_from(bytes / 1024).unwrap_or(u32::MAX).clamp(1, self.0.total_kib)
    }

    /// Takes room if it is there right now.
    pub(super) fn try_take(&self, bytes: usize) -> Option<Taken> {
        let permit = self.0.free.clone().try_acquire_many_owned(self.kib(bytes)).ok()?;
        Some(Taken { _permit: permit })
    }

    /// Waits for room. May be dropped at any time; the place in the queue is lost then, but only the packer waits here.
    pub(super) async fn take(&self, bytes: usize) -> Taken {
        if let Some(taken) = self.try_take(bytes) {
            return taken;
        }
        self.0.waited_for.send_replace(true);
        let _waiting = Waiting(&self.0.waited_for);
        let permit = self.0.free.clone().acquire_many_owned(self.kib(bytes)).await;
        Taken { _permit: permit.expect("the semaphore is never closed") }
    }

    /// Waits until somebody waits for room.
    pub(super) async fn until_waited_for(&self) {
        let mut waited_for = self.0.waited_for.subscribe();
        waited_for.wait_for(|waited_for| *waited_for).await.expect("the sender is in `self`");
    }

    /// Bytes that nobody has taken.
    #[cfg(test)]
    pub(crate) fn free_bytes(&self) -> usize {
        self.0.free.available_permits() * 1024
    }
}
