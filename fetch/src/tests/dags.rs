//! DAGs for tests, and CARs of them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use content::{
    Block, Cid, Codec, HashFn,
    car::{frame_prefix, header},
    dagpb::{self, Link, Node},
    ipld,
    unixfs::{
        file::{Finished, import_bytes},
        profile::{Parameters, Profile},
        tree::TreeBuilder,
    },
};

/// A file of so many leaves of 100 bytes, all different, up to seven under each node; its root is the last block.
pub(super) fn file(leaves: u16) -> Finished {
    let profile =
        Profile::new(Parameters { chunk_bytes: 100, links_max: 7, ..Profile::default().parameters() });
    let bytes: Vec<u8> = (0..leaves).flat_map(|i| [i.to_le_bytes(); 50].concat()).collect();
    import_bytes(profile.unwrap(), &Bytes::from(bytes))
}

/// A directory with so many files in it, each of its own: its blocks, and its root.
pub(super) fn directory(files: u16) -> (Vec<Block>, Cid) {
    let mut tree = TreeBuilder::new(Profile::default());
    let mut blocks = Vec::new();
    for i in 0..files {
        let file = file(i + 1);
        tree.add(&format!("folder {}/{i}", i % 3), file.target()).unwrap();
        blocks.extend(file.blocks);
    }
    let done = tree.finish().unwrap();
    blocks.extend(done.blocks);
    (blocks, done.root.cid)
}

/// A block that cannot have links.
pub(super) fn raw(bytes: impl Into<Vec<u8>>) -> Block {
    Block::of(Codec::Raw, HashFn::Sha2_256, Bytes::from(bytes.into()))
}

/// A node with these links that is no `UnixFS`.
pub(super) fn node(links: &[Cid]) -> Block {
    let link = |cid: &Cid| Link { cid: cid.clone(), name: None, tsize: None };
    let bytes = Node { links: links.iter().map(link).collect(), data: None }.encode();
    Block::of(Codec::DagPb, HashFn::Sha2_256, Bytes::from(bytes))
}

/// What a block links; nothing when it is malformed.
pub(super) fn links(block: &Block) -> Vec<Cid> {
    match block.cid.codec() {
        Codec::DagPb => {
            let links = dagpb::decode(&block.bytes).map(|node| node.links).unwrap_or_default();
            links.into_iter().map(|link| link.cid).collect()
        }
        _ => ipld::links(block).unwrap_or_default(),
    }
}

/// A section of a CAR.
pub(super) fn section(block: &Block) -> Vec<u8> {
    [frame_prefix(&block.cid, block.bytes.len()), block.bytes.to_vec()].concat()
}

/// A CAR of these blocks as they come.
pub(super) fn car_of(root: &Cid, blocks: &[Block]) -> Bytes {
    let sections = blocks.iter().flat_map(section);
    header(std::slice::from_ref(root)).into_iter().chain(sections).collect()
}

/// Blocks under a root as a gateway sends them: depth first, each once, up to the first that is missing; and whether none
/// is.
pub(super) fn in_order(blocks: &BTreeMap<Cid, Bytes>, root: &Cid) -> (Vec<Block>, bool) {
    let (mut order, mut seen, mut todo) = (Vec::new(), BTreeSet::new(), vec![root.clone()]);
    while let Some(cid) = todo.pop() {
        if !seen.insert(cid.clone()) || cid.is_identity() {
            continue;
        }
        let Some(bytes) = blocks.get(&cid) else { return (order, false) };
        let block = Block { cid, bytes: bytes.clone() };
        todo.extend(links(&block).into_iter().rev());
        order.push(block);
    }
    (order, true)
}

/// The CAR of that.
pub(super) fn car(blocks: &BTreeMap<Cid, Bytes>, root: &Cid) -> (Bytes, bool) {
    let (order, is_whole) = in_order(blocks, root);
    (car_of(root, &order), is_whole)
}

/// The CIDs of blocks, sorted and each once.
pub(super) fn cids<'a>(blocks: impl IntoIterator<Item = &'a Block>) -> Vec<Cid> {
    let cids: BTreeSet<_> = blocks.into_iter().map(|block| block.cid.clone()).collect();
    cids.into_iter().collect()
}

/// The bytes of blocks, each once.
pub(super) fn bytes_of(blocks: &[Block]) -> u64 {
    let distinct: BTreeMap<_, _> = blocks.iter().map(|block| (&block.cid, block.bytes.len())).collect();
    distinct.values().sum::<usize>() as u64
}
