//! Directories: what is written is found again, in every layout, and what is malformed is refused.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;

use crate::block::Block;
use crate::cid::{Cid, Codec, HashFn};
use crate::dagpb::{self, Link, Node};
use crate::tests::store::Store;
use crate::unixfs::directory::{
    DirectoryBuilder, DirectoryError, FinishedDirectory, NAME_MAX, NameError, SYMLINK_MAX, symlink,
};
use crate::unixfs::hamt::{Fanout, MURMUR3_X64_64, ShardError};
use crate::unixfs::profile::{Parameters, Profile};
use crate::unixfs::walk::{self, Kind, NameLookup, Reason, Step};
use crate::unixfs::{Data, DataType, Target};

fn target(i: u64) -> Target {
    Target { cid: Cid::of(Codec::Raw, HashFn::Sha2_256, &i.to_le_bytes()), dag_size_bytes: i }
}

fn build(fanout: u64, threshold: usize, entries: &BTreeMap<String, Target>) -> FinishedDirectory {
    let parameters = Parameters {
        hamt_fanout: Fanout::new(fanout).unwrap(),
        hamt_threshold_bytes: threshold,
        ..Profile::default().parameters()
    };
    let profile = Profile::new(parameters).unwrap();
    let mut builder = DirectoryBuilder::new(profile);
    // Order of insertion must not matter.
    for (name, target) in entries.iter().rev() {
        builder.insert(name, target.clone()).unwrap();
    }
    builder.finish().unwrap()
}

#[test]
fn only_names_that_stay_inside_are_accepted() {
    let mut builder = DirectoryBuilder::new(Profile::default());
    let mut refuse = |name: &str| match builder.insert(name, target(0)) {
        Err(DirectoryError::Name(error)) => error,
        other => panic!("{name:?}: {other:?}"),
    };
    assert_eq!(refuse(""), NameError::Empty);
    assert_eq!(refuse("."), NameError::Dots(".".into()));
    assert_eq!(refuse(".."), NameError::Dots("..".into()));
    assert_eq!(refuse("a/b"), NameError::Character("a/b".into()));
    assert_eq!(refuse("a\0"), NameError::Character("a\0".into()));
    assert_eq!(refuse(&"x".repeat(NAME_MAX + 1)), NameError::TooLong(NAME_MAX + 1));
    for good in ["...", ".hidden", "a b", "日本", "a\\b", &"x".repeat(NAME_MAX)] {
        builder.insert(good, target(0)).unwrap();
    }
    assert_eq!(builder.insert("...", target(1)), Err(DirectoryError::Duplicate("...".into())));
}

#[test]
fn the_threshold_is_exact() {
    let entries: BTreeMap<_, _> = (0..20).map(|i| (format!("name {i}"), target(i * 100))).collect();
    let basic = build(256, 1 << 20, &entries);
    let len = basic.blocks[0].bytes.len();
    assert_eq!(build(256, len, &entries), basic);
    let sharded = build(256, len - 1, &entries);
    let root = sharded.blocks.last().unwrap();
    assert_eq!(walk::kind(&basic.blocks[0]), Ok(Kind::Directory));
    assert_eq!(walk::kind(root), Ok(Kind::HamtShard));
}

#[test]
fn symlinks_are_bounded() {
    let profile = Profile::default();
    assert!(symlink(profile, &"x".repeat(SYMLINK_MAX + 1)).is_none());
    let block = symlink(profile, "../elsewhere").unwrap();
    assert_eq!(walk::kind(&block), Ok(Kind::Symlink("../elsewhere")));
    assert!(walk::list(&block).is_err());
}

/// A directory block with these link names, each with its position as the size.
fn block(data: &Data<'_>, names: &[&str]) -> Block {
    let links =
        (0..).zip(names).map(|(i, &name)| Link { cid: target(i).cid, name: Some(name), tsize: Some(i) });
    let bytes = Node { links: links.collect(), data: Some(&data.encode()) }.encode();
    Block::of(Codec::DagPb, HashFn::Sha2_256, Bytes::from(bytes))
}

fn shard(fanout: u64) -> Data<'static> {
    Data { hash_type: Some(MURMUR3_X64_64), fanout: Some(fanout), ..Data::new(DataType::HamtShard) }
}

