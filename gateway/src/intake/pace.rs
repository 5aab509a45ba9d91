//! How much a client may send, and how slowly.

use std::time::Duration;

use tokio::time::Instant;

use crate::{config::UploadsConfig, upload::UploadError};

/// For how long a client may be slow that was faster before, at most.
const AHEAD_MAX: Duration = Duration::from_mins(10);

/// Counts the bytes of one upload, and the time in which its client was waited for.
pub(crate) struct Pace {
    idle_timeout: Duration,
    rate_min: u64,
    size_max: u64,
    taken: u64,
    /// For how long the client has sent in advance, as it were.
    ahead: Duration,
}

impl Pace {
    pub(crate) fn new(config: &UploadsConfig) -> Self {
        let UploadsConfig { idle_timeout, rate_min, size_max, .. } = *config;
        Self { idle_timeout, rate_min, size_max, taken: 0, ahead: idle_timeout }
    }

    /// What the client sends next, unless it stops or has become slower than it may be. Only waiting for it counts, not
    /// what is done with its bytes.
    pub(crate) async fn wait<T>(&mut self, next: impl Future<Output = T>) -> Result<T, UploadError> {
        let (idle, rate_min) = (self.idle_timeout, self.rate_min);
        let stalled = |_| UploadError::BodyIncomplete(format!("nothing came for {} s", idle.as_secs()));
        let since = Instant::now();
        let next = tokio::time::timeout(idle, next).await.map_err(stalled)?;
        let slow = || UploadError::BodyIncomplete(format!("slower than {rate_min} bytes a second"));
        self.ahead = self.ahead.checked_sub(since.elapsed()).ok_or_else(slow)?;
        Ok(next)
    }

    /// Counts bytes that came.
    pub(crate) fn count(&mut self, bytes: usize) -> Result<(), UploadError> {
        self.taken += bytes as u64;
        let nanos = (bytes as u64).saturating_mul(1_000_000_000).checked_div(self.rate_min);
        let worth = Duration::from_nanos(nanos.unwrap_or(u64::MAX));
        self.ahead = self.ahead.saturating_add(worth).min(AHEAD_MAX.max(self.idle_timeout));
        if self.taken > self.size_max { Err(UploadError::BodyTooLarge(self.size_max)) } else { Ok(()) }
    }
}
