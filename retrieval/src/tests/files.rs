//! Streaming files: every range of every shape of tree gives the plain bytes.

use std::ops::Range;

use bytes::Bytes;
use content::{
    Block,
    unixfs::{
        file::import_bytes,
        profile::{Parameters, Profile},
    },
};
use futures_util::StreamExt as _;
use proptest::prelude::*;
use testing::Mode;

use super::world::{World, patterned, settle};
use crate::{Blocks, ReadError, stream_file};

/// Small chunks and few links make deep trees of little data.
fn import(bytes: &[u8], chunk: usize, links: usize) -> (Block, Vec<Block>) {
    let parameters = Parameters { chunk_bytes: chunk, links_max: links, ..Profile::default().parameters() };
    let profile = Profile::new(parameters).unwrap();
    let file = import_bytes(profile, &Bytes::copy_from_slice(bytes));
    let root = file.blocks.iter().find(|block| block.cid == file.root).unwrap().clone();
    (root, file.blocks)
}

async fn read(blocks: &Blocks, root: &Block, range: Range<u64>) -> Result<Vec<u8>, ReadError> {
    let mut stream = Box::pin(stream_file(blocks.clone(), root.clone(), range));
    let mut bytes = Vec::new();
    while let Some(part) = stream.next().await {
        let part = part?;
        assert!(!part.is_empty(), "an empty part would end the body");
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

/// Sizes around the edges of chunks and of full trees.
fn size(chunk: usize, links: usize) -> impl Strategy<Value = usize> {
    let edges = [0, chunk, chunk * links, chunk * links * links, chunk * links * links * links];
    prop_oneof![
        (prop::sample::select(edges.to_vec()), -1_isize..=1)
            .prop_map(|(edge, by)| edge.saturating_add_signed(by).min(9000)),
        0..=3000_usize,
    ]
}

fn shape() -> impl Strategy<Value = (usize, usize, usize)> {
    (1..40_usize, 2..5_usize).prop_flat_map(|(chunk, links)| (Just(chunk), Just(links), size(chunk, links)))
}

#[derive(Debug, Clone)]
struct Circumstances {
    segments: usize,
    dead: Vec<usize>,
    memory_bytes: u64,
    window_bytes: u64,
    in_flight_bytes: u32,
    /// Whether all bytes are alike, so that blocks repeat.
    plain: bool,
}

fn circumstances() -> impl Strategy<Value = Circumstances> {
    let dead = prop::sample::subsequence((0..20_usize).collect::<Vec<_>>(), 0..=12);
    let memory = prop::sample::select(vec![0, 2000, 64 << 20]);
    let budget = prop::sample::select(vec![200, 5000, 64 << 20]);
    (1..4_usize, dead, memory, prop::sample::select(vec![100, 4 << 20]), budget, any::<bool>()).prop_map(
        |(segments, dead, memory_bytes, window_bytes, in_flight_bytes, plain)| Circumstances {
            segments,
            dead,
            memory_bytes,
            window_bytes,
            in_flight_bytes,
            plain,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_range_of_any_tree(
        (chunk, links, size) in shape(),
        ranges in prop::collection::vec(any::<(prop::sample::Index, prop::sample::Index)>(), 3),
        around in circumstances(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bytes = if around.plain { vec![7; size] } else { patterned(1, size) };
            let (root, stored) = import(&bytes, chunk, links);
            let mut world = World::new();
            for part in stored.chunks(stored.len().div_ceil(around.segments)) {
                world.store(part);
            }
            world.config.memory_bytes = around.memory_bytes;
            world.config.window_bytes = around.window_bytes;
            world.config.in_flight_bytes = around.in_flight_bytes;
            world.network.set(around.dead, Mode::Dead);
            let blocks = world.blocks();
            let all = 0..u64::MAX;
            assert_eq!(read(&blocks, &root, all).await.as_ref(), Ok(&bytes));
            for (a, b) in ranges {
                let (a, b) = (a.index(size + 1), b.index(size + 1));
                let range = a.min(b)..a.max(b);
                let got = read(&blocks, &root, range.start as u64..range.end as u64).await;
                assert_eq!(got.as_deref(), Ok(&bytes[range]));
            }
            settle().await;
            assert_eq!(blocks.free_bytes(), around.in_flight_bytes as usize);
        });
    }
}

#[tokio::test]
async fn the_first_byte_comes_before_the_rest_is_fetched() {
    let world = World::new();
    let bytes = patterned(2, 12 << 20);
    let (root, stored) = import(&bytes, 1 << 20, 1024);
    world.store(&stored);
    let mut stream = Box::pin(stream_file(world.blocks(), root, 0..12 << 20));
    let first = stream.next().await.unwrap().unwrap();
    assert_eq!(first, bytes[..1 << 20]);
    settle().await;
    let asked = world.network.bytes_asked();
    assert!(asked <= 4 << 20, "one leaf, and one window of two ahead: {asked}");
}

#[tokio::test]
async fn a_small_range_fetches_one_leaf() {
    let world = World::new();
    let bytes = patterned(3, 12 << 20);
    let (root, stored) = import(&bytes, 1 << 20, 1024);
    world.store(&stored);
    let at = 5_500_000..5_501_000;
    let got = read(&world.blocks(), &root, at.start as u64..at.end as u64).await;
    assert_eq!(got.as_deref(), Ok(&bytes[at]));
    assert_eq!(world.network.bytes_asked(), 1 << 20);
}

#[tokio::test]
async fn a_long_file_takes_few_questions() {
    let world = World::new();
    let bytes = patterned(4, 300 * 4096);
    let (root, stored) = import(&bytes, 4096, 1024);
    for part in stored.chunks(40) {
        world.store(part);
    }
    assert_eq!(read(&world.blocks(), &root, 0..u64::MAX).await.as_ref(), Ok(&bytes));
    assert!(world.locator.asked() <= 3, "{}", world.locator.asked());
}

#[tokio::test]
async fn a_missing_leaf_ends_the_stream_with_an_error() {
    let world = World::new();
    let bytes = patterned(5, 10_000);
    let (root, stored) = import(&bytes, 1000, 100);
    let missing = stored[6].clone();
    let present: Vec<Block> = stored.into_iter().filter(|block| *block != missing).collect();
    world.store(&present);
    let blocks = world.blocks();
    assert_eq!(read(&blocks, &root, 0..6000).await.as_deref(), Ok(&bytes[..6000]));
    assert_eq!(read(&blocks, &root, 7000..10_000).await.as_deref(), Ok(&bytes[7000..]));
    let mut stream = Box::pin(stream_file(blocks, root, 0..10_000));
    for at in 0..6 {
        assert_eq!(stream.next().await.unwrap().unwrap(), bytes[at * 1000..(at + 1) * 1000]);
    }
    assert_eq!(stream.next().await.unwrap(), Err(ReadError::NotFound(missing.cid)));
}