#[test]
fn the_first_of_equal_names_wins() {
    let basic = block(&Data::new(DataType::Directory), &["b", "a", "b", "a", "c"]);
    let sizes = |block: &Block| -> Vec<_> {
        let listing = walk::list(block).unwrap();
        listing.entries.iter().map(|entry| (entry.name.to_owned(), entry.target.dag_size_bytes)).collect()
    };
    assert_eq!(sizes(&basic), [("b".into(), 0), ("a".into(), 1), ("c".into(), 4)]);
    assert_eq!(NameLookup::new("b").step(&basic), Ok(Step::Found(target(0))));
    assert_eq!(NameLookup::new("d").step(&basic), Ok(Step::Absent));

    // "470.txt" hashes into bucket 00 of a root.
    let sharded = block(&shard(256), &["00742.txt", "00470.txt", "00470.txt", "01"]);
    assert_eq!(NameLookup::new("470.txt").step(&sharded), Ok(Step::Found(target(1))));
    assert_eq!(sizes(&sharded).len(), 2);
    assert_eq!(walk::list(&sharded).unwrap().shards, [target(3).cid]);
}

#[test]
fn malformed_shards_are_refused() {
    let reason = |data: &Data<'_>, names: &[&str]| {
        let block = block(data, names);
        let listed = walk::list(&block).unwrap_err();
        assert_eq!(NameLookup::new("x").step(&block), Err(listed.clone()));
        listed.reason
    };
    for fanout in [0, 4, 100, 2048, u64::MAX] {
        assert!(matches!(reason(&shard(fanout), &[]), Reason::Shard(ShardError::Fanout(_))));
    }
    let no_fanout = Data { fanout: None, ..shard(8) };
    assert!(matches!(reason(&no_fanout, &[]), Reason::Shard(ShardError::Fanout(_))));
    let sha = Data { hash_type: Some(0x12), ..shard(256) };
    assert_eq!(reason(&sha, &[]), Reason::Shard(ShardError::HashType(0x12)));
    let long = Data { data: Some(&[1; 33]), ..shard(256) };
    assert_eq!(reason(&long, &[]), Reason::Shard(ShardError::Bitmap { len: 33, fanout: 256 }));
    for name in ["", "0", "ffx", "0gx", "é", "日本"] {
        assert_eq!(reason(&shard(256), &["00ok", name]), Reason::ShardLink(name.into()));
    }
    assert!(matches!(reason(&Data::new(DataType::File), &[]), Reason::NotADirectory));
    let raw = Block::of(Codec::Raw, HashFn::Sha2_256, Bytes::new());
    assert_eq!(walk::list(&raw).unwrap_err().reason, Reason::NotADirectory);
}

#[test]
fn a_trie_ends_with_its_hash() {
    // A shard that leads to itself in every bucket: real hashes forbid it, nothing else may rely on that.
    let names: Vec<_> = (0..256).map(|bucket| format!("{bucket:02X}")).collect();
    let endless = block(&shard(256), &names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut lookup = NameLookup::new("any");
    for _ in 0..8 {
        assert!(matches!(lookup.step(&endless), Ok(Step::Fetch(_))));
    }
    assert_eq!(lookup.step(&endless).unwrap_err().reason, Reason::TooDeep);
    // Inside a trie there are only shards.
    let mut lookup = NameLookup::new("any");
    lookup.step(&endless).unwrap();
    let basic = block(&Data::new(DataType::Directory), &[]);
    assert_eq!(lookup.step(&basic).unwrap_err().reason, Reason::NotAShard);
}

#[test]
fn deep_tries_are_fine() {
    // The fewest bits a level make the deepest trie.
    let entries: BTreeMap<_, _> = (0..3000).map(|i| (format!("{i}"), target(i))).collect();
    let deep = build(8, 0, &entries);
    let store = Store::new(deep.blocks);
    assert_eq!(store.entries(&deep.root.cid), entries);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_found(
        names in proptest::collection::btree_set("[a-z0-9é ]{1,12}", 0..200),
        bits in 3..=10_u32,
        threshold in prop_oneof![Just(0), Just(2000), Just(1 << 20)],
    ) {
        let entries: BTreeMap<_, _> = (0..).zip(names).map(|(i, name)| (name, target(i))).collect();
        let directory = build(1 << bits, threshold, &entries);
        let blocks: u64 = directory.blocks.iter().map(|block| block.bytes.len() as u64).sum();
        let under: u64 = entries.values().map(|target| target.dag_size_bytes).sum();
        prop_assert_eq!(directory.root.dag_size_bytes, blocks + under);
        prop_assert_eq!(&directory.blocks.last().unwrap().cid, &directory.root.cid);
        for block in &directory.blocks {
            let node = dagpb::decode(&block.bytes).unwrap();
            prop_assert!(node.links.is_sorted_by(|a, b| a.name < b.name));
        }

        let store = Store::new(directory.blocks);
        let root = &directory.root.cid;
        prop_assert_eq!(store.entries(root), entries.clone());
        for (name, target) in &entries {
            prop_assert_eq!(store.lookup(root, name), Some(target.clone()));
        }
        for absent in ["", "A", "zzzzzzzzzzzzz"] {
            prop_assert_eq!(store.lookup(root, absent), None);
        }
    }
}
