//! Builds the tree over a file's leaves: bytes in order become one root CID.
//!
//! [`leaf`] makes the leaves, which the caller does in parallel; it stores them itself. The builder sees only
//! their CIDs and lengths, and gives back each inner node as soon as it is complete. It holds one unfinished node a
//! level, about 50 KiB each at 1024 links. Blocks that their own CID carries are never given back, for
//! nobody stores them. A builder can be kept as bytes and gone on with elsewhere ([`FileBuilder::state`]). Reading a file
//! back is [`super::walk`].

mod balanced;
mod node;
mod state;
mod trickle;

use bytes::Bytes;

use self::balanced::Balanced;
pub use self::state::StateError;
use self::trickle::Trickle;
use super::profile::{Layout, Leaves, Profile};
use super::{Data, DataType, Target};
use crate::block::Block;
use crate::cid::{Cid, Codec};
use crate::dagpb;

/// Builds one file.
#[derive(Debug)]
pub struct FileBuilder {
    profile: Profile,
    tree: Tree,
}

#[derive(Debug)]
enum Tree {
    Balanced(Balanced),
    Trickle(Trickle),
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

/// A finished part of a file: a leaf or a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its block.
    pub cid: Cid,
    /// Bytes of the file under it.
    pub size_bytes: u64,
    /// Bytes of all blocks under it, its own among them.
    pub dag_size_bytes: u64,
}

/// Makes the leaf that holds `bytes`, at most [`Profile::chunk_bytes`] of them. It must be stored unless
/// [`Block::to_store`] says otherwise.
#[must_use]
pub fn leaf(profile: &Profile, bytes: Bytes) -> (Block, Part) {
    let size_bytes = bytes.len() as u64;
    let parameters = profile.parameters();
    let block = match parameters.leaves {
        Leaves::Raw => profile.block(Codec::Raw, bytes),
        Leaves::DagPb => {
            // The leaves of Kubo's balanced trees once got the wrong type, and kept it.
            let data_type = match parameters.layout {
                Layout::Balanced => DataType::File,
                Layout::Trickle => DataType::Raw,
            };
            let data = (!bytes.is_empty()).then_some(&bytes[..]);
            let message = Data { data, filesize: Some(size_bytes), ..Data::new(data_type) }.encode();
            let mut node = Vec::with_capacity(message.len() + 8);
            dagpb::push_data(&mut node, &message);
            profile.block(Codec::DagPb, Bytes::from(node))
        }
    };
    let part = Part { cid: block.cid.clone(), size_bytes, dag_size_bytes: block.bytes.len() as u64 };
    (block, part)
}

impl FileBuilder {
    /// An empty file.
    #[must_use]
    pub fn new(profile: Profile) -> Self {
        let tree = match profile.parameters().layout {
            Layout::Balanced => Tree::Balanced(Balanced::default()),
            Layout::Trickle => Tree::Trickle(Trickle::default()),
        };
        Self { profile, tree }
    }

    /// Appends a leaf that [`leaf`] made under the same profile. Returns the inner nodes this completed, children
    /// before parents: none for most leaves, at most one a level.
    #[must_use = "a finished node that is dropped here is never made again"]
    pub fn push_leaf(&mut self, leaf: Part) -> Vec<Block> {
        let mut blocks = Vec::new();
        match &mut self.tree {
            Tree::Balanced(tree) => tree.push(&self.profile, leaf, &mut blocks),
            Tree::Trickle(tree) => tree.push(&self.profile, &leaf, &mut blocks),
        }
        blocks
    }

    /// Bytes of the file that were pushed so far.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        match &self.tree {
            Tree::Balanced(tree) => tree.size_bytes(),
            Tree::Trickle(tree) => tree.size_bytes(),
        }
    }

    /// The profile that it was made with.
    #[must_use]
    pub fn profile(&self) -> Profile {
        self.profile
    }

    /// Ends the file. In the balanced layout a file of one leaf is that leaf, and a file without leaves is an empty
    /// leaf, which is then among the blocks returned.
    #[must_use]
    pub fn finish(self) -> Finished {
        let mut blocks = Vec::new();
        let root = match self.tree {
            Tree::Balanced(tree) => tree.finish(&self.profile, &mut blocks),
            Tree::Trickle(tree) => Some(tree.finish(&self.profile, &mut blocks)),
        };
        let Part { cid: root, size_bytes, dag_size_bytes } = root.unwrap_or_else(|| {
            let (block, part) = leaf(&self.profile, Bytes::new());
            blocks.extend(block.to_store());
            part
        });
        Finished { root, size_bytes, dag_size_bytes, blocks }
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
        let (block, part) = leaf(&profile, bytes.slice(start..end));
        blocks.extend(block.to_store());
        blocks.extend(builder.push_leaf(part));
        start = end;
    }
    let mut finished = builder.finish();
    blocks.append(&mut finished.blocks);
    Finished { blocks, ..finished }
}
