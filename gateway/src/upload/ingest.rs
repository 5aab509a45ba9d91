//! From the bytes of a file to blocks: cuts leaves, hashes them in parallel, builds the tree above them.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use content::{
    Block,
    unixfs::{
        file::{FileBuilder, Finished, Part, leaf},
        profile::Profile,
    },
};
use futures_util::{StreamExt as _, stream::FuturesOrdered};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinHandle,
    time::Instant,
};
use transfer::{Pool, PooledBytes};

use super::{UploadError, UploadHandle};

/// Leaves of one upload that may be hashed at the same time.
const HASHING_MAX: usize = 4;
/// Up to this many bytes are hashed on the async thread: it takes less time than handing them over.
const INLINE_HASH_BYTES: usize = 16 << 10;

/// How long room is kept for a leaf whose client sends nothing more of it: with the room of 16 leaves, 200 clients that stop
/// at once hold up the others for three seconds, once.
const FILL_TIME: Duration = Duration::from_millis(250);

/// What all uploads of a gateway share while they take bytes in.
#[derive(Clone, Debug)]
pub(crate) struct IngestParts {
    /// Leaf buffers.
    pub(crate) pool: Pool,
    /// Blocks and links of CARs in progress, over all uploads.
    pub(crate) dag_room: Arc<Semaphore>,
    /// Bytes of leaves that are being filled by clients that are not slow, are being hashed or wait to be packed, over all
    /// uploads.
    pub(crate) room: Arc<Semaphore>,
}

/// One file on its way in.
pub(crate) struct Ingest<'u> {
    upload: &'u UploadHandle,
    parts: IngestParts,
    profile: Profile,
    builder: FileBuilder,
    /// The leaf being filled.
    leaf: Option<Leaf>,
    /// Whether a leaf of this file was full already.
    is_long: bool,
    /// Whether the last leaf took its client long.
    is_slow: bool,
    hashing: FuturesOrdered<JoinHandle<((Block, Part), OwnedSemaphorePermit)>>,
}

/// A leaf being filled.
struct Leaf {
    bytes: PooledBytes,
    /// Room for all of it.
    room: Option<OwnedSemaphorePermit>,
    since: Instant,
}

impl Leaf {
    fn len(&self) -> usize {
        self.bytes.as_ref().len()
    }
}

impl<'u> Ingest<'u> {
    pub(crate) fn new(upload: &'u UploadHandle, parts: IngestParts, profile: Profile) -> Self {
        Self::resume(upload, parts, FileBuilder::new(profile), &[])
    }

    /// Goes on with a file: behind the leaves that its builder knows come the bytes of an unfinished one.
    pub(crate) fn resume(
        upload: &'u UploadHandle,
        parts: IngestParts,
        builder: FileBuilder,
        tail: &[u8],
    ) -> Self {
        let (profile, is_long) = (builder.profile(), builder.size_bytes() > 0);
        let leaf = (!tail.is_empty()).then(|| {
            let mut bytes = parts.pool.take(tail.len());
            bytes.vec().extend_from_slice(tail);
            Leaf { bytes, room: None, since: Instant::now() }
        });
        let hashing = FuturesOrdered::new();
        Self { upload, parts, profile, builder, leaf, is_long, is_slow: false, hashing }
    }

    /// The tree over the leaves that are with the packer.
    pub(crate) fn builder(&self) -> &FileBuilder {
        &self.builder
    }

    /// Stops here: all whole leaves are with the packer then. Gives what [`Ingest::resume`] goes on with.
    pub(crate) async fn pause(mut self) -> Result<(FileBuilder, Vec<u8>), UploadError> {
        while !self.hashing.is_empty() {
            self.place_leaf().await?;
        }
        let tail = self.leaf.take().map_or_else(Vec::new, |leaf| leaf.bytes.as_ref().to_vec());
        Ok((self.builder, tail))
    }

