//! Buffers that are used again and again: touching fresh pages costs as much as hashing what is written there.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

/// Keeps a few large buffers for reuse.
#[derive(Clone, Debug)]
pub struct Pool {
    idle: Arc<Mutex<Vec<Vec<u8>>>>,
    idle_max: usize,
}

/// A buffer on loan; it goes back to its pool when the last [`Bytes`] made of it is dropped.
#[derive(Debug)]
pub struct PooledBytes {
    bytes: Vec<u8>,
    pool: Pool,
}

impl Pool {
    /// A pool that keeps at most `idle_max` buffers while they are not in use.
    pub fn new(idle_max: usize) -> Self {
        Self { idle: Arc::default(), idle_max }
    }

    /// An empty buffer with room for at least `capacity` bytes.
    pub fn take(&self, capacity: usize) -> PooledBytes {
        let mut bytes = self.idle.lock().pop().unwrap_or_default();
        bytes.clear();
        bytes.reserve(capacity);
        PooledBytes { bytes, pool: self.clone() }
    }
}

impl PooledBytes {
    /// The buffer itself.
    pub fn vec(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The bytes, shareable without copying.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for PooledBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for PooledBytes {
    fn drop(&mut self) {
        let mut idle = self.pool.idle.lock();
        if idle.len() < self.pool.idle_max {
            idle.push(std::mem::take(&mut self.bytes));
        }
    }
}
