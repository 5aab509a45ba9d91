//! The index against plain recursion over all blocks, and against DAGs that are made to cost.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use proptest::prelude::*;

use super::{DagError, DagIndex, DagLimits, Presence};
use crate::block::Block;
use crate::car::CarReader;
use crate::cid::{Cid, Codec, HashFn};
use crate::dagpb::{Link, Node};
use crate::tests::fixture_cars;
use crate::unixfs::directory::DirectoryBuilder;
use crate::unixfs::file::import_bytes;
use crate::unixfs::profile::{Parameters, Profile};
use crate::unixfs::tree::TreeBuilder;
use crate::unixfs::{Data, DataType};

const KEY: [u8; 32] = [9; 32];
const LIMITS: DagLimits = DagLimits { blocks_max: 100_000, links_max: 1_000_000 };

fn index(blocks: &[Block]) -> DagIndex {
    let mut index = DagIndex::new(LIMITS, KEY);
    for block in blocks {
        index.insert(block).unwrap();
    }
    index
}

fn missing(index: &mut DagIndex, root: &Cid) -> BTreeSet<Cid> {
    let root = index.root(root).unwrap();
    let found: Vec<_> = index.missing(root, |_| false).cloned().collect();
    let distinct: BTreeSet<_> = found.iter().cloned().collect();
    assert_eq!(found.len(), distinct.len(), "each once");
    distinct
}

fn dag_size(index: &mut DagIndex, root: &Cid) -> u64 {
    let root = index.root(root).unwrap();
    index.dag_size_bytes(root)
}

fn size(index: &mut DagIndex, root: &Cid) -> Option<u64> {
    let root = index.root(root).unwrap();
    index.size_bytes(root)
}

fn charged(index: &mut DagIndex, root: &Cid) -> Option<u64> {
    let root = index.root(root).unwrap();
    index.charged_bytes(root)
}

/// A node with these links. Its own bytes are of no `UnixFS` unless `data` is.
fn node(links: &[Cid], data: &[u8]) -> Block {
    let link = |cid: &Cid| Link { cid: cid.clone(), name: None, tsize: None };
    let bytes = Node { links: links.iter().map(link).collect(), data: Some(data) }.encode();
    Block::of(Codec::DagPb, HashFn::Sha2_256, Bytes::from(bytes))
}

fn raw(data: &str) -> Block {
    Block::of(Codec::Raw, HashFn::Sha2_256, Bytes::from(data.to_owned()))
}

#[test]
fn real_dags_are_complete_until_a_block_is_taken_out() {
    for path in fixture_cars() {
        let bytes = Bytes::from(std::fs::read(&path).unwrap());
        let reader = CarReader::new(&bytes).unwrap();
        let root = reader.roots()[0].clone();
        let blocks: Vec<_> = reader.blocks().map(Result::unwrap).collect();
        let absent = missing(&mut index(&blocks), &root);
        let is_cut = path.to_string_lossy().contains("missing");
        assert_eq!(absent.is_empty(), !is_cut, "{}", path.display());
        for at in 0..blocks.len().min(20) {
            let mut others = blocks.clone();
            let gone = others.remove(at).cid;
            others.retain(|block| block.cid != gone);
            // A block that is not under this root is not missed.
            let still = missing(&mut index(&others), &root);
            assert!(still.contains(&gone) || still == absent, "{}", path.display());
            assert!(gone != root || still == BTreeSet::from([gone]));
        }
    }
}

#[test]
fn sizes_are_those_of_the_tree() {
    let small = Parameters {
        chunk_bytes: 10,
        links_max: 3,
        hamt_threshold_bytes: 300,
        ..Profile::default().parameters()
    };
    for profile in [small, Parameters { inline_max: Some(40), ..small }] {
        let profile = Profile::new(profile).unwrap();
        let mut tree = TreeBuilder::new(profile);
        let mut blocks = Vec::new();
        for i in 0..40_u8 {
            let file = import_bytes(profile, &Bytes::from(vec![i; usize::from(i)]));
            for folder in ["a", "a/b", "c"] {
                tree.add(&format!("{folder}/{i}"), file.target()).unwrap();
            }
            blocks.extend(file.blocks);
        }
        tree.add_symlink("link", "elsewhere").unwrap();
        let done = tree.finish().unwrap();
        blocks.extend(done.blocks);
        let mut found = index(&blocks);
        assert_eq!(size(&mut found, &done.root.cid), Some(3 * (0..40).sum::<u64>()));
        assert_eq!(charged(&mut found, &done.root.cid), Some(3 * (0..40).sum::<u64>()));
        let distinct: BTreeMap<_, _> = blocks.iter().map(|block| (&block.cid, block.bytes.len())).collect();
        assert_eq!(dag_size(&mut found, &done.root.cid), distinct.values().sum::<usize>() as u64);
        assert_eq!(missing(&mut found, &done.root.cid), BTreeSet::new());
    }
}

