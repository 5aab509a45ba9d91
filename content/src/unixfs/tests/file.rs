//! Files: the builder against a reference that has all leaves at once, and ranges against plain arithmetic.

use bytes::Bytes;
use proptest::prelude::*;

use crate::block::Block;
use crate::cid::{Cid, Codec, HashFn};
use crate::dagpb::{Link, Node};
use crate::tests::store::Store;
use crate::unixfs::file::{FileBuilder, Finished, Part, import_bytes};
use crate::unixfs::profile::{Layout, Parameters, Profile};
use crate::unixfs::walk::{self, Kind, Reason};
use crate::unixfs::{Data, DataType};

fn profile(chunk: usize, links: usize) -> Profile {
    Profile::new(Parameters { chunk_bytes: chunk, links_max: links, ..Profile::default().parameters() })
        .unwrap()
}

/// The balanced tree built level by level from all leaves: root, cumulative size, and inner blocks sorted.
fn reference(leaves: &[(Cid, u64)], links: usize) -> (Cid, u64, Vec<Block>) {
    let mut blocks = Vec::new();
    let mut level: Vec<(Cid, u64, u64)> = leaves.iter().map(|(cid, len)| (cid.clone(), *len, *len)).collect();
    while level.len() > 1 {
        level = level
            .chunks(links)
            .map(|children| {
                let data = Data {
                    filesize: Some(children.iter().map(|child| child.1).sum()),
                    blocksizes: children.iter().map(|child| child.1).collect(),
                    ..Data::new(DataType::File)
                };
                let links = children
                    .iter()
                    .map(|(cid, _, dag_size)| Link {
                        cid: cid.clone(),
                        name: Some(""),
                        tsize: Some(*dag_size),
                    })
                    .collect();
                let bytes = Node { links, data: Some(&data.encode()) }.encode();
                let under: u64 = children.iter().map(|child| child.2).sum();
                let dag_size = under + bytes.len() as u64;
                let block = Block::of(Codec::DagPb, HashFn::Sha2_256, Bytes::from(bytes));
                let cid = block.cid.clone();
                blocks.push(block);
                (cid, data.filesize.unwrap(), dag_size)
            })
            .collect();
    }
    blocks.sort_by(|a, b| a.cid.cmp(&b.cid));
    (level[0].0.clone(), level[0].2, blocks)
}

fn leaf(i: u64) -> Cid {
    Cid::of(Codec::Raw, HashFn::Sha2_256, &i.to_le_bytes())
}

fn build(leaves: &[(Cid, u64)], links: usize) -> (Finished, Vec<Block>) {
    let mut builder = FileBuilder::new(profile(1024, links));
    let mut blocks = Vec::new();
    for (cid, len) in leaves {
        let done = builder.push_leaf(Part { cid: cid.clone(), size_bytes: *len, dag_size_bytes: *len });
        assert!(done.len() <= 64, "at most one a level");
        blocks.extend(done);
    }
    let finished = builder.finish();
    blocks.extend(finished.blocks.clone());
    (finished, blocks)
}

#[test]
fn powers_and_their_neighbours() {
    for links in [2, 3, 4, 10] {
        for count in 1..=130 {
            let leaves: Vec<_> = (0..count).map(|i| (leaf(i), 10 + i)).collect();
            let (finished, mut blocks) = build(&leaves, links);
            let (root, dag_size_bytes, expected) = reference(&leaves, links);
            assert_eq!(finished.root, root, "{count} leaves, {links} links");
            assert_eq!(finished.dag_size_bytes, dag_size_bytes);
            assert_eq!(finished.size_bytes, leaves.iter().map(|leaf| leaf.1).sum::<u64>());
            assert_eq!(blocks.last().map_or(&root, |block| &block.cid), &root, "the root comes last");
            blocks.sort_by(|a, b| a.cid.cmp(&b.cid));
            assert_eq!(blocks, expected);
        }
    }
}

