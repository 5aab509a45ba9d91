//! CARs: blocks as they are, checked against their CIDs while they arrive. The roots are pinned when every block under them
//! has come or is stored here already.

use axum::{body::Body, extract::Request};
use content::{Block, Cid, block::BlockError, car::CarDecoder};
use futures_util::{StreamExt as _, stream::FuturesOrdered};
use tokio::{sync::OwnedSemaphorePermit, task::JoinHandle};

use super::{Intake, Root, Source, Uploaded, dag::Index, form::form_of};
use crate::upload::UploadError;

/// Blocks of one CAR that may be hashed at the same time.
const HASHING_MAX: usize = 4;
/// Up to this many bytes are hashed on the async thread: it takes less time than handing them over.
const INLINE_HASH_BYTES: usize = 16 << 10;
/// Roots of one upload of CARs, at most.
const ROOTS_MAX: usize = 64;

/// What came in CARs.
#[derive(Debug)]
pub(crate) struct Imported {
    /// Each root with what is to be pinned, or why it cannot be. None when no roots are wanted.
    pub(crate) roots: Vec<(Cid, Result<Root, UploadError>)>,
    /// All of it as one thing to hold, if anything came.
    pub(crate) whole: Option<Root>,
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
        let names = distinct(names)?;
        if names.is_empty() {
            return Err(bad_car(&"it names no roots"));
        }
        let (mut roots, mut tops) = (Vec::new(), Vec::new());
        for name in names {
            let (root, top) = self.complete(name, &mut index).await?;
            roots.push(root);
            tops.push(top);
        }
        self.beside = index.beside(&tops);
        Ok(Uploaded { roots, ..Uploaded::default() })
    }

    /// CARs that are the parts of a form; parts of one DAG may come in several of them. Their roots may be incomplete, and
    /// are not even looked at unless they are to be pinned.
    pub(crate) async fn cars(&mut self, request: Request, pin_roots: bool) -> Result<Imported, UploadError> {
        let mut form = form_of(request).await?;
        let (mut index, mut names) = (self.index(), Vec::new());
        while let Some(mut field) = self.next_field(&mut form).await? {
            self.count_entry()?;
            names.extend(self.read_car(&mut field, &mut index).await?);
        }
        if self.entries == 0 {
            return Err(UploadError::BadForm("the form has no files".into()));
        }
        let whole = index.whole();
        let (mut roots, mut tops) = (Vec::new(), Vec::new());
        for name in distinct(names)?.into_iter().filter(|_| pin_roots) {
            let root = match self.complete(name.clone(), &mut index).await {
                Ok((root, top)) => {
                    tops.push(top);
                    Ok(root)
                }
                Err(error @ UploadError::IncompleteDag(_)) => Err(error),
                Err(error) => return Err(error),
            };
            roots.push((name, root));
        }
        if !tops.is_empty() {
            self.beside = index.beside(&tops);
        }
        Ok(Imported { roots, whole, blocks: index.came_blocks, bytes: index.came_bytes })
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
                index.count(&block);
                self.check(block, &mut checking, index).await?;
            }
        }
        decoder.finish().map_err(|error| bad_car(&error))?;
        while !checking.is_empty() {
            self.take_checked(&mut checking, index).await?;
        }
        Ok(decoder.roots().unwrap_or_default().to_vec())
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
}

/// The roots that CARs name, each once.
fn distinct(mut names: Vec<Cid>) -> Result<Vec<Cid>, UploadError> {
    names.sort();
    names.dedup();
    let count = names.len();
    if count > ROOTS_MAX {
        Err(bad_car(&format!("it names {count} roots, more than {ROOTS_MAX}")))
    } else {
        Ok(names)
    }
}

fn bad_car(error: &impl std::fmt::Display) -> UploadError {
    UploadError::BadArchive(format!("the CAR cannot be taken: {error}"))
}