#[test]
fn a_leaf_is_as_good_as_its_length() {
    let profile = Profile::new(Parameters { chunk_bytes: 10, ..Profile::default().parameters() }).unwrap();
    let file = import_bytes(profile, &Bytes::from_static(b"of these bytes only the lengths are told"));
    let whole = index(&file.blocks);
    let mut told = index(&[]);
    for block in &file.blocks {
        let len = u32::try_from(block.bytes.len()).unwrap();
        let is_leaf = block.cid.codec() == Codec::Raw;
        assert_eq!(told.insert_leaf(&block.cid, len), Ok(is_leaf));
        // A second time changes nothing, and of a node the links must be known.
        assert_eq!(told.insert_leaf(&block.cid, len + 1), Ok(is_leaf));
    }
    assert_eq!(missing(&mut told, &file.root), BTreeSet::from([file.root.clone()]));
    told.insert(file.blocks.last().unwrap()).unwrap();
    assert_eq!((told.blocks(), told.named()), (whole.blocks(), whole.named()));
    assert_eq!(missing(&mut told, &file.root), BTreeSet::new());
    assert_eq!(size(&mut told, &file.root), Some(file.size_bytes));
    let bytes: usize = file.blocks.iter().map(|block| block.bytes.len()).sum();
    assert_eq!(dag_size(&mut told, &file.root), bytes as u64);
    let mut tight = DagIndex::new(DagLimits { blocks_max: 1, links_max: 9 }, KEY);
    tight.insert_leaf(&raw("a").cid, 1).unwrap();
    assert_eq!(tight.insert_leaf(&raw("b").cid, 1), Err(DagError::TooManyBlocks(1)));
}

#[test]
fn what_lies_under_no_root_is_beside_them() {
    let (a, b, lone) = (raw("first"), raw("the second"), raw("lone"));
    let (left, right) =
        (node(&[a.cid.clone(), b.cid.clone()], b"l"), node(std::slice::from_ref(&b.cid), b"r"));
    let blocks = [a, b, lone, left, right];
    let mut index = index(&blocks);
    let bytes = |at: &[usize]| at.iter().map(|at| blocks[*at].bytes.len() as u64).sum::<u64>();
    let roots: Vec<_> = [3, 4].map(|at: usize| index.root(&blocks[at].cid).unwrap()).into();
    assert_eq!(index.bytes_beside(&[]), bytes(&[0, 1, 2, 3, 4]));
    assert_eq!(index.bytes_beside(&roots[..1]), bytes(&[2, 4]));
    assert_eq!(index.bytes_beside(&roots[1..]), bytes(&[0, 2, 3]));
    assert_eq!(index.bytes_beside(&roots), bytes(&[2]), "what two roots share is under both");
}

#[test]
fn what_came_and_what_is_missing_are_told_apart() {
    let (leaf, other) = (raw("leaf"), raw("other"));
    let parent = node(std::slice::from_ref(&leaf.cid), b"");
    let mut found = index(std::slice::from_ref(&parent));
    assert_eq!(found.presence(&parent.cid), Presence::Here);
    assert_eq!(found.presence(&leaf.cid), Presence::Missing);
    assert_eq!(found.presence(&other.cid), Presence::Unknown);
    assert_eq!((found.blocks(), found.named()), (1, 2), "asking names nothing");
    found.insert(&leaf).unwrap();
    assert_eq!(found.presence(&leaf.cid), Presence::Here);
}

