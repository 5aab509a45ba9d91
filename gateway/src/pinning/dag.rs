//! Pinning a DAG by its root: what is stored here is walked and relied on, what is not is fetched.

use std::sync::Arc;

use content::{Cid, unixfs::Target};
use fetch::{FetchError, Fetched};
use store::{Claim, Outcome};

use super::stored::{Progress, Stored, StoredError};
use crate::{
    app::Gateway,
    intake::Root,
    upload::{PinRequest, UploadError},
};

/// A DAG that is to be pinned.
pub(crate) struct Dag<'a> {
    pub(crate) account: &'a str,
    pub(crate) cid: &'a Cid,
    /// Where blocks may be had that are not stored here, beside the gateways of the configuration.
    pub(crate) origins: &'a [String],
    pub(crate) name: &'a str,
    /// The pin that waits for it. Without one it becomes the account's pin of the root, unless there is one.
    pub(crate) waiting: Option<&'a str>,
}

/// Why a DAG was not pinned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    /// Trying again makes no sense.
    #[error("{0}")]
    ForGood(String),
    /// Later it may work.
    #[error("{0}")]
    ForNow(String),
    /// Nobody wants it any more.
    #[error("the pin was removed meanwhile")]
    Withdrawn,
}

impl Dag<'_> {
    /// Pins it once all its blocks are durable here.
    pub(crate) async fn pin(&self, gateway: &Gateway, progress: Arc<Progress>) -> Result<Outcome, Failure> {
        let _slot = gateway.uploads.take(self.account)?;
        let upload = gateway.packer.begin().await?;
        let free_bytes = self.free_bytes(gateway).await?;
        let mut stored = Stored { gateway: gateway.clone(), upload, free_bytes, progress };
        let Fetched { dag_size_bytes, size_bytes, .. } =
            gateway.fetcher.fetch(self.cid, self.origins, &mut stored).await.map_err(failure)?;
        let target = Target { cid: self.cid.clone(), dag_size_bytes };
        let root = Root { target, size_bytes: size_bytes.unwrap_or(dag_size_bytes) };
        let waiting = self.waiting.map(str::to_string);
        let claim = if waiting.is_some() { Claim::Waiting } else { Claim::Pin };
        let pin = PinRequest { waiting, claim, ..root.pin(self.account, self.name, None) };
        let outcomes = stored.upload.finish(vec![pin]).await?;
        gateway.known_roots.invalidate(self.cid);
        outcomes.into_iter().next().unwrap_or(Err(UploadError::TryAgain)).map_err(Failure::from)
    }

    /// Bytes that the account may still pin. What it has pinned already costs it nothing.
    async fn free_bytes(&self, gateway: &Gateway) -> Result<u64, Failure> {
        let unreadable = |error| {
            tracing::warn!(%error, "could not read the account of a pin");
            Failure::from(UploadError::StoreUnavailable)
        };
        if gateway.db.pin(self.account, self.cid).await.map_err(unreadable)?.is_some() {
            return Ok(u64::MAX);
        }
        let account = gateway.db.account(self.account).await.map_err(unreadable)?;
        let account = account.ok_or(Failure::Withdrawn)?;
        Ok(account.quota_bytes.saturating_sub(account.used_bytes))
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
