//! The signals that ask the network to end. A signal that the caller had ignored, as `nohup` does, stays ignored.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C, SIGTERM, and the end of the terminal.
pub(super) struct Stop {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
}

impl Stop {
    pub(super) fn new() -> io::Result<Self> {
        // Asked first: listening for the signal changes the answer.
        let hangup = if hangup_is_ignored() { None } else { Some(signal(SignalKind::hangup())?) };
        let (interrupt, terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        Ok(Self { interrupt, terminate, hangup })
    }

    /// Until one of them comes; gives its name. Safe to drop.
    pub(super) async fn asked(&mut self) -> &'static str {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => "interrupted",
            _ = self.terminate.recv() => "stopped",
            _ = hangup => "the terminal was closed",
        }
    }
}

fn hangup_is_ignored() -> bool {
    #[expect(unsafe_code, reason = "how a signal is handled is known behind a C call only")]
    // SAFETY: with no new action given, sigaction only writes the old one to `old`, for which zeroes are valid.
    unsafe {
        let mut old: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGHUP, std::ptr::null(), &raw mut old) == 0
            && old.sa_sigaction == libc::SIG_IGN
    }
}