    /// Waits for what the client sends next. Room that it leaves unused for too long goes to others meanwhile.
    pub(crate) async fn wait<T>(&mut self, next: impl Future<Output = T>) -> T {
        let mut next = std::pin::pin!(next);
        if let Some(Leaf { room: room @ Some(_), since, .. }) = &mut self.leaf {
            if let Ok(next) = tokio::time::timeout_at(*since + FILL_TIME, next.as_mut()).await {
                return next;
            }
            *room = None;
        }
        next.await
    }

    /// Takes the next bytes of the file.
    pub(crate) async fn write(&mut self, mut bytes: Bytes) -> Result<(), UploadError> {
        let chunk = self.profile.chunk_bytes();
        while !bytes.is_empty() {
            let mut leaf = self.leaf_for(bytes.len()).await?;
            let take = bytes.len().min(chunk - leaf.len());
            leaf.bytes.vec().extend_from_slice(&bytes.split_to(take));
            if leaf.len() < chunk {
                self.leaf = Some(leaf);
            } else {
                self.is_long = true;
                self.is_slow = leaf.since.elapsed() >= FILL_TIME;
                self.hash(leaf).await?;
            }
        }
        Ok(())
    }

    /// The leaf being filled, with space for the next bytes or as many of them as belong to it.
    ///
    /// Most files are small and arrive at once: they get a buffer of just their length. For a whole leaf there must be
    /// room before it is filled, so that uploads that wait hold next to nothing. Only slow clients fill theirs without,
    /// for they would keep the room from the others; theirs is waited for when they are done.
    async fn leaf_for(&mut self, next: usize) -> Result<Leaf, UploadError> {
        let chunk = self.profile.chunk_bytes();
        let small = match self.leaf.take() {
            Some(mut leaf) => {
                let space = leaf.bytes.vec().capacity() - leaf.len();
                if space >= next.min(chunk - leaf.len()) {
                    return Ok(leaf);
                }
                Some(leaf)
            }
            None if !self.is_long => {
                let bytes = self.parts.pool.take(next.min(chunk));
                return Ok(Leaf { bytes, room: None, since: Instant::now() });
            }
            None => None,
        };
        let room = if self.is_slow { None } else { Some(self.room(chunk).await?) };
        let mut bytes = self.parts.pool.take(chunk);
        if let Some(small) = small {
            bytes.vec().extend_from_slice(small.bytes.as_ref());
        }
        Ok(Leaf { bytes, room, since: Instant::now() })
    }

    /// Ends the file; its blocks are with the packer then.
    pub(crate) async fn finish(mut self) -> Result<Finished, UploadError> {
        if let Some(leaf) = self.leaf.take() {
            self.hash(leaf).await?;
        }
        while !self.hashing.is_empty() {
            self.place_leaf().await?;
        }
        let mut finished = std::mem::replace(&mut self.builder, FileBuilder::new(self.profile)).finish();
        for block in std::mem::take(&mut finished.blocks) {
            self.upload.add(block, None).await?;
        }
        Ok(finished)
    }

    async fn hash(&mut self, Leaf { bytes, room, .. }: Leaf) -> Result<(), UploadError> {
        let bytes = bytes.freeze();
        let room = match room {
            Some(room) => room,
            None => self.room(bytes.len()).await?,
        };
        let profile = self.profile;
        if bytes.len() <= INLINE_HASH_BYTES && self.hashing.is_empty() {
            return self.place(leaf(&profile, bytes), room).await;
        }
        self.hashing.push_back(tokio::task::spawn_blocking(move || (leaf(&profile, bytes), room)));
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
        let (leaf, room) = hashed.map_err(|error| UploadError::NotStored(error.to_string()))?;
        self.place(leaf, room).await
    }

    /// Hands a leaf to the packer, and the nodes above it that it completes.
    async fn place(
        &mut self,
        (leaf, part): (Block, Part),
        room: OwnedSemaphorePermit,
    ) -> Result<(), UploadError> {
        let nodes = self.builder.push_leaf(part);
        if let Some(leaf) = leaf.to_store() {
            self.upload.add(leaf, Some(room)).await?;
        }
        for node in nodes {
            self.upload.add(node, None).await?;
        }
        Ok(())
    }
}
