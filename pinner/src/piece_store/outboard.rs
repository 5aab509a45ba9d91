//! Hashing a piece while it arrives: its BLAKE3 name and its outboard in one pass, whatever the sizes of the parts.
//!
//! Holds one group and the outboard (64 bytes per 16 KiB) and never the piece.

use bao_tree::{
    BaoTree, TreeNode,
    blake3::Hash,
    iter::{BaoChunk, PostOrderChunkIter},
};
use protocol::ids::PieceHash;

use super::proof;

/// Computes hash and outboard of a piece whose length is known from the start.
pub(super) struct OutboardBuilder {
    tree: BaoTree,
    steps: PostOrderChunkIter,
    /// The leaf that the next bytes belong to.
    leaf: Option<BaoChunk>,
    hashes: Vec<Hash>,
    nodes: Vec<u8>,
    group: Vec<u8>,
    taken: u64,
}

/// More bytes came than were announced.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl OutboardBuilder {
    /// `piece_len` is at least 1 and bounded by the caller.
    pub(super) fn new(piece_len: u64) -> Self {
        let tree = proof::tree(piece_len);
        let nodes = vec![0; usize::try_from(tree.outboard_size()).unwrap_or(0)];
        let mut steps = tree.post_order_chunks_iter();
        let leaf = steps.next();
        Self { tree, steps, leaf, hashes: Vec::new(), nodes, group: Vec::new(), taken: 0 }
    }

    /// Takes the next bytes of the piece.
    pub(super) fn update(&mut self, mut bytes: &[u8]) -> Result<(), TooLong> {
        self.taken += bytes.len() as u64;
        if self.taken > self.tree.size() {
            return Err(TooLong);
        }
        while !bytes.is_empty() {
            let Some(BaoChunk::Leaf { size, start_chunk, is_root, .. }) = self.leaf else {
                return Err(TooLong);
            };
            let missing = size - self.group.len();
            if bytes.len() < missing {
                self.group.extend_from_slice(bytes);
                return Ok(());
            }
            let (now, later) = bytes.split_at(missing);
            let hash = if self.group.is_empty() {
                proof::group_hash(start_chunk, now, is_root)
            } else {
                self.group.extend_from_slice(now);
                proof::group_hash(start_chunk, &self.group, is_root)
            };
            self.group.clear();
            self.hashes.push(hash);
            self.climb();
            bytes = later;
        }
        Ok(())
    }

    /// Joins the subtrees that are complete, up to the next leaf.
    fn climb(&mut self) {
        loop {
            self.leaf = self.steps.next();
            let Some(BaoChunk::Parent { node, is_root, .. }) = self.leaf else { return };
            let (Some(right), Some(left)) = (self.hashes.pop(), self.hashes.pop()) else { return };
            self.save(node, &left, &right);
            self.hashes.push(proof::parent_hash(&left, &right, is_root));
        }
    }

    fn save(&mut self, node: TreeNode, left: &Hash, right: &Hash) {
        let at = self.tree.pre_order_offset(node).and_then(|pair| usize::try_from(pair * 64).ok());
        if let Some(pair) = at.and_then(|at| self.nodes.get_mut(at..at + 64)) {
            pair[..32].copy_from_slice(left.as_bytes());
            pair[32..].copy_from_slice(right.as_bytes());
        }
    }

    /// How many bytes have been taken.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// The piece's name and its outboard; `None` if bytes are missing.
    pub(super) fn finish(mut self) -> Option<(PieceHash, Vec<u8>)> {
        if self.taken != self.tree.size() || self.leaf.is_some() {
            return None;
        }
        Some((PieceHash(*self.hashes.pop()?.as_bytes()), self.nodes))
    }
}

/// Name and outboard of a whole piece.
pub(super) fn hash_piece(data: &[u8]) -> Option<(PieceHash, Vec<u8>)> {
    let mut builder = OutboardBuilder::new(data.len() as u64);
    builder.update(data).ok()?;
    builder.finish()
}
