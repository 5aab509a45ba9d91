//! From the bytes of a file to blocks: cuts leaves, hashes them in parallel, builds the tree above them.

use std::sync::Arc;

use bytes::Bytes;
use content::{
    Block, Codec,
    unixfs::{
        file::{FileBuilder, Finished},
        profile::Profile,
    },
};
use futures_util::{StreamExt as _, stream::FuturesOrdered};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
};
use transfer::{Pool, PooledBytes};

use super::{UploadError, UploadHandle};

/// Leaves of one upload that may be hashed at the same time.
const HASHING_MAX: usize = 4;
/// Up to this many bytes are hashed on the async thread: it takes less time than handing them over.
const INLINE_HASH_BYTES: usize = 16 << 10;

/// What all uploads of a gateway share while they take bytes in.
#[derive(Clone, Debug)]
pub(crate) struct IngestParts {
    /// Leaf buffers.
    pub(crate) pool: Pool,
    /// Bytes of leaves that are being hashed or wait to be packed, over all uploads.
    pub(crate) room: Arc<Semaphore>,
}

/// One file on its way in.
pub(crate) struct Ingest<'u> {
    upload: &'u UploadHandle,
    parts: IngestParts,
    profile: Profile,
    builder: FileBuilder,
    leaf: Option<PooledBytes>,
    hashing: FuturesOrdered<JoinHandle<(Block, OwnedSemaphorePermit)>>,
}

impl<'u> Ingest<'u> {
    pub(crate) fn new(upload: &'u UploadHandle, parts: IngestParts, profile: Profile) -> Self {
        let builder = FileBuilder::new(profile);
        Self { upload, parts, profile, builder, leaf: None, hashing: FuturesOrdered::new() }
    }

    /// Takes the next bytes of the file.
    pub(crate) async fn write(&mut self, mut bytes: Bytes) -> Result<(), UploadError> {
        let chunk = self.profile.chunk_bytes();
        while !bytes.is_empty() {
            let leaf = self.leaf.get_or_insert_with(|| self.parts.pool.take(bytes.len().min(chunk)));
            let take = bytes.len().min(chunk - leaf.as_ref().len());
            if leaf.vec().capacity() < leaf.as_ref().len() + take {
                // Most files are small and arrive at once. This one goes on: it gets a buffer for a whole leaf.
                let mut whole = self.parts.pool.take(chunk);
                whole.vec().extend_from_slice(leaf.as_ref());
                *leaf = whole;
            }
            leaf.vec().extend_from_slice(&bytes.split_to(take));
            if leaf.as_ref().len() == chunk {
                self.hash_leaf().await?;
            }
        }
        Ok(())
    }

    /// Ends the file; its blocks are with the packer then.
    pub(crate) async fn finish(mut self) -> Result<Finished, UploadError> {
        self.hash_leaf().await?;
        while !self.hashing.is_empty() {
            self.place_leaf().await?;
        }
        let mut finished = std::mem::replace(&mut self.builder, FileBuilder::new(self.profile)).finish();
        for block in std::mem::take(&mut finished.blocks) {
            self.upload.add(block, None).await?;
        }
        Ok(finished)
    }

    async fn hash_leaf(&mut self) -> Result<(), UploadError> {
        let Some(leaf) = self.leaf.take() else { return Ok(()) };
        let bytes = leaf.freeze();
        let room = self.room(bytes.len()).await?;
        let hash_fn = self.profile.hash_fn();
        if bytes.len() <= INLINE_HASH_BYTES && self.hashing.is_empty() {
            return self.place(Block::of(Codec::Raw, hash_fn, bytes), room).await;
        }
        self.hashing
            .push_back(tokio::task::spawn_blocking(move || (Block::of(Codec::Raw, hash_fn, bytes), room)));
        while self.hashing.len() >= HASHING_MAX {
            self.place_leaf().await?;
        }
        Ok(())
    }

    /// Room for a leaf.
    async fn room(&mut self, bytes: usize) -> Result<OwnedSemaphorePermit, UploadError> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        if let Ok(room) = self.parts.room.clone().try_acquire_many_owned(bytes) {
            return Ok(room);
        }
        // Whoever waits for room holds none, or uploads could wait for each other for ever.
        while !self.hashing.is_empty() {
            self.place_leaf().await?;
        }
        self.parts.room.clone().acquire_many_owned(bytes).await.map_err(|_| UploadError::Busy)
    }

    async fn place_leaf(&mut self) -> Result<(), UploadError> {
        let Some(hashed) = self.hashing.next().await else { return Ok(()) };
        let (block, room) = hashed.map_err(|error| UploadError::NotStored(error.to_string()))?;
        self.place(block, room).await
    }

    /// Hands a leaf to the packer, and the nodes above it that it completes.
    async fn place(&mut self, leaf: Block, room: OwnedSemaphorePermit) -> Result<(), UploadError> {
        let nodes = self.builder.push_leaf(leaf.cid.clone(), leaf.bytes.len() as u64);
        self.upload.add(leaf, Some(room)).await?;
        for node in nodes {
            self.upload.add(node, None).await?;
        }
        Ok(())
    }
}
