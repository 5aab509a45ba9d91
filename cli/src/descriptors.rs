//! How many files and connections this process may have open.

/// Asks for as many as the system allows. The usual limit of 1024 is for old programs that cannot handle more
/// (`select(2)`), and less than a server's connections and files come to.
pub(crate) fn take_all() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read and write the given struct alone.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 && limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}
