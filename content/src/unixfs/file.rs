//! Builds the tree over a file's leaves: bytes in order become one root CID.
//!
//! The layout is the balanced one: every leaf at the same depth, every node but the last of its level full. The
//! builder sees only CIDs and lengths, because the caller hashes leaves in parallel and stores them itself; it
//! gives back each inner node as soon as it is full. It holds one unfinished node a level, about 50 KiB each at
//! 1024 links. Reading a file back is [`super::walk`].

use bytes::Bytes;

use super::profile::Profile;
use super::{BLOCKSIZES, Data, DataType, Target};
use crate::block::Block;
use crate::cid::{Cid, Codec};
use crate::dagpb::{self, Link};
use crate::protobuf;

/// Builds one file.
#[derive(Debug)]
pub struct FileBuilder {
    profile: Profile,
    /// Unfinished nodes, lowest first. The highest is never empty.
    levels: Vec<Level>,
}

/// A file that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// The CID of the file.
    pub root: Cid,
    /// Length of the file.
    pub size_bytes: u64,
    /// Bytes of all its blocks, counting a repeated block each time (`Tsize`).
    pub dag_size_bytes: u64,
    /// The blocks that were still to come, children before parents.
    pub blocks: Vec<Block>,
}

impl Finished {
    /// The file as something a directory can link to.
    #[must_use]
    pub fn target(&self) -> Target {
        Target { cid: self.root.clone(), dag_size_bytes: self.dag_size_bytes }
    }
}

/// A finished part of the file: a leaf or a node.
#[derive(Debug, Clone)]
struct Part {
    cid: Cid,
    size_bytes: u64,
    dag_size_bytes: u64,
}

/// A node that is being filled. It keeps links and block sizes encoded, which takes a third of the memory and
/// makes finishing it a copy.
#[derive(Debug, Default)]
struct Level {
    links: Vec<u8>,
    blocksizes: Vec<u8>,
    count: usize,
    size_bytes: u64,
    dag_size_bytes: u64,
    last: Option<Part>,
}

impl FileBuilder {
    /// An empty file.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        Self { profile, levels: Vec::new() }
    }

    /// Appends a raw leaf of `len` bytes. Returns the inner nodes this completed, children before parents:
    /// none for most leaves, at most one a level.
    #[must_use = "a finished node that is dropped here is never made again"]
    pub fn push_leaf(&mut self, cid: Cid, len: u64) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut part = Part { cid, size_bytes: len, dag_size_bytes: len };
        for i in 0.. {
            let (links_max, level) = (self.profile.links_max(), self.level(i));
            level.push(part);
            if level.count < links_max {
                break;
            }
            let (block, parent) = self.levels[i].seal(&self.profile);
            blocks.push(block);
            part = parent;
        }
        blocks
    }

    /// Ends the file. A file of one leaf is that leaf; a file without leaves is the empty raw block, which is
    /// then among the blocks returned.
    #[must_use]
    pub fn finish(mut self) -> Finished {
        if self.levels.is_empty() {
            let empty = Block::of(Codec::Raw, self.profile.hash_fn(), Bytes::new());
            return Finished {
                root: empty.cid.clone(),
                size_bytes: 0,
                dag_size_bytes: 0,
                blocks: vec![empty],
            };
        }
        let mut blocks = Vec::new();
        let mut i = 0;
        loop {
            let is_top = i + 1 == self.levels.len();
            let level = &mut self.levels[i];
            if is_top
                && level.count == 1
                && let Some(Part { cid: root, size_bytes, dag_size_bytes }) = level.last.take()
            {
                return Finished { root, size_bytes, dag_size_bytes, blocks };
            }
            i += 1;
            if level.count > 0 {
                let (block, parent) = level.seal(&self.profile);
                blocks.push(block);
                self.level(i).push(parent);
            }
        }
    }

    fn level(&mut self, i: usize) -> &mut Level {
        if i == self.levels.len() {
            self.levels.push(Level::default());
        }
        &mut self.levels[i]
    }
}

impl Level {
    fn push(&mut self, part: Part) {
        // The empty name is written, not left out: the published CIDs have it so.
        let link = Link { cid: part.cid.clone(), name: Some(""), tsize: Some(part.dag_size_bytes) };
        link.push(&mut self.links);
        protobuf::push_varint(&mut self.blocksizes, BLOCKSIZES, part.size_bytes);
        self.count += 1;
        // 2^64 bytes cannot be pushed in anyone's lifetime; a caller that lies about lengths gets a wrong sum.
        self.size_bytes = self.size_bytes.saturating_add(part.size_bytes);
        self.dag_size_bytes = self.dag_size_bytes.saturating_add(part.dag_size_bytes);
        self.last = Some(part);
    }

    /// Makes the block of this node and leaves the level empty.
    fn seal(&mut self, profile: &Profile) -> (Block, Part) {
        let mut data = Data { filesize: Some(self.size_bytes), ..Data::new(DataType::File) }.encode();
        data.append(&mut self.blocksizes);
        let mut bytes = std::mem::take(&mut self.links);
        dagpb::push_data(&mut bytes, &data);
        let dag_size_bytes = self.dag_size_bytes.saturating_add(bytes.len() as u64);
        let block = Block::of(Codec::DagPb, profile.hash_fn(), Bytes::from(bytes));
        let part = Part { cid: block.cid.clone(), size_bytes: self.size_bytes, dag_size_bytes };
        (self.count, self.size_bytes, self.dag_size_bytes) = (0, 0, 0);
        (block, part)
    }
}

/// Imports a file that is in memory, leaves included among the blocks. For small data; anything large is
/// streamed through [`FileBuilder`] with its leaves hashed in parallel.
#[must_use]
pub fn import_bytes(profile: Profile, bytes: &Bytes) -> Finished {
    let mut builder = FileBuilder::new(profile);
    let mut blocks = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let end = bytes.len().min(start + profile.chunk_bytes());
        let leaf = Block::of(Codec::Raw, profile.hash_fn(), bytes.slice(start..end));
        let (cid, len) = (leaf.cid.clone(), leaf.bytes.len() as u64);
        blocks.push(leaf);
        blocks.extend(builder.push_leaf(cid, len));
        start = end;
    }
    let mut finished = builder.finish();
    blocks.append(&mut finished.blocks);
    Finished { blocks, ..finished }
}
