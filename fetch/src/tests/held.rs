//! Fetches of what is held in part.

use content::{Codec, unixfs::tree::TreeBuilder};

use super::{
    config,
    dags::{bytes_of, cids, directory, file},
    fetcher,
    memory::Memory,
    server::Server,
};
use crate::{FetchConfig, FetchError};

#[tokio::test]
async fn what_is_held_is_not_fetched() {
    let old = file(30);
    let new = file(3);
    let mut tree = TreeBuilder::new(content::unixfs::profile::Profile::default());
    for (name, file) in [("old", &old), ("new", &new)] {
        tree.add(name, file.target()).unwrap();
    }
    let done = tree.finish().unwrap();
    let blocks = [old.blocks.clone(), new.blocks.clone(), done.blocks].concat();
    let server = Server::whole(&blocks).await;
    let mut memory = Memory::holding(&old.blocks);
    let outcome = fetcher(config(&[&server])).fetch(&done.root.cid, &[server.url()], &mut memory).await;
    let fetched = outcome.unwrap();
    // The first leaves of both files are the same.
    let new: Vec<_> = blocks.iter().filter(|block| !memory.held.contains_key(&block.cid)).cloned().collect();
    assert_eq!(memory.cids(), cids(&new));
    let mut asked = server.blocks_asked();
    asked.sort();
    assert_eq!((asked, server.cars_asked()), (cids(&new), 0));
    assert_eq!((fetched.blocks, fetched.bytes), (cids(&new).len() as u64, bytes_of(&new)));
    assert_eq!(fetched.dag_size_bytes, bytes_of(&blocks), "sizes are of all of it");
    assert_eq!(fetched.size_bytes, Some(3300));
    assert!(memory.reads.iter().all(|cid| cid.codec() == Codec::DagPb), "of leaves the lengths do");
}

#[tokio::test]
async fn what_is_held_altogether_needs_no_source() {
    let (blocks, root) = directory(4);
    let mut memory = Memory::holding(&blocks);
    let fetched = fetcher(config(&[])).fetch(&root, &[], &mut memory).await.unwrap();
    assert_eq!((fetched.blocks, fetched.bytes, memory.put.len()), (0, 0, 0));
    assert_eq!((fetched.dag_size_bytes, fetched.size_bytes), (bytes_of(&blocks), Some(1000)));
}

#[tokio::test]
async fn what_is_held_and_cannot_be_read_is_fetched() {
    let file = file(30);
    let server = Server::whole(&file.blocks).await;
    let mut memory = Memory { is_unreadable: true, ..Memory::holding(&file.blocks) };
    fetcher(config(&[&server])).fetch(&file.root, &[server.url()], &mut memory).await.unwrap();
    let nodes = file.blocks.iter().filter(|block| block.cid.codec() == Codec::DagPb);
    assert!(cids(nodes).iter().all(|cid| memory.cids().contains(cid)));
    // Bytes that are not what they are held as count as unreadable.
    let mut memory = Memory::holding(&file.blocks);
    memory.held.insert(file.root.clone(), bytes::Bytes::from_static(b"damaged"));
    fetcher(config(&[&server])).fetch(&file.root, &[server.url()], &mut memory).await.unwrap();
    assert_eq!(memory.cids(), std::slice::from_ref(&file.root));
}

#[tokio::test]
async fn what_is_held_counts_towards_the_limits() {
    let (blocks, root) = directory(4);
    let bytes = bytes_of(&blocks);
    let limits = FetchConfig { bytes_max: bytes - 1, ..config(&[]) };
    let outcome = fetcher(limits).fetch(&root, &[], &mut Memory::holding(&blocks)).await;
    assert!(matches!(outcome, Err(FetchError::TooLarge(_))), "{outcome:?}");
}
