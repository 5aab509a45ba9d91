//! What is known to be too much is refused before it is sent or unpacked. Approximate: the transaction at the end decides.

use crate::{app::Gateway, upload::UploadError};

/// So much over the quota is left for the end to decide: forms and archives are a little longer than their files, what the
/// account has already costs it nothing, and small uploads are not worth a query.
const SLACK_BYTES: u64 = 1 << 20;

impl Gateway {
    /// Refuses a body or an archive by a length that is only about that of its files.
    pub(crate) async fn refuse_about(&self, account: &str, bytes: u64) -> Result<(), UploadError> {
        let size_max = self.config.uploads.size_max;
        if bytes > size_max {
            return Err(UploadError::BodyTooLarge(size_max));
        }
        match bytes.checked_sub(SLACK_BYTES) {
            Some(bytes) => self.refuse_length(account, bytes).await,
            None => Ok(()),
        }
    }

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
