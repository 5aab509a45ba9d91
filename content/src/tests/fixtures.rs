//! The CARs of the public gateway conformance suite, made by Kubo: every block verified, every tree walked,
//! and what can be written again written again with the same CIDs.

use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::store::{Found, Store};
use crate::car::{self, CarReader};
use crate::cid::{Cid, Codec};
use crate::unixfs::Target;
use crate::unixfs::directory::DirectoryBuilder;
use crate::unixfs::file::import_bytes;
use crate::unixfs::profile::{Parameters, Profile};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/gateway-conformance")
}

/// All CARs of the suite.
pub(crate) fn fixture_cars() -> Vec<PathBuf> {
    let mut cars = Vec::new();
    let mut todo = vec![folder()];
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            todo.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            cars.push(path);
        }
    }
    cars
}

/// The roots of a CAR and its verified blocks.
fn load(path: &Path) -> (Vec<Cid>, Store) {
    let bytes = Bytes::from(fs::read(path).unwrap());
    let reader = CarReader::new(&bytes).unwrap();
    let roots = reader.roots().to_vec();
    let blocks: Vec<_> = reader.blocks().collect::<Result<_, _>>().unwrap();
    (roots, Store::new(blocks))
}

fn fixture(name: &str) -> (Cid, Store) {
    let (roots, store) = load(&folder().join(name));
    (roots[0].clone(), store)
}

fn chunks_of_256(hamt_threshold_bytes: usize) -> Profile {
    let kubo = Profile::KUBO_V1.parameters();
    Profile::new(Parameters { chunk_bytes: 256, hamt_threshold_bytes, ..kubo }).unwrap()
}

fn cid(text: &str) -> Cid {
    text.parse().unwrap()
}

#[test]
fn every_block_verifies_and_every_tree_walks() {
    let mut cars = 0;
    let mut blocks = 0;
    let mut files = 0;
    for path in fixture_cars() {
        let (roots, store) = load(&path);
        cars += 1;
        blocks += store.len();
        for root in roots {
            let tree = store.tree(&root);
            files += tree.values().filter(|found| matches!(found, Found::File(_))).count();
        }
    }
    // 397 sections, of which one repeats a block under its version 0 name; a thousand files are in one trie.
    assert_eq!((cars, blocks, files), (26, 396, 1064));
}

#[test]
fn one_root_headers_are_written_alike() {
    let path = folder().join("path_gateway_unixfs/dir-with-percent-encoded-filename.car");
    let bytes = fs::read(path).unwrap();
    let (root, store) = fixture("path_gateway_unixfs/dir-with-percent-encoded-filename.car");
    assert_eq!(&bytes[..car::HEADER_LEN_ONE_ROOT], car::header(std::slice::from_ref(&root)));
    let tree = store.tree(&root);
    let name = "/Portugal%2C+España=Peninsula Ibérica.txt";
    assert_eq!(tree[name], Found::File(b"hello from a percent encoded filename\n".to_vec()));
}

#[test]
fn a_symlink_is_itself() {
    let (root, store) = fixture("path_gateway_unixfs/symlink.car");
    assert_eq!(root, cid("QmWvY6FaqFMS89YAQ9NAPjVP4WZKA1qbHbicc9HeSKQTgt"));
    let tree = store.tree(&root);
    assert_eq!(tree["/bar"], Found::Symlink("foo".into()));
    assert_eq!(tree["/foo"], Found::File(b"content\n".to_vec()));
    let ours = crate::unixfs::directory::symlink(Profile::default(), "foo").unwrap();
    assert_eq!(ours.cid, cid("QmTB8BaCJdCH5H3k7GrxJsxgDNmNYGGR71C58ERkivXoj5"));
}

#[test]
fn files_and_directories_come_out_as_kubo_made_them() {
    let (root, store) = fixture("trustless_gateway_car/dir-with-duplicate-files.car");
    assert_eq!(root, cid("bafybeihchr7vmgjaasntayyatmp5sv6xza57iy2h4xj7g46bpjij6yhrmy"));
    let entries = store.entries(&root);
    assert_eq!(entries["ascii.txt"], entries["ascii-copy.txt"]);
    let multiblock = Target {
        cid: cid("bafybeigcisqd7m5nf3qmuvjdbakl5bdnh4ocrmacaqkpuh77qjvggmt2sa"),
        dag_size_bytes: 1271,
    };
    assert_eq!(entries["multiblock.txt"], multiblock);

    // 1026 bytes in leaves of 256.
    let profile = chunks_of_256(1 << 18);
    let file = import_bytes(profile, &Bytes::from(store.read(&multiblock.cid).unwrap()));
    assert_eq!((file.target(), file.size_bytes, file.blocks.len()), (multiblock, 1026, 6));

    let mut directory = DirectoryBuilder::new(profile);
    for (name, target) in entries {
        directory.insert(&name, target).unwrap();
    }
    // 227 bytes of block and 1345 of entries, as unixfs.md computes.
    assert_eq!(directory.finish().unwrap().root, Target { cid: root.clone(), dag_size_bytes: 1572 });
}

#[test]
fn a_sharded_directory_comes_out_as_kubo_made_it() {
    let (root, store) = fixture("trustless_gateway_car/single-layer-hamt-with-multi-block-files.car");
    let entries = store.entries(&root);
    let always_sharded = chunks_of_256(0);
    let mut directory = DirectoryBuilder::new(always_sharded);
    for (name, target) in &entries {
        assert_eq!(store.lookup(&root, name), Some(target.clone()));
        directory.insert(name, target.clone()).unwrap();
    }
    let rebuilt = directory.finish().unwrap();
    assert_eq!(rebuilt.root.cid, root);
    for block in rebuilt.blocks {
        assert_eq!(store.get(&block.cid), Some(block));
    }
}

#[test]
fn a_missing_block_is_noticed() {
    let (root, store) = fixture("trustless_gateway_car/file-3k-and-3-blocks-missing-block.car");
    assert_eq!(store.read(&root), None);
}

#[test]
fn other_codecs_are_no_unixfs() {
    for name in ["plain-cbor", "plain-json", "dag-cbor-traversal", "dag-json-traversal"] {
        let (root, store) = fixture(&format!("path_gateway_dag/{name}.car"));
        assert!(!matches!(root.codec(), Codec::Raw | Codec::DagPb));
        let error = crate::unixfs::walk::kind(&store.get(&root).unwrap()).unwrap_err();
        assert!(error.to_string().contains(&root.to_string()), "{error}");
    }
}
