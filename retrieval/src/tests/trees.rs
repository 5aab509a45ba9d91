//! Trees that nobody should have made: errors in bounded time.

use std::time::Duration;

use bytes::Bytes;
use content::{
    Block, Codec, HashFn,
    dagpb::{Link, Node},
    unixfs::{Data, DataType},
};
use futures_util::StreamExt as _;

use super::world::{World, raw};
use crate::{Blocks, ReadError, stream_file};

/// A node of a file over children of which it says how long they are.
fn node(children: &[(&Block, u64)]) -> Block {
    let size = children.iter().map(|(_, len)| len).sum();
    let blocksizes = children.iter().map(|(_, len)| *len).collect();
    let data = Data { filesize: Some(size), blocksizes, ..Data::new(DataType::File) }.encode();
    let link = |block: &Block| Link { cid: block.cid.clone(), name: Some(""), tsize: None };
    let links = children.iter().map(|(block, _)| link(block)).collect();
    let bytes = Node { links, data: Some(&data) }.encode();
    Block::of(Codec::DagPb, HashFn::Sha2_256, Bytes::from(bytes))
}

async fn read(blocks: &Blocks, root: &Block) -> Result<Vec<u8>, ReadError> {
    let stream = stream_file(blocks.clone(), root.clone(), 0..u64::MAX);
    let parts: Vec<Result<Bytes, ReadError>> = stream.collect().await;
    parts.into_iter().try_fold(Vec::new(), |mut bytes, part| {
        bytes.extend_from_slice(&part?);
        Ok(bytes)
    })
}

#[tokio::test]
async fn children_without_bytes_are_passed_over() {
    let world = World::new();
    let leaf = raw("x");
    // A node of 200 empty children, each a node of 200 empty children, and so on: 200^6 of them and no byte.
    let mut blocks = vec![raw("")];
    for _ in 0..6 {
        let below = blocks.last().unwrap().clone();
        blocks.push(node(&vec![(&below, 0); 200]));
    }
    let top = node(&[(blocks.last().unwrap(), 0), (&leaf, 1), (blocks.last().unwrap(), 0)]);
    blocks.extend([leaf, top.clone()]);
    world.store(&blocks);
    let read = tokio::time::timeout(Duration::from_secs(20), read(&world.blocks(), &top)).await;
    assert_eq!(read.unwrap(), Ok(b"x".to_vec()));
}

#[tokio::test]
async fn a_child_must_be_as_long_as_its_parent_says() {
    for said in [1, 9, 11, 1000] {
        let world = World::new();
        let leaf = raw("ten bytes.");
        let root = node(&[(&leaf, said), (&leaf, 10)]);
        world.store(&[leaf, root.clone()]);
        let read = read(&world.blocks(), &root).await;
        assert!(matches!(read, Err(ReadError::Malformed(_))), "{read:?}");
    }
}

#[tokio::test]
async fn nesting_has_an_end() {
    let world = World::new();
    let mut blocks = vec![raw("deep")];
    for _ in 0..100 {
        let below = blocks.last().unwrap().clone();
        blocks.push(node(&[(&below, 4)]));
    }
    world.store(&blocks);
    let reader = world.blocks();
    assert_eq!(read(&reader, &blocks[40]).await, Ok(b"deep".to_vec()));
    let too_deep = read(&reader, &blocks[100]).await;
    assert!(matches!(too_deep, Err(ReadError::TooLarge(_))), "{too_deep:?}");
}

#[tokio::test]
async fn a_directory_inside_a_file_is_an_error() {
    let world = World::new();
    let data = Data::new(DataType::Directory).encode();
    let bytes = Node { links: vec![], data: Some(&data) }.encode();
    let directory = Block::of(Codec::DagPb, HashFn::Sha2_256, Bytes::from(bytes));
    let root = node(&[(&directory, 5)]);
    world.store(&[directory, root.clone()]);
    let read = read(&world.blocks(), &root).await;
    assert!(matches!(read, Err(ReadError::Malformed(_))), "{read:?}");
}
