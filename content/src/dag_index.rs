//! What is known of a set of blocks while they stream by: which links they have, and so which roots are complete.
//!
//! Of a block it keeps 40 bytes and its place in a table, of a link 4, and a CID only as long as its block has not
//! come. Everything is asked of a root, in time linear in the blocks and links under it, however often they repeat
//! each other and however deep they go. It does not verify blocks; of blocks that link in a circle, which only
//! unverified ones can, it counts each once.

mod nodes;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use self::nodes::{Content, Nodes};
use crate::block::Block;
use crate::cid::{Cid, Codec};
use crate::dagpb;
use crate::ipld::{self, IpldError};
use crate::unixfs::walk::{self, Kind};

/// How much an index takes in. In memory a block is about 50 bytes, a link 4, and a link whose block has not come another
/// 110.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DagLimits {
    /// Most distinct blocks, those that CIDs carry among them.
    pub blocks_max: u32,
    /// Most links of all blocks together, and roots.
    pub links_max: u32,
}

/// What a block has around its content, at most: type, lengths, the bits of a shard.
const FRAME_BYTES: u64 = 1_024;
/// What a link takes in a block, at most: a name of 255 bytes, a CID, lengths.
const LINK_BYTES: u64 = 512;

/// Why a block cannot be taken in. The index is of no use after that: links may be missing in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DagError {
    /// There are more blocks than allowed.
    #[error("more than {0} blocks")]
    TooManyBlocks(u32),
    /// There are more links than allowed.
    #[error("the blocks have more than {0} links")]
    TooManyLinks(u32),
    /// A dag-pb block that is none.
    #[error("block {cid}: {source}")]
    DagPb {
        /// The block.
        cid: Cid,
        /// What is wrong with it.
        source: dagpb::DecodeError,
    },
    /// A dag-cbor or dag-json block that is none.
    #[error("block {cid}: {source}")]
    Ipld {
        /// The block.
        cid: Cid,
        /// What is wrong with it.
        source: IpldError,
    },
}

/// A block that questions are asked of: those of the index that gave it, no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DagRoot(u32);

/// What an index knows of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// No block links it, and it did not come.
    Unknown,
    /// It is linked, or asked about, and did not come.
    Missing,
    /// It came.
    Here,
}

/// The blocks and their links.
#[derive(Debug)]
pub struct DagIndex {
    limits: DagLimits,
    nodes: Nodes,
    blocks: u32,
    /// The links of all blocks, those of one block in a run.
    links: Vec<u32>,
    roots: u32,
    /// What was named and has not come.
    missing: BTreeMap<u32, Cid>,
}

impl DagIndex {
    /// An index without blocks. Blocks are told apart by 128 bits of a hash of their CIDs under `key`, which is the
    /// caller's to draw: nobody who does not know it can make links that are taken for others, or that are slow
    /// to find.
    #[must_use]
    pub fn new(limits: DagLimits, key: [u8; 32]) -> Self {
        let (nodes, links, missing) = (Nodes::new(key), Vec::new(), BTreeMap::new());
        Self { limits, nodes, blocks: 0, links, roots: 0, missing }
    }

    /// How many distinct blocks it has, those that CIDs carry among them.
    #[must_use]
    pub const fn blocks(&self) -> u32 {
        self.blocks
    }

    /// How many distinct blocks came or were named: what it has when nothing is missing any more.
    #[must_use]
    pub fn named(&self) -> u32 {
        saturate(self.nodes.len())
    }

    /// What is known of a block. Asking changes nothing.
    #[must_use]
    pub fn presence(&self, cid: &Cid) -> Presence {
        match self.nodes.find(cid) {
            None => Presence::Unknown,
            Some(id) if self.nodes.get(id).content == Content::Missing => Presence::Missing,
            Some(_) => Presence::Here,
        }
    }

    /// Makes a block something to ask about, before or after it came.
    pub fn root(&mut self, cid: &Cid) -> Result<DagRoot, DagError> {
        self.check_room_for(1)?;
        self.roots += 1;
        Ok(DagRoot(self.name(cid)?))
    }

    /// Takes in a block; one that is there already changes nothing. Blocks of dag-pb, dag-cbor and dag-json have
    /// links. Those of other codecs have none that are known.
    pub fn insert(&mut self, block: &Block) -> Result<(), DagError> {
        let Some(id) = self.begin(&block.cid)? else { return Ok(()) };
        let links = links_of(block)?;
        self.check_room_for(links.len())?;
        let children: Vec<u32> = links.iter().map(|link| self.name(link)).collect::<Result<_, _>>()?;
        // Blocks that came with these links have taken room for theirs.
        self.check_room_for(children.len())?;
        let links_at = saturate(self.links.len());
        self.links.extend(&children);
        self.missing.remove(&id);
        let node = self.nodes.get_mut(id);
        (node.content, node.size_bytes) = content_of(block);
        // What a CID carries lies in the block that names it.
        node.block_bytes = if block.cid.is_identity() { 0 } else { saturate(block.bytes.len()) };
        (node.links_at, node.links_len) = (links_at, saturate(children.len()));
        Ok(())
    }

