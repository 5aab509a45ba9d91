//! How much may still be stored: the operator's capacity, the reserve of the file system, and what puts under way will take.

use std::{
    ffi::CString,
    io,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::errors::PutError;

pub(super) struct Space {
    dir: CString,
    capacity_bytes: u64,
    reserve_bytes: u64,
    reserved: AtomicU64,
}

impl Space {
    pub(super) fn new(dir: &Path, capacity_bytes: u64, reserve_bytes: u64) -> io::Result<Self> {
        let dir = CString::new(dir.as_os_str().as_bytes()).map_err(io::Error::other)?;
        Ok(Self { dir, capacity_bytes, reserve_bytes, reserved: AtomicU64::new(0) })
    }

    /// Sets `bytes` aside if they fit beside the bytes in use; they are free again when the reservation is dropped.
    pub(super) fn reserve(
        self: &Arc<Self>,
        bytes: u64,
        occupied: impl FnOnce() -> u64,
    ) -> Result<Reservation, PutError> {
        // Reserve first and look afterwards: the writer counts a piece as in use before it drops the reservation, so
        // that each put is seen at least once, and two puts cannot both see the last free bytes.
        let reserved = self.reserved.fetch_add(bytes, Ordering::SeqCst).saturating_add(bytes);
        let reservation = Reservation { space: Arc::clone(self), bytes };
        let available = self.available()?.saturating_sub(self.reserve_bytes);
        if occupied().saturating_add(reserved) > self.capacity_bytes || reserved > available {
            return Err(PutError::NoSpace { bytes });
        }
        Ok(reservation)
    }

    pub(super) fn capacity_bytes(&self) -> u64 {
        self.capacity_bytes
    }

    /// Bytes set aside for puts under way.
    pub(super) fn reserved_bytes(&self) -> u64 {
        self.reserved.load(Ordering::SeqCst)
    }

    /// Bytes that may still be stored, given that `occupied` are in use.
    pub(super) fn free_bytes(&self, occupied: u64) -> io::Result<u64> {
        let taken = occupied.saturating_add(self.reserved_bytes());
        let of_disk =
            self.available()?.saturating_sub(self.reserve_bytes).saturating_sub(self.reserved_bytes());
        Ok(self.capacity_bytes.saturating_sub(taken).min(of_disk))
    }

    /// Free bytes of the file system, for a user without privileges.
    fn available(&self) -> io::Result<u64> {
        let mut found = std::mem::MaybeUninit::<libc::statvfs>::uninit();
        // SAFETY: `dir` is a NUL-terminated string and `found` has room for the answer; both outlive the call.
        let result = unsafe { libc::statvfs(self.dir.as_ptr(), found.as_mut_ptr()) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so it has filled in the whole struct.
        let found = unsafe { found.assume_init() };
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }
}

/// Bytes set aside for one put.
pub(super) struct Reservation {
    space: Arc<Space>,
    bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.space.reserved.fetch_sub(self.bytes, Ordering::SeqCst);
    }
}