#[test]
fn what_is_missing_can_be_gone_through_while_more_is_named() {
    let leaves: Vec<_> = (0..4).map(|i| raw(&i.to_string())).collect();
    let low = node(&[leaves[2].cid.clone(), leaves[0].cid.clone(), leaves[3].cid.clone()], b"");
    let top = node(&[leaves[0].cid.clone(), low.cid.clone(), leaves[1].cid.clone()], b"");
    let mut found = index(&[]);
    found.root(&top.cid).unwrap();
    let (mut met, mut next) = (Vec::new(), 0);
    loop {
        let first = found.missing_from(next).next();
        let Some((number, cid)) = first.map(|(number, cid)| (number, cid.clone())) else {
            break;
        };
        next = number + 1;
        if let Some(block) = [&top, &low].into_iter().find(|block| block.cid == cid) {
            found.insert(block).unwrap();
        }
        met.push(cid);
    }
    let order = [&top, &leaves[0], &low, &leaves[1], &leaves[2], &leaves[3]];
    assert_eq!(met, order.map(|block| block.cid.clone()));
    let left: Vec<_> = found.missing_from(0).map(|(_, cid)| cid.clone()).collect();
    assert_eq!(left, [0, 1, 2, 3].map(|i: usize| leaves[i].cid.clone()), "what came is not among them");
}

/// Whatever was no file cost nothing below a directory.
#[test]
fn whatever_is_no_file_is_charged_by_its_bytes() {
    let of = |kind| Data::new(kind).encode();
    let directory = of(DataType::Directory);
    let content = raw("ten bytes!");
    let value = Bytes::from([&[0x59, 0x27, 0x10][..], &[7; 10_000]].concat());
    let other = Block::of(Codec::DagCbor, HashFn::Sha2_256, value);
    let text = "x".repeat(50_000);
    let link = Data { data: Some(text.as_bytes()), ..Data::new(DataType::Symlink) }.encode();
    let link = node(&[], &link);
    let low = node(&[content.cid.clone(), other.cid.clone(), link.cid.clone()], &directory);
    let top = node(&[low.cid.clone(), content.cid.clone(), other.cid.clone()], &directory);
    // A file whose part is a directory.
    let shell = Data { filesize: Some(0), blocksizes: vec![0], ..Data::new(DataType::File) }.encode();
    let shell = node(std::slice::from_ref(&low.cid), &shell);
    let mut found = index(&[content, other.clone(), link, low, top.clone(), shell.clone()]);
    assert_eq!(size(&mut found, &top.cid), Some(20));
    let more = charged(&mut found, &top.cid).unwrap() - 20 - 10_003;
    assert!((48_000..51_000).contains(&more), "the link, but for what a node may have around it: {more}");
    assert_eq!(charged(&mut found, &shell.cid), None);
    assert_eq!(charged(&mut found, &other.cid), None, "no root of files");
}

#[test]
fn a_bomb_is_only_as_large_as_its_blocks() {
    let file = import_bytes(Profile::default(), &Bytes::from_static(b"ten bytes!"));
    let mut blocks = file.blocks.clone();
    let mut target = file.target();
    for _ in 0..60 {
        let mut directory = DirectoryBuilder::new(Profile::default());
        for name in ["a", "b"] {
            directory.insert(name, target.clone()).unwrap();
        }
        let done = directory.finish().unwrap();
        blocks.extend(done.blocks);
        target = done.root;
    }
    let mut found = index(&blocks);
    assert_eq!(size(&mut found, &target.cid), Some(10 << 60));
    let bytes: usize = blocks.iter().map(|block| block.bytes.len()).sum();
    assert_eq!(dag_size(&mut found, &target.cid), bytes as u64);
    found = index(&blocks[1..]);
    assert_eq!(missing(&mut found, &target.cid), BTreeSet::from([file.root]));
}

#[test]
fn depth_costs_no_stack() {
    let directory = Data::new(DataType::Directory).encode();
    let mut blocks = vec![raw("the end")];
    for _ in 0..50_000 {
        let last = blocks.last().unwrap().cid.clone();
        blocks.push(node(&[last], &directory));
    }
    let root = blocks.last().unwrap().cid.clone();
    let mut found = index(&blocks);
    assert_eq!((missing(&mut found, &root), size(&mut found, &root)), (BTreeSet::new(), Some(7)));
}

