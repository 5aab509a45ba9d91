//! What is known to be too much is refused before it is sent or unpacked. Approximate: the transaction at the end decides.

use crate::{app::Gateway, upload::UploadError};

/// So much over the quota is left for the end to decide: forms and archives are a little longer than their files, what the
/// account has already costs it nothing, and small uploads are not worth a query.
const SLACK_BYTES: u64 = 1 << 20;

/// Uploads of an account that are looked at for one that is repeated.
const REPEATS_MAX: u32 = 100;

impl Gateway {
    /// Refuses a body or an archive by a length that is only about that of its files.
    pub(crate) async fn refuse_about(&self, account: &str, bytes: u64) -> Result<(), UploadError> {
        self.refuse_size(bytes)?;
        let Some(least) = bytes.checked_sub(SLACK_BYTES) else { return Ok(()) };
        match self.refuse_length(account, least).await {
            Err(UploadError::QuotaExceeded) if self.may_be_repeated(account, bytes).await => Ok(()),
            outcome => outcome,
        }
    }

    /// Whether the account has lately pinned something of about that length. Then it may be the same, by a client that never
    /// heard the answer, and costs nothing: the end decides.
    async fn may_be_repeated(&self, account: &str, bytes: u64) -> bool {
        let Ok(page) = self.db.pins(account, None, REPEATS_MAX).await else { return false };
        // A quarter: archives have heads around small files.
        let margin = (bytes / 4).saturating_add(SLACK_BYTES);
        page.pins.iter().any(|pin| pin.size_bytes.abs_diff(bytes) <= margin)
    }

    /// Refuses so many further bytes of an account when they are more than one upload may have, or than its quota allows.
    pub(crate) async fn refuse_length(&self, account: &str, bytes: u64) -> Result<(), UploadError> {
        self.refuse_size(bytes)?;
        let Ok(Some(known)) = self.db.account(account).await else { return Ok(()) };
        let is_over = known.used_bytes.saturating_add(bytes) > known.quota_bytes;
        if is_over { Err(UploadError::QuotaExceeded) } else { Ok(()) }
    }

    fn refuse_size(&self, bytes: u64) -> Result<(), UploadError> {
        let size_max = self.config.uploads.size_max;
        if bytes > size_max { Err(UploadError::BodyTooLarge(size_max)) } else { Ok(()) }
    }
}
