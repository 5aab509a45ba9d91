//! A sink in memory.

use std::collections::BTreeMap;

use bytes::Bytes;
use content::{Block, Cid};

use crate::Sink;

#[derive(Debug, thiserror::Error)]
#[error("the disk with the secret name is full")]
pub(super) struct Full;

/// Keeps what it is given.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// What it held from the start.
    pub(super) held: BTreeMap<Cid, Bytes>,
    /// Whether that can be read.
    pub(super) is_unreadable: bool,
    /// What it was given, in this order.
    pub(super) put: Vec<Block>,
    /// Blocks that it takes, at most.
    pub(super) room: Option<usize>,
    /// What it was asked to read.
    pub(super) reads: Vec<Cid>,
}

impl Memory {
    pub(super) fn holding<'a>(blocks: impl IntoIterator<Item = &'a Block>) -> Self {
        let held = blocks.into_iter().map(|block| (block.cid.clone(), block.bytes.clone()));
        Self { held: held.collect(), ..Self::default() }
    }

    /// The CIDs of what it was given, sorted.
    pub(super) fn cids(&self) -> Vec<Cid> {
        let mut cids: Vec<_> = self.put.iter().map(|block| block.cid.clone()).collect();
        cids.sort();
        cids
    }
}

impl Sink for Memory {
    type Error = Full;

    async fn holds(&mut self, cids: &[Cid]) -> Result<Vec<Option<u32>>, Full> {
        let len = |cid| self.held.get(cid).map(|bytes| u32::try_from(bytes.len()).unwrap());
        Ok(cids.iter().map(len).collect())
    }

    async fn read(&mut self, cid: &Cid) -> Result<Option<Bytes>, Full> {
        self.reads.push(cid.clone());
        Ok(if self.is_unreadable { None } else { self.held.get(cid).cloned() })
    }

    async fn put(&mut self, block: Block) -> Result<(), Full> {
        if self.room.is_some_and(|room| self.put.len() >= room) {
            return Err(Full);
        }
        self.put.push(block);
        Ok(())
    }
}
