//! Files and directories whose blocks are damaged: whatever reads them gives an answer or an error, of a size that the
//! bytes account for, and never a panic.

use std::collections::HashMap;

use bytes::Bytes;
use proptest::prelude::*;

use crate::block::Block;
use crate::cid::{Cid, Codec, HashFn};
use crate::dagpb::{self, Link};
use crate::tests::damage::{damage, edits};
use crate::unixfs::file::import_bytes;
use crate::unixfs::hamt::Fanout;
use crate::unixfs::profile::{CidVersion, Layout, Leaves, Parameters, Profile};
use crate::unixfs::tree::TreeBuilder;
use crate::unixfs::walk::{self, Child, DirEntry, Kind, NameLookup, Step};
use crate::unixfs::{Data, DataType, Mtime};

/// Blocks that a walk may look at: a damaged DAG can be without end.
const STEPS_MAX: usize = 2000;

/// A tree of small files and its blocks, under any profile.
fn tree() -> impl Strategy<Value = (Cid, Vec<Block>)> {
    let shape =
        (any::<[bool; 4]>(), 1..20_usize, 2..5_usize, 3..=10_u32, prop_oneof![Just(0_usize), Just(5000)]);
    (shape, proptest::collection::btree_map("[a-c]{1,2}/[a-z]{1,8}", 0..60_usize, 1..12)).prop_map(
        |(([is_v0, is_raw, is_trickle, is_inlined], chunk_bytes, links_max, bits, threshold), files)| {
            let profile = Profile::new(Parameters {
                cid_version: if is_v0 { CidVersion::V0 } else { CidVersion::V1 },
                leaves: if is_raw { Leaves::Raw } else { Leaves::DagPb },
                layout: if is_trickle { Layout::Trickle } else { Layout::Balanced },
                inline_max: is_inlined.then_some(40),
                chunk_bytes,
                links_max,
                hamt_fanout: Fanout::new(1 << bits).unwrap(),
                hamt_threshold_bytes: threshold,
                ..Profile::default().parameters()
            })
            .unwrap();
            let mut tree = TreeBuilder::new(profile);
            let mut blocks = Vec::new();
            for (path, len) in files {
                let file = import_bytes(profile, &Bytes::from(vec![7; len]));
                tree.add(&path, file.target()).unwrap();
                blocks.extend(file.blocks);
            }
            tree.add_symlink("symbolic", "a/b").unwrap();
            let done = tree.finish().unwrap();
            blocks.extend(done.blocks);
            (done.root.cid, blocks)
        },
    )
}

