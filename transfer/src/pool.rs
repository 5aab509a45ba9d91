//! Buffers that are used again and again: touching fresh pages costs as much as hashing what is written there.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use parking_lot::Mutex;

/// Keeps large buffers for reuse, up to so many bytes of them.
#[derive(Clone, Debug)]
pub struct Pool {
    idle: Arc<Mutex<Idle>>,
    idle_bytes_max: usize,
}

/// Buffers that nobody uses, those that came back last behind.
#[derive(Debug, Default)]
struct Idle {
    buffers: VecDeque<Vec<u8>>,
    bytes: usize,
}

/// A buffer on loan; it goes back to its pool when the last [`Bytes`] made of it is dropped.
#[derive(Debug)]
pub struct PooledBytes {
    bytes: Vec<u8>,
    pool: Pool,
}

impl Pool {
    /// A pool whose buffers take at most `idle_bytes_max` bytes while they are not in use.
    pub fn new(idle_bytes_max: usize) -> Self {
        Self { idle: Arc::default(), idle_bytes_max }
    }

    /// An empty buffer with room for at least `capacity` bytes. (Fresh room costs no memory until it is written to.)
    pub fn take(&self, capacity: usize) -> PooledBytes {
        let mut bytes = self.idle_buffer(capacity).unwrap_or_else(|| Vec::with_capacity(capacity));
        bytes.clear();
        PooledBytes { bytes, pool: self.clone() }
    }

    /// A buffer of exactly `len` bytes of no particular value: whatever was left in it, or zeros. For those who
    /// overwrite all of it, whom clearing it first would cost as much again.
    pub(crate) fn take_dirty(&self, len: usize) -> PooledBytes {
        let bytes = self.idle_buffer(len).map(|mut bytes| (bytes.resize(len, 0), bytes).1);
        PooledBytes { bytes: bytes.unwrap_or_else(|| vec![0; len]), pool: self.clone() }
    }

    /// How many bytes of buffers are not in use.
    #[cfg(test)]
    pub(crate) fn idle_bytes(&self) -> usize {
        self.idle.lock().bytes
    }

    /// The idle buffer that fits best and is not more than twice as large, or small things would hold much memory.
    fn idle_buffer(&self, capacity: usize) -> Option<Vec<u8>> {
        let mut idle = self.idle.lock();
        let fits = capacity..=capacity.saturating_mul(2);
        let fitting = idle.buffers.iter().enumerate().filter(|(_, buffer)| fits.contains(&buffer.capacity()));
        // Of those that fit alike the last, whose bytes may still be in the processor's cache.
        let (best, _) = fitting.rev().min_by_key(|(_, buffer)| buffer.capacity())?;
        let buffer = idle.buffers.remove(best)?;
        idle.bytes -= buffer.capacity();
        Some(buffer)
    }

    /// Takes a buffer back; those that have lain here longest make room for it.
    fn put_back(&self, buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        if capacity == 0 || capacity > self.idle_bytes_max {
            return;
        }
        // Freed behind the lock: giving pages back to the system takes time.
        let mut too_many = Vec::new();
        let mut idle = self.idle.lock();
        while idle.bytes + capacity > self.idle_bytes_max
            && let Some(oldest) = idle.buffers.pop_front()
        {
            idle.bytes -= oldest.capacity();
            too_many.push(oldest);
        }
        idle.bytes += capacity;
        idle.buffers.push_back(buffer);
        drop(idle);
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

impl AsMut<[u8]> for PooledBytes {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for PooledBytes {
    fn drop(&mut self) {
        self.pool.put_back(std::mem::take(&mut self.bytes));
    }
}
