//! The nodes of an index and the table that finds them by their CIDs.

use crate::cid::Cid;

/// An empty place of the table.
const EMPTY: u32 = u32::MAX;

/// A block that came, or was named. 40 bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    /// 128 bits that stand for the CID.
    key: [u32; 4],
    /// Bytes of the file.
    pub(super) size_bytes: u64,
    pub(super) content: Content,
    pub(super) block_bytes: u32,
    /// Where its links begin among those of all blocks.
    pub(super) links_at: u32,
    pub(super) links_len: u32,
}

/// What a block is, as far as sizes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// It has not come.
    Missing,
    /// A file, a part of one, or a symbolic link.
    File,
    /// A directory, or a shard of one: as large as what it links.
    Directory,
    /// No `UnixFS`.
    Other,
}

/// All nodes, numbered in the order in which they were met.
#[derive(Debug)]
pub(super) struct Nodes {
    key: [u8; 32],
    all: Vec<Node>,
    /// Numbers of nodes: each at the place that its key says, or the next free one after it. At most three in four
    /// places are taken, and their number is a power of two.
    table: Vec<u32>,
}

impl Nodes {
    pub(super) fn new(key: [u8; 32]) -> Self {
        Self { key, all: Vec::new(), table: vec![EMPTY; 64] }
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// A node by a number that this gave.
    pub(super) fn get(&self, id: u32) -> Node {
        self.all[id as usize]
    }

    /// The same, to change it.
    pub(super) fn get_mut(&mut self, id: u32) -> &mut Node {
        &mut self.all[id as usize]
    }

    /// The number of a node, if there is one.
    pub(super) fn find(&self, cid: &Cid) -> Option<u32> {
        let found = self.table[self.place(self.key_of(cid))];
        (found != EMPTY).then_some(found)
    }

    /// The number of a node, and whether it is new. `None` when there are no more numbers.
    pub(super) fn find_or_add(&mut self, cid: &Cid) -> Option<(u32, bool)> {
        let key = self.key_of(cid);
        let place = self.place(key);
        let found = self.table[place];
        if found != EMPTY {
            return Some((found, false));
        }
        let id = u32::try_from(self.all.len()).ok().filter(|&id| id != EMPTY)?;
        self.table[place] = id;
        let content = Content::Missing;
        self.all.push(Node { key, size_bytes: 0, content, block_bytes: 0, links_at: 0, links_len: 0 });
        if self.all.len() * 4 > self.table.len() * 3 {
            self.grow();
        }
        Some((id, true))
    }

    fn key_of(&self, cid: &Cid) -> [u32; 4] {
        let hash = blake3::keyed_hash(&self.key, cid.as_bytes());
        std::array::from_fn(|i| {
            let word = hash.as_bytes()[4 * i..].first_chunk::<4>();
            u32::from_le_bytes(*word.expect("a hash of 32 bytes has eight words"))
        })
    }

    /// Where a key is in the table, or would be.
    fn place(&self, key: [u32; 4]) -> usize {
        let mask = self.table.len() - 1;
        let mut place = key[0] as usize & mask;
        while self.table[place] != EMPTY && self.all[self.table[place] as usize].key != key {
            place = (place + 1) & mask;
        }
        place
    }

    fn grow(&mut self) {
        self.table = vec![EMPTY; self.table.len() * 2];
        for id in 0..self.all.len() {
            let place = self.place(self.all[id].key);
            self.table[place] = u32::try_from(id).expect("nodes are numbered in 32 bits");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Node, Nodes};
    use crate::cid::{Cid, Codec, HashFn};

    #[test]
    fn a_node_is_found_again_however_many_there_are() {
        assert_eq!(size_of::<Node>(), 40, "as many as the documents say");
        let mut nodes = Nodes::new([7; 32]);
        let cid = |i: u32| Cid::of(Codec::Raw, HashFn::Sha2_256, &i.to_le_bytes());
        for i in 0..5000 {
            assert_eq!(nodes.find_or_add(&cid(i)), Some((i, true)));
        }
        for i in 0..5000 {
            assert_eq!(nodes.find_or_add(&cid(i)), Some((i, false)));
        }
        // The codec is a part of the name: it decides the links.
        let twin = Cid::of(Codec::DagPb, HashFn::Sha2_256, &0_u32.to_le_bytes());
        assert_eq!(nodes.find_or_add(&twin), Some((5000, true)));
        assert_eq!(nodes.len(), 5001);
    }
}
