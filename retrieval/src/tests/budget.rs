//! The budget of bytes on their way: kept, given back, and taken back from those who stand still.

use std::time::Duration;

use content::{
    Block,
    unixfs::profile::{Parameters, Profile},
};
use futures_util::{StreamExt as _, future::join_all};
use testing::Mode;

use super::world::{World, patterned, raw, settle};
use crate::{BlocksConfig, ReadError, stream_file};

const KIB: usize = 1 << 10;

#[tokio::test]
async fn no_more_is_fetched_at_once_than_allowed() {
    let mut world = World::new();
    world.config.in_flight_bytes = 300 << 10;
    let stored: Vec<Block> = (0..10).map(|seed| world.store_raw(patterned(seed, 100 * KIB))).collect();
    world.network.set(0..20, Mode::Stalled);
    let blocks = world.blocks();
    let readers: Vec<_> = stored
        .iter()
        .map(|block| {
            let (blocks, cid) = (blocks.clone(), block.cid.clone());
            tokio::spawn(async move { blocks.get(&cid).await })
        })
        .collect();
    while world.network.bytes_asked() < 300 << 10 {
        tokio::task::yield_now().await;
    }
    settle().await;
    assert_eq!(world.network.bytes_asked(), 300 << 10, "three of ten");
    assert_eq!(blocks.free_bytes(), 0);
    world.network.set(0..20, Mode::Honest);
    for (reader, block) in readers.into_iter().zip(stored) {
        assert_eq!(reader.await.unwrap(), Ok(block));
    }
    settle().await;
    assert_eq!(blocks.free_bytes(), 300 << 10);
}

#[tokio::test]
async fn a_block_larger_than_the_budget_is_fetched_alone() {
    let mut world = World::new();
    world.config.in_flight_bytes = 1000;
    let stored: Vec<Block> = (0..3).map(|seed| world.store_raw(patterned(seed, 5000))).collect();
    let blocks = world.blocks();
    let read = join_all(stored.iter().map(|block| blocks.get(&block.cid))).await;
    assert_eq!(read.into_iter().collect::<Result<Vec<_>, ReadError>>(), Ok(stored));
}

/// A file of `leaves` leaves of 256 KiB.
fn store_file(world: &World, seed: u32, leaves: usize) -> (Block, Vec<u8>) {
    let parameters = Parameters { chunk_bytes: 256 * KIB, ..Profile::default().parameters() };
    let bytes = patterned(seed, leaves * 256 * KIB);
    let file = content::unixfs::file::import_bytes(Profile::new(parameters).unwrap(), &bytes.clone().into());
    world.store(&file.blocks);
    (file.blocks.last().unwrap().clone(), bytes)
}

#[tokio::test]
async fn readers_that_stand_still_starve_nobody() {
    let mut world = World::new();
    world.config = BlocksConfig {
        // Nothing is kept in memory: what a reader has lost it must fetch again.
        memory_bytes: 0,
        in_flight_bytes: 2 << 20,
        window_bytes: 1 << 20,
        hold_max: Duration::from_millis(20),
        ..BlocksConfig::default()
    };
    let blocks = world.blocks();
    let files: Vec<_> = (0..5).map(|seed| store_file(&world, seed * 1_000_000, 24)).collect();
    // Four readers take their first bytes and then no more: together they hold all the room there is.
    let mut stalled = Vec::new();
    for (root, _) in &files[..4] {
        let mut stream = Box::pin(stream_file(blocks.clone(), root.clone(), 0..u64::MAX));
        let first = stream.next().await.unwrap().unwrap();
        stalled.push((stream, first.to_vec()));
    }
    let (root, bytes) = &files[4];
    let read = stream_file(blocks.clone(), root.clone(), 0..u64::MAX).collect::<Vec<_>>();
    let read = tokio::time::timeout(Duration::from_secs(60), read).await.unwrap();
    let read: Vec<u8> = read.into_iter().flat_map(|part| part.unwrap()).collect();
    assert!(read == *bytes, "the fifth reader reads all of it");
    for ((mut stream, mut read), (_, bytes)) in stalled.into_iter().zip(&files) {
        while let Some(part) = stream.next().await {
            read.extend(part.unwrap());
        }
        assert!(read == *bytes, "and the others when they go on");
    }
    settle().await;
    assert_eq!(blocks.free_bytes(), 2 << 20);
}

#[tokio::test]
async fn connections_hold_no_more_than_they_may() {
    let mut world = World::new();
    // Room for one leaf of 256 KiB.
    world.config.sending_bytes = 300 << 10;
    world.config.memory_bytes = 0;
    let blocks = world.blocks();
    let (root, bytes) = store_file(&world, 1, 5);
    let mut first = Box::pin(stream_file(blocks.clone(), root.clone(), 1000..u64::MAX));
    let lent = first.next().await.unwrap().unwrap();
    assert_eq!(lent, bytes[1000..256 * KIB], "as it is");
    assert_eq!(blocks.lendable_bytes(), 44 << 10);
    // While that is in somebody's hands others get copies, whatever range they read.
    for range in [0..bytes.len(), 70_000..900_000, 262_143..262_145, 1_300_000..bytes.len(), 5..66_000] {
        let wanted = range.start as u64..range.end as u64;
        let parts: Vec<_> = stream_file(blocks.clone(), root.clone(), wanted).collect().await;
        let parts: Vec<bytes::Bytes> = parts.into_iter().map(Result::unwrap).collect();
        assert!(parts.iter().all(|part| (1..=32 * KIB).contains(&part.len())), "{range:?}");
        assert!(parts.concat() == bytes[range.clone()], "{range:?}");
    }
    // It reads on, and what it is done with may be lent again.
    drop(lent);
    assert_eq!(blocks.lendable_bytes(), 300 << 10);
    let rest: Vec<_> = first.collect().await;
    assert!(rest.into_iter().map(Result::unwrap).collect::<Vec<_>>().concat() == bytes[256 * KIB..]);
}

#[tokio::test]
async fn more_readers_than_room_all_finish() {
    let mut world = World::new();
    world.config = BlocksConfig {
        memory_bytes: 0,
        in_flight_bytes: 1 << 20,
        window_bytes: 1 << 20,
        // Far longer than the test may take: nobody is to rely on having room taken from others.
        hold_max: Duration::from_mins(10),
        ..BlocksConfig::default()
    };
    let blocks = world.blocks();
    let files: Vec<_> = (0..8).map(|seed| store_file(&world, seed * 1_000_000, 12)).collect();
    let readers = files.iter().map(async |(root, bytes)| {
        let parts: Vec<_> = stream_file(blocks.clone(), root.clone(), 0..u64::MAX).collect().await;
        let read: Vec<u8> = parts.into_iter().flat_map(|part| part.unwrap()).collect();
        assert!(read == *bytes);
    });
    tokio::time::timeout(Duration::from_secs(60), join_all(readers)).await.unwrap();
}

#[test]
fn an_abandoned_wait_gives_everything_back() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new();
        world.config.in_flight_bytes = 1000;
        world.network.set(0..20, Mode::Stalled);
        let blocks = world.blocks();
        let stored: Vec<Block> =
            (0..3).map(|seed| world.store_raw(raw(patterned(seed, 900)).bytes)).collect();
        for block in &stored {
            let read = blocks.get(&block.cid);
            tokio::select! {
                _ = read => panic!("nobody answers"),
                () = settle() => {}
            }
        }
        world.network.set(0..20, Mode::Honest);
        while blocks.free_bytes() < 1000 {
            tokio::task::yield_now().await;
        }
    });
}
