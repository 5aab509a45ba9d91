//! How this process asks the system for memory.

/// Keeps memory near what is really in use, for processes that run for months.
///
/// With glibc's defaults a gateway held 1.5 times what it used: freed buffers of a mebibyte stayed in one of eight arenas a
/// processor, where nobody else could use them. Now there are two arenas, and buffers from 256 KiB up are given back to
/// the system as soon as they are freed. That costs fresh pages, which is why those used again and again come from pools
/// (`transfer::Pool`). Elsewhere than on glibc nothing is changed.
pub(crate) fn keep_little() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[expect(unsafe_code, reason = "the allocator's settings are behind a C call")]
    // SAFETY: mallopt only sets numbers. It is called before other threads exist.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 2);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 256 << 10);
        // Setting one fixes the other, at 128 KiB: small buffers would be given back and asked for all the time.
        libc::mallopt(libc::M_TRIM_THRESHOLD, 8 << 20);
    }
}
