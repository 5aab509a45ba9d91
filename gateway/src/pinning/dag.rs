//! Pinning a DAG by its root: what is stored here is walked and relied on, what is not is fetched.

use std::sync::Arc;

use content::{Cid, unixfs::Target};
use fetch::{FetchError, Fetched};
use store::Claim;

use super::stored::{Progress, Stored, StoredError};
use crate::{
    app::Gateway,
    intake::Root,
    upload::{PinRequest, UploadError},
};

/// Bytes of nodes and directories that any DAG may have beside those of its files.
const OVERHEAD_BYTES: u64 = 1 << 20;

/// A DAG that is to be pinned.
pub(crate) struct Dag<'a> {
    pub(crate) account: &'a str,
    pub(crate) cid: &'a Cid,
    /// Where blocks may be had that are not stored here, beside the gateways of the configuration.
    pub(crate) origins: &'a [String],
    pub(crate) name: &'a str,
    /// The pin that waits for it.
    pub(crate) waiting: &'a str,
}

/// Why a DAG was not pinned.
pub(crate) enum Failure {
    /// Trying again makes no sense.
    ForGood(String),
    /// Later it may work.
    ForNow(String),
    /// Nobody wants it any more.
    Withdrawn,
}

impl Dag<'_> {
    /// Pins it once all its blocks are durable here.
    pub(crate) async fn pin(&self, gateway: &Gateway, progress: Arc<Progress>) -> Result<(), Failure> {
        let _slot = gateway.uploads.take(self.account)?;
        let upload = gateway.packer.begin().await?;
        let bytes_max = self.bytes_max(gateway).await?;
        let mut stored = Stored { gateway: gateway.clone(), upload, bytes_max, progress };
        let Fetched { dag_size_bytes, size_bytes, .. } =
            gateway.fetcher.fetch(self.cid, self.origins, &mut stored).await.map_err(failure)?;
        let target = Target { cid: self.cid.clone(), dag_size_bytes };
        let root = Root { target, size_bytes: size_bytes.unwrap_or(dag_size_bytes) };
        let waiting = Some(self.waiting.to_string());
        let pin = PinRequest { waiting, claim: Claim::Waiting, ..root.pin(self.account, self.name, None) };
        for outcome in gateway.pin(stored.upload, vec![pin]).await? {
            outcome?;
        }
        Ok(())
    }

    /// Bytes of blocks from which on the account could not have it anyway, so that no more need be fetched. The commit at the
    /// end decides by the bytes of the files, which are fewer: nodes and directories add to them, less than the files
    /// themselves unless these are tiny.
    async fn bytes_max(&self, gateway: &Gateway) -> Result<u64, Failure> {
        let unreadable = |error| {
            tracing::warn!(%error, "could not read the account of a pin");
            Failure::from(UploadError::StoreUnavailable)
        };
        if gateway.db.pin(self.account, self.cid).await.map_err(unreadable)?.is_some() {
            // What the account has pinned already costs it nothing.
            return Ok(u64::MAX);
        }
        let account = gateway.db.account(self.account).await.map_err(unreadable)?;
        let account = account.ok_or(Failure::Withdrawn)?;
        // A hold of it makes room for the pin.
        let held_bytes = gateway.db.held_bytes(self.account, self.cid).await.map_err(unreadable)?;
        let quota_bytes = account.quota_bytes.saturating_add(held_bytes);
        let free_bytes = quota_bytes.saturating_sub(account.used_bytes);
        Ok(free_bytes.saturating_mul(2).saturating_add(OVERHEAD_BYTES))
    }
}

fn failure(error: FetchError<StoredError>) -> Failure {
    match error {
        FetchError::Sink(StoredError::Upload(error)) => error.into(),
        FetchError::Sink(StoredError::Store) => UploadError::StoreUnavailable.into(),
        FetchError::Sink(error @ StoredError::Denied(_)) => Failure::ForGood(error.to_string()),
        error @ (FetchError::NotFound { .. }
        | FetchError::Timeout { .. }
        | FetchError::Unavailable { .. }) => Failure::ForNow(error.to_string()),
        error => Failure::ForGood(error.to_string()),
    }
}

impl From<UploadError> for Failure {
    fn from(error: UploadError) -> Self {
        match error {
            UploadError::Withdrawn => Self::Withdrawn,
            UploadError::QuotaExceeded | UploadError::Denied(_) => Self::ForGood(error.to_string()),
            error => Self::ForNow(error.to_string()),
        }
    }
}
