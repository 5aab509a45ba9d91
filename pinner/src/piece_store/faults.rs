//! Points where the tests make the disk fail. Outside of tests they cost nothing and never fail.

use std::io;

/// A place where the disk can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Writing to a log.
    Append,
    /// Syncing a log.
    Sync,
    /// Making a log.
    Create,
    /// Moving a large file to its name.
    Rename,
}

/// The faults that are armed.
#[derive(Default)]
pub(super) struct Faults {
    #[cfg(test)]
    armed: parking_lot::Mutex<Vec<Fault>>,
}

impl Faults {
    /// Makes the next operation of this kind fail.
    #[cfg(test)]
    pub(super) fn arm(&self, fault: Fault) {
        self.armed.lock().push(fault);
    }

    #[cfg(test)]
    pub(super) fn check(&self, fault: Fault) -> io::Result<()> {
        let mut armed = self.armed.lock();
        match armed.iter().position(|armed| *armed == fault) {
            Some(at) => {
                armed.swap_remove(at);
                Err(io::Error::from_raw_os_error(libc::EIO))
            }
            None => Ok(()),
        }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "the shape of the test build")]
    pub(super) fn check(&self, _fault: Fault) -> io::Result<()> {
        Ok(())
    }
}
