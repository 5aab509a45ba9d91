//! Bytes in the hands of connections. A connection keeps what it was given until its client has taken it, and a slow
//! client takes long: so only so much is given away as it is, and the rest as small copies that keep nothing else alive.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes handed out at once when they must be copied; blocks up to this length are handed out as they are.
pub(crate) const COPY_BYTES: usize = 32 << 10;

/// What may be given away without a copy.
#[derive(Debug)]
pub(super) struct Loans {
    free: Arc<Semaphore>,
}

/// Bytes on loan.
struct Lent {
    bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Loans {
    pub(super) fn new(total: u32) -> Self {
        Self { free: Arc::new(Semaphore::new(total as usize)) }
    }

    /// A part of a block of `block_len` bytes, all of which it keeps in memory, without copying it; `None` when too much
    /// is given away already.
    pub(super) fn lend(&self, bytes: Bytes, block_len: usize) -> Option<Bytes> {
        if block_len <= COPY_BYTES {
            return Some(bytes);
        }
        let room = self.free.clone().try_acquire_many_owned(u32::try_from(block_len).ok()?).ok()?;
        Some(Bytes::from_owner(Lent { bytes, _room: room }))
    }

    /// Bytes that may still be given away.
    #[cfg(test)]
    pub(super) fn free_bytes(&self) -> usize {
        self.free.available_permits()
    }
}
