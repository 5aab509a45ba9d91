//! Blocks that come one by one, or not at all because they are stored already.

use axum::extract::Request;
use bytes::{Bytes, BytesMut};
use content::{BLOCK_MAX, Block, Cid, dag_index::DagRoot};

use super::{Intake, Root, Source, form::form_of};
use crate::upload::UploadError;

/// Blocks that came.
#[derive(Debug)]
pub(crate) struct Put {
    /// Each with its length, in the order in which they came.
    pub(crate) blocks: Vec<(Cid, usize)>,
    /// What is to be pinned, or held.
    pub(crate) roots: Vec<Root>,
}

/// How much lies under some roots.
#[derive(Clone, Debug, Default)]
pub(crate) struct DagStat {
    /// Of each root: bytes and number of the distinct blocks under it, its own among them.
    pub(crate) roots: Vec<(Cid, u64, u64)>,
    /// Bytes of the distinct blocks under all of them.
    pub(crate) unique_bytes: u64,
    /// Their number.
    pub(crate) unique_blocks: u64,
}

impl Intake {
    /// Takes in the parts of a form, each of which is one block that `name` names. To be pinned they must be complete, with
    /// what is stored here; otherwise all of them are one thing to hold.
    pub(crate) async fn blocks(
        &mut self,
        request: Request,
        name: impl Fn(Bytes) -> Block,
        pin: bool,
    ) -> Result<Put, UploadError> {
        let mut form = form_of(request).await?;
        let (mut index, mut blocks) = (self.index(), Vec::new());
        while let Some(mut field) = self.next_field(&mut form).await? {
            self.count_entry()?;
            let bytes = self.block_bytes(&mut field).await?;
            let room = self.gateway.ingest.room.clone();
            let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            let room = room.acquire_many_owned(length).await.map_err(|_| UploadError::Busy)?;
            let block = name(bytes);
            if self.gateway.blocks.denylist().denied(&block.cid).is_some() {
                return Err(UploadError::Denied(block.cid));
            }
            blocks.push((block.cid.clone(), block.bytes.len()));
            self.take_block(block, room, &mut index).await?;
        }
        if blocks.is_empty() {
            return Err(UploadError::BadForm("the form has no files".into()));
        }
        if !pin {
            return Ok(Put { blocks, roots: index.whole().into_iter().collect() });
        }
        let (mut roots, mut tops) = (Vec::new(), Vec::new());
        for (cid, _) in &blocks {
            let (root, top) = self.complete(cid.clone(), &mut index).await?;
            roots.push(root);
            tops.push(top);
        }
        self.beside = index.beside(&tops);
        Ok(Put { blocks, roots })
    }

    async fn block_bytes(&mut self, source: &mut impl Source) -> Result<Bytes, UploadError> {
        let mut block = BytesMut::new();
        while let Some(bytes) = self.pace.wait(source.next()).await?? {
            self.pace.count(bytes.len())?;
            if block.len() + bytes.len() > BLOCK_MAX {
                return Err(UploadError::BadArchive(format!("a block of more than {BLOCK_MAX} bytes")));
            }
            block.extend_from_slice(&bytes);
        }
        Ok(block.freeze())
    }

    /// A root of which all is stored here already, and how many blocks that is.
    pub(crate) async fn stored(&mut self, root: Cid) -> Result<(Root, u64), UploadError> {
        let mut index = self.index();
        let (root, top) = self.complete(root, &mut index).await?;
        Ok((root, index.blocks_under(&[top])))
    }

    /// How much lies under roots of which all is stored here.
    pub(crate) async fn stat(&mut self, roots: Vec<Cid>) -> Result<DagStat, UploadError> {
        let (mut index, mut stat) = (self.index(), DagStat::default());
        let mut tops: Vec<DagRoot> = Vec::new();
        for cid in roots {
            let (root, top) = self.complete(cid.clone(), &mut index).await?;
            stat.roots.push((cid, root.target.dag_size_bytes, index.blocks_under(&[top])));
            tops.push(top);
        }
        stat.unique_bytes = index.beside(&[]).map_or(0, |all| all.bytes);
        stat.unique_blocks = index.blocks_under(&tops);
        Ok(stat)
    }
}
