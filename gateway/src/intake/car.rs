//! CARs: blocks as they are, checked against their CIDs while they arrive. The roots are pinned when every block under them
//! has come or is stored here already.

use std::collections::HashMap;

use axum::body::Body;
use content::{
    Block, Cid,
    block::BlockError,
    car::CarDecoder,
    dag_index::{DagError, DagIndex, DagLimits, DagRoot},
    unixfs::Target,
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream, stream::FuturesOrdered};
use retrieval::ReadError;
use store::{BlockAt, BlockFound};
use tokio::{sync::OwnedSemaphorePermit, task::JoinHandle};

use super::{BesideRoots, Intake, Root, Source, Uploaded, reserve::Reserved};
use crate::upload::UploadError;

/// Blocks of one CAR that may be hashed at the same time.
const HASHING_MAX: usize = 4;
/// Up to this many bytes are hashed on the async thread: it takes less time than handing them over.
const INLINE_HASH_BYTES: usize = 16 << 10;
/// Blocks looked up in the database at once.
const LOOKED_UP_MAX: usize = 512;
/// Stored blocks read at once, to see what they link.
const READS_MAX: usize = 8;
/// Roots of one CAR, at most.
const ROOTS_MAX: usize = 64;
/// Bytes that a link takes in a block, at least: two heads, and the shortest CID.
const LINK_BYTES_MIN: usize = 8;

/// The blocks and links of one CAR, with the room that they take.
struct Index {
    dag: DagIndex,
    room: Reserved,
    /// Over the names of all blocks that came.
    brought: blake3::Hasher,
}

/// A block that is being checked, with the room that its bytes take.
type Checked = Result<(Block, OwnedSemaphorePermit), BlockError>;

impl Intake {
    /// The roots of a CAR.
    pub(super) async fn car(&mut self, body: Body) -> Result<Uploaded, UploadError> {
        let mut body = body.into_data_stream();
        let mut decoder = CarDecoder::new();
        let mut index = self.index();
        let mut checking = FuturesOrdered::new();
        while let Some(bytes) = self.pace.wait(Source::next(&mut body)).await?? {
            self.pace.count(bytes.len())?;
            decoder.push(bytes);
            while let Some(block) = decoder.next_block().map_err(|error| bad_car(&error))? {
                self.check(block, &mut checking, &mut index).await?;
            }
        }
        decoder.finish().map_err(|error| bad_car(&error))?;
        while !checking.is_empty() {
            self.take_checked(&mut checking, &mut index).await?;
        }
        let mut names = decoder.roots().unwrap_or_default().to_vec();
        names.sort();
        names.dedup();
        if names.is_empty() || names.len() > ROOTS_MAX {
            let count = names.len();
            return Err(UploadError::BadArchive(format!(
                "the CAR names {count} roots, not 1 to {ROOTS_MAX}"
            )));
        }
        let (mut roots, mut tops) = (Vec::new(), Vec::new());
        for name in names {
            let (root, top) = self.complete(name, &mut index).await?;
            roots.push(root);
            tops.push(top);
        }
        let (bytes, digest) = (index.dag.bytes_beside(&tops), index.brought.finalize());
        self.beside = (bytes > 0).then_some(BesideRoots { bytes, digest });
        Ok(Uploaded { roots, ..Uploaded::default() })
    }

    fn index(&self) -> Index {
        let room = Reserved::new(&self.gateway);
        let limits = DagLimits { blocks_max: room.max(), links_max: room.max() };
        let dag = DagIndex::new(limits, self.gateway.dice.bytes());
        Index { dag, room, brought: blake3::Hasher::new() }
    }

    /// Has a block hashed.
    async fn check(
        &mut self,
        block: Block,
        checking: &mut FuturesOrdered<JoinHandle<Checked>>,
        index: &mut Index,
    ) -> Result<(), UploadError> {
        // What a CID carries is checked by being read.
        let Some(Block { cid, bytes }) = block.to_store() else { return Ok(()) };
        let room = self.room_for(bytes.len(), checking, index).await?;
        if bytes.len() <= INLINE_HASH_BYTES && checking.is_empty() {
            let block = Block::verified(cid, bytes).map_err(|error| bad_car(&error))?;
            return self.take_block(block, room, index).await;
        }
        let check = move || Block::verified(cid, bytes).map(|block| (block, room));
        checking.push_back(tokio::task::spawn_blocking(check));
        while checking.len() >= HASHING_MAX {
            self.take_checked(checking, index).await?;
        }
        Ok(())
    }

    /// Room for the bytes of a block.
    async fn room_for(
        &mut self,
        bytes: usize,
        checking: &mut FuturesOrdered<JoinHandle<Checked>>,
        index: &mut Index,
    ) -> Result<OwnedSemaphorePermit, UploadError> {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let room = self.gateway.ingest.room.clone();
        if let Ok(taken) = room.clone().try_acquire_many_owned(bytes) {
            return Ok(taken);
        }
        // Whoever waits for room holds none, or uploads could wait for each other for ever.
        while !checking.is_empty() {
            self.take_checked(checking, index).await?;
        }
        room.acquire_many_owned(bytes).await.map_err(|_| UploadError::Busy)
    }

    async fn take_checked(
        &mut self,
        checking: &mut FuturesOrdered<JoinHandle<Checked>>,
        index: &mut Index,
    ) -> Result<(), UploadError> {
        let Some(checked) = checking.next().await else { return Ok(()) };
        let checked = checked.map_err(|error| UploadError::NotStored(error.to_string()))?;
        let (block, room) = checked.map_err(|error| bad_car(&error))?;
        self.take_block(block, room, index).await
    }

    async fn take_block(
        &mut self,
        block: Block,
        room: OwnedSemaphorePermit,
        index: &mut Index,
    ) -> Result<(), UploadError> {
        index.insert(&block)?;
        index.brought.update(block.cid.as_bytes());
        self.upload.add(block, Some(room)).await
    }

    /// Finds what the CAR does not have among the blocks that are stored.
    async fn complete(&mut self, root: Cid, index: &mut Index) -> Result<(Root, DagRoot), UploadError> {
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
            tracing::warn!(%error, "could not look for the blocks that a CAR lacks");
            UploadError::StoreUnavailable
        })?;
        let usable = found.into_iter().filter(|found| found.upload.is_none());
        let found: HashMap<Cid, BlockAt> = usable.map(|BlockFound { at, .. }| (at.cid.clone(), at)).collect();
        if let Some(cid) = missing.iter().find(|cid| !found.contains_key(cid)) {
            return Err(UploadError::IncompleteDag(format!(
                "block {cid} is neither in the CAR nor stored here, and the root needs it"
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
    /// Takes a block in, once there is room for all that it can name.
    fn insert(&mut self, block: &Block) -> Result<(), UploadError> {
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
            other => bad_car(other),
        }
    }

    /// What a complete root is. What it says of its size is believed as far as its parts agree.
    fn root(&self, cid: Cid, top: DagRoot) -> Root {
        let dag_size_bytes = self.dag.dag_size_bytes(top);
        let claimed = self.dag.size_bytes(top).filter(|_| self.dag.sizes_add_up(top));
        let size_bytes = claimed.unwrap_or(dag_size_bytes);
        Root { target: Target { cid, dag_size_bytes }, size_bytes }
    }
}

fn bad_car(error: &impl std::fmt::Display) -> UploadError {
    UploadError::BadArchive(format!("the CAR cannot be taken: {error}"))
}

fn unread(error: &ReadError) -> UploadError {
    tracing::warn!(%error, "could not read a stored block that a CAR lacks");
    UploadError::TryAgain
}
