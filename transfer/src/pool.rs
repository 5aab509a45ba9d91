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

    /// An empty buffer with room for at least `capacity` bytes. (Fresh room costs no memory until it is written to.)
    pub fn take(&self, capacity: usize) -> PooledBytes {
        let mut bytes = self.idle_buffer(capacity);
        bytes.clear();
        bytes.reserve(capacity);
        PooledBytes { bytes, pool: self.clone() }
    }

    /// A buffer of exactly `len` bytes of no particular value: whatever was left in it, or zeros. For those who
    /// overwrite all of it, whom clearing it first would cost as much again.
    pub(crate) fn take_dirty(&self, len: usize) -> PooledBytes {
        let mut bytes = self.idle_buffer(len);
        if bytes.capacity() < len {
            // Growing would copy what nobody needs.
            bytes = Vec::with_capacity(len);
        }
        bytes.resize(len, 0);
        PooledBytes { bytes, pool: self.clone() }
    }

    /// How many buffers are not in use.
    #[cfg(test)]
    pub(crate) fn idle(&self) -> usize {
        self.idle.lock().len()
    }

    /// The idle buffer that fits best, so that buffers for small things do not grow to the size of large ones; the
    /// largest when none is large enough.
    fn idle_buffer(&self, capacity: usize) -> Vec<u8> {
        let mut idle = self.idle.lock();
        let rank = |at: &usize| {
            let has = idle[*at].capacity();
            (has < capacity, has.abs_diff(capacity))
        };
        let best = (0..idle.len()).min_by_key(rank);
        best.map(|at| idle.swap_remove(at)).unwrap_or_default()
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
