//! CIDs that another implementation computes, for parameters in many combinations: see the head of the fixture.

use std::fs;
use std::path::Path;

use bytes::Bytes;

use super::store::Store;
use crate::unixfs::Target;
use crate::unixfs::file::import_bytes;
use crate::unixfs::hamt::Fanout;
use crate::unixfs::profile::{CidVersion, Layout, Leaves, Measure, Parameters, Profile};
use crate::unixfs::tree::TreeBuilder;

/// The lines of one kind: the words before the colon, the CID and the size.
fn cases(kind: &str) -> Vec<(Vec<String>, String, u64)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/unixfs-importer/cids.txt");
    let text = fs::read_to_string(path).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix(kind)?.strip_prefix(' '));
    let case = |line: &str| {
        let (words, answer) = line.split_once(": ").unwrap();
        let (cid, size) = answer.split_once(' ').unwrap();
        (words.split(' ').map(str::to_owned).collect(), cid.to_owned(), size.parse().unwrap())
    };
    lines.map(case).collect()
}

fn content(len: usize) -> Bytes {
    (0..len).map(|i| u8::try_from(i * 31 % 251).unwrap()).collect()
}

fn number(word: &str) -> usize {
    word.parse().unwrap()
}

fn version(word: &str) -> CidVersion {
    if word == "0" { CidVersion::V0 } else { CidVersion::V1 }
}

fn leaves(word: &str) -> Leaves {
    if word == "raw" { Leaves::Raw } else { Leaves::DagPb }
}

fn inline(word: &str) -> Option<usize> {
    Some(number(word)).filter(|&max| max > 0)
}

#[test]
fn files_come_out_as_elsewhere() {
    let cases = cases("file");
    assert_eq!(cases.len(), 252);
    for (words, cid, size) in cases {
        let [layout, cid_version, hash, leaf, inlined, chunk, links, len] = &words[..] else { panic!() };
        let parameters = Parameters {
            layout: if layout == "trickle" { Layout::Trickle } else { Layout::Balanced },
            cid_version: version(cid_version),
            hash_fn: hash.parse().unwrap(),
            leaves: leaves(leaf),
            inline_max: inline(inlined),
            chunk_bytes: number(chunk),
            links_max: number(links),
            ..Profile::default().parameters()
        };
        let bytes = content(number(len));
        let file = import_bytes(Profile::new(parameters).unwrap(), &bytes);
        assert_eq!((file.root.as_written().to_string(), file.dag_size_bytes), (cid, size), "{words:?}");
        assert_eq!(file.size_bytes, bytes.len() as u64);
        assert!(file.blocks.iter().all(|block| !block.cid.is_identity()));
        assert_eq!(Store::new(file.blocks).read(&file.root).unwrap(), bytes);
    }
}

fn tree_of(profile: Profile, files: usize) -> (Target, Store) {
    let mut tree = TreeBuilder::new(profile);
    let mut blocks = Vec::new();
    for i in 0..files {
        let file = import_bytes(profile, &content(i));
        for path in [format!("name {i}"), format!("inner/name {i}")] {
            tree.add(&path, file.target()).unwrap();
        }
        blocks.extend(file.blocks);
    }
    let done = tree.finish().unwrap();
    blocks.extend(done.blocks);
    assert!(blocks.iter().all(|block| !block.cid.is_identity()));
    (done.root, Store::new(blocks))
}

#[test]
fn directories_come_out_as_elsewhere() {
    let cases = cases("directory");
    assert_eq!(cases.len(), 216);
    for (words, cid, size) in cases {
        let [cid_version, leaf, inlined, measure, threshold, fanout, files] = &words[..] else { panic!() };
        let parameters = Parameters {
            cid_version: version(cid_version),
            leaves: leaves(leaf),
            inline_max: inline(inlined),
            chunk_bytes: 100,
            hamt_measure: if measure == "links-bytes" { Measure::Links } else { Measure::Block },
            hamt_threshold_bytes: number(threshold),
            hamt_fanout: Fanout::new(number(fanout) as u64).unwrap(),
            ..Profile::default().parameters()
        };
        let (root, store) = tree_of(Profile::new(parameters).unwrap(), number(files));
        assert_eq!((root.cid.as_written().to_string(), root.dag_size_bytes), (cid, size), "{words:?}");
        assert_eq!(store.tree(&root.cid).len(), 2 * number(files) + 2);
    }
}