/// The trickle tree built from the top by recursion: what is left of `leaves` after it, and the node. No `depth` means
/// without end.
fn trickle_reference<'a>(
    leaves: &'a [Part],
    links: usize,
    depth: Option<usize>,
    blocks: &mut Vec<Block>,
) -> (&'a [Part], Part) {
    let (own, mut rest) = leaves.split_at(leaves.len().min(links));
    let mut parts = own.to_vec();
    for level in 1.. {
        if rest.is_empty() || depth.is_some_and(|depth| level >= depth) {
            break;
        }
        for _ in 0..4 {
            if !rest.is_empty() {
                let (left, part) = trickle_reference(rest, links, Some(level), blocks);
                rest = left;
                parts.push(part);
            }
        }
    }
    let data = Data {
        filesize: Some(parts.iter().map(|part| part.size_bytes).sum()),
        blocksizes: parts.iter().map(|part| part.size_bytes).collect(),
        ..Data::new(DataType::File)
    };
    let links: Vec<_> = parts
        .iter()
        .map(|part| Link { cid: part.cid.clone(), name: Some(""), tsize: Some(part.dag_size_bytes) })
        .collect();
    let block = node(&links, &data);
    let under: u64 = parts.iter().map(|part| part.dag_size_bytes).sum();
    let part = Part {
        cid: block.cid.clone(),
        size_bytes: data.filesize.unwrap(),
        dag_size_bytes: under + block.bytes.len() as u64,
    };
    blocks.push(block);
    (rest, part)
}

#[test]
fn trickle_trees_of_every_length() {
    for links in [2, 3, 5] {
        let small = profile(1, links).parameters();
        let trickle = Profile::new(Parameters { layout: Layout::Trickle, ..small }).unwrap();
        for count in (0..150).chain([999, 1000, 5000]) {
            let part = |i| Part { cid: leaf(i), size_bytes: 10 + i, dag_size_bytes: 12 + i };
            let leaves: Vec<_> = (0..count).map(part).collect();
            let mut expected = Vec::new();
            let (rest, root) = trickle_reference(&leaves, links, None, &mut expected);
            assert!(rest.is_empty());

            let mut builder = FileBuilder::new(trickle);
            let mut blocks = Vec::new();
            for part in leaves {
                blocks.extend(builder.push_leaf(part));
            }
            let mut finished = builder.finish();
            blocks.append(&mut finished.blocks);
            // Children before parents, in the order in which they are complete: the same blocks in the same order.
            assert_eq!(blocks, expected, "{count} leaves, {links} links");
            let Finished { root: cid, size_bytes, dag_size_bytes, .. } = finished;
            assert_eq!(Part { cid, size_bytes, dag_size_bytes }, root);
        }
    }
}

fn node(links: &[Link<'_>], data: &Data<'_>) -> Block {
    let bytes = Node { links: links.to_vec(), data: Some(&data.encode()) }.encode();
    Block::of(Codec::DagPb, HashFn::Sha2_256, Bytes::from(bytes))
}

fn link(name: Option<&str>) -> Link<'_> {
    Link { cid: leaf(0), name, tsize: None }
}

#[test]
fn old_files_with_bytes_inside_are_read() {
    let data =
        Data { data: Some(b"first"), filesize: Some(12), blocksizes: vec![3, 4], ..Data::new(DataType::Raw) };
    let block = node(&[link(None), link(Some(""))], &data);
    let file = walk::file(&block).unwrap();
    assert_eq!(file.inline, "first");
    let ranges: Vec<_> = file.children.iter().map(|child| child.range.clone()).collect();
    assert_eq!(ranges, [5..8, 8..12]);
    assert_eq!(walk::kind(&block), Ok(Kind::File { size_bytes: 12 }));
}