    /// Takes in a block that is kept elsewhere and has no links, by its length alone. False, and nothing is changed, when
    /// its codec may have links ([`Codec::may_link`]).
    pub fn insert_leaf(&mut self, cid: &Cid, len_bytes: u32) -> Result<bool, DagError> {
        if cid.codec().may_link() {
            return Ok(false);
        }
        let Some(id) = self.begin(cid)? else { return Ok(true) };
        self.missing.remove(&id);
        let node = self.nodes.get_mut(id);
        (node.content, node.size_bytes) = match cid.codec() {
            Codec::Raw => (Content::File, u64::from(len_bytes)),
            _ => (Content::Other, 0),
        };
        node.block_bytes = if cid.is_identity() { 0 } else { len_bytes };
        Ok(true)
    }

    /// The node of a block that comes; `None` when it was there already.
    fn begin(&mut self, cid: &Cid) -> Result<Option<u32>, DagError> {
        let id = self.node(cid)?.0;
        if self.nodes.get(id).content != Content::Missing {
            return Ok(None);
        }
        if self.blocks >= self.limits.blocks_max {
            return Err(DagError::TooManyBlocks(self.limits.blocks_max));
        }
        self.blocks += 1;
        Ok(Some(id))
    }

    /// The node of a block that is linked or asked about. A block that its CID carries comes with it, and may link
    /// others of the kind: each is shorter than the one around it, so at most 128 bytes are within each other.
    fn name(&mut self, cid: &Cid) -> Result<u32, DagError> {
        let (id, is_new) = self.node(cid)?;
        if is_new {
            match Block::from_identity(cid.clone()) {
                Some(block) => self.insert(&block)?,
                None => drop(self.missing.insert(id, cid.clone())),
            }
        }
        Ok(id)
    }

    fn check_room_for(&self, links: usize) -> Result<(), DagError> {
        let taken = self.links.len() + self.roots as usize + links;
        let max = self.limits.links_max;
        if taken > max as usize { Err(DagError::TooManyLinks(max)) } else { Ok(()) }
    }

    fn node(&mut self, cid: &Cid) -> Result<(u32, bool), DagError> {
        // Each node is a block or a link, and there is no number for more of them.
        self.nodes.find_or_add(cid).ok_or(DagError::TooManyLinks(self.limits.links_max))
    }