/// Reads a block in every way there is, and gives what to read next.
fn read_in_every_way(block: &Block) -> Vec<Cid> {
    let len = block.bytes.len();
    let mut next = Vec::new();
    if let Ok(node) = dagpb::decode(&block.bytes) {
        assert!(node.links.len() * size_of::<Link<'_>>() <= 16 * len);
        let again = node.encode();
        assert_eq!(dagpb::decode(&again), Ok(node.clone()), "what is written reads as what was read");
        if let Some(Ok(data)) = node.data.map(Data::decode) {
            assert!(data.blocksizes.len() <= len);
            assert_eq!(Data::decode(&data.encode()), Ok(data.clone()));
        }
    }
    if let Ok(Kind::Symlink(target)) = walk::kind(block) {
        assert!(target.len() <= len);
    }
    if let Ok(file) = walk::file(block) {
        assert!(file.inline.len() <= len && file.children.len() * size_of::<Child>() <= 16 * len);
        let ranges = file.children.iter().map(|child| &child.range);
        assert_eq!(
            ranges.fold(file.inline.len() as u64, |at, range| {
                assert_eq!(at, range.start);
                range.end
            }),
            file.size_bytes
        );
        next.extend(file.children.into_iter().map(|child| child.cid));
    }
    if let Ok(listing) = walk::list(block) {
        assert!((listing.entries.len() + listing.shards.len()) * size_of::<DirEntry<'_>>() <= 16 * len);
        next.extend(listing.shards);
        next.extend(listing.entries.into_iter().map(|entry| entry.target.cid));
    }
    next
}

/// Everything that can be reached from `root`.
fn explore(root: &Cid, blocks: &HashMap<Cid, Bytes>) -> usize {
    let get = |cid: &Cid| {
        let stored = blocks.get(cid).map(|bytes| Block { cid: cid.clone(), bytes: bytes.clone() });
        stored.or_else(|| Block::from_identity(cid.clone()))
    };
    let mut todo = vec![root.clone()];
    let mut steps = 0;
    while let Some(cid) = todo.pop()
        && steps < STEPS_MAX
    {
        steps += 1;
        let Some(block) = get(&cid) else { continue };
        todo.extend(read_in_every_way(&block));
        for name in ["", "symbolic", "a", "ab"] {
            let mut lookup = NameLookup::new(name);
            let mut at = Some(block.clone());
            let mut looked = 0;
            while let Some(here) = at.take() {
                looked += 1;
                if let Ok(Step::Fetch(shard)) = lookup.step(&here) {
                    at = get(&shard);
                }
            }
            assert!(looked <= 22, "64 bits of hash, three a step");
        }
    }
    steps
}

fn store(blocks: &[Block]) -> HashMap<Cid, Bytes> {
    blocks.iter().map(|block| (block.cid.clone(), block.bytes.clone())).collect()
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    let numbers = (0..6_usize, any::<Option<u64>>(), proptest::option::of(0..2000_u64), 0..0x30_u64);
    let lists = (
        proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
        proptest::collection::vec(0..99_u64, 0..6),
    );
    (numbers, lists).prop_map(|((data_type, filesize, fanout, hash_type), (data, blocksizes))| {
        let types = [
            DataType::Raw,
            DataType::Directory,
            DataType::File,
            DataType::Metadata,
            DataType::Symlink,
            DataType::HamtShard,
        ];
        let sum = data.as_ref().map_or(0, Vec::len) as u64 + blocksizes.iter().sum::<u64>();
        let message = Data {
            data_type: types[data_type],
            data: data.as_deref(),
            filesize: Some(filesize.unwrap_or(sum)),
            blocksizes,
            hash_type: Some(hash_type),
            fanout,
            mode: Some(0o644),
            mtime: Some(Mtime { seconds: -1, nanos: 5 }),
        };
        message.encode()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn damaged_trees_are_read_without_a_panic((root, blocks) in tree(), edits in edits(), at in any::<prop::sample::Index>()) {
        let mut stored = store(&blocks);
        prop_assert!(explore(&root, &stored) >= 2);
        // The name stays: somebody may look before the hash is checked.
        let victim = &blocks[at.index(blocks.len())];
        let mut bytes = victim.bytes.to_vec();
        damage(&mut bytes, &edits);
        stored.insert(victim.cid.clone(), Bytes::from(bytes));
        explore(&root, &stored);
    }

    #[test]
    fn undamaged_nodes_are_written_as_they_were((_, blocks) in tree()) {
        for block in blocks.iter().filter(|block| block.cid.codec() == Codec::DagPb) {
            let node = dagpb::decode(&block.bytes).unwrap();
            prop_assert_eq!(&node.encode(), &block.bytes);
            let data = node.data.unwrap();
            prop_assert_eq!(Data::decode(data).unwrap().encode(), data);
        }
    }

    #[test]
    fn any_message_under_any_links_is_read_without_a_panic(
        data in data(),
        names in proptest::collection::vec(proptest::option::of("[0-9A-F]{0,3}[a-z/.]{0,3}"), 0..8),
        edits in proptest::option::of(edits()),
    ) {
        let link = |name: &Option<String>| (Cid::of(Codec::Raw, HashFn::Sha2_256, b"x"), name.clone());
        let owned: Vec<_> = names.iter().map(link).collect();
        let links = owned.iter().map(|(cid, name)| Link { cid: cid.clone(), name: name.as_deref(), tsize: None });
        let node = dagpb::Node { links: links.collect(), data: Some(&data) };
        let mut bytes = node.encode();
        if let Some(edits) = edits {
            damage(&mut bytes, &edits);
        }
        let block = Block::of(Codec::DagPb, HashFn::Sha2_256, Bytes::from(bytes));
        explore(&block.cid, &store(std::slice::from_ref(&block)));
    }

    #[test]
    fn arbitrary_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let block = Block::of(Codec::DagPb, HashFn::Sha2_256, Bytes::from(bytes));
        explore(&block.cid, &store(std::slice::from_ref(&block)));
    }
}