#[test]
fn files_that_break_a_rule_are_refused() {
    let file = |filesize, blocksizes: &[u64]| Data {
        filesize,
        blocksizes: blocksizes.to_vec(),
        ..Data::new(DataType::File)
    };
    let reason = |links: &[Link<'_>], data: &Data<'_>| walk::file(&node(links, data)).unwrap_err().reason;
    let one = [link(None)];
    assert_eq!(reason(&one, &file(Some(0), &[])), Reason::Blocksizes { links: 1, blocksizes: 0 });
    assert_eq!(reason(&[], &file(Some(5), &[5])), Reason::Blocksizes { links: 0, blocksizes: 1 });
    assert_eq!(reason(&one, &file(Some(6), &[5])), Reason::Size { stated: 6, found: 5 });
    assert_eq!(reason(&one, &file(None, &[5])), Reason::Size { stated: 0, found: 5 });
    assert_eq!(reason(&[link(Some("x"))], &file(Some(5), &[5])), Reason::NamedChunk("x".into()));
    let two = [link(None), link(None)];
    assert_eq!(reason(&two, &file(Some(u64::MAX), &[u64::MAX, 1])), Reason::SizeOverflow);
    assert_eq!(reason(&[], &Data::new(DataType::Directory)), Reason::NotAFile);
    assert_eq!(reason(&[], &Data::new(DataType::Metadata)), Reason::NotAFile);
    let bare = Block::of(Codec::DagPb, HashFn::Sha2_256, Bytes::new());
    assert_eq!(walk::kind(&bare).unwrap_err().reason, Reason::NoData);
    let metadata = node(&[], &Data::new(DataType::Metadata));
    assert_eq!(walk::kind(&metadata).unwrap_err().reason, Reason::Metadata);
}

#[test]
fn an_empty_range_touches_nothing() {
    let data = Data { filesize: Some(9), blocksizes: vec![4, 5], ..Data::new(DataType::File) };
    let file = walk::file(&node(&[link(None), link(None)], &data)).unwrap();
    assert!(file.overlapping(&(2..2)).is_empty());
    assert!(file.overlapping(&(4..4)).is_empty());
    assert_eq!(file.overlapping(&(3..5)), file.children);
    assert_eq!(file.overlapping(&(4..u64::MAX)), &file.children[1..]);
}

#[test]
fn a_child_of_another_length_is_caught() {
    let data = Data { filesize: Some(9), blocksizes: vec![4, 5], ..Data::new(DataType::File) };
    let file = walk::file(&node(&[link(None), link(None)], &data)).unwrap();
    let fetched = Kind::Raw { size_bytes: 5 };
    assert_eq!(file.children[1].check(&fetched), Ok(()));
    let error = file.children[0].check(&fetched).unwrap_err();
    assert_eq!(error.reason, Reason::Size { stated: 4, found: 5 });
    assert!(file.children[1].check(&Kind::Directory).is_err());
}

proptest! {
    #[test]
    fn imports_read_back(len in 0..600_usize, chunk in 1..40_usize, links in 2..6_usize) {
        let data = Bytes::from((0..len).map(|i| u8::try_from(i * 31 % 251).unwrap()).collect::<Vec<_>>());
        let file = import_bytes(profile(chunk, links), &data);
        let bytes: usize = file.blocks.iter().map(|block| block.bytes.len()).sum();
        prop_assert_eq!(file.dag_size_bytes, bytes as u64);
        prop_assert_eq!(&file.blocks.last().unwrap().cid, &file.root);
        let store = Store::new(file.blocks);
        prop_assert_eq!(store.read(&file.root).unwrap(), data.to_vec());
    }

    #[test]
    fn ranges_touch_what_they_need(
        sizes in proptest::collection::vec(0..20_u64, 0..30),
        inline in 0..10_usize,
        start in 0..400_u64,
        len in 0..400_u64,
    ) {
        let inline = vec![7; inline];
        let size_bytes = inline.len() as u64 + sizes.iter().sum::<u64>();
        let data = Data {
            data: Some(&inline),
            filesize: Some(size_bytes),
            blocksizes: sizes.clone(),
            ..Data::new(DataType::File)
        };
        let links: Vec<_> = (0..sizes.len()).map(|i| Link { cid: leaf(i as u64), ..link(None) }).collect();
        let file = walk::file(&node(&links, &data)).unwrap();
        prop_assert_eq!(file.size_bytes, size_bytes);

        let range = start..start + len;
        let touched: Vec<_> = file.overlapping(&range).iter().map(|child| child.cid.clone()).collect();
        let mut offset = inline.len() as u64;
        for (i, size) in sizes.iter().enumerate() {
            let needed = (offset..offset + size).any(|at| range.contains(&at));
            if needed {
                prop_assert!(touched.contains(&leaf(i as u64)));
            } else if *size > 0 {
                prop_assert!(!touched.contains(&leaf(i as u64)));
            }
            offset += size;
        }
    }

    #[test]
    fn arbitrary_nodes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), with_data in any::<bool>()) {
        let bytes = if with_data { Node { links: vec![link(None)], data: Some(&bytes) }.encode() } else { bytes };
        let block = Block::of(Codec::DagPb, HashFn::Sha2_256, Bytes::from(bytes));
        let kind = walk::kind(&block);
        if let Ok(file) = walk::file(&block) {
            prop_assert_eq!(kind, Ok(Kind::File { size_bytes: file.size_bytes }));
        }
        let _ = walk::list(&block);
        let _ = walk::NameLookup::new("name").step(&block);
    }
}