    /// The blocks that are linked under `root`, or `root` itself, and have not come; each once. Those that are `known`
    /// elsewhere, complete, are passed over.
    pub fn missing<'a>(
        &'a self,
        root: DagRoot,
        mut known: impl FnMut(&Cid) -> bool + 'a,
    ) -> impl Iterator<Item = &'a Cid> + 'a {
        self.walk(root).filter_map(|id| self.missing.get(&id)).filter(move |cid| !known(cid))
    }

    /// What was named and has not come, under whatever root, in the order in which it was named, each with its number.
    /// Numbers only grow: from the last one on there is what was named after it.
    pub fn missing_from(&self, number: u32) -> impl Iterator<Item = (u32, &Cid)> {
        self.missing.range(number..).map(|(&number, cid)| (number, cid))
    }

    /// Bytes of all distinct blocks under `root` that have come, its own among them. Those that CIDs carry count
    /// nothing.
    #[must_use]
    pub fn dag_size_bytes(&self, root: DagRoot) -> u64 {
        self.walk(root).map(|id| u64::from(self.nodes.get(id).block_bytes)).sum()
    }

    /// How many distinct blocks there are under `roots`, those that have not come and those that CIDs carry among them.
    #[must_use]
    pub fn blocks_under(&self, roots: &[DagRoot]) -> u64 {
        self.walk_from(roots).count() as u64
    }

    /// Bytes of all distinct blocks that have come and lie under none of `roots`.
    #[must_use]
    pub fn bytes_beside(&self, roots: &[DagRoot]) -> u64 {
        let bytes = |id: u32| u64::from(self.nodes.get(id).block_bytes);
        let under: u64 = self.walk_from(roots).map(bytes).sum();
        (0..self.named()).map(bytes).sum::<u64>() - under
    }

    /// Bytes of the file, or of all files in the directory, at `root`, a file counted as often as it occurs. Files of which
    /// the root has not come count nothing. `None` when `root` is no `UnixFS`, or has not come.
    #[must_use]
    pub fn size_bytes(&self, root: DagRoot) -> Option<u64> {
        let node = self.nodes.get(root.0);
        match node.content {
            Content::Missing | Content::Other => None,
            Content::File => Some(node.size_bytes),
            Content::Directory => Some(self.directory_bytes(root.0)),
        }
    }

    /// Bytes that whoever has all under `root` kept is charged: those of [`DagIndex::size_bytes`], and those that are no part of
    /// a file: blocks of other kinds, and what blocks have beside what they say that they hold. `None` when the root is no
    /// `UnixFS`, or its files say that they are shorter than their parts, or have parts that are none: blocks may say what
    /// they like of their own lengths.
    #[must_use]
    pub fn charged_bytes(&self, root: DagRoot) -> Option<u64> {
        let mut bytes = self.size_bytes(root)?;
        for id in self.walk(root) {
            bytes = bytes.saturating_add(self.unclaimed_bytes(id)?);
        }
        Some(bytes)
    }

    /// Bytes of a block that are neither content nor links. `None` when it lies.
    fn unclaimed_bytes(&self, id: u32) -> Option<u64> {
        let (node, links) = (self.nodes.get(id), self.links_of(id));
        let claimed = match node.content {
            Content::Missing | Content::Other => return Some(u64::from(node.block_bytes)),
            Content::Directory => 0,
            Content::File => {
                let mut own_bytes = node.size_bytes;
                for part in links.iter().map(|part| self.nodes.get(*part)) {
                    let is_part = matches!(part.content, Content::File | Content::Missing);
                    own_bytes = own_bytes.checked_sub(part.size_bytes).filter(|_| is_part)?;
                }
                own_bytes
            }
        };
        let framing = FRAME_BYTES + LINK_BYTES * links.len() as u64;
        Some(u64::from(node.block_bytes).saturating_sub(claimed.saturating_add(framing)))
    }

    /// Each node under `root` once.
    fn walk(&self, root: DagRoot) -> Walk<'_> {
        self.walk_from(&[root])
    }

    /// Each node under any of `roots` once.
    fn walk_from(&self, roots: &[DagRoot]) -> Walk<'_> {
        let mut seen = Bitmap::new(self.nodes.len());
        let todo = roots.iter().map(|root| root.0).filter(|&id| seen.insert(id)).collect();
        Walk { index: self, seen, todo }
    }

    fn links_of(&self, id: u32) -> &[u32] {
        let node = self.nodes.get(id);
        let start = node.links_at as usize;
        self.links.get(start..start + node.links_len as usize).unwrap_or_default()
    }

    /// Sums up a directory, and each one below it once.
    fn directory_bytes(&self, root: u32) -> u64 {
        let mut begun = Bitmap::new(self.nodes.len());
        begun.insert(root);
        // The sums of directories that are finished.
        let mut sums = BTreeMap::new();
        // Directories on the way down: which, the next of its links, and what those before it hold.
        let mut open = vec![(root, 0, 0_u64)];
        while let Some((id, next, sum)) = open.last_mut() {
            let Some(&child) = self.links_of(*id).get(*next) else {
                sums.insert(*id, *sum);
                open.pop();
                continue;
            };
            let node = self.nodes.get(child);
            if node.content == Content::Directory && begun.insert(child) {
                open.push((child, 0, 0));
                continue;
            }
            let held = match node.content {
                Content::File => node.size_bytes,
                // One that was begun and is not finished is in a circle.
                Content::Directory => sums.get(&child).copied().unwrap_or(0),
                Content::Missing | Content::Other => 0,
            };
            *sum = sum.saturating_add(held);
            *next += 1;
        }
        sums.get(&root).copied().unwrap_or(0)
    }
}

fn links_of(block: &Block) -> Result<Vec<Cid>, DagError> {
    let cid = &block.cid;
    match cid.codec() {
        Codec::DagPb => {
            let mut links = Vec::new();
            dagpb::scan(&block.bytes, |link| links.push(link.cid))
                .map_err(|source| DagError::DagPb { cid: cid.clone(), source })?;
            Ok(links)
        }
        _ => ipld::links(block).map_err(|source| DagError::Ipld { cid: cid.clone(), source }),
    }
}

/// What a block is, and the length of the file that it is.
fn content_of(block: &Block) -> (Content, u64) {
    match walk::kind(block) {
        Ok(Kind::Raw { size_bytes } | Kind::File { size_bytes }) => (Content::File, size_bytes),
        Ok(Kind::Symlink(_)) => (Content::File, 0),
        Ok(Kind::Directory | Kind::HamtShard) => (Content::Directory, 0),
        Err(_) => (Content::Other, 0),
    }
}

/// Numbers that the limits, or the size of a block, keep within 32 bits.
fn saturate(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Goes over nodes, parents before their children.
struct Walk<'a> {
    index: &'a DagIndex,
    seen: Bitmap,
    todo: Vec<u32>,
}

impl Iterator for Walk<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let id = self.todo.pop()?;
        for &child in self.index.links_of(id).iter().rev() {
            if self.seen.insert(child) {
                self.todo.push(child);
            }
        }
        Some(id)
    }
}

/// A set of nodes.
struct Bitmap(Vec<u64>);

impl Bitmap {
    fn new(len: usize) -> Self {
        Self(vec![0; len.div_ceil(64)])
    }

    /// Adds a node, and says whether it was not there.
    fn insert(&mut self, id: u32) -> bool {
        let (word, bit) = (id as usize / 64, 1 << (id % 64));
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }
}
