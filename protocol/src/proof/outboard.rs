//! Making of a piece's name and outboard while the piece arrives, in one pass and in small memory.

use blake3::hazmat::ChainingValue;

use super::{GROUP, GROUP_LEN, hash_leaf, hash_pair};
use crate::ids::PieceHash;

/// Takes a piece in parts of any size; gives its BLAKE3 hash and its outboard in post-order.
#[derive(Debug, Default)]
pub struct OutboardBuilder {
    /// The last group, which waits until something follows it: the last hash of all is made in another way.
    group: Vec<u8>,
    /// How many groups are hashed.
    groups: u64,
    /// Hashes of complete subtrees that wait for their right sibling, largest first.
    open: Vec<ChainingValue>,
    outboard: Vec<u8>,
}

impl OutboardBuilder {
    /// Of a piece of which nothing has arrived.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next bytes of the piece.
    pub fn update(&mut self, mut data: &[u8]) {
        if !self.group.is_empty() {
            let missing = (GROUP - self.group.len()).min(data.len());
            self.group.extend_from_slice(&data[..missing]);
            data = &data[missing..];
            if data.is_empty() {
                return;
            }
            let group = std::mem::take(&mut self.group);
            self.add_group(&group);
            self.group = group;
            self.group.clear();
        }
        while data.len() > GROUP {
            let (group, rest) = data.split_at(GROUP);
            self.add_group(group);
            data = rest;
        }
        self.group.extend_from_slice(data);
    }

    /// The name and the outboard of all that was taken.
    pub fn finish(mut self) -> (PieceHash, Vec<u8>) {
        let mut hash = hash_leaf(self.start(), &self.group, self.groups == 0);
        while let Some(left) = self.open.pop() {
            let is_root = self.open.is_empty();
            hash = self.merge(&left, &hash, is_root);
        }
        (PieceHash(hash), self.outboard)
    }

    fn start(&self) -> u64 {
        self.groups * GROUP_LEN
    }

    /// Hashes a group that is not the last one, and every subtree that it completes.
    fn add_group(&mut self, group: &[u8]) {
        let mut hash = hash_leaf(self.start(), group, false);
        self.groups += 1;
        // As many subtrees end here as the number of groups can be halved.
        for _ in 0..self.groups.trailing_zeros() {
            let Some(left) = self.open.pop() else { break };
            hash = self.merge(&left, &hash, false);
        }
        self.open.push(hash);
    }

    fn merge(&mut self, left: &ChainingValue, right: &ChainingValue, is_root: bool) -> ChainingValue {
        self.outboard.extend_from_slice(left);
        self.outboard.extend_from_slice(right);
        hash_pair(left, right, is_root)
    }
}
