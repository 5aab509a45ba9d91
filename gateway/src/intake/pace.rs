//! How much a client may send, and how slowly.

use std::time::Duration;

use tokio::time::Instant;

use crate::{config::UploadsConfig, upload::UploadError};

/// Counts the bytes of one upload, and the time in which its client was waited for.
pub(crate) struct Pace {
    idle_timeout: Duration,
    rate_min: u64,
    size_max: u64,
    taken: u64,
    waited: Duration,
}

impl Pace {
    pub(crate) fn new(config: &UploadsConfig) -> Self {
        let UploadsConfig { idle_timeout, rate_min, size_max, .. } = *config;
        Self { idle_timeout, rate_min, size_max, taken: 0, waited: Duration::ZERO }
    }

    /// What the client sends next, unless it stops or has become slower than it may be. Only waiting for it counts, not
    /// what is done with its bytes.
    pub(crate) async fn wait<T>(&mut self, next: impl Future<Output = T>) -> Result<T, UploadError> {
        let (idle, rate_min) = (self.idle_timeout, self.rate_min);
        let stalled = |_| UploadError::BodyIncomplete(format!("nothing came for {} s", idle.as_secs()));
        let since = Instant::now();
        let next = tokio::time::timeout(idle, next).await.map_err(stalled)?;
        self.waited += since.elapsed();
        let due = self.waited.saturating_sub(idle).as_secs().saturating_mul(rate_min);
        if self.taken < due {
            return Err(UploadError::BodyIncomplete(format!("slower than {rate_min} bytes a second")));
        }
        Ok(next)
    }

    /// Counts bytes that came.
    pub(crate) fn count(&mut self, bytes: usize) -> Result<(), UploadError> {
        self.taken += bytes as u64;
        if self.taken > self.size_max { Err(UploadError::BodyTooLarge(self.size_max)) } else { Ok(()) }
    }
}
