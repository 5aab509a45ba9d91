//! CARs: blocks as they are, checked against their CIDs while they arrive. The roots are pinned when every block under them
//! has come or is stored here already.

use std::collections::HashMap;

use axum::{body::Body, extract::Request};
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
use tokio::{
    sync::{OwnedSemaphorePermit, TryAcquireError},
    task::JoinHandle,
};

use super::{Intake, Root, Source, Uploaded, form::form_of};
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
/// By how much the room of an index grows.
const ROOM_STEP: u32 = 1_024;

/// The blocks and links of one CAR, with the room that they take.
struct Index {
    dag: DagIndex,
    /// All blocks that came, however often, and their bytes.
    read_blocks: u64,
    read_bytes: u64,
    /// Bytes of the distinct blocks that the CAR brought, and of those that were stored before.
    brought_bytes: u64,
    stored_bytes: u64,
    /// Blocks and links that there is room for.
    reserved: u32,
    max: u32,
    room: Vec<OwnedSemaphorePermit>,
}

/// What came in CARs.
#[derive(Debug)]
pub(crate) struct Imported {
    /// Each root with what is to be pinned, or why it cannot be.
    pub(crate) roots: Vec<(Cid, Result<Root, UploadError>)>,
    /// All blocks that came, repeated ones too.
    pub(crate) blocks: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

/// A block that is being checked, with the room that its bytes take.
type Checked = Result<(Block, OwnedSemaphorePermit), BlockError>;

impl Intake {
    /// The roots of a CAR.
    pub(super) async fn car(&mut self, body: Body) -> Result<Uploaded, UploadError> {
        let mut index = self.index();
        let names = self.read_car(&mut body.into_data_stream(), &mut index).await?;
        let mut roots = Vec::new();
        for name in distinct(names)? {
            roots.push(self.complete(name, &mut index).await?);
        }
        index.charge_rest(roots.iter_mut());
        Ok(Uploaded { roots, name: String::new(), left_out: 0 })
    }

    /// The roots of CARs that are the parts of a form, complete or not: parts of one DAG may come in several of them.
    pub(crate) async fn cars(&mut self, request: Request) -> Result<Imported, UploadError> {
        let mut form = form_of(request).await?;
        let (mut index, mut names) = (self.index(), Vec::new());
        while let Some(mut field) = self.next_field(&mut form).await? {
            self.count_entry()?;
            names.extend(self.read_car(&mut field, &mut index).await?);
        }
        let mut roots = Vec::new();
        for name in distinct(names)? {
            let root = match self.complete(name.clone(), &mut index).await {
                Err(error) if !matches!(error, UploadError::IncompleteDag(_)) => return Err(error),
                root => root,
            };
            roots.push((name, root));
        }
        index.charge_rest(roots.iter_mut().filter_map(|(_, root)| root.as_mut().ok()));
        Ok(Imported { roots, blocks: index.read_blocks, bytes: index.read_bytes })
    }

    /// Takes in the blocks of a CAR, and gives the roots that it names.
    async fn read_car(
        &mut self,
        source: &mut impl Source,
        index: &mut Index,
    ) -> Result<Vec<Cid>, UploadError> {
        let mut decoder = CarDecoder::new();
        let mut checking = FuturesOrdered::new();
        while let Some(bytes) = self.pace.wait(source.next()).await?? {
            self.pace.count(bytes.len())?;
            decoder.push(bytes);
            while let Some(block) = decoder.next_block().map_err(|error| bad_car(&error))? {
                index.read_blocks += 1;
                index.read_bytes += block.bytes.len() as u64;
                self.check(block, &mut checking, index).await?;
            }
        }
        decoder.finish().map_err(|error| bad_car(&error))?;
        while !checking.is_empty() {
            self.take_checked(&mut checking, index).await?;
        }
        Ok(decoder.roots().unwrap_or_default().to_vec())
    }

    fn index(&self) -> Index {
        let max = self.gateway.config.uploads.dag_nodes_max;
        let limits = DagLimits { blocks_max: max, links_max: max };
        let dag = DagIndex::new(limits, self.gateway.dice.bytes());
        Index {
            dag,
            read_blocks: 0,
            read_bytes: 0,
            brought_bytes: 0,
            stored_bytes: 0,
            reserved: 0,
            max,
            room: Vec::new(),
        }
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
        self.grow(index)?;
        let known = index.dag.blocks();
        index.dag.insert(&block).map_err(|error| index.refused(&error))?;
        if index.dag.blocks() > known {
            index.brought_bytes += block.bytes.len() as u64;
        }
        self.upload.add(block, Some(room)).await
    }

    /// Takes room for what the index has come to know.
    fn grow(&self, index: &mut Index) -> Result<(), UploadError> {
        while index.reserved <= index.dag.named() {
            match self.gateway.ingest.dag_room.clone().try_acquire_many_owned(ROOM_STEP) {
                Ok(permit) => index.room.push(permit),
                Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => {
                    return Err(UploadError::TooManyBlocks(index.max));
                }
            }
            index.reserved += ROOM_STEP;
        }
        Ok(())
    }

    /// Finds what the CAR does not have among the blocks that are stored.
    async fn complete(&mut self, root: Cid, index: &mut Index) -> Result<Root, UploadError> {
        let top = index.dag.root(&root).map_err(|error| index.refused(&error))?;
        loop {
            let missing: Vec<Cid> = index.dag.missing(top, |_| false).take(LOOKED_UP_MAX).cloned().collect();
            if missing.is_empty() {
                return Ok(index.root(root, top));
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
            self.grow(index)?;
            index.stored_bytes += at.length_bytes;
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
            self.grow(index)?;
            index.dag.insert(&block).map_err(|error| index.refused(&error))?;
        }
        Ok(())
    }
}

/// The roots that CARs name, each once.
fn distinct(mut names: Vec<Cid>) -> Result<Vec<Cid>, UploadError> {
    names.sort();
    names.dedup();
    let count = names.len();
    if (1..=ROOTS_MAX).contains(&count) {
        Ok(names)
    } else {
        Err(UploadError::BadArchive(format!("the CAR names {count} roots, not 1 to {ROOTS_MAX}")))
    }
}

impl Index {
    /// Has the first root pay for the blocks that came beside all of them: they are kept with them.
    fn charge_rest<'r>(&self, roots: impl Iterator<Item = &'r mut Root>) {
        let mut roots: Vec<&mut Root> = roots.collect();
        let under_roots: u64 = roots.iter().map(|root| root.target.dag_size_bytes).sum();
        if let Some(first) = roots.first_mut() {
            first.size_bytes += (self.brought_bytes + self.stored_bytes).saturating_sub(under_roots);
        }
    }

    fn refused(&self, error: &DagError) -> UploadError {
        match error {
            DagError::TooManyBlocks(_) | DagError::TooManyLinks(_) => UploadError::TooManyBlocks(self.max),
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
