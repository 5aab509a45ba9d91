//! Where the blocks of a fetched DAG go: what is stored here already is relied on, the rest is uploaded like everything else.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use content::{Block, Cid};
use fetch::Sink;
use retrieval::ReadError;

use crate::{
    app::Gateway,
    upload::{UploadError, UploadHandle},
};

/// How far a fetch has come.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    blocks: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    fn count(&self, bytes: u64) -> u64 {
        self.blocks.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes
    }

    /// It in words.
    pub(super) fn text(&self) -> String {
        let (blocks, bytes) = (self.blocks.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        format!("{blocks} blocks of {bytes} bytes so far")
    }
}

/// An upload whose blocks are fetched.
pub(super) struct Stored {
    pub(super) gateway: Gateway,
    pub(super) upload: UploadHandle,
    /// Bytes of blocks, at most.
    pub(super) bytes_max: u64,
    pub(super) progress: Arc<Progress>,
}

/// Why a block could not be taken or found.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoredError {
    #[error("the metadata store is unavailable")]
    Store,
    #[error("block {0} is on a denylist here")]
    Denied(Cid),
    #[error(transparent)]
    Upload(#[from] UploadError),
}

impl Stored {
    /// Gives up as soon as the account could not have it anyway.
    fn count(&self, bytes: u64) -> Result<(), StoredError> {
        if self.progress.count(bytes) > self.bytes_max {
            return Err(UploadError::QuotaExceeded.into());
        }
        Ok(())
    }

    fn permit(&self, cid: &Cid) -> Result<(), StoredError> {
        match self.gateway.blocks.denylist().denied(cid) {
            Some(_) => Err(StoredError::Denied(cid.clone())),
            None => Ok(()),
        }
    }
}

impl Sink for Stored {
    type Error = StoredError;

    async fn holds(&mut self, cids: &[Cid]) -> Result<Vec<Option<u32>>, StoredError> {
        let found = self.gateway.db.find_stored(cids).await.map_err(|error| {
            tracing::warn!(%error, "could not look for the blocks of a pin");
            StoredError::Store
        })?;
        let found = found.into_iter().filter(|found| found.upload.is_none());
        let found: HashMap<Cid, _> = found.map(|found| (found.at.cid.clone(), found.at)).collect();
        for at in found.values() {
            self.permit(&at.cid)?;
            self.count(at.length_bytes)?;
        }
        self.upload.rely_on(found.values().map(|at| at.segment).collect()).await?;
        let held = |cid| found.get(cid).map(|at| u32::try_from(at.length_bytes).unwrap_or(u32::MAX));
        Ok(cids.iter().map(held).collect())
    }

    async fn read(&mut self, cid: &Cid) -> Result<Option<Bytes>, StoredError> {
        match self.gateway.blocks.get(cid).await {
            Ok(block) => Ok(Some(block.bytes)),
            Err(ReadError::Denied(cid, _)) => Err(StoredError::Denied(cid)),
            // It may be had elsewhere.
            Err(_) => Ok(None),
        }
    }

    async fn put(&mut self, block: Block) -> Result<(), StoredError> {
        self.permit(&block.cid)?;
        self.count(block.bytes.len() as u64)?;
        let bytes = u32::try_from(block.bytes.len()).unwrap_or(u32::MAX);
        let room = self.gateway.ingest.room.clone();
        let room = room.acquire_many_owned(bytes).await.map_err(|_| UploadError::Busy)?;
        Ok(self.upload.add(block, Some(room)).await?)
    }
}
