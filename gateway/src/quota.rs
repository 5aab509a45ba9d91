//! What is known to be too much is refused before it is sent or unpacked. Approximate: the transaction at the end decides.

use crate::{app::Gateway, upload::UploadError};

impl Gateway {
    /// Refuses so many further bytes of an account when they are more than one upload may have, or than its quota allows.
    pub(crate) async fn refuse_length(&self, account: &str, bytes: u64) -> Result<(), UploadError> {
        let size_max = self.config.uploads.size_max;
        if bytes > size_max {
            return Err(UploadError::BodyTooLarge(size_max));
        }
        let Ok(Some(known)) = self.db.account(account).await else { return Ok(()) };
        let is_over = known.used_bytes.saturating_add(bytes) > known.quota_bytes;
        if is_over { Err(UploadError::QuotaExceeded) } else { Ok(()) }
    }
}
