//! What comes block by block: which links the blocks have, and so which roots are complete, with what is stored here.

use std::collections::HashMap;

use content::{
    Block, Cid, Codec, HashFn,
    dag_index::{DagError, DagIndex, DagLimits, DagRoot},
    unixfs::Target,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use retrieval::ReadError;
use store::{BlockAt, BlockFound};
use tokio::sync::OwnedSemaphorePermit;

use super::{BesideRoots, Intake, Root, reserve::Reserved};
use crate::upload::UploadError;

/// Blocks looked up in the database at once.
const LOOKED_UP_MAX: usize = 512;
/// Stored blocks read at once, to see what they link.
const READS_MAX: usize = 8;
/// Bytes that a link takes in a block, at least: two heads, and the shortest CID.
const LINK_BYTES_MIN: usize = 8;
/// The codec of names for what is only held: one that the table of multicodecs leaves for private use.
const WHOLE_CODEC: u64 = 0x30_7073;

/// The blocks that came and their links, with the room that they take.
pub(super) struct Index {
    dag: DagIndex,
    room: Reserved,
    /// Over the names of all blocks that came.
    brought: blake3::Hasher,
    /// Blocks that were taken in.
    taken: u64,
    /// All blocks that came, however often.
    pub(super) came_blocks: u64,
    /// Their bytes.
    pub(super) came_bytes: u64,
}

impl Intake {
    pub(super) fn index(&self) -> Index {
        let room = Reserved::new(&self.gateway);
        let limits = DagLimits { blocks_max: room.max(), links_max: room.max() };
        let dag = DagIndex::new(limits, self.gateway.dice.bytes());
        Index { dag, room, brought: blake3::Hasher::new(), taken: 0, came_blocks: 0, came_bytes: 0 }
    }

    /// Takes in a block that was checked.
    pub(super) async fn take_block(
        &mut self,
        block: Block,
        room: OwnedSemaphorePermit,
        index: &mut Index,
    ) -> Result<(), UploadError> {
        index.insert(&block)?;
        index.brought.update(block.cid.as_bytes());
        index.taken += 1;
        self.upload.add(block, Some(room)).await
    }

    /// Finds what did not come among the blocks that are stored.
    pub(super) async fn complete(
        &mut self,
        root: Cid,
        index: &mut Index,
    ) -> Result<(Root, DagRoot), UploadError> {
        let top = index.dag.root(&root).map_err(|error| index.refused(&error))?;
        loop {
            let missing: Vec<Cid> = index.dag.missing(top, |_| false).take(LOOKED_UP_MAX).cloned().collect();
            if missing.is_empty() {
                return Ok((index.root(root, top), top));
            }
            self.find_stored(&missing, index).await?;
        }
    }

    async fn find_stored(&mut self, missing: &[Cid], index: &mut Index) -> Result<(), UploadError> {
        let found = self.gateway.db.find_stored(missing).await.map_err(|error| {
            tracing::warn!(%error, "could not look for the blocks that an upload lacks");
            UploadError::StoreUnavailable
        })?;
        let usable = found.into_iter().filter(|found| found.upload.is_none());
        let found: HashMap<Cid, BlockAt> = usable.map(|BlockFound { at, .. }| (at.cid.clone(), at)).collect();
        if let Some(cid) = missing.iter().find(|cid| !found.contains_key(cid)) {
            return Err(UploadError::IncompleteDag(format!(
                "block {cid}, which the root needs, did not come and is not stored here"
            )));
        }
        let mut read = Vec::new();
        for (cid, at) in &found {
            index.room_for(0)?;
            let len = u32::try_from(at.length_bytes).unwrap_or(u32::MAX);
            if !index.dag.insert_leaf(cid, len).map_err(|error| index.refused(&error))? {
                read.push(cid.clone());
            }
        }
        self.upload.rely_on(found.into_values().map(|at| at.segment).collect()).await?;
        let blocks = self.gateway.blocks.clone();
        let read = stream::iter(read).map(move |cid| {
            let blocks = blocks.clone();
            async move { blocks.get(&cid).await }
        });
        let mut read = read.buffer_unordered(READS_MAX);
        while let Some(block) = read.try_next().await.map_err(|error: ReadError| unread(&error))? {
            index.insert(&block)?;
        }
        Ok(())
    }
}

impl Index {
    /// Counts a block that came, whether or not it came before.
    pub(super) fn count(&mut self, block: &Block) {
        self.came_blocks += 1;
        self.came_bytes += block.bytes.len() as u64;
    }

    /// How many distinct blocks lie under these roots.
    pub(super) fn blocks_under(&self, tops: &[DagRoot]) -> u64 {
        self.dag.blocks_under(tops)
    }

    /// What came that lies under none of these roots.
    pub(super) fn beside(&self, tops: &[DagRoot]) -> Option<BesideRoots> {
        let bytes = self.dag.bytes_beside(tops);
        (bytes > 0).then(|| BesideRoots { bytes, digest: self.brought.finalize() })
    }

    /// All that came as one thing to hold, complete or not. Its name is that of no block, so that nobody takes it for a root
    /// of which all is here.
    pub(super) fn whole(&self) -> Option<Root> {
        let bytes = self.dag.bytes_beside(&[]);
        let cid = Cid::of(Codec::Other(WHOLE_CODEC), HashFn::Blake3, self.brought.finalize().as_bytes());
        // An empty block is a block too.
        (self.taken > 0).then_some(Root { target: Target { cid, dag_size_bytes: bytes }, size_bytes: bytes })
    }

    /// Takes a block in, once there is room for all that it can name.
    pub(super) fn insert(&mut self, block: &Block) -> Result<(), UploadError> {
        let links = if block.cid.codec().may_link() { block.bytes.len() / LINK_BYTES_MIN } else { 0 };
        self.room_for(links)?;
        self.dag.insert(block).map_err(|error| self.refused(&error))
    }

    fn room_for(&mut self, links: usize) -> Result<(), UploadError> {
        self.room.reach(self.dag.named() as usize + 1 + links)
    }

    fn refused(&self, error: &DagError) -> UploadError {
        match error {
            DagError::TooManyBlocks(_) | DagError::TooManyLinks(_) => {
                UploadError::TooManyBlocks(self.room.max())
            }
            other => UploadError::BadArchive(other.to_string()),
        }
    }

    /// What a complete root is. What it says of its size is believed as far as its blocks agree.
    fn root(&self, cid: Cid, top: DagRoot) -> Root {
        let dag_size_bytes = self.dag.dag_size_bytes(top);
        let size_bytes = self.dag.charged_bytes(top).unwrap_or(dag_size_bytes);
        Root { target: Target { cid, dag_size_bytes }, size_bytes }
    }
}

fn unread(error: &ReadError) -> UploadError {
    tracing::warn!(%error, "could not read a stored block that an upload lacks");
    UploadError::TryAgain
}