#[test]
fn what_cids_carry_is_there_and_what_it_links_is_not() {
    let far = raw("far");
    let carried = node(std::slice::from_ref(&far.cid), b"");
    let carried = Cid::identity(Codec::DagPb, &carried.bytes).unwrap();
    let twice = Cid::identity(Codec::DagPb, &node(std::slice::from_ref(&carried), b"").bytes).unwrap();
    let top = node(std::slice::from_ref(&twice), b"");
    let mut found = index(std::slice::from_ref(&top));
    assert_eq!(missing(&mut found, &top.cid), BTreeSet::from([far.cid.clone()]));
    assert_eq!(dag_size(&mut found, &top.cid), top.bytes.len() as u64);
    // The root may itself be such a CID, and be asked about first.
    let mut empty = index(&[]);
    assert_eq!(missing(&mut empty, &twice), BTreeSet::from([far.cid.clone()]));
    empty.insert(&far).unwrap();
    assert_eq!(missing(&mut empty, &twice), BTreeSet::new());
    assert_eq!(dag_size(&mut empty, &twice), 3);
    let text = Cid::identity(Codec::Raw, b"text").unwrap();
    assert_eq!((size(&mut empty, &text), missing(&mut empty, &text)), (Some(4), BTreeSet::new()));
}

#[test]
fn every_codec_with_links_has_them() {
    let (a, b) = (raw("a"), raw("b"));
    let json = format!(r#"{{"x": [{{"/": "{}"}}, {{"/": "{}"}}]}}"#, a.cid, b.cid);
    let json = Block::of(Codec::DagJson, HashFn::Sha2_256, Bytes::from(json));
    let mut cbor = vec![0x82];
    for cid in [&json.cid, &b.cid] {
        let name = cid.as_bytes();
        cbor.extend([0xd8, 42, 0x58, u8::try_from(name.len() + 1).unwrap(), 0]);
        cbor.extend(name);
    }
    let cbor = Block::of(Codec::DagCbor, HashFn::Sha2_256, Bytes::from(cbor));
    let mut found = index(&[cbor.clone(), json]);
    assert_eq!(missing(&mut found, &cbor.cid), BTreeSet::from([a.cid.clone(), b.cid.clone()]));
    assert_eq!(size(&mut found, &cbor.cid), None);
    let root = found.root(&cbor.cid).unwrap();
    let known: Vec<_> = found.missing(root, |cid| *cid == b.cid).collect();
    assert_eq!(known, [&a.cid]);
    // Whatever another codec means by its bytes, it has no links here.
    let other = Block::of(Codec::Other(0x78), HashFn::Sha2_256, Bytes::from_static(b"\xd8\x2a"));
    assert_eq!(missing(&mut index(std::slice::from_ref(&other)), &other.cid), BTreeSet::new());
}

#[test]
fn a_version_0_name_is_the_same_block() {
    let leaf = node(&[], b"leaf");
    let written: Cid = leaf.cid.clone().written_v0().as_written().to_string().parse().unwrap();
    let top = node(&[written], b"");
    assert_eq!(missing(&mut index(&[top.clone(), leaf]), &top.cid), BTreeSet::new());
}

#[test]
fn limits_hold() {
    let limits = |blocks_max, links_max| DagIndex::new(DagLimits { blocks_max, links_max }, KEY);
    let (a, b) = (raw("a"), raw("b"));
    let top = node(&[a.cid.clone(), b.cid.clone(), a.cid.clone()], b"");

    let mut few_blocks = limits(1, 10);
    few_blocks.insert(&a).unwrap();
    few_blocks.insert(&a).unwrap();
    assert_eq!(few_blocks.insert(&b), Err(DagError::TooManyBlocks(1)));

    assert_eq!(limits(9, 2).insert(&top), Err(DagError::TooManyLinks(2)));
    let mut few_links = limits(9, 3);
    few_links.insert(&top).unwrap();
    assert_eq!(few_links.root(&top.cid), Err(DagError::TooManyLinks(3)));
    few_links.insert(&a).unwrap();

    // Blocks that CIDs carry count too.
    let carried =
        node(&[Cid::identity(Codec::Raw, b"1").unwrap(), Cid::identity(Codec::Raw, b"2").unwrap()], b"");
    assert_eq!(limits(2, 9).insert(&carried), Err(DagError::TooManyBlocks(2)));
}

#[test]
fn what_cannot_be_read_is_refused() {
    for codec in [Codec::DagPb, Codec::DagCbor, Codec::DagJson] {
        let bad = Block::of(codec, HashFn::Sha2_256, Bytes::from_static(b"\xff"));
        let error = index(&[]).insert(&bad).unwrap_err();
        assert!(error.to_string().contains(&bad.cid.to_string()), "{error}");
    }
}

#[test]
fn circles_of_unverified_blocks_end() {
    let (a, b) = (raw("a").cid, raw("b").cid);
    let [a, b] = [a, b].map(|cid| Cid::from_sha2_256(Codec::DagPb, cid.digest().try_into().unwrap()));
    let directory = Data::new(DataType::Directory).encode();
    let ten = import_bytes(Profile::default(), &Bytes::from_static(b"ten bytes!"));
    let lies = [
        Block { cid: a.clone(), ..node(&[b.clone(), ten.root.clone()], &directory) },
        Block { cid: b, ..node(&[a.clone(), ten.root], &directory) },
    ];
    let mut found = index(&lies);
    found.insert(&ten.blocks[0]).unwrap();
    assert_eq!((missing(&mut found, &a), size(&mut found, &a)), (BTreeSet::new(), Some(20)));
}

/// Everything under a CID, by recursion.
fn reference(
    blocks: &BTreeMap<Cid, Block>,
    cid: &Cid,
    seen: &mut BTreeSet<Cid>,
    missing: &mut BTreeSet<Cid>,
) {
    let Some(block) = blocks.get(cid) else {
        missing.insert(cid.clone());
        return;
    };
    if seen.insert(cid.clone()) {
        for link in super::links_of(block).unwrap() {
            reference(blocks, &link, seen, missing);
        }
    }
}

fn file_bytes(blocks: &BTreeMap<Cid, Block>, cid: &Cid) -> u64 {
    let Some(block) = blocks.get(cid) else { return 0 };
    match cid.codec() {
        Codec::Raw => block.bytes.len() as u64,
        _ => super::links_of(block).unwrap().iter().map(|link| file_bytes(blocks, link)).sum(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn it_says_what_recursion_says(
        shape in proptest::collection::vec(proptest::collection::vec(any::<prop::sample::Index>(), 0..4), 1..25),
        gone in proptest::collection::vec(any::<prop::sample::Index>(), 0..4),
        order in any::<u64>(),
    ) {
        let directory = Data::new(DataType::Directory).encode();
        let mut all: Vec<Block> = Vec::new();
        for (i, links) in shape.iter().enumerate() {
            let links: Vec<Cid> = match all.len() {
                0 => Vec::new(),
                len => links.iter().map(|link| all[link.index(len)].cid.clone()).collect(),
            };
            all.push(if links.is_empty() { raw(&"x".repeat(i)) } else { node(&links, &directory) });
        }
        let gone: BTreeSet<_> = gone.iter().map(|at| all[at.index(all.len())].cid.clone()).collect();
        let mut left: Vec<_> = all.iter().filter(|block| !gone.contains(&block.cid)).cloned().collect();
        // Any order of arrival.
        left.sort_by_key(|block| blake3::hash(&[block.cid.as_bytes(), &order.to_le_bytes()].concat()).as_bytes().to_owned());
        let blocks: BTreeMap<_, _> = left.iter().map(|block| (block.cid.clone(), block.clone())).collect();

        let mut found = index(&left);
        prop_assert_eq!(found.blocks() as usize, blocks.len());
        for block in &all {
            let (mut seen, mut absent) = (BTreeSet::new(), BTreeSet::new());
            reference(&blocks, &block.cid, &mut seen, &mut absent);
            prop_assert_eq!(missing(&mut found, &block.cid), absent);
            let bytes: usize = seen.iter().map(|cid| blocks[cid].bytes.len()).sum();
            prop_assert_eq!(dag_size(&mut found, &block.cid), bytes as u64);
            let expected = blocks.contains_key(&block.cid).then(|| file_bytes(&blocks, &block.cid));
            prop_assert_eq!(size(&mut found, &block.cid), expected);
        }
    }

    #[test]
    fn arbitrary_blocks_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), codec in 0..3) {
        let codec = [Codec::DagPb, Codec::DagCbor, Codec::DagJson][usize::try_from(codec).unwrap()];
        let block = Block::of(codec, HashFn::Sha2_256, Bytes::from(bytes));
        let mut found = index(&[]);
        if found.insert(&block).is_ok() {
            prop_assert!(missing(&mut found, &block.cid).len() <= block.bytes.len());
            let _ = size(&mut found, &block.cid);
        }
    }
}
